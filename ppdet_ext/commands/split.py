"""The command behind tools/split.py: all images of a data set dealt out to folds, or to training and validation."""

import argparse
import copy
import csv
import io
import json
import logging
import os
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ppdet_ext.config.files import dump_tree, find_config
from ppdet_ext.config.parse import parse
from ppdet_ext.data.datasets.mixed import MixedDataSet
from ppdet_ext.data.loading.build import load_dataset
from ppdet_ext.data.splits.balance import balanced_subset, format_balance
from ppdet_ext.data.splits.duplicates import duplicate_groups
from ppdet_ext.data.splits.stratify import indicator, stratified_folds, stratified_holdout
from ppdet_ext.errors import UserError, counted
from ppdet_ext.files.atomic import demand_writable, write_atomic
from ppdet_ext.host import Config
from ppdet_ext.structures import Record

from .cli import config_of
from .flags import DEFAULT_CONFIG, FOLDS, is_holdout

logger = logging.getLogger("ppdet_ext")
# What a data set is asked for where all of its images are wanted.
_WHOLE = {"split": None, "fold": None, "part": "all", "allow_empty": True, "empty_ratio": -1.0}
SEEDS = 2**32  # of numpy's RandomState, which deals out


def make_split(
    cfg: Config,
    *,
    folds: int | None = None,
    holdout: int | float | None = None,
    balanced: int | None = None,
    seed: int = 0,
    duplicates: bool = True,
    output: str | Path | None = None,
    force: bool = False,
    config: str | Path | None = None,
) -> Path:
    """Write a split file of TrainDataset, a configuration with it, and log the balance of classes; returns the split file.

    Args:
        cfg: from `load_config`.
        folds: number of folds (column `fold`), at least 2; 5 where `holdout` is None, too.
        holdout: images of the part "val" (column `part`): a number, or a share of all as a float.
        balanced: number of images to deal out, with objects, about as many of each class; None: all images.
        seed: of the choice, 0 to 2^32 - 1.
        duplicates: look for images that are the same picture and keep them on one side.
        output: the file; by default split.csv in the data set's folder.
        force: replace files that say something else.
        config: the file that `cfg` is from; without one no configuration is written.

    Raises: UserError for what the user can mend.
    """
    _check(folds, holdout, seed)
    dataset = whole_dataset(cfg)
    path = Path(output) if output is not None else Path(dataset.dataset_dir) / "split.csv"
    demand_writable(path, "--output")
    records = dataset.records if balanced is None else _balanced(dataset, balanced, seed)
    deal = _deal(records, dataset.num_classes, folds, holdout, duplicates, seed)
    balance = format_balance(records, dataset.class_names, deal.present, deal.side, deal.titles, deal.shares)
    logger.info("Balance of the classes:\n%s", balance)
    _write(path, deal.column, [(record.name, deal.sides[side]) for record, side in zip(records, deal.side)], force)
    chosen = _choice(dataset.dataset_dir, path, deal.column, len(deal.sides), isinstance(cfg.TrainDataset, MixedDataSet))
    chosen["EvalDataset"] |= _same_images(cfg.get("EvalDataset"), dataset)
    logger.info("To train with it: -o %s", _options(chosen))
    if config is not None:
        _write_config(Path(config), path, chosen, force)
    return path


@dataclass(frozen=True)
class _Deal:
    """Images on sides.

    column: of the split file. sides: what it says of each. side: (n,) int64 of each image. shares: of all images, wanted.
    present: (n, classes + 1) bool, of `indicator`.
    """

    column: str
    sides: list[str]
    side: np.ndarray
    shares: np.ndarray
    present: np.ndarray

    @property
    def titles(self) -> list[str]:
        return [f"fold {name}" for name in self.sides] if self.column == "fold" else self.sides


def _deal(
    records: Sequence[Record],
    num_classes: int,
    folds: int | None,
    holdout: float | None,
    duplicates: bool,
    seed: int,
) -> _Deal:
    names = [record.name for record in records]
    count = round(holdout * len(names)) if isinstance(holdout, float) else holdout
    _check_images(names, folds or FOLDS, count)
    groups = duplicate_groups(names, [record.file for record in records]) if duplicates else np.arange(len(records))
    present = indicator([record.labels[~record.crowd].tolist() for record in records], num_classes)
    if count is None:
        number = folds or FOLDS
        side = stratified_folds(names, present, groups, number, seed)
        return _Deal("fold", [str(fold) for fold in range(number)], side, np.full(number, 1 / number), present)
    side = stratified_holdout(names, present, groups, count, seed).astype(np.int64)
    if side.sum() != count:
        text = f"{counted(int(side.sum()), 'images')} held out, not {count}"
        logger.warning("%s: duplicates stay together, and no set of groups is nearer", text)
    return _Deal("part", ["train", "val"], side, np.array([1 - count / len(names), count / len(names)]), present)


def _balanced(dataset: Any, count: int, seed: int) -> list[Record]:
    """The records of `balanced_subset`, and a line for the log."""
    records = dataset.records
    present = indicator([record.labels[~record.crowd].tolist() for record in records], dataset.num_classes)
    chosen = balanced_subset([record.name for record in records], present, count, seed)
    found, there = present[chosen, :-1].sum(axis=0), present[:, :-1].sum(axis=0)
    numbers = ", ".join(
        f"{name} {own}{' (all there are)' if own == most else ''}" for name, own, most in zip(dataset.class_names, found, there)
    )
    text = "%d of %d images, with objects, about as many of each class: %s. The split file names no others"
    logger.info(text, count, len(records), numbers)
    return [record for record, own in zip(records, chosen) if own]


