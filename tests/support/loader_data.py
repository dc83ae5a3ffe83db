"""What the tests of the loader read and compare."""

import numpy as np
import paddle
from tiny_data import HEIGHT, WIDTH

from ppdet_ext.data.datasets import SteelDataSet

TRANSFORMS = [
    {"ReadImage": {}},
    {"ResizeShortEdge": {"short_edges": [24, 32, 40], "long_limit": 100}},
    {"FlipImage": {"horizontal": 0.5, "vertical": 0.5}},
    {"JitterColor": {"brightness": 0.2}},
    {"SemanticFromMasks": None},
    {"NormalizeToCHW": {}},
]


def reader(**changes) -> dict:
    return {"sample_transforms": TRANSFORMS, "batch_transforms": [{"PadToStride": {"stride": 16}}], "batch_size": 2, **changes}


def dataset_of(folder) -> SteelDataSet:
    return SteelDataSet(str(folder), height=HEIGHT, width=WIDTH)


def plain(batch: dict) -> dict:
    """A batch with every array as (dtype, shape, bytes)."""

    def one(value):
        if isinstance(value, paddle.Tensor):
            value = value.numpy()
        if isinstance(value, np.ndarray):
            return str(value.dtype), value.shape, value.tobytes()
        if isinstance(value, list):
            return [one(item) for item in value]
        return value

    return {key: one(value) for key, value in batch.items()}


class Broken:
    """A data set whose sample 5 does what `act` does."""

    annotated = True

    def __init__(self, inner, act):
        self.inner, self.act = inner, act

    def __len__(self):
        return len(self.inner)

    def load(self):
        self.inner.load()

    def sample(self, index, targets):
        if index == 5:
            self.act()
        return self.inner.sample(index, targets)
