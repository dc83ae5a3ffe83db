"""`Pictures`: the folder of pictures that labels name, however they write the names."""

from __future__ import annotations

import functools
import os
import re
import unicodedata
import urllib.parse
from collections import Counter, defaultdict
from collections.abc import Collection

from ppdet_ext.data.images.check import IMAGE_SUFFIXES
from ppdet_ext.data.images.decode import image_size
from ppdet_ext.errors import UserError, closest, counted

# Folders of exports that hold pictures, or labels with pictures among them.
_OF_PICTURES = ("images", "img", "imgs", "jpegimages", "annotations", "labels")
_SYSTEM_FILES = ("thumbs.db", "desktop.ini", ".ds_store")


class Pictures:
    """The pictures in a folder and its sub-folders, found by name.

    Args:
        folder: where they are; None for labels without pictures.
        below: whether all sub-folders count, or only those called "images", "img" and the like.

    Raises: UserError where there is no such folder.
    """

    def __init__(self, folder: str | None, below: bool = True) -> None:
        if folder is not None and not os.path.isdir(folder):
            raise UserError(f"{folder}: no such folder of pictures.")
        self.folder, self.below = folder, below
        # Files that systems put beside pictures (._a.jpg, Thumbs.db): not pictures, whatever their suffix.
        self.sidecars: Counter[str] = Counter()

    @functools.cached_property
    def _index(self) -> _Index:
        names: list[str] = []
        for place, folders, files in os.walk(self.folder) if self.folder is not None else ():
            here = os.path.relpath(place, self.folder).replace(os.sep, "/")
            chosen = [name for name in folders if self.below or here != "." or name.lower() in _OF_PICTURES]
            folders[:] = sorted(name for name in chosen if not name.startswith(".") and name != "__MACOSX")
            for name in files:
                if name.startswith("._") or name.lower() in _SYSTEM_FILES:
                    self.sidecars["._*" if name.startswith("._") else name] += 1
                elif name.lower().endswith(IMAGE_SUFFIXES):
                    names.append(name if here == "." else f"{here}/{name}")
        return _Index(sorted(names))

    def all(self) -> list[str]:
        """Names of all pictures, relative to the folder, with `/`, sorted."""
        return self._index.names

    def find(self, name: str, subset: str | None = None) -> str | None:
        """Path of the picture that labels call `name`; None where there is none, or several may be meant.

        In turn: the file of that path below the folder; one whose path ends so, whatever its capitals, Unicode form, URL
        encoding; the only one of its last part. A name without a picture's suffix stands for the file with any. Of several,
        the one below a folder named as the `subset`.
        """
        found = self._candidates(name, subset)
        return os.path.join(self.folder, *found[0].split("/")) if len(found) == 1 and self.folder is not None else None

    def size(self, name: str, subset: str | None = None) -> tuple[int, int]:
        """(height, width) of a picture, from its header, turned as EXIF says. Raises: UserError where it is not found."""
        path = self.find(name, subset)
        if path is None:
            raise UserError(self.why_missing(name, subset))
        return image_size(path)

    def why_missing(self, name: str, subset: str | None = None, masks: Collection[str] = ()) -> str:
        """One sentence on a picture that `find` does not find, with near names and what to do.

        masks: paths of files among the pictures that are none, and not to be offered.
        """
        if self.folder is None:
            return f"{name}: the labels do not tell its size. Say where the pictures are: --images DIR."
        found = self._candidates(name, subset)
        if len(found) > 1:
            return f"{name}: may be {' or '.join(found[:5])} in {self.folder}. Leave one of them there."
        last = _plain(name).rpartition("/")[2]
        near = [file for file in closest(last, self._index.by_last, 9) if _may_be_meant(last, file)][:3]
        others = [file for file in self.all() if os.path.join(self.folder, *file.split("/")) not in masks]
        files = [file for plain in near for file in self._index.by_last[plain] if file in others]
        which = f", which has {counted(len(others), 'other pictures')}" if others else ", which has no picture"
        found_near = f". There is {', '.join(files[:3])}" if files else which
        return f"{name}: no such picture in {self.folder}{found_near}. Say where the pictures are: --images DIR."

    def _candidates(self, name: str, subset: str | None) -> list[str]:
        index, plain = self._index, _plain(name)
        if name in index.exact:
            return [name]
        last = plain.rpartition("/")[2]
        found = index.by_last.get(last) or ([] if last.endswith(IMAGE_SUFFIXES) else index.by_stem.get(last, []))
        # Frames of a thousand videos have one name: whole paths are looked up, not searched for.
        if len(found) > 1 and (same := index.by_path.get(plain)):
            found = same
        for part in (plain, f"{_plain(subset)}/{plain}" if subset else None) if len(found) > 1 else ():
            ending = [file for file in found if part and _ends_with(_plain(file), part)]
            found = ending if ending else found
        if len(found) > 1 and subset:
            found = [file for file in found if _plain(subset) in _plain(file).split("/")[:-1]] or found
        return found


class _Index:
    """The names in the ways that they are looked up."""

    def __init__(self, names: list[str]) -> None:
        self.names, self.exact = names, set(names)
        self.by_last: dict[str, list[str]] = defaultdict(list)
        self.by_stem: dict[str, list[str]] = defaultdict(list)
        self.by_path: dict[str, list[str]] = defaultdict(list)
        for name in names:
            self.by_path[_plain(name)].append(name)
            last = _plain(name).rpartition("/")[2]
            self.by_last[last].append(name)
            self.by_stem[os.path.splitext(last)[0]].append(name)


def _may_be_meant(name: str, file: str) -> bool:
    """Whether the names are alike without suffix and with the same numbers: 0001.jpg is not meant where 0002.jpg is said."""
    stems = [os.path.splitext(one)[0] for one in (name, file)]
    numbers = [[*map(int, re.findall(r"[0-9]+", stem))] for stem in stems]
    return numbers[0] == numbers[1] and bool(closest(stems[0], stems[1:]))


def _ends_with(path: str, part: str) -> bool:
    """Whether whole parts at the end of a path are `part`; a part without suffix stands for any suffix."""
    stem = path if part.endswith(IMAGE_SUFFIXES) else os.path.splitext(path)[0]
    return f"/{path}".endswith(f"/{part}") or f"/{stem}".endswith(f"/{part}")


def _plain(name: str) -> str:
    """A name without what differs between systems and tools: capitals, URL encoding, Unicode's forms, back slashes."""
    return unicodedata.normalize("NFC", urllib.parse.unquote(name)).casefold().replace("\\", "/")
