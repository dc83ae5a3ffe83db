"""Data sets of records made by hand, and configurations for them, for tests of explore."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from ppdet_ext.config.load import load_config
from ppdet_ext.explore.objects import Data, data_of
from ppdet_ext.explore.reading import Part, key_of
from ppdet_ext.host import Config
from ppdet_ext.structures import Record, Rle

HEIGHT, WIDTH = 40, 80
NAMES = ("pits", "scratches")
KEYS = ("on_error", "min_instance_area", "empty_ratio")


def mask(y: int, x: int, height: int, width: int) -> Rle:
    return Rle.full(height, width).place(y, x, HEIGHT, WIDTH)


def record(
    name: str, objects: Sequence[tuple[int, Rle]] = (), crowd: Sequence[bool] | None = None, masks: bool = True
) -> Record:
    return Record(
        0,
        name,
        name,
        HEIGHT,
        WIDTH,
        np.array([one.box for _, one in objects], np.float32).reshape(-1, 4),
        np.array([label for label, _ in objects], np.int64),
        [one for _, one in objects] if masks else [],
        np.array(crowd if crowd is not None else [False] * len(objects), bool),
    )


def part(name: str, records: Sequence[Record], names: Sequence[str] = NAMES, **options: Any) -> Part:
    paths = {key: [f"{key_of(name)}.{key}"] for key in KEYS}
    made = {"source": "data/train.csv", "annotated": True, "adjustable": paths, "problems": (), **options}
    return Part(name, records=records, class_names=names, **made)


def data(parts: Sequence[Part], names: Sequence[str] = NAMES) -> Data:
    return data_of(parts, names)


def config_of(num_classes: int = 2, *overrides: str, path: str = "configs/htc/steel_sample.yml") -> Config:
    """A shipped configuration; its own data set knows its classes, and another takes its place."""
    dataset = "!ImageFolder {images: nowhere}"
    keys = [f"{key}={dataset}" for key in ("TrainDataset", "EvalDataset", "TestDataset")]
    return load_config(path, ["SampleData=null", *keys, f"num_classes={num_classes}", *overrides])
