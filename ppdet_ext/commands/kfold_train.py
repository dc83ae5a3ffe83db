"""Folds of TrainDataset's images, and a model trained without each; see `commands.kfold` for the files."""

import hashlib
import json
import logging
import os
import shlex
import shutil
import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ppdet_ext.checkpoint.run_folder import run_folder
from ppdet_ext.config.files import ROOT, dump_tree
from ppdet_ext.config.folds import fold_tree, pool_tree
from ppdet_ext.config.keys import ENSEMBLE
from ppdet_ext.config.load import load_config
from ppdet_ext.data.loading.build import load_dataset
from ppdet_ext.data.splits.duplicates import same_bytes
from ppdet_ext.data.splits.selection import read_split_file
from ppdet_ext.distributed import world
from ppdet_ext.distributed.child import run_child
from ppdet_ext.errors import DivergenceError, UserError, counted
from ppdet_ext.files.atomic import digest, write_atomic
from ppdet_ext.host import Config
from ppdet_ext.tuning.cross_validation import assign_folds
from ppdet_ext.tuning.out_of_fold import folds_csv, joined

from .flags import EXIT_DIVERGED, PROGRAM

FOLDS_FILE, CONFIG_FILE, POOL_FILE = "folds.csv", "config.yml", "images.yml"
logger = logging.getLogger("ppdet_ext")


@dataclass(frozen=True)
class Fold:
    """A model and the images that it does not see.

    number: from 0. config: file of its configuration. cfg: what that says. held: these images, a read data set.
    """

    number: int
    config: Path
    cfg: Config
    held: Any


def check_folds(cfg: Config, folds: int, only: Sequence[int] = ()) -> None:
    if folds < 2:
        raise UserError(f"--folds is {folds}; at least 2 are needed.")
    for number in only:
        if not 0 <= number < folds:
            raise UserError(f"--only {number}: there is no such fold; {folds} folds count from 0 to {folds - 1}.")
    if cfg.get(ENSEMBLE):
        raise UserError(f"The configuration has an {ENSEMBLE}; tools/kfold.py trains one model on each fold, and makes one.")
    if world()[1] > 1:
        raise UserError("tools/kfold.py is one process; it was started on several ranks.")


def dealt(cfg: Config, target: Path, folds: int) -> list[Fold]:
    """The folds, their configurations written. UserError where the images cannot be dealt out, or were in another way."""
    tree = {**cfg.resolved, "save_dir": str(target)}
    split = _write_folds(tree, target, folds)
    write_changed(target / CONFIG_FILE, dump_tree(tree))
    parts = []
    for number in range(folds):
        file = target / f"fold_{number}.yml"
        write_changed(file, dump_tree(fold_tree(tree, number, folds, split)))
        own = load_config(file)
        parts.append(Fold(number, file, own, load_dataset(own, "EvalDataset")))
    joined([part.held for part in parts])
    return parts


def _write_folds(tree: dict[str, Any], target: Path, folds: int) -> str | None:
    """Deal out TrainDataset's images, as its classes come; the file that says how. None where a split file of its own does."""
    file = target / POOL_FILE
    write_changed(file, dump_tree(pool_tree(tree)))
    pool = load_dataset(load_config(file), "EvalDataset")
    own = None if pool.split is None else read_split_file(os.path.join(pool.dataset_dir, pool.split))
    if own is not None and own.folds is not None:
        there = len(set(own.folds.values()))
        if there < folds:
            raise UserError(f"--folds {folds}: split file {own.path} has {counted(there, 'folds')}; take --folds {there}.")
        return None
    groups = same_bytes([record.file for record in pool.records])
    assigned = assign_folds(pool.records, folds, groups, pool.seed)
    filled = len(set(assigned.tolist()))
    if filled < folds:
        # Before anything is written that another number of folds would not fit.
        images = counted(len(pool.records), "images")
        raise UserError(
            f"--folds {folds}: TrainDataset has {images}, and copies of a file share a fold: they fill {filled}. Take fewer."
        )
    _same_folds(target / FOLDS_FILE, folds_csv(pool.records, assigned.tolist()))
    return str((target / FOLDS_FILE).resolve())


def _same_folds(path: Path, text: str) -> None:
    """Write which image is in which fold. UserError where the folder's models were trained on other folds."""
    if path.is_file() and path.read_text(encoding="utf-8", errors="surrogateescape") != text:
        raise UserError(
            f"{path} deals out other images, or to another number of folds, than this command; its models would have seen "
            "what is held out now. Choose another --output, or delete the folder."
        )
    write_changed(path, text)


def write_changed(path: Path, text: str) -> None:
    content = text.encode(errors="surrogateescape")
    if not (path.is_file() and path.read_bytes() == content):
        write_atomic(path, lambda aside: aside.write_bytes(content), "--output")


def trained(part: Fold, folds: int, flags: Sequence[str], name: str, launch: str | None = None) -> Path:
    """The weights of a fold's model, trained (further) by tools/train.py unless it is through with this configuration.

    Args:
        part: the fold. folds: how many there are.
        flags: of tools/train.py.
        name: of the weights' file in the run's folder.
        launch: what starts it on several ranks, `python -m paddle.distributed.launch …`; None for one.
    """
    folder = run_folder(part.cfg)
    weights, note = folder / name, folder.with_name(f"trained_{part.number}.json")
    wanted = {"config": hashlib.sha256(part.config.read_bytes()).hexdigest(), "flags": list(flags)}
    if _noted(note) == {**wanted, "weights": {name: digest(weights) if weights.is_file() else None}}:
        logger.info("Fold %d of %d is trained already: %s", part.number, folds, weights)
        return weights
    logger.info("Fold %d of %d: training on all others", part.number, folds)
    code = run_child(
        [*_train_words(launch), "-c", os.fspath(part.config), *flags],
        # A launcher ends its ranks on a signal that it can take.
        signal.SIGKILL if launch is None else signal.SIGTERM,
    )
    if code == EXIT_DIVERGED:
        raise DivergenceError(f"The training of fold {part.number} diverged, see above. The same command goes on from there.")
    if code:
        how = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}, see above"
        raise UserError(f"The training of fold {part.number} {how}. The same command goes on from there.")
    write_changed(note, json.dumps({**wanted, "weights": {name: digest(weights)}}, indent=1))
    return weights


def _train_words(launch: str | None) -> list[str]:
    """What starts tools/train.py, or, without a checkout, the installed command."""
    tool = ROOT / "tools" / "train.py"
    script = [str(tool)] if tool.is_file() else [shutil.which(PROGRAM) or PROGRAM, "train"]
    return [*shlex.split(launch), *script] if launch else [sys.executable, *script]


def _noted(path: Path) -> Any:
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError):
        return None
