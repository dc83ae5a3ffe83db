"""Each defect kind on its own canvas: form, scale, and that what is drawn is what is labelled."""

import cv2
import numpy as np
import pytest

from ppdet_ext.data.synthetic.steel.defects import CLASS_IDS, MAKERS, Stamp, largest_component


def stamps(class_id: int, scale: float = 1.0, count: int = 25) -> list[Stamp]:
    return [MAKERS[class_id](np.random.default_rng([7, i]), scale) for i in range(count)]


def box(stamp: Stamp) -> tuple[int, int]:
    """Height and width of the labelled pixels."""
    return int(stamp.mask.any(1).sum()), int(stamp.mask.any(0).sum())


@pytest.mark.parametrize("class_id", CLASS_IDS)
@pytest.mark.parametrize("scale", [0.25, 0.5, 1.0, 2.0])
def test_a_stamp_is_one_component_with_a_visible_change_inside_it(class_id, scale):
    for stamp in stamps(class_id, scale, 10):
        assert stamp.mask.dtype == bool
        assert stamp.change.dtype == np.float32
        assert stamp.mask.shape == stamp.change.shape
        assert cv2.connectedComponents(stamp.mask.astype(np.uint8), connectivity=8)[0] == 2
        strength = np.abs(stamp.change)
        assert np.isfinite(strength).all()
        assert strength[stamp.mask].sum() > 0.85 * strength.sum()
        assert strength[stamp.mask].mean() > 0.08
        assert stamp.change.min() >= -1.6


@pytest.mark.parametrize("class_id", CLASS_IDS)
def test_sizes_grow_with_the_scale(class_id):
    small = np.median([box(s) for s in stamps(class_id, 0.5)], axis=0)
    large = np.median([box(s) for s in stamps(class_id, 1.0)], axis=0)
    assert (large > 1.4 * small).all()


def test_kinds_have_the_forms_of_the_real_masks():
    median = {k: np.median([box(s) for s in stamps(k, count=60)], axis=0) for k in CLASS_IDS}
    area = {k: np.median([s.mask.sum() for s in stamps(k, count=60)]) for k in CLASS_IDS}
    assert median[2][0] > 4 * median[2][1], "scratches are long and thin"
    assert median[3][0] > 1.3 * median[3][1], "blotches run along the rolling direction"
    assert area[4] > 3 * max(area[1], area[2]), "patches are the largest"
    assert median[1].max() < 110, "clusters of pits are small"


def test_pits_are_many_dark_spots():
    for stamp in stamps(1, count=10):
        spots = cv2.connectedComponents((stamp.change < -0.25).astype(np.uint8))[0] - 1
        assert spots >= 5


def test_some_patches_have_holes_and_some_have_none():
    holes = []
    for stamp in stamps(4, count=40):
        _, tree = cv2.findContours(stamp.mask.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
        holes.append(int((tree[0, :, 3] >= 0).sum()))
    assert 5 <= sum(count > 0 for count in holes) <= 32


def test_blotches_are_mostly_bright_some_dark():
    signs = [s.change[s.mask].mean() > 0 for s in stamps(3, count=60)]
    assert 0.6 < np.mean(signs) < 0.98


def test_trimming_keeps_every_labelled_pixel():
    mask = np.zeros((30, 40), bool)
    mask[10:14, 20:22] = True
    change = np.where(mask, np.float32(0.5), np.float32(0))
    stamp = Stamp(mask, change).trimmed()
    assert stamp.mask.shape == (8, 6)
    assert stamp.mask.sum() == mask.sum()
    assert stamp.change.sum() == change.sum()
    empty = Stamp(np.zeros((4, 4), bool), np.zeros((4, 4), np.float32))
    assert empty.trimmed() is empty


def test_largest_component_counts_diagonal_neighbours():
    mask = np.zeros((6, 6), np.uint8)
    mask[0, 0] = mask[1, 1] = mask[2, 2] = 1
    mask[5, 4:6] = 1
    assert np.argwhere(largest_component(mask)).tolist() == [[0, 0], [1, 1], [2, 2]]
    assert not largest_component(np.zeros((3, 3))).any()
