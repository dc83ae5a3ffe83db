"""Evaluation is parted over ranks by whole batches; an epoch is entered in its middle; a dead worker says what it did."""

import itertools
import multiprocessing
import os
import re
import select
import signal
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_data import HEIGHT, WIDTH

from ppdet_ext.data.datasets import SteelDataSet
from ppdet_ext.data.loading import build_loader
from ppdet_ext.data.loading.sampler import EpochSampler
from ppdet_ext.data.loading.workers import Worker
from ppdet_ext.errors import WorkerDied

PLAIN = [{"ReadImage": {}}, {"NormalizeToCHW": {}}]


@pytest.fixture
def load(steel):
    """Loader of the eight sheets, whose workers end with the test."""
    made = []

    def build(mode="eval", batch_size=2, transforms=PLAIN, **options):
        dataset = SteelDataSet(str(steel), height=HEIGHT, width=WIDTH)
        made.append(build_loader(dataset, {"sample_transforms": transforms, "batch_size": batch_size}, mode=mode, **options))
        return made[-1]

    yield build
    for loader in made:
        loader.close()


def names(loader) -> list[list[str]]:
    return [batch["names"] for batch in loader.arrays()]


@settings(max_examples=200)
@given(st.integers(1, 60), st.integers(1, 9), st.integers(1, 8), st.booleans(), st.integers(0, 2))
def test_ranks_part_the_batches_of_one_rank(size, batch_size, world, shuffle, epoch):
    def batches(rank, world):
        sampler = EpochSampler(size, batch_size, shuffle, False, 5, rank, world, even=False)
        found = sampler.batches(epoch)
        assert len(found) == len(sampler)
        return found

    whole, shards = batches(0, 1), [batches(rank, world) for rank in range(world)]
    assert sorted(index for batch in whole for _, index in batch) == list(range(size))
    together = [batch for row in itertools.zip_longest(*shards) for batch in row if batch is not None]
    assert together == whole


@settings(max_examples=100)
@given(st.integers(1, 60), st.integers(1, 9), st.integers(1, 4), st.integers(0, 2))
def test_one_rank_with_a_large_batch_trains_on_the_images_of_several_with_a_small_one(size, batch_size, world, epoch):
    ranks = [EpochSampler(size, batch_size, True, True, 5, rank, world).batches(epoch) for rank in range(world)]
    one = EpochSampler(size - size % world, batch_size * world, False, True, 5).batches(epoch)
    order = EpochSampler(size, 1, True, True, 5).order(epoch)
    assert [{key for batch in step for key in batch} for step in zip(*ranks)] == [
        {(epoch, order[index]) for _, index in batch} for batch in one
    ]


def test_the_loader_leaves_no_image_out_and_repeats_none(load):
    shards = [load(rank=rank, world_size=3) for rank in range(3)]
    assert [names(loader) for loader in shards] == [
        [["a.jpg", "b.jpg"], ["g.jpg", "h.jpg"]],
        [["c.jpg", "d.jpg"]],
        [["e.jpg", "f.jpg"]],
    ]
    assert [loader.images for loader in shards] == [4, 2, 2]
    assert [len(loader) for loader in shards] == [2, 1, 1]


@pytest.mark.parametrize("workers", [0, 2])
def test_a_rank_beyond_the_last_batch_has_nothing_to_do(load, workers):
    loader = load(batch_size=5, rank=2, world_size=3, worker_num=workers)
    assert (len(loader), loader.images, list(loader)) == (0, 0, [])


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_every_start_in_an_epoch(load, workers):
    loader = load("train", worker_num=workers)
    loader.set_epoch(1)
    whole = names(loader)
    assert len(whole) == 4
    for start in (4, 1, 3, 0, 2):
        loader.set_epoch(1, start)
        assert names(loader) == whole[start:]
        assert names(loader) == whole


def test_a_start_beyond_the_epoch_is_refused(load):
    loader = load("train")
    for start in (5, -1):
        with pytest.raises(ValueError, match=f"batch {start} to start with, of 4"):
            loader.set_epoch(0, start)


def kill(make, number):
    """`make`, ending its process when it is to make the batch with image `number`."""

    def killing(keys, allocate):
        if number in [index for _, index in keys]:
            os.kill(os.getpid(), signal.SIGKILL)
        return make(keys, allocate)

    killing.dataset = make.dataset
    return killing


@pytest.mark.parametrize(("rank", "world", "image", "where"), [(0, 1, 5, ""), (1, 2, 7, " on rank 1 of 2")])
def test_a_dead_worker_says_what_it_was_busy_with_and_where(load, rank, world, image, where):
    loader = load(worker_num=2, rank=rank, world_size=world)
    loader.maker = kill(loader.maker, image)
    loader.set_epoch(3)
    pair = {5: "4 (e.jpg), 5 (f.jpg)", 7: "6 (g.jpg), 7 (h.jpg)"}[image]
    with pytest.raises(WorkerDied) as caught:
        names(loader)
    said = re.sub(r"worker \d", "worker N", str(caught.value))
    hint = "; -9 usually means that memory ran out: try a smaller worker_num"
    assert said == f"data worker N died (exit code -9{hint}), busy with images {pair} of epoch 3{where}."


def test_a_worker_dead_before_its_task_is_idle(load):
    loader = load(worker_num=1)
    epoch = loader.arrays()
    next(epoch)
    [worker] = loader._workers
    while worker.tasks:
        worker.receive()
    worker.process.kill()
    worker.process.join()
    with pytest.raises(WorkerDied, match="idle"):
        worker.send([(0, 0)])


def test_finished_batches_are_not_what_a_worker_died_of():
    worker = Worker(lambda task, allocate: os.kill(os.getpid(), task) or {}, 3, 0, [], lambda task: f"busy with {task}")
    for task in (0, 0, signal.SIGKILL):
        worker.send(task)
    worker.process.join()
    with pytest.raises(WorkerDied, match="busy with 9"):
        worker.send(0)
    worker.close()


def test_signals_to_all_processes_are_for_the_main_one_alone():
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    heard = {number: signal.signal(number, lambda *_: None) for number in (signal.SIGINT, signal.SIGUSR1)}
    before = signal.set_wakeup_fd(writer)
    try:
        worker = Worker(lambda task, allocate: {"answer": task + 1}, 1, 0, [])
        for number in heard:
            os.kill(worker.process.pid, number)
        worker.send(1)
        assert worker.receive() == {"answer": 2}
    finally:
        signal.set_wakeup_fd(before)
        for number, handler in heard.items():
            signal.signal(number, handler)
    os.close(writer)
    assert select.select([reader], [], [], 20)[0]
    assert os.read(reader, 1) == b""
    os.close(reader)
    worker.close()


def busy_for_ever(task, allocate):
    os.write(task, os.getpid().to_bytes(4, "little"))
    while True:
        time.sleep(60)


def test_a_worker_in_the_middle_of_a_task_ends_with_its_killed_parent():
    """Whoever of the two is alive holds the pipe's end open."""
    end, held = os.pipe()

    def parent():
        Worker(busy_for_ever, 1, 0, []).send(held)
        signal.pause()

    process = multiprocessing.get_context("fork").Process(target=parent)
    process.start()
    os.close(held)
    worker = int.from_bytes(os.read(end, 4), "little")
    process.kill()
    process.join()
    gone, _, _ = select.select([end], [], [], 20)
    if not gone:
        os.kill(worker, signal.SIGKILL)
    os.close(end)
    assert gone
