"""Faults found in a data set: collected, counted, named, raised or reported together, and kept with what was read."""

import hashlib
import json
import logging
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from ppdet_ext.errors import UserError, counted
from ppdet_ext.files.cache import ArrayCache, content_key

SHOWN = 10

logger = logging.getLogger("ppdet_ext")


class Problems:
    """Collects faults by kind so that one message tells everything that is wrong with a data set."""

    def __init__(self, source: str):
        self.source = source
        self.found: dict[str, list[str]] = {}
        # Images whose annotations are incomplete because of a fault.
        self.images: set[str] = set()
        self.remedies: dict[str, str] = {}
        # What is no fault, but was decided for the user.
        self.notes: dict[str, list[str]] = {}

    def add(self, kind: str, detail: str, image: str | None = None, remedy: str | None = None) -> None:
        """Note a fault.

        Args:
            image: name of the one whose annotations the fault makes incomplete, so that it must not be used.
            remedy: a sentence on what to do about faults of this kind.
        """
        # File names that are no UTF-8 could not be printed.
        self.found.setdefault(kind, []).append(detail.encode(errors="backslashreplace").decode())
        if image is not None:
            self.images.add(image)
        if remedy is not None:
            self.remedies[kind] = remedy

    def note(self, kind: str, detail: str) -> None:
        """Note what is no fault; `settle` warns of it."""
        self.notes.setdefault(kind, []).append(detail.encode(errors="backslashreplace").decode())

    def packed(self) -> np.ndarray:
        """All faults as (bytes,) uint8, to be kept with what was read."""
        content = {"found": self.found, "images": sorted(self.images), "remedies": self.remedies, "notes": self.notes}
        return np.frombuffer(json.dumps(content).encode(), np.uint8)

    def include(self, packed: np.ndarray) -> None:
        """Add what `packed` gave."""
        content = json.loads(packed.tobytes())
        for own, kept in ((self.found, content["found"]), (self.notes, content.get("notes", {}))):
            for kind, details in kept.items():
                own.setdefault(kind, []).extend(details)
        self.images.update(content["images"])
        self.remedies.update(content["remedies"])

    def __len__(self) -> int:
        return sum(len(details) for details in self.found.values())

    def text(self) -> str:
        """One line per kind: how many, and the first ten by name; below it what to do, where something is known."""
        lines = []
        for kind, details in self.found.items():
            lines.append(f"  {_first_few(kind, details)}")
            if kind in self.remedies:
                lines.append(f"    {self.remedies[kind]}")
        return "\n".join(lines)

    def settle(self, on_error: str) -> None:
        """Warn of what was noted; log faults (`on_error="skip"`) or raise.

        Raises: UserError unless the configuration says to skip.
        """
        for kind, details in self.notes.items():
            logger.warning("%s: %s", self.source, _first_few(kind, details))
        if not self.found:
            return
        if on_error == "skip":
            logger.warning("%s: skipped, as on_error: skip says\n%s", self.source, self.text())
            return
        raise UserError(f"{self.source} has faults\n{self.text()}\n  Mend them, or set `on_error: skip` to go on without them.")


def _first_few(kind: str, details: Sequence[str]) -> str:
    more = f", and {len(details) - SHOWN} more" if len(details) > SHOWN else ""
    return f"{counted(len(details), kind)}: {'; '.join(details[:SHOWN])}{more}"


def cached_arrays(
    file: str, folder: str, parts: Sequence[object], read: Callable[[Problems], dict[str, np.ndarray]], problems: Problems
) -> dict[str, np.ndarray]:
    """What `read` makes of an annotation file, and the faults it finds: read once, then from `folder`/.cache.

    What an earlier content of the file has left in `folder`/.cache goes. A common cache folder, as of $PPDET_EXT_CACHE, may
    hold that of other data sets with files of the same name, so there it stays.

    Args:
        file: in `folder` or elsewhere.
        parts: what else the arrays and faults depend on.
        read: puts faults into the `Problems` that it is given.
        problems: gets the faults, new or stored ones.
    """
    source = hashlib.sha256(repr((os.path.relpath(file, folder), *parts)).encode()).hexdigest()[:16]
    key = f"{source}-{content_key(file, *parts)}"
    store = ArrayCache(Path(folder) / ".cache")
    arrays = store.load(key)
    if arrays is None:
        own = Problems(file)
        arrays = {**read(own), "problems": own.packed()}
        store.store(key, arrays, instead_of=f"{source}-*.npz")
    problems.include(arrays.pop("problems"))
    return arrays
