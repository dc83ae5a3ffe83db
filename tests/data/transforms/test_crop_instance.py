"""Windows around single objects."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from transform_samples import make_sample

from ppdet_ext.data.transforms import ClassMasks, CropInstance
from ppdet_ext.data.transforms.crop_instance import window_around
from ppdet_ext.errors import UserError


@given(
    box=st.tuples(*[st.floats(-30, 90)] * 2, *[st.floats(0, 60)] * 2),
    context=st.floats(0, 1),
    height=st.integers(1, 60),
    width=st.integers(1, 60),
)
def test_windows_hold_the_box_and_lie_within_the_image(box: tuple, context: float, height: int, width: int) -> None:
    x1, y1, w, h = box
    top, left, bottom, right = window_around(np.array([x1, y1, x1 + w, y1 + h]), context, height, width)
    assert 0 <= top < bottom <= height
    assert 0 <= left < right <= width
    # The part of the box that is in the image is in the window.
    for low, high, first, last, limit in ((x1, x1 + w, left, right, width), (y1, y1 + h, top, bottom, height)):
        if low < limit and high > 0:
            assert first <= max(low, 0)
            assert last >= min(high, limit)
    assert right - left <= w * (1 + 2 * context) + 2 or right - left == 1


@given(seed=st.integers(0, 300), height=st.integers(4, 40), width=st.integers(4, 40))
def test_one_object_is_left_and_fills_the_window(seed: int, height: int, width: int) -> None:
    sample = make_sample(height, width, seed, semantic=False)
    transform = CropInstance(size=24, context=0.0, jitter=0.0)
    cut = transform(sample, np.random.default_rng(seed))
    assert cut.size == (24, 24)
    assert cut.image.dtype == np.uint8
    assert cut.dropped == 0
    assert len(cut.labels) <= 1
    assert all(mask.size == (24, 24) and mask for mask in cut.masks)
    if len(cut.labels):
        # The red channel shows where objects are; resizing blurs its edges.
        assert (cut.image[..., 0] > 0)[cut.masks[0].to_bitmap() > 0].mean() > 0.5
        # Without context the box is the window.
        assert cut.boxes[0] == pytest.approx([0, 0, 24, 24], abs=1e-3)
        planes = ClassMasks(num_classes=4)(cut, np.random.default_rng(0)).class_masks
        assert planes is not None
        assert [label for label in range(4) if planes[label].any()] == cut.labels.tolist()
        assert np.array_equal(planes[cut.labels[0]], cut.masks[0].to_bitmap())
    again = transform(sample, np.random.default_rng(seed))
    assert np.array_equal(cut.image, again.image)


def test_classes_crowds_and_images_without_an_object() -> None:
    sample = make_sample(20, 30, 1, semantic=False)
    transform = CropInstance(size=16, classes=["b"])
    transform.bind(4, ["a", "b", "c", "d"])
    sample.labels[:] = [0, 1, 2]
    for seed in range(10):
        assert transform(sample, np.random.default_rng(seed)).labels.tolist() in ([1], [])
    sample.labels[:] = 0
    whole = transform(sample, np.random.default_rng(0))
    assert (whole.size, len(whole.labels)) == ((16, 16), 0)
    sample.crowd[:] = True
    assert not len(CropInstance(size=16)(sample, np.random.default_rng(0)).labels)
    with pytest.raises(UserError, match=r"CropInstance\.classes: there is no class 'bb'\. Did you mean 'b'\?"):
        CropInstance(classes=["bb"]).bind(2, ["a", "b"])
    with pytest.raises(UserError, match=r"CropInstance\.jitter: 0\.6 is no number from 0 to 0\.49"):
        CropInstance(jitter=0.6)


def test_agnostic_windows_show_the_object_in_every_plane() -> None:
    sample = make_sample(20, 30, 1, semantic=False)
    one, every = CropInstance(size=16), CropInstance(size=16, agnostic=True)
    every.bind(4, ["a", "b", "c", "d"])
    for seed in range(5):
        alone, shown = (transform(sample, np.random.default_rng(seed)) for transform in (one, every))
        assert np.array_equal(alone.image, shown.image)
        planes = ClassMasks(num_classes=4)(shown, np.random.default_rng(0)).class_masks
        assert planes is not None
        for plane in planes:
            assert np.array_equal(plane, alone.masks[0].to_bitmap() if alone.masks else np.zeros((16, 16)))
    with pytest.raises(UserError, match="how many classes there are is not known"):
        CropInstance(agnostic=True)(sample, np.random.default_rng(0))
