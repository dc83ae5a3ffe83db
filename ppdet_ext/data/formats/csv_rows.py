"""Reading the two CSV formats of Kaggle's Severstal competition into rows of image, class, run-length text."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from ppdet_ext.data.problems import Problems
from ppdet_ext.errors import UserError

NEW_COLUMNS = ("ImageId", "ClassId", "EncodedPixels")
OLD_COLUMNS = ("ImageId_ClassId", "EncodedPixels")
# Rows parsed at a time; pandas would hold the whole file in memory, twice, otherwise.
_CHUNK = 2048
_EXPECTED = f"{','.join(NEW_COLUMNS)} (or the older {','.join(OLD_COLUMNS)})"


@dataclass(slots=True)
class SteelRows:
    """The rows of a CSV that may describe a mask, in file order, and every image the file names.

    images: sorted unique names. image: (n,) int64 positions in `images`. label: (n,) int64 from 0.
    position: (n,) int64 rows of the file counted from 0 after the header; row i is on line position[i] + 2.
    """

    images: list[str]
    image: np.ndarray
    label: np.ndarray
    position: np.ndarray


def read_rows(path: str, num_classes: int, problems: Problems) -> SteelRows:
    """Read the images and classes of a CSV in either format.

    A row with neither class nor pixels only says that there is such an image.
    Rows with an unknown class or repeating an image and class are put into `problems` and left out.
    Raises: UserError for an empty file, one that is no CSV, or wrong columns; OSError when it cannot be opened.
    """
    with _explained(path):
        columns = _columns(path)
        frame = pd.concat(_chunks(path, [name for name in columns if name != "EncodedPixels"]))
    frame = frame[(frame != "").any(axis=1)]
    if len(frame) == 0:
        raise UserError(f"{path}: the file has no rows. Expected rows under the columns {_EXPECTED}.")
    names, classes = _names_and_classes(frame)
    position = frame.index.to_numpy(np.int64)
    label = pd.to_numeric(classes, errors="coerce").to_numpy(np.float64) - 1
    known = np.isin(label, np.arange(num_classes))
    clean = _clean_rows(path, position, (classes == "").to_numpy())
    for row in np.flatnonzero(~known & ~clean):
        problems.add(
            f"rows of an unknown class (known: 1 to {num_classes})",
            f"{names.iloc[row]} class '{classes.iloc[row]}' (row {position[row] + 2})",
            names.iloc[row],
        )
    repeated = pd.DataFrame({"name": names, "label": label}).duplicated().to_numpy() & known
    for row in np.flatnonzero(repeated):
        problems.add(
            "duplicate rows of an image and class",
            f"{names.iloc[row]} class {int(label[row]) + 1} (row {position[row] + 2})",
            names.iloc[row],
        )
    chosen = known & ~repeated
    codes, images = pd.factorize(names, sort=True)
    return SteelRows(images.tolist(), codes[chosen].astype(np.int64), label[chosen].astype(np.int64), position[chosen])


def read_pixels(path: str) -> Iterator[str]:
    """The run-length text of every row of the file, in order; blank means no defect.

    A pass of its own, row by row: the text is nearly all of the file, and seldom needed once masks are cached.
    """
    with _explained(path):
        for chunk in _chunks(path, ["EncodedPixels"]):
            yield from chunk["EncodedPixels"]


def _clean_rows(path: str, position: np.ndarray, classless: np.ndarray) -> np.ndarray:
    """(n,) bool: rows without a class that have no pixels either. The text is read only if there may be any."""
    if not classless.any():
        return classless
    blank = np.array([not text.strip() for text in read_pixels(path)], bool)
    return classless & blank[position]


def _columns(path: str) -> tuple[str, ...]:
    found = pd.read_csv(path, nrows=0, encoding="utf-8-sig", skipinitialspace=True).columns.tolist()
    for columns in (NEW_COLUMNS, OLD_COLUMNS):
        if set(columns) <= set(found):
            return columns
    raise UserError(f"{path}: found the columns {','.join(map(str, found))[:200]}; expected {_EXPECTED}.")


def _chunks(path: str, columns: list[str]) -> Iterator[pd.DataFrame]:
    # Blank lines are read too, so that the index tells the line; missing fields come as NaN whatever is asked.
    chunks = pd.read_csv(
        path,
        dtype=str,
        keep_default_na=False,
        encoding="utf-8-sig",
        skip_blank_lines=False,
        skipinitialspace=True,
        usecols=columns,
        chunksize=_CHUNK,
    )
    for chunk in chunks:
        if not isinstance(chunk.index, pd.RangeIndex):
            raise pd.errors.ParserError("rows have more fields than the header")
        yield chunk.fillna("")


@contextlib.contextmanager
def _explained(path: str) -> Iterator[None]:
    try:
        yield
    except pd.errors.EmptyDataError:
        raise UserError(f"{path}: the file is empty. Expected the columns {_EXPECTED}.") from None
    except (pd.errors.ParserError, UnicodeDecodeError) as fault:
        raise UserError(f"{path}: not a CSV file ({fault}). Expected the columns {_EXPECTED}.") from None


def _names_and_classes(frame: pd.DataFrame) -> tuple[pd.Series, pd.Series]:
    if "ImageId_ClassId" not in frame.columns:
        return frame["ImageId"].str.strip(), frame["ClassId"].str.strip()
    parts = frame["ImageId_ClassId"].str.strip().str.rpartition("_")
    return parts[0], parts[2]
