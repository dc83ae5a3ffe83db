"""What a data worker raises comes through as it was raised; one that dies or is stopped leaves nothing behind."""

import gc
import os
import signal
import time

import pytest
from loader_data import Broken, dataset_of, plain, reader

from ppdet_ext.data.loading import build_loader
from ppdet_ext.data.loading.workers import RemoteTraceback, Worker
from ppdet_ext.errors import UserError


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_an_error_comes_through_as_it_was_raised(steel, load, workers):
    path = steel / "train_images" / "f.jpg"
    dataset = dataset_of(steel).load()
    whole = path.read_bytes()
    path.write_bytes(whole[:500])
    loader = load(dataset, reader(), worker_num=workers)
    with pytest.raises(UserError) as caught:
        list(loader)
    assert str(caught.value).startswith(f"{path}: the JPEG is truncated (500 bytes")
    assert "\n" not in str(caught.value)
    if workers:
        assert isinstance(caught.value.__cause__, RemoteTraceback)
        assert "_decode_jpeg" in str(caught.value.__cause__)
    path.write_bytes(whole)
    assert len(list(loader)) == 4


@pytest.mark.parametrize("workers", [0, 2])
def test_other_errors_keep_their_type(steel, load, workers):
    def act():
        raise KeyError("lost")

    with pytest.raises(KeyError, match="lost"):
        list(load(Broken(dataset_of(steel), act), reader(), worker_num=workers))


def test_an_error_that_cannot_travel_is_still_told(steel, load):
    class Local(Exception):
        pass

    def act():
        raise Local("from far away")

    with pytest.raises(RuntimeError, match="Local: from far away"):
        list(load(Broken(dataset_of(steel), act), reader(), worker_num=1))


def test_a_worker_that_dies_is_an_error_and_not_the_end(steel, load):
    flag = steel / "die"
    flag.write_text("")

    def act():
        if flag.exists():
            os.kill(os.getpid(), signal.SIGKILL)

    loader = load(Broken(dataset_of(steel), act), reader(), worker_num=2)
    start = time.perf_counter()
    with pytest.raises(RuntimeError, match=r"data worker \d died \(exit code -9; -9 usually means that memory"):
        list(loader)
    assert time.perf_counter() - start < 10
    flag.unlink()
    assert len(list(loader)) == 4


def test_a_worker_killed_between_epochs_is_replaced(steel, load):
    loader = load(dataset_of(steel), reader(), worker_num=2)
    whole = [plain(batch) for batch in loader]
    victim = loader._workers[1].process
    os.kill(victim.pid, signal.SIGKILL)
    victim.join(5)
    assert [plain(batch) for batch in loader] == whole


def test_workers_end_with_the_loader(steel):
    loader = build_loader(dataset_of(steel), reader(), mode="train", worker_num=2)
    list(loader)
    processes = [worker.process for worker in loader._workers]
    assert all(process.is_alive() for process in processes)
    handles = [slot.handle for worker in loader._workers for slot in worker.slots]
    del loader
    gc.collect()
    assert not any(process.is_alive() for process in processes)
    for handle in handles:
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(handle)


@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1])
def test_a_worker_leaves_signals_to_the_main_process_from_its_start_on(stop, capfd):
    heard = signal.getsignal(signal.SIGINT)
    for number in range(20):
        worker = Worker(print, 1, number, [])
        os.kill(worker.process.pid, stop)
        worker.close()
        assert worker.process.exitcode == -signal.SIGKILL
    assert capfd.readouterr().err == ""
    assert signal.getsignal(signal.SIGINT) is heard
    assert not {signal.SIGTERM, signal.SIGINT} & signal.pthread_sigmask(signal.SIG_BLOCK, [])
