"""The random fields: shape, strength, orientation, and that they come from the given generator alone."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from ppdet_ext.data.synthetic.noise import grain, octaves, smooth_step, value_noise

sizes = st.integers(1, 70)
cells = st.floats(0.5, 400, allow_nan=False)


@settings(max_examples=60)
@given(sizes, sizes, cells, cells, st.integers(0, 2**32))
def test_value_noise_is_finite_and_repeatable(height, width, cell_y, cell_x, seed):
    field = value_noise(np.random.default_rng(seed), height, width, cell_y, cell_x)
    assert field.shape == (height, width)
    assert field.dtype == np.float32
    assert np.isfinite(field).all()
    assert np.array_equal(field, value_noise(np.random.default_rng(seed), height, width, cell_y, cell_x))


def test_unequal_cells_give_streaks_along_the_longer_one():
    field = value_noise(np.random.default_rng(3), 200, 200, 80, 4)
    along, across = np.abs(np.diff(field, axis=0)).mean(), np.abs(np.diff(field, axis=1)).mean()
    assert across > 8 * along


def test_octaves_keep_unit_strength_and_add_detail():
    one = octaves(np.random.default_rng(0), 256, 256, 32, 32, 1)
    four = octaves(np.random.default_rng(0), 256, 256, 32, 32, 4)
    assert 0.4 < four.std() < 1.4
    assert np.abs(np.diff(four, axis=1)).mean() > 1.5 * np.abs(np.diff(one, axis=1)).mean()


def test_grain_has_unit_deviation_whatever_the_blur():
    for sigma in (0.0, 1.0, 2.5):
        assert abs(grain(np.random.default_rng(1), 300, 300, sigma).std() - 1) < 0.1


def test_smooth_step_runs_from_zero_to_one():
    steps = smooth_step(np.array([-5.0, 0.0, 0.5, 1.0, 9.0]), 0.0, 1.0)
    assert steps.tolist() == [0, 0, 0.5, 1, 1]
