"""The loader: batches of an epoch, made here or by worker processes, always the same ones."""

from __future__ import annotations

import functools
import logging
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from multiprocessing.util import Finalize
from typing import Any

import paddle

from ppdet_ext.config.keys import READER_KEYS
from ppdet_ext.data.datasets.base import InstanceDataSet
from ppdet_ext.errors import UserError, counted
from ppdet_ext.host.registry import one_of
from ppdet_ext.structures.batch import Batch

from .balanced import SamplerSpec, balanced_sampler
from .batch_maker import BatchMaker
from .sampler import EpochSampler
from .workers import Worker

MODES = ("train", "eval", "test")
# Batches a worker may be ahead: one ready, one in the making.
_DEPTH = 2

logger = logging.getLogger("ppdet_ext")


def build_loader(
    dataset: InstanceDataSet,
    reader: Mapping[str, Any],
    *,
    mode: str,
    worker_num: int = 0,
    seed: int = 0,
    rank: int = 0,
    world_size: int = 1,
    skip: Collection[int] = (),
) -> Loader:
    """Loader of a data set with a reader's settings (`TrainReader`, `EvalReader`, `TestReader` of a config).

    reader: sample_transforms, batch_transforms, batch_size (of one rank; 1), shuffle (only in training by default),
    drop_last (likewise), sampler (in training: the keys of `SamplerSpec`). mode: "train" gives targets; "eval" and "test" do
    not, and never leave an image out; what a rank gets, `EpochSampler` says: in training as many images as every other, else
    every world_size-th batch, perhaps none.
    worker_num: processes beside this one; 0 makes the batches here. skip: ids of images; batches of no other image are left
    out, those that hold others too stay whole, so that what is padded together does not change.

    Raises: UserError for an unknown key, transform or argument, and for a data set smaller than a batch.
    """
    train, batch_size = _checked(dataset, reader, mode, worker_num)
    drop_last = bool(reader.get("drop_last", train)) and train
    shuffle = bool(reader.get("shuffle", train))
    if reader.get("sampler") is not None:
        sampler: EpochSampler = balanced_sampler(
            dataset, SamplerSpec.of(reader["sampler"]), batch_size, drop_last, seed, rank, world_size
        )
    else:
        sampler = EpochSampler(len(dataset), batch_size, shuffle, drop_last, seed, rank, world_size, even=train)
    if train and len(sampler) == 0:
        raise UserError(
            f"an epoch has {counted(sampler.size, 'images')}, fewer than one batch ({batch_size} on each of {world_size} "
            "rank(s)). Lower batch_size in the TrainReader, or use more images."
        )
    maker = BatchMaker(dataset, reader.get("sample_transforms") or (), reader.get("batch_transforms") or (), train, seed)
    return Loader(maker, sampler, worker_num, skip)


def _checked(dataset: InstanceDataSet, reader: Mapping[str, Any], mode: str, worker_num: int) -> tuple[bool, int]:
    """Whether to train, and the size of a batch. Raises: UserError for what cannot be loaded this way."""
    one_of(mode, MODES, "mode")
    known = [*READER_KEYS, *(["sampler"] if mode == "train" else [])]
    unknown = sorted(set(reader) - set(known))
    if unknown:
        raise UserError(f"reader: unknown key {', '.join(unknown)}. There are {', '.join(known)}.")
    if reader.get("sampler") is not None and not reader.get("shuffle", True):
        raise UserError("reader: a sampler draws at random, which shuffle: false does not go with; leave one of them out.")
    batch_size = int(reader.get("batch_size", 1))
    if batch_size < 1 or worker_num < 0:
        raise UserError(f"batch_size is {batch_size} and worker_num {worker_num}; at least 1 and 0 are needed.")
    if mode == "train" and not dataset.annotated:
        raise UserError("the data set has no annotations to train on; give TrainDataset an anno_path with annotations.")
    return mode == "train", batch_size


