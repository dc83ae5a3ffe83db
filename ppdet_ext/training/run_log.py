"""The log file of a run, which has all lines that are logged while it trains; a terminal need not show all of them."""

from __future__ import annotations

import contextlib
import logging
import sys
from collections.abc import Iterator
from pathlib import Path

from ppdet_ext.distributed import world

logger = logging.getLogger("ppdet_ext")


class RunLog(logging.Handler):
    """Holds log lines until the run's folder is known to be its own, then appends them and all later ones to a file.

    A disk that is full ends no training: lines are left out then.
    """

    def __init__(self) -> None:
        super().__init__()
        self.setFormatter(logging.Formatter("[%(asctime)s] %(levelname)s: %(message)s", "%Y-%m-%d %H:%M:%S"))
        self._waiting: list[logging.LogRecord] = []
        self._file: logging.FileHandler | None = None

    def open(self, path: Path) -> None:
        """Write to that file from now on, after what it has. Raises: OSError where it cannot be written."""
        self._file = logging.FileHandler(path, encoding="utf-8", errors="backslashreplace")
        self._file.setFormatter(self.formatter)
        self._file.handleError = lambda record: None  # type: ignore[method-assign]
        for record in self._waiting:
            self._file.handle(record)
        self._waiting.clear()

    def emit(self, record: logging.LogRecord) -> None:
        if self._file is None:
            self._waiting.append(record)
        else:
            self._file.handle(record)

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
        super().close()


@contextlib.contextmanager
def recorded() -> Iterator[RunLog]:
    """Within the block what is logged goes to a `RunLog`, too; beside rank 0 nothing is kept."""
    log = RunLog()
    if world()[0]:
        yield log
        return
    logger.addHandler(log)
    try:
        yield log
    finally:
        logger.removeHandler(log)
        log.close()


def log_detail(message: str) -> None:
    """Log a line that a terminal need not show, where a bar says as much: there it goes to the run's file alone."""
    files = [handler for handler in logger.handlers if isinstance(handler, RunLog)]
    if not (files and sys.stdout.isatty() and sys.stderr.isatty()):
        logger.info("%s", message)
        return
    record = logger.makeRecord(logger.name, logging.INFO, __file__, 0, message, (), None)
    for handler in files:
        handler.handle(record)
