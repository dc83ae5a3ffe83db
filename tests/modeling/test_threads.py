"""Work parted for the threads: nothing is left out or done twice, and copies are copies."""

import numpy as np
import pytest
from gradients import threads_of
from hypothesis import given
from hypothesis import strategies as st

from ppdet_ext.modeling.ops import channelwise, threads


@pytest.fixture(autouse=True, params=[1, 2, 3])
def count(request):
    """Threads."""
    with threads_of(request.param):
        yield request.param


@pytest.mark.parametrize("length", [1, 2, 5, 7, 64, 1000])
@pytest.mark.parametrize("most", [1, 3, 10, 5000])
def test_parts_are_even_and_as_many_for_every_thread(length, most, count):
    parts = threads.even_parts(length, most)
    sizes = np.array([part.stop - part.start for part in parts])
    assert [i for part in parts for i in range(length)[part]] == list(range(length))
    assert 1 <= sizes.min() <= sizes.max() <= min(most, sizes.min() + 1)
    assert len(sizes) % count == 0 or len(sizes) == length


@given(st.tuples(st.integers(1, 4), st.integers(1, 40), st.integers(1, 70000)), st.integers(1, 1 << 20))
def test_blocks_are_all_channels_once(shape, size):
    parts = channelwise.blocks(shape, size)
    assert [i for part in parts for i in range(shape[1])[part]] == list(range(shape[1]))
    most = max(part.stop - part.start for part in parts)
    assert most == 1 or most * shape[0] * shape[2] <= size


@pytest.mark.parametrize("shape", [(3, 5, 7), (64, 40, 3, 11), (2, 3, 65000)])
def test_a_copy_of_a_view_is_contiguous_and_begins_where_a_cache_line_does(shape):
    view = np.random.default_rng(0).random(shape, np.float32).transpose(*range(1, len(shape)), 0)[::-1]
    copy = threads.copied(view)
    assert np.array_equal(copy, view)
    assert copy.flags.c_contiguous
    assert copy.ctypes.data % 64 == 0
    assert not np.shares_memory(copy, view)
