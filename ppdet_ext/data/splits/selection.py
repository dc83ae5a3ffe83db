"""Choosing images: split files, folds, and which of the images without defects stay. Nothing here draws at random."""

import csv
import functools
import hashlib
import logging
from collections import defaultdict
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ppdet_ext.errors import UserError
from ppdet_ext.files.text import encoding_of
from ppdet_ext.structures import Record

PARTS = ("train", "val", "all")
# Column of the names, ImageId, as it is compared.
_NAME = "imageid"

logger = logging.getLogger("ppdet_ext")


@dataclass(frozen=True)
class SplitFile:
    """A split file's images, in its order, each once.

    path: of the file. rows: name -> number of its first line, counted from 1. folds: name -> fold number, of a file with
    a column `fold`, otherwise None. parts: likewise of a column `part` (train, val, …).
    """

    path: str
    rows: dict[str, int]
    folds: dict[str, int] | None = field(default=None)
    parts: dict[str, str] | None = field(default=None)


def hashed(name: str, seed: int) -> bytes:
    """A place for `name` in an order that is arbitrary but the same everywhere, whatever other names there are."""
    return hashlib.sha256(f"{seed}:{name}".encode(errors="surrogateescape")).digest()


def check_selection(split: str | None, fold: int | None, num_folds: int, part: str) -> None:
    """What data sets check of `select_images`' arguments before anything is read. Raises: UserError naming the key."""
    if fold is not None and not 0 <= fold < num_folds:
        raise UserError(f"fold: {fold} is none of the {num_folds} folds (num_folds), counted from 0.")
    if split is not None:
        return
    if part not in PARTS:
        raise UserError(f"part: {part!r} is not one of {', '.join(PARTS)}.")
    if fold is None and part != "all":
        raise UserError(f"part: {part} needs a fold, as in `fold: 0`, or a split file that says each image's part.")


def select_images(
    names: Sequence[str],
    classes_of: Mapping[str, Iterable[int]],
    *,
    split: str | None,
    fold: int | None,
    num_folds: int,
    part: str,
    seed: int,
) -> list[str]:
    """The images of a data set that its keys `split`, `fold`, `num_folds`, `part` and `seed` choose.

    A CSV with a column `fold` (of tools/split.py): part "val" is that fold, "train" the others. One with a column `part`:
    its rows with that value; no fold is needed. Any other file lists the images to use, in the order of use. Where a fold is
    not in the file, images are dealt out by `fold_of`.

    Args:
        names: of all images of the data set, each once.
        classes_of: name -> labels in the image; no entry means none. Asked only where `fold_of` deals out.
        split: path of the file, or None.

    Raises: UserError naming the file and the row, or the key, where these do not go together.
    """
    check_selection(split, fold, num_folds, part)
    if split is None:
        return list(names) if fold is None else _dealt(names, classes_of, fold, num_folds, part, seed)
    file = _known_split(split, set(names))
    if file.folds is not None and (fold is not None or file.parts is None):
        return _of_fold(file, file.folds, fold, num_folds, part)
    if file.parts is not None:
        if fold is not None:
            _say_unused(split, fold)
        return _of_part(file, file.parts, part)
    if fold is not None:
        listed = file.rows.keys()
        return [name for name in _dealt(names, classes_of, fold, num_folds, part, seed) if name in listed]
    if part != "all":
        raise UserError(f"part: {part} needs a fold, or a column `part` or `fold` in the split file {split}.")
    return list(file.rows)


@functools.cache
def _say_unused(split: str, fold: int) -> None:
    """Once in a process: the data sets of a command share their split file."""
    logger.info("split file %s has no folds but parts: its column `part` is used, and fold: %d is not", split, fold)


def _alike(name: str, known: Iterable[str]) -> str:
    """The hint with an image whose name differs in capitals, folder or suffix only: others are numbered, thus all alike."""
    stem = Path(name.replace("\\", "/")).stem.casefold()
    found = sorted(other for other in known if Path(other).stem.casefold() == stem)
    return f" Did you mean {found[0]!r}?" if len(found) == 1 else ""


