"""Showing how far a loop over images is: a bar on a terminal, now and then a log line elsewhere."""

import contextlib
import datetime
import logging
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from .environment import world

Item = TypeVar("Item")
LINES = 10
logger = logging.getLogger("ppdet_ext")


def track(
    items: Iterable[Item], total: int, title: str, count: Callable[[Item], int] = lambda item: 1, unit: str = "image"
) -> Iterator[Item]:
    """The items, with progress shown; on several ranks by rank 0, of its own items.

    Args:
        items: what to pass on.
        total: number of images in them.
        title: what is going on, e.g. 'Eval'.
        count: number of images of one item.
        unit: what is counted, if not images.
    """
    rank, ranks = world()
    if rank != 0:
        yield from items
        return
    title = f"{title}, rank 0 of {ranks}" if ranks > 1 else title
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


@contextlib.contextmanager
def log_above_bars() -> Iterator[None]:
    """Within the block, on a terminal, log lines are written above a bar that is shown, not into it."""
    with logging_redirect_tqdm([logging.getLogger("ppdet_ext")]) if sys.stderr.isatty() else contextlib.nullcontext():
        yield
