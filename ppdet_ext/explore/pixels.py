"""What is seen of pictures once they are read: brightness, contrast, sharpness, and which are the same picture.

Each picture is read once, on several threads; what was found is kept beside the data set, by the file's size and time.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from ppdet_ext.data.images.decode import read_image
from ppdet_ext.data.images.depth import Reading
from ppdet_ext.data.images.raster import is_deep
from ppdet_ext.data.splits.duplicates import Fingerprint, fingerprint_of, group_duplicates
from ppdet_ext.distributed.progress import track
from ppdet_ext.errors import UserError
from ppdet_ext.files.cache import ArrayCache

VERSION = 1
CELLS = 512  # numbers of a fingerprint
MANY = 200  # pictures from which progress is shown
LONGEST = 1024  # pixels of the longer side at which sharpness is measured
FIELDS = ("brightness", "contrast", "sharpness")


@dataclass(frozen=True)
class Pixels:
    """Of n picture files.

    values: (n, 3) float64: mean and standard deviation of the grey levels (0 to 255), and variance of their Laplacian at no
    more than 1,024 px, which is low where a picture is blurred; NaN of a file that cannot be read. group: (n,) int64, equal for
    files that are the same picture; a number of its own for what cannot be read. faults: by file, in words.
    """

    values: np.ndarray
    group: np.ndarray
    faults: dict[str, str]


def read_pixels(files: Sequence[str], reading: Reading, workers: int, folder: Path) -> Pixels:
    """Look at all pictures; what has been looked at before, and is unchanged, is taken from `folder`/.cache.

    files: each may stand there several times. workers: threads; 0: one for each core.
    """
    single = list(dict.fromkeys(files))
    stamps = [_stamp(file) for file in single]
    store = ArrayCache(folder / ".cache")
    key = "pixels-" + hashlib.sha256(repr((VERSION, str(folder.resolve()), reading)).encode()).hexdigest()[:16]
    kept = _kept(store.load(key))
    missing = [file for file, stamp in zip(single, stamps) if stamp not in kept]
    faults: dict[str, str] = {}
    stamp_of = dict(zip(single, stamps))
    looked: Iterable[Row | str] = _looked(missing, reading, workers)
    for file, found in zip(missing, track(looked, len(missing), "Pictures") if len(missing) >= MANY else looked):
        if isinstance(found, str):
            faults[file] = found
        else:
            kept[stamp_of[file]] = found
    if missing:
        _store(store, key, kept)
    rows = [None if file in faults else kept[stamp_of[file]] for file in single]
    number = {file: i for i, file in enumerate(single)}
    back = np.array([number[file] for file in files], np.int64)
    values = np.array([[np.nan] * 3 if row is None else row[:3] for row in rows], np.float64).reshape(-1, 3)
    return Pixels(values[back], _groups(rows)[back] if len(back) else back, faults)


def _stamp(file: str) -> str:
    """The file, its size and when it was written; what is not there has none."""
    try:
        found = os.stat(file)
    except OSError:
        return "-"
    # Names that are no text cannot be stored as such.
    name = os.path.abspath(file).encode(errors="surrogateescape").decode(errors="backslashreplace")
    return f"{name}|{found.st_size}|{found.st_mtime_ns}"


Row = np.ndarray  # (3 + _DIGEST + CELLS,) float32: values, numbers of the file's digest, the fingerprint
_DIGEST = 16


def _looked(files: Sequence[str], reading: Reading, workers: int) -> Iterator[Row | str]:
    pool = ThreadPoolExecutor(workers or len(os.sched_getaffinity(0)))
    look: Callable[[str], Row | str] = lambda file: _look(file, reading)  # noqa: E731
    try:
        yield from pool.map(look, files)
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _look(file: str, reading: Reading) -> Row | str:
    try:
        seen = fingerprint_of(file)
        grey = _grey(file, reading)
    except UserError as fault:
        return str(fault)
    values = [grey.mean(), grey.std(), cv2.Laplacian(_smaller(grey), cv2.CV_32F).var()]
    vector = np.zeros(CELLS, np.float32) if seen.vector is None else seen.vector
    # Sixteen bytes of the digest, a number each.
    digest = np.frombuffer(seen.digest[:_DIGEST], np.uint8)
    # Half precision is what is kept: with or without a cache the same pictures are the same.
    return np.concatenate([values, digest, vector.astype(np.float16)]).astype(np.float32)


def _grey(file: str, reading: Reading) -> np.ndarray:
    grey = None
    if not is_deep(file):
        grey = cv2.imdecode(np.fromfile(file, np.uint8), cv2.IMREAD_GRAYSCALE)
    return cv2.cvtColor(read_image(file, reading), cv2.COLOR_RGB2GRAY) if grey is None else grey


def _smaller(grey: np.ndarray) -> np.ndarray:
    factor = LONGEST / max(grey.shape)
    return cv2.resize(grey, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA) if factor < 1 else grey


def _groups(rows: Sequence[Row | None]) -> np.ndarray:
    """Group numbers of fingerprints; what could not be read is alone."""
    known = [i for i, row in enumerate(rows) if row is not None]
    groups = np.arange(len(rows))
    if known:
        found = group_duplicates([_fingerprint(rows[i]) for i in known])
        groups[known] = np.array(known)[np.unique(found, return_index=True)[1]][found]
    return groups


def _fingerprint(row: Row | None) -> Fingerprint:
    assert row is not None
    vector = row[3 + _DIGEST :]
    length = float(np.linalg.norm(vector))
    return Fingerprint(row[3 : 3 + _DIGEST].astype(np.uint8).tobytes(), vector / length if length else None)


def _kept(arrays: dict[str, np.ndarray] | None) -> dict[str, Row]:
    if arrays is None:
        return {}
    rows = np.concatenate(
        [arrays["values"], arrays["digests"].astype(np.float32), arrays["vectors"].astype(np.float32)], axis=1
    )
    return dict(zip(arrays["stamps"].tolist(), rows))


def _store(store: ArrayCache, key: str, kept: dict[str, Row]) -> None:
    rows = np.array(list(kept.values()), np.float32).reshape(-1, 3 + _DIGEST + CELLS)
    values, digests, vectors = rows[:, :3], rows[:, 3 : 3 + _DIGEST].astype(np.uint8), rows[:, 3 + _DIGEST :].astype(np.float16)
    store.store(key, {"stamps": np.array(list(kept), dtype=str), "values": values, "digests": digests, "vectors": vectors})
