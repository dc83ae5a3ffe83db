"""One process at a time works in a folder: a training in its run's, a submission in that of its progress."""

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path

from ppdet_ext.errors import UserError

# A process that was killed a moment ago, or told to stop, may not be gone yet.
PATIENCE_SECONDS = 10.0


@contextlib.contextmanager
def locked(
    folder: Path, seconds: float = PATIENCE_SECONDS, doing: str = "training in", setting: str = "save_dir"
) -> Iterator[None]:
    """Within the block no other process gets this far with `folder`; the system frees it when the process ends, however.

    The folder is made, also again where the process that was waited for has removed it.

    Args:
        seconds: how long to wait for another process.
        doing: what the other process does, before the folder's name; for the message.
        setting: what the user changes to have another folder; for the message.

    Raises:
        UserError: another process has held it for `seconds`, or the folder cannot be made.
    """
    handles: list[int] = []

    def close() -> None:
        while handles:
            os.close(handles.pop())

    # A data worker that outlives this process by a moment must not hold the lock.
    os.register_at_fork(after_in_child=close)
    deadline = time.monotonic() + seconds
    try:
        while True:
            handles.append(_open(folder, setting))
            busy = not _acquire(handles[0], deadline)
            if not busy and _is_still(folder, handles[0]):
                break
            close()
            if busy:
                raise UserError(f"Another process is {doing} {folder}. Wait for it or end it, or choose another {setting}.")
        yield
    finally:
        close()


def _open(folder: Path, setting: str) -> int:
    while True:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"Cannot write {folder}: {error.strerror or error}. Choose another {setting}.") from error
        try:
            return os.open(folder, os.O_RDONLY)
        except FileNotFoundError:
            # Removed in this very moment, by the process that had it.
            continue
        except OSError as error:
            raise UserError(f"Cannot read {folder}: {error.strerror or error}. Choose another {setting}.") from error


def _acquire(handle: int, deadline: float) -> bool:
    """Whether the lock was to be had before the deadline."""
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            if time.monotonic() > deadline:
                return False
            time.sleep(0.2)
        except OSError:
            # A file system without locks.
            return True


def _is_still(folder: Path, handle: int) -> bool:
    """Whether it is the folder of this name that was locked, not one that has been removed meanwhile."""
    try:
        return os.path.samestat(os.stat(folder), os.fstat(handle))
    except FileNotFoundError:
        return False
