"""Showing how far a loop over images is: a bar on a terminal, now and then a log line elsewhere."""

import contextlib
import datetime
import logging
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

Item = TypeVar("Item")
LINES = 10
logger = logging.getLogger("ppdet_ext")


def shown(
    items: Iterable[Item], total: int, title: str, count: Callable[[Item], int] = lambda item: 1, unit: str = "image"
) -> Iterator[Item]:
    """The items, with progress shown; arguments as of `distributed.progress.track`, which is for several ranks."""
    if sys.stderr.isatty():
        with tqdm(total=total, desc=title, unit=unit, leave=False) as bar:
            for item in items:
                yield item
                bar.update(count(item))
        return
    every = max(1, total // LINES)
    began, done, shown = time.perf_counter(), 0, 0
    for item in items:
        yield item
        done += count(item)
        if done - shown >= every and done < total:
            shown = done
            speed = done / (time.perf_counter() - began)
            eta = datetime.timedelta(seconds=int((total - done) / speed))
            logger.info("%s: [%d/%d] eta: %s ips: %.2f %ss/s", title, done, total, eta, speed, unit)


class LogLines(logging.StreamHandler):
    """Log lines on stdout, for as long as somebody reads them: behind `| head` a training goes on."""

    def handleError(self, record: logging.LogRecord) -> None:
        """Send everything else that is printed, and what is flushed at the end, nowhere, once nobody reads it."""
        if not isinstance(sys.exc_info()[1], BrokenPipeError):
            super().handleError(record)
            return
        with open(os.devnull, "w") as nowhere:
            os.dup2(nowhere.fileno(), 1)
        print("Nobody reads the log any more; the command goes on without it.", file=sys.stderr)


@contextlib.contextmanager
def log_above_bars() -> Iterator[None]:
    """Within the block, on a terminal, log lines are written above a bar that is shown, not into it."""
    with logging_redirect_tqdm([logging.getLogger("ppdet_ext")]) if sys.stderr.isatty() else contextlib.nullcontext():
        yield
