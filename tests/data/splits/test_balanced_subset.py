"""A subset of images with about as many of each class, and none without objects."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ppdet_ext.data.splits.balance import balanced_subset
from ppdet_ext.data.splits.stratify import indicator
from ppdet_ext.errors import UserError


def named(classes: list) -> tuple[list[str], np.ndarray]:
    return [f"{i:04}.jpg" for i in range(len(classes))], indicator(classes, 4)


def test_a_frequent_class_is_cut_down_and_a_rare_one_is_wholly_there() -> None:
    # As Severstal's: class 2 has too few, and a tenth of the others shows class 2 or 3, too.
    classes = [[2]] * 500 + [[0]] * 90 + [[3]] * 80 + [[1]] * 20 + [[0, 2]] * 10 + [[2, 3]] * 8 + [[]] * 600
    names, present = named(classes)
    chosen = balanced_subset(names, present, 200, 0)
    found = present[chosen].sum(axis=0)
    assert chosen.sum() == 200
    assert found[4] == 0
    assert found[1] == 20
    assert max(found[[0, 2, 3]]) - min(found[[0, 2, 3]]) <= 1
    # Images of two classes are as common as they were, not sought out or left out.
    assert 0.05 < present[chosen & present[:, 0], 2].mean() < 0.15


@settings(max_examples=60)
@given(st.lists(st.sets(st.integers(0, 3)), min_size=1, max_size=50).filter(any), st.data(), st.integers(0, 5))
def test_any_data_set(classes, data, seed) -> None:
    names, present = named(classes)
    filled = int(present[:, :-1].any(axis=1).sum())
    count = data.draw(st.integers(1, filled))
    chosen = balanced_subset(names, present, count, seed)
    assert chosen.sum() == count
    assert not present[chosen, -1].any()
    # A class that is behind another by more than one image is behind because there is no more of it, or because the other
    # came with images of a class that was behind.
    if all(len(found) <= 1 for found in classes):
        found, there = present[chosen, :-1].sum(axis=0), present[:, :-1].sum(axis=0)
        assert all(own == most or own >= found.max() - 1 for own, most in zip(found, there))
    # The order of the images does not matter, and a larger subset holds a smaller one.
    order = data.draw(st.permutations(range(len(names))))
    assert (balanced_subset([names[i] for i in order], present[order], count, seed) == chosen[order]).all()
    assert not (balanced_subset(names, present, count, seed) & ~balanced_subset(names, present, filled, seed)).any()


def test_the_seed_chooses_others() -> None:
    names, present = named([[0]] * 50 + [[1]] * 50)
    one, other = (balanced_subset(names, present, 20, seed) for seed in (0, 1))
    assert (one != other).any()


@pytest.mark.parametrize("count", [0, -1, 4])
def test_no_more_than_there_are(count) -> None:
    names, present = named([[0], [1], [2], [], []])
    with pytest.raises(UserError, match=f"--balanced: {count} images with an object are wanted, TrainDataset has 3"):
        balanced_subset(names, present, count, 0)
