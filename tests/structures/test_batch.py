"""`Batch` is a value with names, and a mapping of what there is."""

import pickle

import numpy as np
import pytest

from ppdet_ext.structures.batch import Batch

WHOLE = {
    "image": np.zeros((1, 3, 4, 6), np.float32),
    "im_id": np.array([7]),
    "im_shape": np.array([[4, 5]], np.float32),
    "scale_factor": np.ones((1, 2), np.float32),
    "origin_shape": np.array([[4, 5]]),
    "names": ["a.jpg"],
}


def test_what_is_none_is_not_in_it() -> None:
    batch = Batch(**WHOLE)
    assert list(batch) == list(WHOLE)
    assert len(batch) == len(WHOLE)
    assert batch["im_id"] is batch.im_id
    assert batch.get("semantic") is None
    assert "gt_bbox" not in batch
    for key in ("gt_bbox", "convert", "_NAMES"):
        with pytest.raises(KeyError, match=key):
            batch[key]
    assert list({**batch, "epoch": 3})[-1] == "epoch"
    assert "dropped" in Batch(**WHOLE, dropped=0)


def test_arrays_of_the_whole_batch_are_converted_and_those_by_image_stay() -> None:
    boxes = [np.zeros((0, 4), np.float32)]
    batch = Batch(**WHOLE, gt_bbox=boxes).converted(np.ndarray.tolist)
    assert batch.im_id == [7]
    assert batch.gt_bbox is boxes
    assert batch.names == ["a.jpg"]
    assert pickle.loads(pickle.dumps(batch)).names == batch.names
