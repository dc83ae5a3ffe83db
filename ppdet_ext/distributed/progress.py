"""Showing how far a loop over images is, on several ranks by the first."""

from collections.abc import Callable, Iterable, Iterator

from ppdet_ext.progress import Item, log_above_bars, shown

from .environment import world

__all__ = ["log_above_bars", "track"]


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
    yield from shown(items, total, f"{title}, rank 0 of {ranks}" if ranks > 1 else title, count, unit)
