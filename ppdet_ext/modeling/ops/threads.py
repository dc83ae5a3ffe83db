"""Numpy's matrix products on threads of our own, for operators that Paddle's CPU kernels are slow at."""

import math
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache, wraps
from typing import Any, TypeVar

import numpy as np
import paddle
from paddle.utils.dlpack import from_dlpack
from threadpoolctl import ThreadpoolController

Job = TypeVar("Job")
_LINE = 64  # bytes of a cache line, and of the longest vector
_LARGE = 1 << 16  # floats whose copy is worth a second thread


def without_threads_of_the_library(function: Callable) -> Callable:
    """Limit numpy's matrix library to the calling thread: its own threads go on spinning where ours want to run."""

    @wraps(function)
    def limited(*args: Any) -> Any:
        with _controller().limit(limits=1, user_api="blas"):
            return function(*args)

    return limited


@cache
def _controller() -> ThreadpoolController:
    return ThreadpoolController()


@cache
def pool() -> ThreadPoolExecutor:
    """As many threads as OMP_NUM_THREADS says."""
    return ThreadPoolExecutor(max(1, int(os.environ.get("OMP_NUM_THREADS", "1"))))


os.register_at_fork(after_in_child=pool.cache_clear)  # threads do not survive a fork


def array_of(tensor: paddle.Tensor) -> np.ndarray:
    """The tensor's own memory as an array."""
    return np.from_dlpack(tensor.detach())


def aligned(shape: Sequence[int]) -> np.ndarray:
    """Uninitialised float32 that begins where a cache line does, as Paddle's own memory.

    Paddle's sums and products round differently elsewhere: a batch norm behind memory that begins anywhere would not repeat.
    """
    count = math.prod(shape)
    memory = np.empty(count + _LINE // 4, np.float32)
    start = -memory.ctypes.data % _LINE // 4
    return memory[start : start + count].reshape(shape)


def tensor_of(array: np.ndarray) -> paddle.Tensor:
    """The array's own memory as a tensor; that of a copy where it does not begin as `aligned` does."""
    return from_dlpack(copied(array) if array.ctypes.data % _LINE or not array.flags.c_contiguous else array)


def copied(array: np.ndarray) -> np.ndarray:
    """A copy of float32, contiguous and as `aligned`; that of a large view with other strides is made in threads."""
    copy = aligned(array.shape)
    if copy.size < _LARGE:
        copy[...] = array
        return copy
    axis = int(np.argmax(array.shape))
    source, into = np.moveaxis(array, axis, 0), np.moveaxis(copy, axis, 0)

    def copy_part(part: slice) -> None:
        into[part] = source[part]

    summed(even_parts(len(into), len(into)), copy_part)
    return copy


def even_parts(length: int, most: int) -> list[slice]:
    """Parts of `length` of at most `most`, as even as can be, as many as a multiple of the threads where it can be."""
    threads = pool()._max_workers
    count = min(length, threads * -(-length // (threads * most)))
    return [slice(length * k // count, length * (k + 1) // count) for k in range(count)]


def summed(jobs: Sequence[Job], run: Callable[[Job], list[np.ndarray] | None]) -> list[np.ndarray]:
    """Run all jobs in threads; the sums of the arrays that they return.

    Each thread has a fixed share of the jobs, so that the sums' rounding depends on the number of threads alone.
    """
    threads = pool()._max_workers

    def share(start: int) -> list[np.ndarray]:
        sums: list[np.ndarray] = []
        for job in jobs[start::threads]:
            terms = run(job) or []
            sums = [np.add(s, t, out=s) for s, t in zip(sums, terms)] if sums else terms
        return sums

    others = [pool().submit(share, start) for start in range(1, min(threads, len(jobs)))]
    shares = [share(0), *(other.result() for other in others)]
    return [sum(terms[1:], terms[0]) for terms in zip(*shares)]
