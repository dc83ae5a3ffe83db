"""Whole sheets: a function of (seed, index), defects where the labels say, statistics like Severstal's, looks like steel."""

import cv2
import numpy as np
import pytest

from ppdet_ext.data.synthetic import Sheet, make_sheet, part_of
from ppdet_ext.data.synthetic.steel.recipe import BLOCK, classes_of, count_of

SIZES = [(64, 128), (128, 400), (256, 512)]


def components(mask: np.ndarray) -> int:
    return cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)[0] - 1


@pytest.fixture(scope="module")
def sheets() -> list[Sheet]:
    """48 sheets of the seed 0, half of Kaggle's size."""
    return [make_sheet(0, index, 128, 800) for index in range(3 * BLOCK)]


def test_same_arguments_same_pixels_whatever_came_before(sheets):
    again = make_sheet(0, 5, 128, 800)
    for one, two in ((again.image, sheets[5].image), (again.clean, sheets[5].clean), (again.labels, sheets[5].labels)):
        assert np.array_equal(one, two)
    assert not np.array_equal(again.image, make_sheet(1, 5, 128, 800).image)
    assert not np.array_equal(again.image, sheets[6].image)


def test_global_random_state_is_neither_read_nor_moved():
    np.random.seed(1)
    before = np.random.get_state()[1].copy()
    first = make_sheet(4, 2, 64, 128).image
    assert np.array_equal(before, np.random.get_state()[1])
    np.random.seed(2)
    assert np.array_equal(first, make_sheet(4, 2, 64, 128).image)


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_every_planned_class_is_there_at_any_size(height, width):
    for index in range(BLOCK):
        sheet = make_sheet(2, index, height, width)
        assert sheet.image.shape == sheet.clean.shape == sheet.labels.shape == (height, width)
        assert sheet.image.dtype == sheet.clean.dtype == sheet.labels.dtype == np.uint8
        assert set(np.unique(sheet.labels)) - {0} == set(classes_of(2, index))


def test_defects_of_any_class_keep_apart(sheets):
    for sheet in sheets:
        apart = sum(components(sheet.labels == k) for k in range(1, 5))
        grown = cv2.dilate((sheet.labels > 0).astype(np.uint8), np.ones((3, 3), np.uint8))
        assert components(grown) == apart


def test_the_change_lies_inside_the_masks_and_shows(sheets):
    for sheet in sheets:
        change = np.abs(sheet.image.astype(int) - sheet.clean)
        inside = sheet.labels > 0
        assert change[inside].sum() >= 0.9 * change.sum()
        for class_id in np.unique(sheet.labels[inside]):
            _, parts = cv2.connectedComponents((sheet.labels == class_id).astype(np.uint8), connectivity=8)
            for part in range(1, parts.max() + 1):
                assert change[parts == part].mean() > 0.05 * sheet.clean[parts == part].mean()


def test_clean_sheets_are_untouched_and_a_third(sheets):
    clean = [sheet for sheet in sheets if not sheet.labels.any()]
    assert 0.25 <= len(clean) / len(sheets) <= 0.45
    assert all(np.array_equal(sheet.image, sheet.clean) for sheet in clean)


def test_defects_lie_on_steel_and_a_part_of_the_sheets_shows_the_strip_edge(sheets):
    edges = 0
    for sheet in sheets:
        dark = cv2.blur(sheet.clean, (9, 9)) < 6
        edges += dark.mean() > 0.02
        assert not (dark & (sheet.labels > 0)).any()
    assert 0.25 <= edges / len(sheets) <= 0.75


def test_statistics_follow_severstal(sheets):
    rows = {k: sum((sheet.labels == k).any() for sheet in sheets) for k in range(1, 5)}
    assert rows[3] == max(rows.values())
    assert rows[2] == min(rows.values()) > 0
    assert rows[3] >= 2 * rows[2]
    assert max(components(sheet.labels == k) for sheet in sheets for k in range(1, 5)) >= 3
    several = sum(components(sheet.labels > 0) > 1 for sheet in sheets if sheet.labels.any())
    assert several >= 0.6 * (len(sheets) - sum(not sheet.labels.any() for sheet in sheets))


def test_some_masks_have_holes(sheets):
    holed = 0
    for sheet in sheets:
        found, tree = cv2.findContours((sheet.labels == 4).astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
        holed += bool(found) and bool((tree[0, :, 3] >= 0).any())
    assert holed >= 2


@pytest.mark.parametrize("seed", range(5))
def test_each_part_of_each_block_has_every_class(seed):
    for block in range(4):
        found = {"train": set(), "val": set()}
        for index in range(block * BLOCK, (block + 1) * BLOCK):
            found[part_of(index)].update(classes_of(seed, index))
        assert found == {"train": {1, 2, 3, 4}, "val": {1, 2, 3, 4}}


def test_blocks_are_shuffled_and_a_quarter_is_held_out():
    orders = {tuple(classes_of(0, block * BLOCK + i) for i in range(BLOCK)) for block in range(6)}
    assert len(orders) == 6
    assert [part_of(i) for i in range(100)].count("val") == 25


def test_narrow_sheets_get_fewer_defects_but_one_at_least():
    def mean(width: int) -> float:
        rng = np.random.default_rng(0)
        counts = [count_of(rng, 3, 256, width) for _ in range(200)]
        assert min(counts) >= 1
        return float(np.mean(counts))

    assert mean(512) < mean(1600)


def test_texture_is_as_strong_as_on_real_sheets(shared):
    def texture(grey: np.ndarray) -> tuple[float, float]:
        """Brightness and fine contrast of the steel, the dark beyond its edge left out."""
        steel = grey[:, grey.mean(0) > 20].astype(np.float32)
        return float(steel.mean()), float((steel - cv2.GaussianBlur(steel, (0, 0), 3)).std())

    files = sorted((shared / "data/severstal/images").glob("*.jpg"))
    real = np.array([texture(cv2.imread(str(file), cv2.IMREAD_GRAYSCALE)) for file in files])
    ours = np.array([texture(make_sheet(0, index).image) for index in range(12)])
    assert (real.min(0) * 0.4 < np.median(ours, 0)).all()
    assert (np.median(ours, 0) < real.max(0) * 1.5).all()
