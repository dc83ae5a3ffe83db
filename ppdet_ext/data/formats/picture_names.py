"""`PictureNames`: which picture a name in a CSV means, where names have no suffix or say nothing of the folder."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence

from ppdet_ext.errors import UserError

Size = tuple[int, int]


class PictureNames:
    """Finds the pictures that names mean.

    A name is first that of a file; else what `file_id` makes of the path of one; else, without a picture's suffix, that of the
    only file of the folder that is called so but for its suffix.

    Args:
        pattern: regular expression of a picture's whole path below the folder, with named groups; "" for none.
        file_id: name in the CSV, of the groups in braces ("{day}_{slice}"). The groups height and width tell the size.

    Raises: UserError for a pattern that is none, or lacks a group of `file_id`.
    """

    def __init__(self, pattern: str = "", file_id: str = "{name}") -> None:
        self.file_id = file_id
        try:
            self.pattern = re.compile(pattern) if pattern else None
        except re.error as fault:
            raise UserError(f"file_pattern: {pattern!r} is no regular expression ({fault}).") from None
        groups = {} if self.pattern is None else dict.fromkeys(self.pattern.groupindex, "")
        try:
            self.file_id.format_map(groups if self.pattern else {"name": ""})
        except (LookupError, ValueError, AttributeError):
            there = ", ".join(f"{{{name}}}" for name in groups) or "{name}"
            raise UserError(f"file_id: {file_id!r} needs groups that file_pattern has not; there are {there}.") from None
        self.sizes: dict[str, Size] = {}
        self._files: set[str] = set()
        self._by_id: dict[str, list[str]] = {}

    def learn(self, listed: Sequence[str], below: Iterable[str]) -> None:
        """Take note of the pictures directly in the folder, and of those in its sub-folders."""
        self._files, self._by_id = {*listed, *below}, {}
        stems: dict[str, list[str]] = {}
        for file in sorted(self._files):
            match = self.pattern.fullmatch(file.replace(os.sep, "/")) if self.pattern else None
            if match is not None:
                groups = match.groupdict()
                self._by_id.setdefault(self.file_id.format_map(groups), []).append(file)
                if groups.get("height") and groups.get("width"):
                    self.sizes[file] = int(groups["height"]), int(groups["width"])
        for file in listed:
            stems.setdefault(os.path.splitext(file)[0], []).append(file)
        for stem, files in stems.items():
            self._by_id.setdefault(stem, files)

    def file_of(self, name: str) -> str:
        """The file that a name means; the name itself where none is known. Raises: UserError where it means several."""
        if name in self._files:
            return name
        found = self._by_id.get(name, [])
        if len(found) > 1:
            raise UserError(f"{name!r} may be {' or '.join(found[:5])}. Leave one of them in the folder, or write it in full.")
        return found[0] if found else name

    def any_file_of(self, name: str) -> str:
        """As `file_of`; of several the first."""
        return name if name in self._files else next(iter(self._by_id.get(name, ())), name)

    @property
    def described(self) -> tuple[str, str]:
        """What decides, beside the files, which of them a name means."""
        return self.pattern.pattern if self.pattern else "", self.file_id

    def named(self) -> list[str]:
        """Pictures in sub-folders and elsewhere that the pattern makes part of the data set."""
        return sorted(file for files in self._by_id.values() for file in files)

    def made_of(self, file: str) -> str | None:
        """The name in the CSV that the pattern makes of a picture's path; None where it is of another form."""
        match = self.pattern.fullmatch(file.replace(os.sep, "/")) if self.pattern else None
        return None if match is None else self.file_id.format_map(match.groupdict())
