"""Training at a random scale, as the reference's 400 to 1400 px."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_data import block

from ppdet_ext.data.datasets import CocoJsonDataSet
from ppdet_ext.data.loading.batch_maker import BatchMaker
from ppdet_ext.data.transforms import ResizeShortEdge
from ppdet_ext.data.transforms.sample import Sample
from ppdet_ext.errors import UserError

READER = [{"ReadImage": {}}, {"ResizeShortEdge": {"short_edges": [16, 48], "long_limit": 80, "mode": "range"}}]


def blank(height: int, width: int) -> Sample:
    masks, image = [], np.zeros((height, width, 3), np.uint8)
    none = np.zeros((0, 4), np.float32)
    return Sample(image, none, np.zeros(0, np.int64), masks, np.zeros(0, bool), None, 1, "a", "a.jpg", None, (height, width))


@given(st.integers(0, 10**6), st.tuples(st.integers(40, 70), st.integers(40, 140)))
def test_sizes_are_the_references_rule(seed, size):
    height, width = size
    out = ResizeShortEdge([40, 140], 160, "range")(blank(height, width), np.random.default_rng(seed))
    drawn = int(np.random.default_rng(seed).integers(40, 141))
    # mmcv.rescale_size((w, h), (160, drawn)); there the two limits may change places, not sides.
    scale = min(max(160, drawn) / max(height, width), min(160, drawn) / min(height, width))
    assert out.size == (int(height * scale + 0.5), int(width * scale + 0.5))
    assert max(out.size) <= 160


def test_every_length_between_the_two_is_drawn_alike():
    resize, rng = ResizeShortEdge([20, 29], None, "range"), np.random.default_rng(0)
    counts = np.bincount([resize(blank(10, 10), rng).size[0] for _ in range(2000)], minlength=31)
    assert counts[20:30].min() > 140
    assert counts[20:30].sum() == 2000


def test_boxes_masks_and_map_follow():
    sample = blank(32, 64)
    mask = block(8, 16, 12, 24)
    semantic = mask.to_bitmap().astype(np.uint8) * 7
    sample = replace(
        sample,
        boxes=np.array([mask.box], np.float32),
        labels=np.zeros(1, np.int64),
        masks=[mask],
        crowd=np.zeros(1, bool),
        semantic=semantic,
    )
    out = ResizeShortEdge([16, 64], None, "range")(sample, np.random.default_rng(3))
    height, width = out.size
    assert (out.image.shape, out.semantic.shape, out.masks[0].size) == ((height, width, 3), (height, width), (height, width))
    assert set(np.unique(out.semantic)) == {0, 7}
    scale = np.array([width / 64, height / 32] * 2)
    np.testing.assert_allclose(out.boxes[0], sample.boxes[0] * scale, atol=1e-3)
    np.testing.assert_allclose(out.masks[0].box, out.boxes[0], atol=1)
    assert out.scale_factor == (height / 32, width / 64)


def test_scale_depends_on_seed_epoch_and_index_alone(coco):
    dataset = CocoJsonDataSet(str(coco), "instances.json", "images")
    reader = [*READER, {"NormalizeToCHW": {}}]
    make = BatchMaker(dataset, reader, [], True, 0)
    sizes = {(epoch, index): make.sample(epoch, index).size for epoch in range(6) for index in range(2)}
    again = BatchMaker(dataset, reader, [], True, 0)
    assert {key: again.sample(*key).size for key in reversed(sizes)} == sizes
    assert len(set(sizes.values())) > 4
    other = BatchMaker(dataset, reader, [], True, 1)
    assert {key: other.sample(*key).size for key in sizes} != sizes


def test_map_of_a_data_set_takes_the_images_scale(coco):
    (coco / "maps").mkdir()
    dataset = CocoJsonDataSet(str(coco), "instances.json", "images", "maps")
    for record in dataset.records:
        cv2.imwrite(record.semantic_file, np.full((record.height, record.width), 181, np.uint8))
    reader = [READER[0], {"SemanticFromMap": {}}, READER[1], {"NormalizeToCHW": {}}]
    sample = BatchMaker(dataset, reader, [], True, 0).sample(0, 0)
    assert sample.semantic.shape == sample.image.shape[1:]
    assert np.unique(sample.semantic).tolist() == [181]


@pytest.mark.parametrize("lengths", [[], [0, 5]])
def test_lengths_that_are_none_are_refused(lengths):
    with pytest.raises(UserError, match=r"ResizeShortEdge\.short_edges"):
        ResizeShortEdge(lengths, None, "range")
