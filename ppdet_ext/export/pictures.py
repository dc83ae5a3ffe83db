"""The pictures on which an exported model is compared with the eager one, and those that int8's ranges are chosen by."""

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np

from ppdet_ext.data.datasets import ImageFolder
from ppdet_ext.errors import UserError, counted
from ppdet_ext.host import Config

from .reader import ReaderPlan
from .verify import random_pixels

logger = logging.getLogger("ppdet_ext")
_COMPARED = 2  # of the configuration's own


def batches_to_compare(cfg: Config, plan: ReaderPlan, size: tuple[int, int] | None, batch: int) -> list[np.ndarray]:
    """Batches to compare on: random ones, of two sizes where any may come, and pictures of TestDataset where there are some."""
    sizes = [size] if size else [(5 * plan.stride - 7, 6 * plan.stride + 3), (4 * plan.stride, 7 * plan.stride)]
    batches = [random_pixels(batch, *own) for own in sizes]
    for picture in own_pictures(cfg):
        resized = plan.resized(picture)
        if size is None or resized.shape[:2] == size:
            batches.append(np.repeat(resized[None], batch, axis=0))
    return batches


def calibration_batches(cfg: Config, plan: ReaderPlan, shape: Any, given: str | None, most: int) -> list[np.ndarray]:
    """Batches that int8's ranges are chosen by.

    Args:
        cfg: whose data sets have pictures, those to train on first.
        plan: how they are read and resized.
        shape: (B, H, W, 3) that the graph takes, None for a side that may be any.
        given: a folder of pictures in place of those of the data sets.
        most: so many at most, evenly spread: files are often sorted by what they show.

    Raises: UserError where there are no pictures, or none of the model's size.
    """
    if given:
        folder = ImageFolder(given)
        try:
            folder.load()
        except UserError as error:
            raise UserError(f"--calibration: {error}") from error
        files = _spread([record.file for record in folder.records], most)
    else:
        files = own_pictures(cfg, ("TrainDataset", "EvalDataset", "TestDataset"), most)
    resized = [plan.resized(file) for file in files]
    fitting = [one for one in resized if None in shape or one.shape[:2] == tuple(shape[1:3])]
    if not fitting:
        raise UserError("int8 needs pictures of the model's size to be calibrated on: --calibration FOLDER.")
    logger.info("Calibrating int8 on %s", counted(len(fitting), "pictures"))
    return [np.repeat(one[None], shape[0], axis=0) for one in fitting]


def own_pictures(cfg: Config, keys: Sequence[str] = ("TestDataset", "EvalDataset"), most: int = _COMPARED) -> list[str]:
    """Files of the first of these data sets that can be read, evenly spread; none where no one can."""
    for key in keys:
        dataset: Any = cfg.get(key)
        try:
            if dataset is not None:
                if not isinstance(dataset, ImageFolder) or not getattr(dataset, "records", None):
                    dataset.load()
                return _spread([record.file for record in dataset.records], most)
        except (UserError, OSError):
            continue
    return []


def _spread(files: Sequence[str], most: int) -> list[str]:
    """At most so many of them, from the first on at even distances."""
    count = min(most, len(files))
    return [files[number * len(files) // count] for number in range(count)]
