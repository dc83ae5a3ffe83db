"""A small pool of processes that make batches and hand the arrays over in shared memory.

Why not paddle.io.DataLoader: it turns a worker's exception into another one with a traceback for a message, pickles what
is no array through a queue, and needs /dev/shm, which containers keep small. Here each worker has a pipe for tasks and
answers, and a few anonymous memory files for arrays, which grow to the largest batch and are used over and over.
"""

import mmap
import multiprocessing
import os
import pickle
import traceback
import warnings
from collections import deque
from collections.abc import Callable
from multiprocessing.connection import Connection, wait
from typing import Any

import numpy as np

from ppdet_ext.distributed.forked import end_with_parent, held_back, leave_signals_to_parent, wakeup_descriptor
from ppdet_ext.errors import WorkerDied

_ALIGN = 64


class Slot:
    """A piece of memory shared with the processes forked after it was made; whoever needs more makes it grow."""

    def __init__(self) -> None:
        self.handle = os.memfd_create("ppdet_ext")
        self.memory: mmap.mmap | None = None

    def view(self, size: int) -> mmap.mmap:
        """At least `size` bytes of it."""
        if self.memory is None or len(self.memory) < size:
            if os.fstat(self.handle).st_size < size:
                os.ftruncate(self.handle, size)
            # The former mapping is freed when the last array on it is gone.
            self.memory = mmap.mmap(self.handle, os.fstat(self.handle).st_size)
        return self.memory

    def close(self) -> None:
        self.memory = None
        os.close(self.handle)


class RemoteTraceback(Exception):
    """Cause of an exception that a worker raised: where it happened there."""

    def __str__(self) -> str:
        return f"in a data worker\n{self.args[0]}"


class Worker:
    """One process that applies `make(keys, allocate)` to tasks, first in, first out.

    `describe(task)` says what it was busy with, if it dies; the task is None when it was idle.
    """

    def __init__(self, make: Callable, depth: int, number: int, others: list["Worker"], describe: Callable[[Any], str] = str):
        self.number, self.depth, self.describe = number, depth, describe
        self.slots = [Slot() for _ in range(depth)]
        self.sent = 0
        # Sent, and their results not taken yet.
        self.tasks: deque[object] = deque()
        context = multiprocessing.get_context("fork")
        self.pipe, far = context.Pipe()
        inherited = [self.pipe, *(other.pipe for other in others)]
        with warnings.catch_warnings(), held_back():
            # Python 3.12 warns of forking beside threads; the child uses numpy and OpenCV alone, not paddle.
            warnings.simplefilter("ignore", DeprecationWarning)
            arguments = (make, far, self.slots, inherited, wakeup_descriptor())
            self.process = context.Process(target=_work, args=arguments, daemon=True)
            self.process.start()
        far.close()

    def send(self, task: object) -> None:
        try:
            # send() keeps its buffer in the traceback when it fails, which Python 3.12.1's garbage collector crashes on.
            self.pipe.send_bytes(pickle.dumps((self.sent % self.depth, task), pickle.HIGHEST_PROTOCOL))
        except OSError:
            raise self._died() from None
        self.tasks.append(task)
        self.sent += 1

    def receive(self) -> dict[str, Any]:
        """The oldest result; its large arrays are valid until `depth` - 1 more tasks are sent.

        Raises: what the task raised, of the same type and message; WorkerDied when the process has died.
        """
        slot = self.slots[(self.sent - len(self.tasks)) % self.depth]
        answer = self._take()
        if answer is None:
            raise self._died()
        failure, batch = pickle.loads(answer)
        if failure is not None:
            error, trace = failure
            raise error from RemoteTraceback(trace)
        return {key: _map(slot, value) if isinstance(value, _Place) else value for key, value in batch.items()}

    def _take(self) -> bytes | None:
        """The oldest answer, waited for; None when the process has died."""
        wait([self.pipe, self.process.sentinel])
        try:
            answer = self.pipe.recv_bytes() if self.pipe.poll() else None
        except (EOFError, OSError):
            return None
        if answer is not None:
            self.tasks.popleft()
        return answer

    def discard(self) -> None:
        """Take the results nobody wants any more."""
        while self.tasks and self._take() is not None:
            pass

    def close(self) -> None:
        self.process.kill()
        self.process.join(5)
        self.pipe.close()
        for slot in self.slots:
            slot.close()

    def _died(self) -> WorkerDied:
        self.process.join(5)
        # It died of the first task that it has not answered.
        self.discard()
        code = self.process.exitcode
        hint = "; -9 usually means that memory ran out: try a smaller worker_num" if code == -9 else ""
        busy = self.describe(self.tasks[0] if self.tasks else None)
        return WorkerDied(f"data worker {self.number} died (exit code {code}{hint}), {busy}.")


class _Place:
    """Where an array lies in its slot."""

    __slots__ = ("dtype", "offset", "shape", "size")

    def __init__(self, offset: int, shape: tuple[int, ...], dtype: np.dtype, size: int):
        self.offset, self.shape, self.dtype, self.size = offset, shape, dtype, size

    def __getstate__(self) -> tuple:
        return self.offset, self.shape, self.dtype, self.size

    def __setstate__(self, state: tuple) -> None:
        self.offset, self.shape, self.dtype, self.size = state


def _map(slot: Slot, place: _Place) -> np.ndarray:
    memory = slot.view(place.size)
    return np.ndarray(place.shape, place.dtype, memory, place.offset)


def _work(make: Callable, pipe: Connection, slots: list[Slot], inherited: list[Connection], wakeup: int) -> None:
    """The process: until the other end of the pipe is closed, which also tells that the main process is gone."""
    for other in inherited:
        # A copy of the other end kept here would hide that.
        other.close()
    leave_signals_to_parent(wakeup)
    end_with_parent()
    import cv2

    # One process is one thread; more would fight for the same cores.
    cv2.setNumThreads(0)
    while True:
        try:
            number, task = pipe.recv()
            pipe.send_bytes(_answer(make, task, slots[number]))
        except (EOFError, OSError):
            return


def _answer(make: Callable, task: object, slot: Slot) -> bytes:
    try:
        arrays: dict[int, _Place] = {}
        batch = make(task, _allocator(slot, arrays))
        batch = {key: arrays.get(id(value), value) for key, value in batch.items()}
        return pickle.dumps((None, batch), pickle.HIGHEST_PROTOCOL)
    except Exception as error:
        trace = traceback.format_exc()
        try:
            answer = pickle.dumps(((error, trace), None), pickle.HIGHEST_PROTOCOL)
            pickle.loads(answer)
        except Exception:
            error = RuntimeError(f"{type(error).__name__}: {error}")
            answer = pickle.dumps(((error, trace), None), pickle.HIGHEST_PROTOCOL)
        return answer


def _allocator(slot: Slot, arrays: dict[int, _Place]) -> Callable[[tuple[int, ...], np.dtype], np.ndarray]:
    end = 0

    def allocate(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
        nonlocal end
        offset = -(-end // _ALIGN) * _ALIGN
        end = offset + int(np.prod(shape)) * dtype.itemsize
        place = _Place(offset, shape, dtype, end)
        array = _map(slot, place)
        arrays[id(array)] = place
        return array

    return allocate
