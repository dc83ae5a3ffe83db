"""The pictures that the page shows, each with what is known of it. Threads add and change them; the page asks what is new."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import numpy as np

from ppdet_ext.structures import Detections, Record

from .matching import Match

# What becomes of a picture's prediction: there, or not asked for; waiting for its turn; being made; not to be had.
READY, WAITING, RUNNING, FAILED = "", "waiting", "running", "failed"


@dataclass(slots=True)
class Item:
    """A picture.

    number: its place in the catalogue, which is what an address of the page names it by.
    name: unique in the catalogue; decisions are kept under it.
    file: path. height, width: in pixels, as annotations count them.
    part: of which data it is: "eval", "fold 2", "dropped", "watched".
    truth: its annotations; None where none are known, which is not the same as none there.
    found: what a model has found; None where nobody has looked.
    match: of both; None until they are compared.
    state, error: of the prediction.
    im_id: its number in the data set.
    version: the catalogue's, when this was changed last.
    """

    name: str
    file: str
    height: int
    width: int
    part: str
    truth: Record | None = None
    found: Detections | None = None
    match: Match | None = None
    state: str = READY
    error: str = ""
    im_id: int = -1
    number: int = -1
    version: int = 0

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) in pixels."""
        return self.height, self.width

    @property
    def truth_labels(self) -> np.ndarray:
        """(n,) int64 of the annotations."""
        return np.zeros(0, np.int64) if self.truth is None else self.truth.labels


@dataclass
class Catalogue:
    """All pictures, in the order in which they came. Threads share it: what is changed is changed inside of `change`."""

    items: list[Item] = field(default_factory=list)
    version: int = 0
    _names: set[str] = field(default_factory=set)
    _lock: threading.RLock = field(default_factory=threading.RLock)

    def add(self, items: Iterable[Item]) -> list[Item]:
        """Take pictures in; one whose name is taken gets a number behind its name."""
        added = []
        with self._lock:
            self.version += 1
            for item in items:
                item.name = self._free(item.name)
                item.number, item.version = len(self.items), self.version
                self._names.add(item.name)
                self.items.append(item)
                added.append(item)
        return added

    def change(self, item: Item, how: Callable[[Item], object]) -> None:
        """Let `how` change a picture, and note that it is to be told."""
        with self._lock:
            how(item)
            self.version += 1
            item.version = self.version

    def since(self, version: int) -> tuple[int, list[Item]]:
        """(the version now, the pictures that were changed after `version`)."""
        with self._lock:
            if version >= self.version:
                return self.version, []
            return self.version, [item for item in self.items if item.version > version]

    def get(self, number: int) -> Item | None:
        """The picture of a number; None where there is none."""
        return self.items[number] if 0 <= number < len(self.items) else None

    def _free(self, name: str) -> str:
        free, number = name, 1
        while free in self._names:
            number += 1
            free = f"{name} ({number})"
        return free
