"""Label files in the folders that a user names."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence


def common_root(paths: Sequence[str]) -> str:
    """The folder that holds all of the files and folders; names are relative to it."""
    return os.path.commonpath([path if os.path.isdir(path) else os.path.dirname(path) for path in map(os.path.abspath, paths)])


def files_below(paths: Sequence[str], suffix: str) -> list[tuple[str, str]]:
    """(path, name) of the files of that suffix, sorted in each folder; names are relative to the common root, with `/`.

    suffix: in small letters; the files may have capitals. Named files are taken whatever their suffix.
    """
    root, found = common_root(paths), {}
    for path in paths:
        files = [path] if os.path.isfile(path) else _walk(path, suffix)
        found.update({file: os.path.relpath(os.path.abspath(file), root).replace(os.sep, "/") for file in files})
    return list(found.items())


def _walk(folder: str, suffix: str) -> Iterable[str]:
    for place, folders, files in os.walk(folder):
        # Archives of macOS have a folder of doubles.
        folders[:] = sorted(name for name in folders if not name.startswith(".") and name != "__MACOSX")
        for name in sorted(files):
            if name.lower().endswith(suffix) and not name.startswith("."):
                yield os.path.join(place, name)
