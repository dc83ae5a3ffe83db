"""A folder whose new pictures come to the page by themselves, as those of a camera over a line."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable
from pathlib import Path

from ppdet_ext.data.images.check import IMAGE_SUFFIXES, is_sidecar
from ppdet_ext.data.images.decode import check_end, image_size
from ppdet_ext.errors import UserError

from .catalogue import Item

WATCHED = "watched"
_PATIENCE = 5  # looks at a file that does not change any more and still cannot be read
_Stamp = tuple[int, int]
logger = logging.getLogger("ppdet_ext")


class FolderWatch:
    """Looks at a folder every `seconds`, and hands over each picture once it is whole. Sub-folders are not looked at.

    A picture counts as whole when its size and time are those of the last look, and its end is there: cameras' programs
    write slowly, and some write under the final name.

    Args:
        folder: to watch.
        take: called with what is new, oldest first.
        seconds: between two looks.
        exif: whether sizes are those after EXIF's rotation.

    Raises: UserError where there is no such folder.
    """

    def __init__(self, folder: Path, take: Callable[[list[Item]], object], seconds: float = 1.0, exif: bool = True) -> None:
        if not folder.is_dir():
            raise UserError(f"--watch {folder}: there is no such folder.")
        self.folder, self.seconds, self.exif = folder, seconds, exif
        self._take = take
        self._seen: dict[str, _Stamp] = {}
        self._failed: dict[str, tuple[_Stamp, int]] = {}
        self._done: set[str] = set()
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._work, name="watch", daemon=True)

    def start(self) -> None:
        """Begin; what is in the folder already is taken at once."""
        self.look(settled=True)
        self._thread.start()

    def stop(self) -> None:
        """End, at once."""
        self._end.set()

    def _work(self) -> None:
        while not self._end.wait(self.seconds):
            self.look()

    def look(self, settled: bool = False) -> list[Item]:
        """One look; returns what it has handed over. settled: take files at once whose end is there."""
        whole = []
        for name, stamp in self._listed():
            if self._seen.get(name) == stamp or settled:
                item = self._item(name, stamp)
                if item is not None:
                    whole.append((stamp, item))
            self._seen[name] = stamp
        items = [item for _, item in sorted(whole, key=lambda pair: (pair[0][0], pair[1].name))]
        if items:
            self._take(items)
        return items

    def _listed(self) -> list[tuple[str, _Stamp]]:
        """(name, (time of change in ns, size)) of pictures that were not handed over yet."""
        found = []
        try:
            with os.scandir(self.folder) as entries:
                for entry in entries:
                    name = entry.name
                    if name in self._done or name.startswith(".") or is_sidecar(name):
                        continue
                    if name.lower().endswith(IMAGE_SUFFIXES) and entry.is_file():
                        status = entry.stat()
                        found.append((name, (status.st_mtime_ns, status.st_size)))
        except OSError as error:
            # A network drive may come back.
            logger.warning("%s cannot be looked at: %s", self.folder, error.strerror)
        return found

    def _item(self, name: str, stamp: _Stamp) -> Item | None:
        """The picture; None where it cannot be read (yet), which a warning says in the end, once."""
        last, looks = self._failed.get(name, (stamp, 0))
        if last == stamp and looks >= _PATIENCE:
            return None
        file = os.path.join(self.folder, name)
        try:
            check_end(file)
            height, width = image_size(file, self.exif)
        except UserError as error:
            looks = looks + 1 if last == stamp else 1
            self._failed[name] = stamp, looks
            if looks == _PATIENCE:
                logger.warning("Not shown: %s", error)
            return None
        self._done.add(name)
        return Item(name, file, height, width, WATCHED)
