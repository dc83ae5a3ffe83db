"""The command behind tools/kfold.py: N models, each trained without a fold of the images, tuned on it, and their ensemble.

DIR/config.yml      the configuration, all told; images.yml: with all images that are dealt out as EvalDataset
DIR/folds.csv       ImageId,fold: which model has not seen an image
DIR/fold_0.yml      the configuration of a fold, with which every tool works; its run is DIR/fold_0/
DIR/trained_0.json  that this run is through, and with what outcome
DIR/ensemble.yml    the models' ensemble with the thresholds found on the images that each of them has not seen
DIR/report.md       what it is worth

Each of these is whole or not there, and what is there is not made again: a killed command goes on where it was, and leaves
the same bytes as one that was not.
"""

import argparse
import hashlib
import json
import logging
import os
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ppdet_ext.checkpoint.folder import BEST, FINAL
from ppdet_ext.checkpoint.run_folder import run_folder
from ppdet_ext.config.files import ROOT, dump_tree
from ppdet_ext.config.folds import fold_tree, pool_tree
from ppdet_ext.config.keys import ENSEMBLE, POSTPROCESS
from ppdet_ext.config.load import load_config
from ppdet_ext.data.loading.build import load_dataset
from ppdet_ext.data.splits.duplicates import same_bytes
from ppdet_ext.data.splits.selection import read_split_file
from ppdet_ext.distributed import interrupt, world
from ppdet_ext.distributed.child import run_child
from ppdet_ext.distributed.group import among_ranks
from ppdet_ext.errors import DivergenceError, UserError, counted
from ppdet_ext.evaluation.run import metrics_of, run_evaluation
from ppdet_ext.files.atomic import digest, write_atomic
from ppdet_ext.files.lock import locked
from ppdet_ext.host import Config
from ppdet_ext.inference.build import inference_loader, settings_of
from ppdet_ext.inference.candidate_store import candidates_of
from ppdet_ext.inference.predictor import prepare
from ppdet_ext.structures import Candidates
from ppdet_ext.tuning.cross_validation import assign_folds
from ppdet_ext.tuning.options import Predicting, Searching
from ppdet_ext.tuning.out_of_fold import fold_scores, folds_csv, format_scores, joined
from ppdet_ext.tuning.problem import Problem
from ppdet_ext.tuning.run import make_problem, search_problem, write_tuned
from ppdet_ext.tuning.tuner import Tuned

from .cli import config_of
from .debug_run import PREDICTING, SEARCHING, Stages, trial_config
from .flags import EXIT_DIVERGED
from .submit import submit
from .tune import metric_of, sections_of, with_thresholds

TOOL, SUFFIX = "tools/kfold.py", "_kfold"
ENSEMBLE_FILE, FOLDS_FILE, CONFIG_FILE, POOL_FILE, REPORT_FILE = (
    *("ensemble.yml", "folds.csv", "config.yml", "images.yml", "report.md"),
)
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


def kfold(
    cfg: Config,
    *,
    folds: int,
    output: str | Path | None = None,
    evaluate: bool = False,
    train_flags: Sequence[str] = (),
    predicting: Predicting = Predicting(),  # noqa: B008 (frozen)
    searching: Searching = Searching(),  # noqa: B008 (frozen)
    command: Sequence[str] = (),
) -> Path:
    """Train what is not trained yet, fold by fold; predict, tune, write the ensemble; returns the folder.

    Args:
        cfg: from `load_config`; the images of TrainDataset are dealt out. Where EvalDataset has images that are none of these,
            the ensemble is evaluated on them.
        folds: number of models.
        output: folder; the run's, with `_kfold` after its name, by default.
        evaluate: train with --eval, and take the best weights of each fold in place of the last.
        train_flags: further flags of tools/train.py.
        predicting, searching: options of the search, see `tune`.
        command: words after the script's name, for the files.

    Raises:
        UserError: for what the user can mend.
        DivergenceError: a loss became NaN or infinite.
        Stop: a signal came; the same call goes on.
    """
    _check(cfg, folds)
    predicting.check()
    searching.check()
    target = Path(output) if output else run_folder(cfg).with_name(cfg.filename + SUFFIX)
    with interrupt.deferred(), locked(target, doing="training folds in", setting="--output"):
        parts = _dealt(cfg, target, folds)
        problem = _problem(cfg, parts, predicting, None)
        flags = ["-r", "auto", *(["--eval"] if evaluate else []), *train_flags]
        weights = [_trained(part, folds, flags, BEST if evaluate else FINAL) for part in parts]
        with among_ranks(cfg.use_gpu, cfg.stall_timeout):
            problem = _problem(cfg, parts, predicting, weights)
            loose = with_thresholds(settings_of(cfg), predicting)
            outcome, _, _ = search_problem(problem, loose, searching, cfg.worker_num)
            sections = {"_BASE_": [CONFIG_FILE], ENSEMBLE: [str(one.with_suffix("")) for one in weights]}
            sections |= sections_of(cfg, loose)
            write_tuned(target / ENSEMBLE_FILE, problem, outcome, sections, command, TOOL)
            _report(target, problem, parts, outcome)
    return target


