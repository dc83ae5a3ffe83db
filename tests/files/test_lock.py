"""Two processes cannot work in one folder."""

import multiprocessing
import os
import signal
import threading
import time
from pathlib import Path

import pytest

from ppdet_ext.errors import UserError
from ppdet_ext.files.lock import locked


def hold(folder: Path, ready) -> None:
    with locked(folder):
        child = multiprocessing.get_context("fork").Process(target=time.sleep, args=(60,))
        child.start()
        ready.put(child.pid)
        time.sleep(60)


@pytest.fixture
def holder(tmp_path: Path):
    """Processes that train in a folder: the one that holds the lock, and a child of it."""
    context = multiprocessing.get_context("fork")
    ready = context.SimpleQueue()
    process = context.Process(target=hold, args=(tmp_path, ready))
    process.start()
    child = ready.get()
    yield process
    process.kill()
    process.join()
    os.kill(child, signal.SIGKILL)


def test_the_second_is_refused_and_may_go_on_once_the_first_is_killed(tmp_path: Path, holder) -> None:
    with pytest.raises(UserError, match=r"Another process is training in .*choose another save_dir"), locked(tmp_path, 0.3):
        pass
    # Its child lives on and has a copy of every descriptor.
    holder.kill()
    holder.join()
    with locked(tmp_path, 0.3):
        pass


def test_one_after_the_other_in_one_process(tmp_path: Path) -> None:
    for _ in range(2):
        with locked(tmp_path / "new" / "run", 0.0):
            assert not list((tmp_path / "new" / "run").iterdir())


def test_a_folder_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="Cannot write"), locked(tmp_path / "file" / "run"):
        pass


def test_what_the_other_does_is_said_in_the_words_of_the_caller(tmp_path: Path) -> None:
    words = {"doing": "predicting for", "setting": "--output"}
    text = r"Another process is predicting for .*choose another --output\."
    with locked(tmp_path), pytest.raises(UserError, match=text), locked(tmp_path, 0.0, **words):
        pass
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(UserError, match=r"Cannot write .*Choose another --output\."),
        locked(tmp_path / "file" / "run", **words),
    ):
        pass


def test_a_folder_that_its_holder_removes_is_made_and_locked_again(tmp_path: Path) -> None:
    folder, ready = tmp_path / "run", threading.Event()

    def hold_and_remove() -> None:
        with locked(folder):
            ready.set()
            time.sleep(0.5)
            folder.rmdir()

    holder = threading.Thread(target=hold_and_remove)
    holder.start()
    ready.wait(60)
    with locked(folder, 60.0):
        assert not holder.is_alive() or holder.join(60) is None
        assert folder.is_dir()
        with pytest.raises(UserError, match="Another process"), locked(folder, 0.0):
            pass