class Loader:
    """Iterating gives the batches of one epoch, arrays as paddle tensors.

    Workers start with the first batch and live until `close()` or the end of the program; an iteration left halfway
    costs nothing but the batches made ahead.
    """

    def __init__(self, maker: BatchMaker, sampler: EpochSampler, worker_num: int, skip: Collection[int] = ()):
        self.maker, self.sampler, self.worker_num = maker, sampler, worker_num
        self.skip = frozenset(skip)
        self.epoch = self.start = 0
        self._workers: list[Worker] = []
        # Of multiprocessing's own kind, since it waits at the end of the program for processes that are still there.
        self._finalizer = Finalize(self, _close_all, (self._workers,), exitpriority=10)

    def __len__(self) -> int:
        """Number of batches of a whole epoch."""
        return len(self.sampler)

    @property
    def images(self) -> int:
        """Number of images of a whole epoch."""
        return sum(map(len, self._tasks()))

    def set_epoch(self, epoch: int, start: int = 0) -> None:
        """Choose the next iteration's epoch, and the batch it begins with (to go on in the middle of an epoch).

        Iterations after the next begin with batch 0 again. ValueError where the epoch has fewer than `start` batches.
        """
        if not 0 <= start <= len(self):
            raise ValueError(f"batch {start} to start with, of {len(self)} in the epoch")
        self.epoch, self.start = epoch, start

    def __iter__(self) -> Iterator[Batch]:
        """Raises: UserError of a sample's transform, as it was raised; WorkerDied when a worker died."""
        dropped = crowds = 0
        for batch in self.arrays():
            dropped += batch.dropped or 0
            crowds += batch.crowds or 0
            yield replace(batch.converted(paddle.to_tensor), dropped=None, crowds=None)
        their = "its" if dropped == 1 else "their"
        left_out = f"{counted(dropped, 'objects')} left out: cropping or resizing left too few of {their} pixels"
        untaught = f"{counted(crowds, 'crowds')} {'is no target' if crowds == 1 else 'are no targets'}"
        told = [*([left_out] if dropped or not crowds else []), *([untaught] if crowds else [])]
        logger.log(logging.INFO if dropped else logging.DEBUG, "epoch %d: %s", self.epoch, "; ".join(told))

    def arrays(self) -> Iterator[Batch]:
        """The batches as numpy arrays; with workers the large ones are valid until the next batch is taken."""
        tasks = self._tasks()[self.start :]
        self.start = 0
        if not self.worker_num:
            for keys in tasks:
                yield self.maker(keys)
            return
        workers = self._ready_workers()
        for number in range(min(len(tasks), len(workers) * _DEPTH)):
            workers[number % len(workers)].send(tasks[number])
        for number in range(len(tasks)):
            worker = workers[number % len(workers)]
            yield Batch(**worker.receive())
            ahead = number + len(workers) * _DEPTH
            if ahead < len(tasks):
                worker.send(tasks[ahead])

    def _tasks(self) -> list[list[tuple[int, int]]]:
        batches = self.sampler.batches(self.epoch)
        if not self.skip:
            return batches
        records = self.maker.dataset.records
        return [keys for keys in batches if not all(records[index].im_id in self.skip for _, index in keys)]

    def _ready_workers(self) -> list[Worker]:
        for worker in self._workers:
            worker.discard()
        if not all(worker.process.is_alive() for worker in self._workers):
            self.close()
        if not self._workers:
            self.maker.dataset.load()
            sampler = self.sampler
            describe = functools.partial(_task, self.maker.dataset, sampler.rank, sampler.world_size)
            for number in range(self.worker_num):
                self._workers.append(Worker(self.maker, _DEPTH, number, list(self._workers), describe))
        return self._workers

    def close(self) -> None:
        """End the worker processes; the next iteration starts new ones."""
        _close_all(self._workers)


def _close_all(workers: list[Worker]) -> None:
    while workers:
        workers.pop().close()


def _task(dataset: InstanceDataSet, rank: int, world_size: int, keys: Sequence[tuple[int, int]] | None) -> str:
    """What a worker that gets `keys` is busy with, in words."""
    where = f" on rank {rank} of {world_size}" if world_size > 1 else ""
    if keys is None:
        return f"idle{where}"
    records = getattr(dataset, "records", {})
    indices = [index % len(dataset) for _, index in keys]
    images = ", ".join(f"{index} ({records[index].name})" if records else str(index) for index in indices)
    return f"busy with images {images} of epoch {keys[0][0]}{where}"