def _check(cfg: Config, folds: int) -> None:
    if folds < 2:
        raise UserError(f"--folds is {folds}; at least 2 are needed.")
    if cfg.get(ENSEMBLE):
        raise UserError(f"The configuration has an {ENSEMBLE}; tools/kfold.py trains one model on each fold, and makes one.")
    if world()[1] > 1:
        raise UserError("tools/kfold.py is one process; it was started on several ranks.")


def _dealt(cfg: Config, target: Path, folds: int) -> list[Fold]:
    """The folds, their configurations written. UserError where the images cannot be dealt out, or were in another way."""
    tree = {**cfg.resolved, "save_dir": str(target)}
    split = _write_folds(tree, target, folds)
    _write(target / CONFIG_FILE, dump_tree(tree))
    parts = []
    for number in range(folds):
        file = target / f"fold_{number}.yml"
        _write(file, dump_tree(fold_tree(tree, number, folds, split)))
        own = load_config(file)
        parts.append(Fold(number, file, own, load_dataset(own, "EvalDataset")))
    joined([part.held for part in parts])
    return parts


def _write_folds(tree: dict[str, Any], target: Path, folds: int) -> str | None:
    """Deal out TrainDataset's images, as its classes come; the file that says how. None where a split file of its own does."""
    file = target / POOL_FILE
    _write(file, dump_tree(pool_tree(tree)))
    pool = load_dataset(load_config(file), "EvalDataset")
    if pool.split is not None and read_split_file(os.path.join(pool.dataset_dir, pool.split)).folds is not None:
        return None
    groups = same_bytes([record.file for record in pool.records])
    assigned = assign_folds(pool.records, folds, groups, pool.seed)
    _same_folds(target / FOLDS_FILE, folds_csv(pool.records, assigned.tolist()))
    return str((target / FOLDS_FILE).resolve())


def _same_folds(path: Path, text: str) -> None:
    """Write which image is in which fold. UserError where the folder's models were trained on other folds."""
    if path.is_file() and path.read_text(encoding="utf-8", errors="surrogateescape") != text:
        raise UserError(
            f"{path} deals out other images, or to another number of folds, than this command; its models would have seen "
            "what is held out now. Choose another --output, or delete the folder."
        )
    _write(path, text)


def _write(path: Path, text: str) -> None:
    content = text.encode(errors="surrogateescape")
    if not (path.is_file() and path.read_bytes() == content):
        write_atomic(path, lambda aside: aside.write_bytes(content), "--output")


def _problem(cfg: Config, parts: Sequence[Fold], predicting: Predicting, weights: Sequence[Path] | None) -> Problem:
    """What is to be searched; without weights there are no candidates yet, and all else is checked."""
    configured = settings_of(cfg)
    loose = with_thresholds(configured, predicting)
    whole, steps = joined([part.held for part in parts]), list(cfg.get(POSTPROCESS) or [])

    def predict() -> list[Candidates]:
        found: list[Candidates] = []
        for part, file in zip(parts, weights or ()):
            logger.info("Fold %d: predicting %s", part.number, counted(len(part.held.records), "images"))
            found += candidates_of(part.cfg.replaced(weights=str(file)), part.held, loose) or []
            interrupt.check()
        return found

    return make_problem(whole, metric_of(cfg), configured, loose, steps, predict)


