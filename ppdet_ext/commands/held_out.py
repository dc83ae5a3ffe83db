"""The pictures of own data that new_config holds out: a fold of them, or, of a number or of few, those of a split file."""

import csv
import io
import json
import logging
from pathlib import Path
from typing import Any

import numpy as np

from ppdet_ext.data.images.check import images_below, list_images
from ppdet_ext.data.splits.stratify import indicator, stratified_holdout
from ppdet_ext.errors import counted
from ppdet_ext.files.atomic import write_atomic

from .written_config import demand_free

Keys = dict[str, Any]
logger = logging.getLogger("ppdet_ext")


def held_out(dataset: Any, val: int | float, path: Path, overwrite: bool) -> tuple[Keys, Keys]:
    """Keys of the training's and of the evaluation's data set.

    A share of up to a half is a fold, and nothing is read for it. A number of pictures, a larger share, and a share of few
    pictures, of which a fold might have none, go into a split file in the data set's folder. Without any to hold out both have
    all.

    Args:
        dataset: all of it, unread.
        val: pictures to hold out, a number or a share of all; 0: none.
        path: of the configuration, whose name the split file gets.
        overwrite: replace a split file that is there.

    Raises: UserError where so many cannot be held out.
    """
    if not val:
        logger.warning("Nothing is held out: evaluation is on the pictures that are learnt")
        return {}, {}
    folds = max(2, round(1 / val)) if isinstance(val, float) and val <= 0.5 else None
    if folds is not None and (dataset.split is not None or _images(dataset) >= 2 * folds):
        common = {"fold": 0, "num_folds": folds}
        return {**common, "part": "train"}, {**common, "part": "val"}
    records = dataset.load().records
    if len(records) < 2:
        logger.warning("There is one picture: nothing can be held out, evaluation is on what is learnt")
        return {}, {}
    count = max(1, round(val * len(records))) if isinstance(val, float) else val
    names = [record.name for record in records]
    present = indicator([record.labels[~record.crowd].tolist() for record in records], dataset.num_classes)
    out = stratified_holdout(names, present, np.arange(len(names)), count, 0)
    split = f"{path.stem}_split.csv"
    _write_split(Path(dataset.dataset_dir) / split, names, out, overwrite)
    return {"split": split, "part": "train"}, {"split": split, "part": "val"}


def _images(dataset: Any) -> int:
    """How many pictures there are, without reading masks: of COCO's JSON those listed, else those in the folder."""
    annotations = Path(dataset.dataset_dir) / dataset.anno_path
    try:
        content = json.loads(annotations.read_bytes()) if annotations.suffix == ".json" else {}
        if "images" in content:
            return len(content["images"])
        return len(list_images(dataset.image_folder)) + len(images_below(dataset.image_folder))
    except (OSError, ValueError, TypeError):
        # What is wrong is said when they are read.
        return 0


def _write_split(path: Path, names: list[str], out: np.ndarray, overwrite: bool) -> None:
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(("ImageId", "part"))
    writer.writerows((name, "val" if held else "train") for name, held in zip(names, out))
    content = stream.getvalue().encode(errors="surrogateescape")
    if not (path.is_file() and path.read_bytes() == content):
        demand_free(path, "--config", overwrite)
        write_atomic(path, lambda aside: aside.write_bytes(content), "--config")
    logger.info("%s: %s held out of %d", path, counted(int(out.sum()), "pictures"), len(names))
