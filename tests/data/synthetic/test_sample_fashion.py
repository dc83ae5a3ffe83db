"""Fashion pictures: a function of (seed, index), masks as an annotator draws them, the promised mixture."""

from collections import Counter

import numpy as np
import pytest

from ppdet_ext.data.synthetic.base import part_of
from ppdet_ext.data.synthetic.fashion import labels
from ppdet_ext.data.synthetic.fashion.picture import Picture, make_picture
from ppdet_ext.data.synthetic.fashion.recipe import BLOCK, figures_of

PATTERNS = {labels.PLAIN, labels.STRIPED, labels.CHECKED, labels.DOTTED, labels.KNITTED}
LENGTHS = {labels.SLEEVELESS, labels.SHORT_SLEEVE, labels.LONG_SLEEVE}
PARTS = (labels.COLLAR, labels.SLEEVE, labels.BUCKLE)
BODY = (labels.SHIRT, labels.JACKET, labels.TROUSERS, labels.SKIRT, labels.DRESS, labels.BAG)


@pytest.fixture(scope="module")
def pictures() -> list[Picture]:
    """Two blocks of seed 0, half the usual size."""
    return [make_picture(0, index, 128, 96) for index in range(2 * BLOCK)]


def test_same_arguments_same_picture_whatever_came_before(pictures):
    again = make_picture(0, 7, 128, 96)
    assert np.array_equal(again.image, pictures[7].image)
    assert [(i.class_id, i.attributes) for i in again.instances] == [(i.class_id, i.attributes) for i in pictures[7].instances]
    assert all(np.array_equal(a.mask, b.mask) for a, b in zip(again.instances, pictures[7].instances))
    other = make_picture(1, 7, 128, 96).image
    assert other.shape != again.image.shape or not np.array_equal(other, again.image)


def test_global_random_state_is_neither_read_nor_moved():
    np.random.seed(1)
    before = np.random.get_state()[1].copy()
    first = make_picture(4, 2, 128, 96).image
    assert np.array_equal(before, np.random.get_state()[1])
    np.random.seed(2)
    assert np.array_equal(first, make_picture(4, 2, 128, 96).image)


def test_sizes_vary_around_the_asked_one(pictures):
    heights = [picture.image.shape[0] for picture in pictures]
    assert 110 <= min(heights) < 120
    assert 150 < max(heights) <= 160
    assert all(p.image.dtype == np.uint8 and p.image.shape[2] == 3 for p in pictures)
    assert sum(p.image.shape[0] > p.image.shape[1] for p in pictures) >= 0.8 * len(pictures)


def test_one_in_twenty_shows_no_garment_and_three_show_two_figures(pictures):
    shoes = [sum(item.class_id == labels.SHOE for item in picture.instances) for picture in pictures]
    for index, picture in enumerate(pictures):
        assert bool(picture.instances) == (figures_of(0, index) > 0)
        assert shoes[index] <= 2 * figures_of(0, index)
    assert [sum(figures_of(0, i) == n for i in range(2 * BLOCK)) for n in (0, 1, 2)] == [2, 32, 6]
    assert sum(count == 2 * figures_of(0, i) for i, count in enumerate(shoes)) >= 0.9 * len(pictures)


@pytest.mark.parametrize("seed", [0, 5])
def test_forty_pictures_have_every_class_in_both_parts(seed, pictures):
    made = pictures if seed == 0 else [make_picture(seed, index, 128, 96) for index in range(2 * BLOCK)]
    found = {"train": set(), "val": set()}
    for index, picture in enumerate(made):
        found[part_of(index)].update(item.class_id for item in picture.instances)
    assert found["train"] == found["val"] == set(range(len(labels.CATEGORIES)))


def test_parts_lie_in_their_garments_and_garments_hide_each_other(pictures):
    overlapping = 0
    for picture in pictures:
        body = [item.mask for item in picture.instances if item.class_id in BODY]
        depth = np.sum(body, 0) if body else np.zeros(picture.image.shape[:2])
        assert depth.max() <= 1, "two garments claim a pixel"
        for item in picture.instances:
            if item.class_id in PARTS:
                assert item.mask[depth > 0].sum() >= 0.9 * item.mask.sum()
                overlapping += 1
            elif item.class_id == labels.SHOE:
                assert not item.mask[depth > 0].any()
    assert overlapping > 2 * len(pictures)


def test_jackets_are_open_over_shirt_or_dress(pictures):
    seen = 0
    for picture in pictures:
        jackets = [item.mask for item in picture.instances if item.class_id == labels.JACKET]
        tops = [item.mask for item in picture.instances if item.class_id in (labels.SHIRT, labels.DRESS)]
        for jacket in jackets:
            columns = np.flatnonzero(jacket.any(0))
            left, right = columns[0], columns[-1]
            rows = np.flatnonzero(jacket.any(1))
            upper = np.s_[rows[0] : rows[0] + len(rows) // 2, left:right]
            seen += any(top[upper].any() for top in tops)
    assert seen >= 0.9 * sum(item.class_id == labels.JACKET for p in pictures for item in p.instances) > 5


def test_attributes_fit_the_class(pictures):
    for picture in pictures:
        for item in picture.instances:
            found = set(item.attributes)
            assert tuple(sorted(found)) == item.attributes
            woven = item.class_id in (labels.SHIRT, labels.JACKET, labels.TROUSERS, labels.SKIRT, labels.DRESS)
            assert len(found & PATTERNS) == woven
            assert len(found & LENGTHS) == (item.class_id in (labels.SHIRT, labels.JACKET, labels.DRESS))
            assert bool(found & {labels.MINI, labels.MIDI}) == (item.class_id in (labels.SKIRT, labels.DRESS))
    kinds = Counter(a for picture in pictures for item in picture.instances for a in item.attributes)
    assert set(kinds) == set(range(len(labels.ATTRIBUTES)))


def test_a_sleeveless_figure_has_no_sleeve(pictures):
    for index, picture in enumerate(pictures):
        if figures_of(0, index) != 1:
            continue
        tops = [item for item in picture.instances if item.class_id in (labels.SHIRT, labels.DRESS, labels.JACKET)]
        bare = all(labels.SLEEVELESS in item.attributes for item in tops)
        assert bare != any(item.class_id == labels.SLEEVE for item in picture.instances)


def test_buckles_are_small_and_nothing_is_a_speck():
    areas = {k: [] for k in range(len(labels.CATEGORIES))}
    for index in range(8):
        for item in make_picture(3, index).instances:
            areas[item.class_id].append(int(item.mask.sum()))
    assert all(25 <= area <= 220 for area in areas[labels.BUCKLE])
    assert np.median(areas[labels.SHIRT] + areas[labels.DRESS]) > 15 * np.median(areas[labels.BUCKLE])
    assert min(min(found) for found in areas.values() if found) >= 12


def test_garments_show_their_cloth(pictures):
    """A shirt differs from what is right beside it in most pictures, and patterned ones vary more than plain ones."""
    spread = {True: [], False: []}
    for picture in pictures:
        grey = picture.image.astype(np.float32).mean(2)
        for item in picture.instances:
            if item.class_id in (labels.SKIRT, labels.TROUSERS, labels.DRESS):
                spread[labels.PLAIN in item.attributes].append(grey[item.mask].std())
    assert np.median(spread[False]) > 1.2 * np.median(spread[True])
