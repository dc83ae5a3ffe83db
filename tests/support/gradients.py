"""Seeded tensors, and what an operator gives of them: values and gradients, with one thread and with several."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import paddle
import pytest

from ppdet_ext.modeling.ops import threads


def tensors(*shapes: tuple[int, ...]) -> list[paddle.Tensor]:
    """Seeded normal tensors that learn."""
    rng = np.random.default_rng(0)
    return [paddle.to_tensor(rng.normal(size=shape).astype(np.float32), stop_gradient=False) for shape in shapes]


def results(function, parts: list[paddle.Tensor]) -> list[np.ndarray]:
    """What a function gives of tensors, and the gradients of a weighted sum of it."""
    for part in parts:
        part.clear_gradient()
    out = function(*parts)
    weights = np.random.default_rng(1).normal(size=out.shape).astype(np.float32)
    (out * paddle.to_tensor(weights)).sum().backward()
    return [out.numpy(), *(part.grad.numpy() for part in parts)]


@contextmanager
def threads_of(count: int) -> Iterator[None]:
    """So many threads for our operators."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", str(count))
        threads.pool.cache_clear()
        yield
    threads.pool.cache_clear()


def by_threads(compute: Callable[[], list[np.ndarray]], counts: Sequence[int] = (1, 2, 2)) -> list[list[np.ndarray]]:
    """What a function gives with each number of threads."""
    found = []
    for count in counts:
        with threads_of(count):
            found.append(compute())
    return found


def demand_same_bits(found: Sequence[Sequence[np.ndarray]]) -> None:
    """Everything that was found is the same, bit by bit."""
    for other in found[1:]:
        assert all(np.array_equal(a, b) for a, b in zip(found[0], other, strict=True))
