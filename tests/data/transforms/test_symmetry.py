"""Dihedral: the eight symmetries of the square, exact on everything."""

import numpy as np
import pytest
from hypothesis import given, settings
from transform_samples import assert_consistent, assert_same, make_sample, samples

from ppdet_ext.data.transforms import Dihedral
from ppdet_ext.data.transforms.flip import flip_horizontal, flip_vertical, transpose
from ppdet_ext.data.transforms.resize import resize_sample
from ppdet_ext.errors import UserError


@settings(max_examples=60)
@given(samples)
def test_transposing_is_exact_and_twice_is_the_identity(sample) -> None:
    turned = transpose(sample)
    assert turned.size == sample.size[::-1]
    assert_consistent(turned)
    assert_same(transpose(turned), sample)
    for mask, before in zip(turned.masks, sample.masks):
        np.testing.assert_array_equal(mask.to_bitmap(), before.to_bitmap().T)
    # A quarter turn four times, too.
    quarter = sample
    for _ in range(4):
        quarter = flip_horizontal(transpose(quarter))
    assert_same(quarter, sample)
    assert_same(transpose(flip_horizontal(sample)), flip_vertical(transpose(sample)))


def test_the_scale_goes_with_its_axis() -> None:
    assert transpose(resize_sample(make_sample(10, 20, 0), 5, 40)).scale_factor == (2.0, 0.5)


@pytest.mark.parametrize(("height", "width", "count"), [(12, 12, 8), (12, 16, 4)])
def test_all_symmetries_that_keep_the_size_are_drawn_evenly(height, width, count) -> None:
    sample, found = make_sample(height, width, 1), {}
    rng = np.random.default_rng(0)
    for _ in range(800):
        turned = Dihedral()(sample, rng)
        assert turned.size == sample.size
        found.setdefault(turned.image.tobytes(), []).append(turned)
    assert len(found) == count
    for same in found.values():
        assert 800 / count * 0.7 < len(same) < 800 / count * 1.3
        assert_consistent(same[0])


def test_its_probability() -> None:
    sample, rng = make_sample(8, 8, 1), np.random.default_rng(0)
    assert all(Dihedral(0.0)(sample, rng) is sample for _ in range(50))
    drawn = []
    for transform in (Dihedral(0.0), Dihedral(1.0)):
        generator = np.random.default_rng(5)
        transform(sample, generator)
        drawn.append(generator.random(4).tolist())
    assert drawn[0] == drawn[1]
    with pytest.raises(UserError, match=r"Dihedral\.probability: 2 is no number from 0 to 1"):
        Dihedral(2)