def _known_split(split: str, known: set[str]) -> SplitFile:
    """The split file. Raises: UserError where it names an image that is not known."""
    file = read_split_file(split, known)
    unknown = [name for name in file.rows if name not in known]
    if unknown:
        raise UserError(
            f"split file {split}, row {file.rows[unknown[0]]}: the data set has no image {unknown[0]}"
            f"{f' (nor {len(unknown) - 1} others that the file names)' if len(unknown) > 1 else ''}."
            f"{_alike(unknown[0], known)} "
            "Make the file anew for this data set, or take the rows out."
        )
    return file


def _of_fold(file: SplitFile, folds: dict[str, int], fold: int | None, num_folds: int, part: str) -> list[str]:
    beyond = next((name for name, number in folds.items() if number >= num_folds), None)
    if beyond is not None:
        raise UserError(
            f"split file {file.path}, row {file.rows[beyond]}: {beyond} is in fold {folds[beyond]}, but num_folds is "
            f"{num_folds} (folds count from 0). Set num_folds: {max(folds.values()) + 1}, or make the file anew."
        )
    _check_part(part)
    if part == "all":
        return list(file.rows)
    if fold is None:
        raise UserError(f"part: {part} needs a fold, as in `fold: 0`; the split file {file.path} has a column `fold`.")
    chosen = [name for name, number in folds.items() if (number == fold) == (part == "val")]
    if not chosen:
        raise UserError(f"split file {file.path}: no image is left with part: {part}, fold: {fold}.")
    return chosen


def _of_part(file: SplitFile, parts: dict[str, str], part: str) -> list[str]:
    if part == "all":
        return list(file.rows)
    chosen = [name for name, value in parts.items() if value == part]
    if not chosen:
        found = ", ".join(sorted(set(parts.values())))
        raise UserError(f"part: {part!r} is no part in the split file {file.path}; there are {found}, and `all`.")
    return chosen


def _dealt(
    names: Sequence[str], classes_of: Mapping[str, Iterable[int]], fold: int, num_folds: int, part: str, seed: int
) -> list[str]:
    _check_part(part)
    folds = fold_of(names, [frozenset(classes_of.get(name, ())) for name in names], num_folds, seed)
    return [names[i] for i in np.flatnonzero(in_part(folds, fold, part))]


def _check_part(part: str) -> None:
    if part not in PARTS:
        raise UserError(f"part: {part!r} is not one of {', '.join(PARTS)}.")


def read_split(path: str) -> list[str]:
    """Image names of a split file in its order; see `read_split_file`."""
    return list(read_split_file(path).rows)


def read_split_file(path: str, known: Container[str] = ()) -> SplitFile:
    """Read a split file: one image name a line, or a CSV with a header.

    The names are its column ImageId, or else its first; the columns `fold` and `part` are optional; capitals do not matter. A
    first line without ImageId is a header where it begins with neither a file name (with a dot) nor one of the `known` names.

    Raises: UserError when the file cannot be read, names no image, has a column twice, has a fold that is no number, or says
        different things of one image.
    """
    rows = _rows(path, known)
    first = rows[0][1] if rows else []
    header = [cell.lower() for cell in first]
    if _NAME in header or (first and "." not in first[0] and first[0] not in known):
        rows = rows[1:]
    else:
        header = []
    twice = next((key for key in (_NAME, "fold", "part") if header.count(key) > 1), None)
    if twice is not None:
        raise UserError(f"split file {path} has several columns {twice} (capitals do not matter); keep one.")
    column = header.index(_NAME) if _NAME in header else 0
    named = [(line, row[column], row) for line, row in rows if len(row) > column and row[column]]
    if not named:
        raise UserError(f"split file {path} names no image. It holds one image name a line.")
    found: dict[str, int] = {}
    for line, name, _ in named:
        found.setdefault(name, line)
    folds = _column(path, "fold", header, named)
    return SplitFile(
        path,
        found,
        None if folds is None else {name: _fold_number(path, found[name], text) for name, text in folds.items()},
        _column(path, "part", header, named),
    )


