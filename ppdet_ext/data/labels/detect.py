"""Which label tool has made a file or folder: told by its content, never by its name."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

from ppdet_ext.data.images.check import IMAGE_SUFFIXES
from ppdet_ext.errors import UserError, counted

from .collector import tracked
from .label_format import Head, LabelFormat
from .safety import check_start, read_json, read_xml

_START = 256
_MOST_LISTED = 1_000_000

Formats = Mapping[str, LabelFormat]


def head_of(path: str) -> Head:
    """What there is at a path. Raises: UserError where nothing is there, or what begins as JSON or XML is damaged."""
    if os.path.isdir(path):
        return Head(path, names=tuple(_listing(path)))
    start = _start_of(path)
    kind = _kind(start)
    if kind == "json":
        return Head(path, json=read_json(path), start=start)
    if kind == "xml":
        return Head(path, xml=read_xml(path), start=start)
    return Head(path, start=start)


def detect(head: Head, formats: Formats) -> LabelFormat | None:
    """The first format that knows this file or folder; None where none does."""
    return next((format for format in formats.values() if format.looks_like(head)), None)


def chosen_paths(
    paths: Sequence[str], format: LabelFormat | None, formats: Formats
) -> tuple[LabelFormat, list[str], list[str]]:
    """(format, the files or folders to give to its reader, notes on what is left out).

    A folder that is one format's own layout goes to the reader as it is; of any other the JSON and XML files are told apart,
    and those of no format left out.

    format: the one that the user names; None to tell it by content.
    formats: all that there are.

    Raises: UserError where there is nothing of a known format, or files of several.
    """
    if not paths:
        raise UserError("No file of labels is named.")
    found: dict[str, list[str]] = {}
    strange: list[str] = []
    for path in paths:
        if format is not None and not os.path.isdir(path):
            found.setdefault(format.name, []).append(path)
            continue
        head = head_of(path)
        own = _format_of(head, format, formats)
        if own is not None:
            found.setdefault(own.name, []).append(path)
        elif os.path.isdir(path):
            _sort_files(head, format, formats, found, strange)
        else:
            check_start(path, head.start)
            raise UserError(f"{path}: not the labels of a tool that is known. {_known(formats)}")
    if len(found) > 1:
        raise UserError(_several(found, formats))
    if not found:
        what = f"nothing of the format {format.name}" if format else "no labels of a tool that is known"
        raise UserError(f"{', '.join(paths)}: {what} there. {_known(formats)}")
    ((name, files),) = found.items()
    left = ", ".join(strange[:3]) + (", …" if len(strange) > 3 else "")
    notes = [f"{counted(len(strange), 'files')} of another kind left out: {left}"] if strange else []
    return formats[name], files, notes


def _format_of(head: Head, format: LabelFormat | None, formats: Formats) -> LabelFormat | None:
    return detect(head, formats) if format is None else format if format.looks_like(head) else None


def _sort_files(
    head: Head, format: LabelFormat | None, formats: Formats, found: dict[str, list[str]], strange: list[str]
) -> None:
    """Put the JSON and XML files of a folder into `found` by format, and those of none into `strange`.

    Raises: UserError for a damaged one, unless another suffix says that it is something else.
    """
    files = [os.path.join(head.path, *name.split("/")) for name in head.names if not name.lower().endswith(IMAGE_SUFFIXES)]
    for file in tracked(files, "Looking for labels", "file"):
        if _kind(_start_of(file)) is None:
            continue
        try:
            own = _format_of(head_of(file), format, formats)
        except UserError:
            if file.lower().endswith((".json", ".xml")):
                raise
            own = None
        (strange if own is None else found.setdefault(own.name, [])).append(file)


def _several(found: dict[str, list[str]], formats: Formats) -> str:
    each = [f"{formats[name].title}: {', '.join(files[:3])}{', …' if len(files) > 3 else ''}" for name, files in found.items()]
    return f"Files of several label tools ({'; '.join(each)}). Name those of one, or choose by --format {'|'.join(found)}."


def folder_of(paths: Sequence[str]) -> tuple[str, bool]:
    """(folder in which to look for pictures when the user names none, whether in all of its sub-folders)."""
    folders = [os.path.abspath(path) if os.path.isdir(path) else os.path.dirname(os.path.abspath(path)) for path in paths]
    folder = os.path.commonpath(folders)
    if os.path.basename(folder) in ("annotations", "labels"):
        return os.path.dirname(folder), False
    # The folder of a single file may be somebody's whole disk.
    return folder, len(paths) > 1 or os.path.isdir(paths[0])


def _listing(folder: str) -> list[str]:
    names: list[str] = []
    for place, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith(".") and name != "__MACOSX")
        here = os.path.relpath(place, folder).replace(os.sep, "/")
        names += [name if here == "." else f"{here}/{name}" for name in files if not name.startswith(".")]
        if len(names) > _MOST_LISTED:
            raise UserError(f"{folder}: more than {_MOST_LISTED} files. Name the folder of the labels alone.")
    return sorted(names)


def _start_of(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read(_START)
    except OSError as fault:
        raise UserError(f"{path}: cannot be read ({fault.strerror}).") from None


def _kind(start: bytes) -> str | None:
    """ "json" or "xml" by the first character of a file; None for anything else."""
    coding = "utf-16" if start[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    first = start.decode(coding, "ignore").lstrip()[:1]
    return "xml" if first == "<" else "json" if first and first in "{[" else None


def _known(formats: Formats) -> str:
    return f"Known are {', '.join(formats)}."
