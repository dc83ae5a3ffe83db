"""One training at a time writes to a run's folder."""

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
def locked(folder: Path, seconds: float = PATIENCE_SECONDS) -> Iterator[None]:
    """Within the block no other process gets this far with `folder`; the system frees it when the process ends, however.

    Raises:
        UserError: another process has held it for `seconds`, or the folder cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(folder, os.O_RDONLY)
    except OSError as error:
        raise UserError(f"Cannot write {folder}: {error.strerror or error}. Choose another save_dir.") from error
    closed = [False]

    def close() -> None:
        if not closed[0]:
            closed[0] = True
            os.close(handle)

    # A data worker that outlives this process by a moment must not hold the lock.
    os.register_at_fork(after_in_child=close)
    try:
        _acquire(handle, folder, time.monotonic() + seconds)
        yield
    finally:
        close()


def _acquire(handle: int, folder: Path, deadline: float) -> None:
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise UserError(
                    f"Another process is training in {folder}. Wait for it or end it, or choose another save_dir."
                ) from None
            time.sleep(0.2)
        except OSError:
            # A file system without locks.
            return