def _trained(part: Fold, folds: int, flags: Sequence[str], name: str) -> Path:
    """The weights of a fold's model, trained (further) by tools/train.py unless it is through with this configuration."""
    folder = run_folder(part.cfg)
    weights, note = folder / name, folder.with_name(f"trained_{part.number}.json")
    wanted = {"config": hashlib.sha256(part.config.read_bytes()).hexdigest(), "flags": list(flags)}
    if _noted(note) == {**wanted, "weights": {name: digest(weights) if weights.is_file() else None}}:
        logger.info("Fold %d of %d is trained already: %s", part.number, folds, weights)
        return weights
    logger.info("Fold %d of %d: training on all others", part.number, folds)
    tool = ROOT / "tools" / "train.py"
    words = [str(tool)] if tool.is_file() else ["-m", "ppdet_ext.commands.main", "train"]
    code = run_child([sys.executable, *words, "-c", os.fspath(part.config), *flags])
    if code == EXIT_DIVERGED:
        raise DivergenceError(f"The training of fold {part.number} diverged, see above. The same command goes on from there.")
    if code:
        how = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}, see above"
        raise UserError(f"The training of fold {part.number} {how}. The same command goes on from there.")
    _write(note, json.dumps({**wanted, "weights": {name: digest(weights)}}, indent=1))
    return weights


def _noted(path: Path) -> Any:
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError):
        return None


def _report(target: Path, problem: Problem, parts: Sequence[Fold], outcome: Tuned) -> None:
    """Log and write what the models are worth on the images they have not seen, and their ensemble on others, if any."""
    name = type(problem.make_metric()).__name__
    held = [part.held for part in parts]
    lines = [format_scores(name, fold_scores(problem, held, outcome.chosen.setting))]
    cfg = load_config(target / ENSEMBLE_FILE, training=False)
    other = load_dataset(cfg, "EvalDataset") if cfg.get("EvalDataset") is not None else None
    known = {os.path.realpath(record.file) for part in held for record in part.records}
    if other is None or any(os.path.realpath(record.file) in known for record in other.records):
        lines.append("The ensemble has seen all annotated images; there are none left to evaluate it on.")
    else:
        lines.append(_evaluated(cfg))
    lines.append(f"Use it with -c {target / ENSEMBLE_FILE}")
    text = "\n\n".join(lines)
    _write(target / REPORT_FILE, f"{text}\n")
    logger.info("%s\n\n%s", target / REPORT_FILE, text)


def _evaluated(cfg: Config) -> str:
    """A table of the ensemble's numbers on EvalDataset."""
    inference, dataset = prepare(cfg, "EvalDataset")
    found = run_evaluation(inference, dataset, inference_loader(cfg, dataset, "eval"), metrics_of(cfg))
    rows = [f"| {name} | {value:.4f} |" for name, value in found.values.items()]
    return "\n".join([f"| ensemble, on {counted(found.images, 'images')} of EvalDataset | |", "|---|---|", *rows])


def go_on(args: argparse.Namespace, interrupt: KeyboardInterrupt) -> str:
    """What to do after an interruption."""
    return "The same command goes on from there."


def run(args: argparse.Namespace) -> Path | None:
    """`kfold` with the flags of `kfold_parser`."""
    cfg = config_of(args)
    options: dict[str, Any] = {
        "evaluate": args.eval,
        "train_flags": [f"--{name}" for name in ("amp", "use_vdl") if getattr(args, name)],
        "command": args.words,
    }
    if args.debug_run:
        debug_kfold(cfg, options)
        return None
    return kfold(
        cfg,
        folds=args.folds,
        output=args.output,
        predicting=Predicting(args.score_threshold, args.nms_iou, args.max_detections),
        searching=Searching(args.folds, args.min_instances, args.min_gain, args.keep_per_class),
        **options,
    )


def debug_kfold(cfg: Config, options: dict[str, Any]) -> None:
    """All stages with two folds on a handful of images, then a submission; nothing of it stays. See `debug_train`."""
    with tempfile.TemporaryDirectory(prefix="ppdet_ext_debug_") as name:
        stages, folder = Stages(), Path(name)
        trial = load_config(trial_config(cfg, folder, folds=2))
        output = folder / "folds"
        search: dict[str, Any] = {"predicting": PREDICTING, "searching": SEARCHING}
        stages("kfold", lambda: kfold(trial, folds=2, output=output, **search, **options))
        last = load_config(output / ENSEMBLE_FILE, training=False)
        stages("submit", lambda: submit(last, results=None, images=None, output=folder / "submission.csv"))
        stages.sum_up(cfg.filename)
