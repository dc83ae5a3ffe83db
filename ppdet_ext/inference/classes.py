"""Names and category ids of a configuration's classes: from the data sets, or invented."""

import logging
from typing import Any

from ppdet_ext.errors import UserError
from ppdet_ext.host import Config

KEYS = ("EvalDataset", "TrainDataset", "TestDataset")
logger = logging.getLogger("ppdet_ext.engine")


def class_list(cfg: Config) -> tuple[list[str], list[int], bool]:
    """Class names and category ids of the model: from the data sets, else 'class 1', 1 and so on (then True)."""
    for key in KEYS:
        dataset: Any = cfg.get(key)
        if dataset is None:
            continue
        try:
            if dataset.num_classes != cfg.num_classes:
                dataset.load()
        except UserError as error:
            logger.info("Class names are not to be had from %s: %s", key, str(error).splitlines()[0])
            continue
        if dataset.num_classes == cfg.num_classes:
            return [str(name) for name in dataset.class_names], list(dataset.category_ids), False
    numbers = list(range(1, cfg.num_classes + 1))
    return [f"class {number}" for number in numbers], numbers, True


def names_without_reading(cfg: Config) -> list[str]:
    """Class names of the first data set that tells them without its annotations being read; else none."""
    for key in KEYS:
        try:
            names = getattr(cfg.get(key), "class_names", None)
        except UserError:
            continue
        if names:
            return [str(name) for name in names]
    return []
