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
_TABLE = " For a table of run lengths: python tools/new_config.py {}"

_UNREADABLE = "No file of labels can be read. {}"

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
    paths: Sequence[str], format: LabelFormat | None, formats: Formats, broken: dict[str, str] | None = None
) -> tuple[LabelFormat, list[str], list[str]]:
    """(format, the files or folders to give to its reader, notes on what is left out).

    A folder that is one format's own layout goes to the reader as it is; of any other the JSON and XML files are told apart,
    and those of no format left out.

    format: the one that the user names; None to tell it by content.
    formats: all that there are.
    broken: gets the faults of damaged JSON and XML files, by path, which are left out; None: they are errors.

    Raises: UserError where there is nothing of a known format, or files of several.
    """
    paths = _readable(paths, broken)
    found: dict[str, list[str]] = {}
    strange: list[str] = []
    notes: list[str] = []
    for path in paths:
        if format is not None and not os.path.isdir(path):
            found.setdefault(format.name, []).append(path)
            continue
        head = head_of(path)
        own = _format_of(head, format, formats)
        if own is not None:
            found.setdefault(own.name, []).append(path)
            if format is None and not own.own:
                _add_others(head, own, formats, found)
        elif os.path.isdir(path):
            notes += _sort_files(head, format, formats, found, strange, broken)
        else:
            check_start(path, head.start)
            hint = _TABLE.format(path) if path.lower().endswith(".csv") else ""
            raise UserError(f"{path}: not the labels of a tool that is known. {_known(formats)}{hint}")
    if len(found) > 1:
        raise UserError(_several(found, formats))
    if not found:
        raise UserError(_nothing(paths, format, formats) if not broken else _UNREADABLE.format(next(iter(broken.values()))))
    ((name, files),) = found.items()
    left = ", ".join(strange[:3]) + (", …" if len(strange) > 3 else "")
    notes += [f"{counted(len(strange), 'files')} of another kind left out: {left}"] if strange else []
    return formats[name], files, notes


def _readable(paths: Sequence[str], broken: dict[str, str] | None) -> list[str]:
    """The paths without damaged JSON and XML files, which go into `broken`; without it, or a single one, they stay.

    Raises: UserError where none is named.
    """
    if not paths:
        raise UserError("No file of labels is named.")
    if broken is None or len(paths) == 1:
        return list(paths)
    for path in filter(os.path.isfile, paths):
        try:
            head_of(path)
        except UserError as fault:
            broken[path] = str(fault)
    return [path for path in paths if path not in broken]


def _format_of(head: Head, format: LabelFormat | None, formats: Formats) -> LabelFormat | None:
    return detect(head, formats) if format is None else format if format.looks_like(head) else None


def _add_others(head: Head, own: LabelFormat, formats: Formats, found: dict[str, list[str]]) -> None:
    """Put other tools' JSON and XML files in a folder of one's layout, which its reader passes over, into `found`."""
    others = [name for name in head.names if name.lower().endswith((".json", ".xml")) and not own.owns(name)]
    for name in tracked(others, "Looking for labels", "file"):
        file = os.path.join(head.path, *name.split("/"))
        try:
            other = detect(head_of(file), formats)
        except UserError:
            continue
        if other is not None and other.name != own.name:
            found.setdefault(other.name, []).append(file)


def _sort_files(
    head: Head,
    format: LabelFormat | None,
    formats: Formats,
    found: dict[str, list[str]],
    strange: list[str],
    broken: dict[str, str] | None,
) -> list[str]:
    """Put the JSON and XML files of a folder into `found` by format, and those of none into `strange`; returns notes.

    A damaged one is an error, or goes into `broken`, unless another suffix says that it is something else.
    """
    files = [os.path.join(head.path, *name.split("/")) for name in head.names if not name.lower().endswith(IMAGE_SUFFIXES)]
    whole: list[str] = []
    for file in tracked(files, "Looking for labels", "file"):
        if _kind(_start_of(file)) is None:
            continue
        try:
            own = _format_of(content := head_of(file), format, formats)
            if own is not None and _is_whole(file, content):
                whole.append(file)
        except UserError as fault:
            if file.lower().endswith((".json", ".xml")):
                if broken is None:
                    raise
                broken[file] = str(fault)
                continue
            own = None
        (strange if own is None else found.setdefault(own.name, [])).append(file)
    coco, notes = found.get("coco", []), []
    for file in whole:
        if os.path.join(os.path.dirname(file), "train.json") in coco and file in coco:
            coco.remove(file)
            notes.append(f"{file} left out: the files of its sides beside it, as train.json, have its pictures")
    return notes


def _is_whole(file: str, head: Head) -> bool:
    """Whether a file is the all.json that `import_labels` writes beside those of its sides."""
    info = head.json.get("info") if isinstance(head.json, dict) else None
    made = str(info.get("description")) if isinstance(info, dict) else ""
    return os.path.basename(file) == "all.json" and made.startswith("made by import_labels")


def _nothing(paths: Sequence[str], format: LabelFormat | None, formats: Formats) -> str:
    """What to say of files and folders without labels: what they are in place of that, where it can be told."""
    what = f"nothing of the format {format.name}" if format else "no labels of a tool that is known"
    told = f"{', '.join(paths)}: {what} there. {_known(formats)}"
    if format is not None or len(paths) > 1 or not os.path.isdir(paths[0]):
        return told
    path, names = paths[0], _listing(paths[0])
    if not names:
        return f"{path}: the folder is empty. Name the file or folder that the label tool has exported."
    if all(name.lower().endswith(IMAGE_SUFFIXES) for name in names):
        return (
            f"{path}: {counted(len(names), 'pictures')} and no labels. Name what the label tool has exported, and this folder "
            f"by --images {path}."
        )
    parts = os.path.abspath(path).split(os.sep)
    if "labels" in parts[-2:] and any(name.endswith(".txt") for name in names):
        above = os.sep.join(parts[: len(parts) - 1 - parts[::-1].index("labels")])
        return f"{path}: a folder of YOLO's label files? Name the folder above, which has the pictures, too: {above}"
    tables = [os.path.join(path, name) for name in names if name.lower().endswith(".csv")]
    return told + (_TABLE.format(tables[0]) if tables else "")


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