def _encoding(path: str) -> str:
    with open(path, "rb") as file:
        return encoding_of(file.read(4))


def _rows(path: str, known: Container[str]) -> list[tuple[int, list[str]]]:
    """(line number, cells) of the lines that are not blank; cells are stripped, unless the blanks are a known name's own."""
    # A pseudo-label file serves as well, whose masks can be longer than the 128 KiB that csv takes for a field.
    csv.field_size_limit(2**31 - 1)
    try:
        # Names of files need not be UTF-8; they come as the operating system's functions give them.
        reader = csv.reader(Path(path).read_text(encoding=_encoding(path), errors="surrogateescape").splitlines())
        return [(reader.line_num, [cell if cell in known else cell.strip() for cell in row]) for row in reader if row]
    except (OSError, csv.Error) as fault:
        raise UserError(f"split file {path} cannot be read ({fault}). It holds one image name a line.") from None


def _column(path: str, key: str, header: list[str], named: list[tuple[int, str, list[str]]]) -> dict[str, str] | None:
    """Name -> text in column `key`, if there is one."""
    if key not in header:
        return None
    at = header.index(key)
    found: dict[str, tuple[int, str]] = {}
    for line, name, row in named:
        text = row[at] if len(row) > at else ""
        if not text:
            raise UserError(f"split file {path}, row {line}: the column {key} is empty for {name}.")
        first, before = found.setdefault(name, (line, text))
        if before != text:
            raise UserError(
                f"split file {path}, rows {first} and {line}: {name} is in {key} {before} and in {key} {text}. Keep one row."
            )
    return {name: text for name, (_, text) in found.items()}


def _fold_number(path: str, line: int, text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise UserError(f"split file {path}, row {line}: fold {text!r} is not a whole number from 0 on.")
    return int(text)


def fold_of(names: Sequence[str], strata: Sequence[frozenset[int]], num_folds: int, seed: int) -> np.ndarray:
    """Fold number (n,) int64 of every image.

    Images with the same set of classes (`strata`) are dealt out in hashed order, each stratum going on where the one
    before stopped; so every fold gets its share of each class and folds differ by at most one image.
    """
    groups: dict[tuple[int, ...], list[int]] = defaultdict(list)
    for position, classes in enumerate(strata):
        groups[tuple(sorted(classes))].append(position)
    folds = np.empty(len(names), np.int64)
    dealt = 0
    for key in sorted(groups):
        for position in sorted(groups[key], key=lambda i: hashed(names[i], seed)):
            folds[position] = dealt % num_folds
            dealt += 1
    return folds


def in_part(folds: np.ndarray, fold: int, part: str) -> np.ndarray:
    """(n,) bool: validation is the fold itself, training all others."""
    if part == "all":
        return np.ones(len(folds), bool)
    return (folds == fold) == (part == "val")


def keep_empty(names: list[str], num_filled: int, ratio: float, seed: int) -> set[str]:
    """Which images without objects stay, so that they are `ratio` of all; outside [0, 1) all of them stay, as in ppdet."""
    if not 0 <= ratio < 1:
        return set(names)
    count = min(len(names), int(num_filled * ratio / (1 - ratio)))
    return set(sorted(names, key=lambda name: hashed(name, seed))[:count])


def spread(records: Sequence[Record], count: int) -> list[Record]:
    """That many images, by their names alone: first those that bring a class that the ones before have not."""
    order = sorted(records, key=lambda record: hashed(record.name, 0))
    seen: set[int] = set()
    first: list[Record] = []
    rest: list[Record] = []
    for record in order:
        own = set(record.labels.tolist())
        (rest if own <= seen else first).append(record)
        seen |= own
    return [*first, *rest][:count]
