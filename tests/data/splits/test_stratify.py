"""Stratified folds and hold-outs: every image once, groups whole, sizes exact, classes near their shares."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ppdet_ext.data.splits.stratify import indicator, stratified_folds, stratified_holdout
from ppdet_ext.errors import UserError


@st.composite
def image_sets(draw):
    """(names, present, groups): up to 60 images of up to 4 classes, some of them duplicates."""
    count = draw(st.integers(6, 60))
    classes = draw(st.lists(st.frozensets(st.integers(0, 3), max_size=3), min_size=count, max_size=count))
    groups = draw(st.lists(st.integers(0, draw(st.sampled_from([count // 2, 10 * count]))), min_size=count, max_size=count))
    return [f"{i}.jpg" for i in range(count)], indicator(classes, 4), np.array(groups)


def is_whole(side: np.ndarray, groups: np.ndarray) -> bool:
    return all(len(np.unique(side[groups == group])) == 1 for group in np.unique(groups))


def cost(side: np.ndarray, present: np.ndarray, shares: np.ndarray) -> float:
    """Squared distance of the classes from their shares, an image of a rare class counting more."""
    found = np.array([present[side == number].sum(axis=0) for number in range(len(shares))])
    total = present.sum(axis=0)
    return float(((found - np.outer(shares, total)) ** 2 / np.maximum(total, 1)).sum())


def test_indicator_has_a_column_for_images_without_objects():
    found = indicator([[0, 0, 2], [], [1]], 3)
    np.testing.assert_array_equal(found, [[1, 0, 1, 0], [0, 0, 0, 1], [0, 1, 0, 0]])


@settings(max_examples=60)
@given(image_sets(), st.integers(2, 5), st.integers(0, 3))
def test_folds(images, num_folds, seed):
    names, present, groups = images
    if len(np.unique(groups)) < num_folds:
        with pytest.raises(UserError, match="an image for each"):
            stratified_folds(names, present, groups, num_folds, seed)
        return
    folds = stratified_folds(names, present, groups, num_folds, seed)
    assert folds.shape == (len(names),)
    assert set(folds.tolist()) == set(range(num_folds))
    assert is_whole(folds, groups)
    sizes = np.bincount(folds)
    _, unit, images_of = np.unique(groups, return_inverse=True, return_counts=True)
    smallest = images_of[unit[folds == sizes.argmax()]].min()
    assert sizes.max() - sizes.min() <= max(1, smallest)


@settings(max_examples=20)
@given(image_sets(), st.integers(0, 3), st.randoms(use_true_random=False))
def test_the_result_depends_on_names_and_seed_alone(images, seed, random):
    names, present, groups = images
    if len(np.unique(groups)) < 3:
        return
    order = list(range(len(names)))
    random.shuffle(order)
    shuffled = [names[i] for i in order], present[order], 7 * groups[order] + 1
    for deal, number in ((stratified_folds, 3), (stratified_holdout, 4)):
        first = deal(names, present, groups, number, seed)
        np.testing.assert_array_equal(deal(names, present, groups, number, seed), first)
        np.testing.assert_array_equal(deal(*shuffled, number, seed), first[order])


def test_another_seed_is_another_split():
    names, present = [f"{i}.jpg" for i in range(40)], indicator([[i % 3] for i in range(40)], 4)
    found = {tuple(stratified_folds(names, present, np.arange(40), 5, seed)) for seed in range(5)}
    assert len(found) == 5


@settings(max_examples=60)
@given(image_sets(), st.data())
def test_a_holdout_has_the_number_asked_for_or_the_nearest_possible(images, data):
    names, present, groups = images
    if len(np.unique(groups)) < 2:
        return
    count = data.draw(st.integers(1, len(names) - 1))
    held = stratified_holdout(names, present, groups, count, 0)
    assert is_whole(held, groups)
    possible = {0}
    for size in np.unique(groups, return_counts=True)[1].tolist():
        possible |= {total + size for total in possible}
    possible -= {0, len(names)}
    assert abs(held.sum() - count) == min(abs(total - count) for total in possible)


@settings(max_examples=30)
@given(image_sets(), st.integers(0, 20))
def test_balance_is_no_worse_than_chance(images, seed):
    names, present, groups = images
    if len(np.unique(groups)) < len(names):
        groups = np.arange(len(names))
    random = np.random.default_rng(seed)
    shares = np.full(3, 1 / 3)
    chance = np.median([cost(random.permutation(len(names)) % 3, present, shares) for _ in range(9)])
    assert cost(stratified_folds(names, present, groups, 3, seed), present, shares) <= chance + 1e-9
    count = len(names) // 3
    shares = np.array([1 - count / len(names), count / len(names)])
    chance = np.median([cost(random.permutation(len(names)) < count, present, shares) for _ in range(9)])
    assert cost(stratified_holdout(names, present, groups, count, seed), present, shares) <= chance + 1e-9


def test_classes_are_within_an_image_of_their_share_even_with_duplicates():
    """As many images as the sample of a real set, a fifth of them duplicates in pairs and one group of twenty."""
    random = np.random.default_rng(0)
    classes = [np.flatnonzero(random.random(4) < [0.07, 0.02, 0.41, 0.06]).tolist() for _ in range(1000)]
    groups = np.arange(1000)
    groups[:200] //= 2
    groups[300:320] = 300
    for i in range(1000):
        classes[i] = classes[groups[i]]
    names, present = [f"{i}.jpg" for i in range(1000)], indicator(classes, 4)
    folds = stratified_folds(names, present, groups, 5, 0)
    np.testing.assert_array_equal(np.bincount(folds), [200] * 5)
    found = np.array([present[folds == fold].sum(axis=0) for fold in range(5)])
    # A group of twenty images of one kind weighs more than a rare class has images in a fold.
    assert np.abs(found - present.sum(axis=0) / 5).max() < 1.7
    held = stratified_holdout(names, present, groups, 137, 0)
    assert held.sum() == 137
    assert np.abs(present[held].sum(axis=0) - present.sum(axis=0) * 0.137).max() < 1


def test_a_small_case_has_one_answer():
    """Two images of each class, two folds: one of each on either side, and pairs of duplicates are not parted."""
    present = indicator([[0], [0], [1], [1], [], []], 2)
    names = list("abcdef")
    folds = stratified_folds(names, present, np.arange(6), 2, 0)
    assert [folds[i] + folds[i + 1] for i in (0, 2, 4)] == [1, 1, 1]
    held = stratified_holdout(names, present, np.array([0, 0, 1, 1, 2, 3]), 2, 0)
    assert held.sum() == 2
    assert (held[0], held[2]) == (held[1], held[3])


@pytest.mark.parametrize("count", [0, 6, 7, -1])
def test_both_sides_of_a_holdout_have_images(count):
    with pytest.raises(UserError, match="some on both sides"):
        stratified_holdout(list("abcdef"), indicator([[0]] * 6, 1), np.arange(6), count, 0)


def test_one_picture_cannot_be_split():
    with pytest.raises(UserError, match="1 without duplicates"):
        stratified_holdout(list("abc"), indicator([[0]] * 3, 1), np.zeros(3, int), 1, 0)
