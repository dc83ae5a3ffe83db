"""Reading the two CSV formats of Kaggle's Severstal competition into rows of (image, class, run-length text)."""

import io
from dataclasses import dataclass

import numpy as np
import pandas as pd

from ppdet_ext.errors import UserError

from .problems import Problems

NEW_COLUMNS = ("ImageId", "ClassId", "EncodedPixels")
OLD_COLUMNS = ("ImageId_ClassId", "EncodedPixels")
_EXPECTED = f"{','.join(NEW_COLUMNS)} (or the older {','.join(OLD_COLUMNS)})"


@dataclass(slots=True)
class SteelRows:
    """The rows of a CSV that describe a mask, in file order, and every image the file names.

    images: sorted unique names. image: (n,) int64 positions in `images`. label: (n,) int64 from 0.
    text: n Kaggle run-length strings. line: (n,) int64 line numbers in the file; the header is line 1.
    """

    images: list[str]
    image: np.ndarray
    label: np.ndarray
    text: list[str]
    line: np.ndarray


def read_rows(data: bytes, path: str, num_classes: int, problems: Problems) -> SteelRows:
    """Parse the content `data` of the CSV at `path`, in either format; blank pixels mean no defect.

    Rows with an unknown class or repeating an image and class are put into `problems` and left out.
    Raises: UserError for an empty file, one that is no CSV, or wrong columns.
    """
    frame = _read_frame(data, path)
    names, classes = _names_and_classes(frame, path)
    line = frame.index.to_numpy() + 2
    label = pd.to_numeric(classes, errors="coerce").to_numpy(np.float64) - 1
    known = np.isin(label, np.arange(num_classes))
    for row in np.flatnonzero(~known):
        problems.add(f"rows of an unknown class (known: 1 to {num_classes})",
                     f"{names.iloc[row]} class '{classes.iloc[row]}' (row {line[row]})")
    repeated = pd.DataFrame({"name": names, "label": label}).duplicated().to_numpy() & known
    for row in np.flatnonzero(repeated):
        problems.add("duplicate rows of an image and class",
                     f"{names.iloc[row]} class {int(label[row]) + 1} (row {line[row]})")
    text = frame["EncodedPixels"].str.strip()
    chosen = known & ~repeated & (text != "").to_numpy()
    codes, images = pd.factorize(names, sort=True)
    return SteelRows(images.tolist(), codes[chosen].astype(np.int64), label[chosen].astype(np.int64),
                     text[chosen].tolist(), line[chosen])


def _read_frame(data: bytes, path: str) -> pd.DataFrame:
    try:
        # Blank lines are read too, so that the index tells the line; missing fields come as NaN whatever is asked.
        frame = pd.read_csv(io.BytesIO(data), dtype=str, keep_default_na=False, encoding="utf-8-sig",
                            skip_blank_lines=False, skipinitialspace=True).fillna("")
    except pd.errors.EmptyDataError:
        raise UserError(f"{path}: the file is empty. Expected the columns {_EXPECTED}.") from None
    except (pd.errors.ParserError, UnicodeDecodeError) as fault:
        raise UserError(f"{path}: not a CSV file ({fault}). Expected the columns {_EXPECTED}.") from None
    frame = frame[(frame != "").any(axis=1)]
    if len(frame) == 0:
        raise UserError(f"{path}: the file has no rows. Expected rows under the columns {_EXPECTED}.")
    return frame


def _names_and_classes(frame: pd.DataFrame, path: str) -> tuple[pd.Series, pd.Series]:
    columns = set(frame.columns)
    if columns.issuperset(NEW_COLUMNS):
        return frame["ImageId"].str.strip(), frame["ClassId"].str.strip()
    if columns.issuperset(OLD_COLUMNS):
        parts = frame["ImageId_ClassId"].str.strip().str.rpartition("_")
        return parts[0], parts[2]
    raise UserError(f"{path}: found the columns {','.join(map(str, frame.columns))[:200]}; expected {_EXPECTED}.")
