"""Boundary IoU, beside the formula on whole bitmaps."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ppdet_ext.evaluation import BoundaryIoU
from ppdet_ext.evaluation.boundary_iou import boundary, boundary_width
from ppdet_ext.structures import Detections, Record, Rle

SIZE = 30, 40


def blob(seed: int) -> Rle:
    rng = np.random.default_rng(seed)
    noise = cv2.resize(rng.random((6, 8)).astype(np.float32), SIZE[::-1], interpolation=cv2.INTER_LINEAR)
    return Rle.from_bitmap((noise > 0.55).astype(np.uint8))


def plain_ring(mask: Rle, width: int) -> np.ndarray:
    """As the authors' `mask_to_boundary`."""
    framed = cv2.copyMakeBorder(mask.to_bitmap(), 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0)
    return (framed - cv2.erode(framed, np.ones((3, 3), np.uint8), iterations=width))[1:-1, 1:-1] > 0


def record_of(masks: list[Rle], crowd: list[bool] | None = None) -> Record:
    n = len(masks)
    boxes = np.array([mask.box for mask in masks], np.float32).reshape(-1, 4)
    flags = np.array(crowd or [False] * n, bool)
    return Record(1, "", "a.jpg", *SIZE, boxes, np.zeros(n, np.int64), masks, flags)


def numbers(truth: Record, masks: list[Rle], scores: list[float], **options) -> dict[str, list[float]]:
    metric = BoundaryIoU(**options)
    metric.start([truth], ["thing"], [1])
    metric.update(1, Detections.of_masks(*SIZE, masks, [0] * len(masks), scores))
    return metric.compute()


@settings(max_examples=40)
@given(seed=st.integers(0, 1000), width=st.integers(1, 6))
def test_boundaries_are_those_of_the_authors(seed: int, width: int) -> None:
    mask = blob(seed)
    assert np.array_equal(boundary(mask, width).to_bitmap() > 0, plain_ring(mask, width))


def test_a_pair_and_what_is_not_matched() -> None:
    true, far = blob(1), Rle.full(4, 4).place(0, 0, *SIZE)
    moved = Rle.from_bitmap(np.roll(true.to_bitmap(), 1, axis=1))
    rings = [plain_ring(one, boundary_width(*SIZE, 0.02)) for one in (true, moved)]
    ring_iou = (rings[0] & rings[1]).sum() / (rings[0] | rings[1]).sum()
    mask_iou = float(Rle.iou_matrix([true], [moved])[0, 0])
    assert boundary_width(*SIZE, 0.02) == 1
    found = numbers(record_of([true]), [far, moved], [0.9, 0.8])
    assert found["BoundaryIoU"] == pytest.approx([ring_iou] * 2)
    assert found["matched_MaskIoU"] == pytest.approx([mask_iou] * 2)
    # The second annotated object has no prediction; the better of two predictions takes the first.
    two = numbers(record_of([true, far]), [true, moved], [0.7, 0.8])
    assert two["BoundaryIoU"] == pytest.approx([ring_iou / 2] * 2)
    assert two["matched_BoundaryIoU"] == pytest.approx([ring_iou] * 2)
    assert two["matched"] == [0.5, 0.5]
    assert numbers(record_of([true, far], [False, True]), [true], [0.5])["BoundaryIoU"] == [1.0, 1.0]
    assert numbers(record_of([true]), [], [])["BoundaryIoU"] == [0.0, 0.0]
    assert numbers(record_of([true]), [], [])["matched_MaskIoU"] == [-1.0, -1.0]
    assert numbers(record_of([true]), [moved], [0.5], iou=mask_iou + 0.01)["matched"] == [0.0, 0.0]