def _check(folds: int | None, holdout: int | float | None, seed: int) -> None:
    """UserError for values that are impossible with any data set."""
    if folds is not None and folds < 2:
        raise UserError(f"--folds is {folds}; at least 2 are needed.")
    if holdout is not None and not is_holdout(holdout):
        raise UserError(f"--holdout is {holdout}; expected a number of images, or a share between 0 and 1.")
    if not 0 <= seed < SEEDS:
        raise UserError(f"--seed is {seed}; expected a whole number from 0 to {SEEDS - 1}.")


def _check_images(names: Sequence[str], folds: int, count: int | None) -> None:
    """UserError, before pictures are looked at, for what cannot be done with so many images."""
    if len(set(names)) < len(names):
        raise UserError("TrainDataset has two images of one name; a split file tells images apart by their names.")
    if count is None and folds > len(names):
        raise UserError(f"--folds is {folds}; TrainDataset has {len(names)} images, and each fold needs one.")
    if count is not None and not 0 < count < len(names):
        raise UserError(f"--holdout: {count} images cannot be held out of {len(names)}; there must be some on both sides.")


def whole_dataset(cfg: Config) -> Any:
    """TrainDataset, read, without whatever leaves out images of it; of a mix, its labelled part.

    Raises: UserError as `load_dataset`, and for a data set without annotations or one that knows no split files.
    """
    dataset = cfg.get("TrainDataset")
    dataset = dataset.labelled if isinstance(dataset, MixedDataSet) else dataset
    if dataset is not None and not hasattr(dataset, "split"):
        raise UserError(f"TrainDataset: a {type(dataset).__name__} takes no split file.")
    if dataset is not None:
        dataset = copy.copy(dataset)
        vars(dataset).update(_WHOLE, _records=None)
    dataset = load_dataset(cfg.replaced(TrainDataset=dataset), "TrainDataset")
    if not dataset.annotated:
        raise UserError("TrainDataset has no annotations, so there are no classes to balance; give it an anno_path.")
    return dataset


def _write(path: Path, column: str, rows: Sequence[tuple[str, str]], force: bool) -> None:
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(("ImageId", column))
    writer.writerows(rows)
    content = stream.getvalue().encode(errors="surrogateescape")
    if path.is_file() and path.read_bytes() == content:
        logger.info("%s holds this very split already", path)
        return
    if path.exists() and not force:
        raise UserError(
            f"{path} exists and holds something else (a drawn sample brings its own). Give another --output, or --force to "
            "replace it."
        )
    write_atomic(path, lambda aside: aside.write_bytes(content), "--output")
    logger.info("%s: %s, column %s", path, counted(len(rows), "images"), column)


def _choice(folder: str, path: Path, column: str, sides: int, mixed: bool = False) -> dict[str, dict[str, Any]]:
    """Keys of data sets that train on the first side (of a mix's labelled part) and evaluate on the rest."""
    inside = path.resolve().is_relative_to(Path(folder).resolve())
    name = os.path.relpath(path, folder) if inside else str(path.resolve())
    common = {"split": name, **({"num_folds": sides, "fold": 0} if column == "fold" else {})}
    train = "TrainDataset.labelled" if mixed else "TrainDataset"
    return {train: {**common, "part": "train"}, "EvalDataset": {**common, "part": "val"}}


def _same_images(held: Any, trained: Any) -> dict[str, Any]:
    """Keys with which EvalDataset is of the images that were dealt out, where it has a file of its own."""
    if type(held) is not type(trained):
        return {}
    keys = ("dataset_dir", "anno_path", "image_dir")
    return {key: getattr(trained, key) for key in keys if getattr(held, key, None) != getattr(trained, key, None)}


def _options(chosen: Mapping[str, Mapping[str, Any]]) -> str:
    """The keys as overrides, as a shell takes them."""
    pairs = ((f"{section}.{key}", value) for section, keys in chosen.items() for key, value in keys.items())
    return shlex.join(f"{key}={_value(value) if isinstance(value, str) else value}" for key, value in pairs)


def _write_config(config: Path, path: Path, chosen: Mapping[str, Mapping[str, Any]], force: bool) -> None:
    """A configuration over `config` that uses the split file, beside it; one that says something else stays unless forced."""
    target = path.with_name(f"{config.stem}_{path.stem}.yml")
    tree: dict[str, Any] = {"_BASE_": [os.path.relpath(config.resolve(), target.resolve().parent)]}
    for section, keys in chosen.items():
        outer, *inner = section.split(".")
        tree[outer] = {inner[0]: dict(keys)} if inner else dict(keys)
    head = f"# {config.name} with the split of {path.name}, for -c or _BASE_. Other folds: another `fold`, in both data sets."
    text = f"{head}\n{dump_tree(tree)}"
    if target.exists() and target.read_text(encoding="utf-8") != text and not force:
        logger.warning("%s exists and says something else; it stays as it is (--force replaces it)", target)
        return
    write_atomic(target, lambda aside: aside.write_text(text, encoding="utf-8"), "--output")
    logger.info("Or keep it as a configuration: -c %s", shlex.quote(str(target)))


def _value(name: str) -> str:
    """As YAML, which an override is."""
    try:
        plain = parse(name, "split")[0] == name
    except UserError:
        plain = False
    return name if plain else json.dumps(name)


def run(args: argparse.Namespace) -> Path:
    """`make_split` with the flags of `split_parser`."""
    return make_split(
        config_of(args),
        config=find_config(args.config or DEFAULT_CONFIG),
        folds=args.folds,
        holdout=args.holdout,
        balanced=args.balanced,
        seed=args.seed,
        duplicates=args.duplicates,
        output=args.output,
        force=args.force,
    )
