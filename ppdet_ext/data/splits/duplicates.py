"""Finding images that are the same picture: the same bytes, or encoded or resized anew.

A picture is reduced to 17 x 17 grey cells, and these to the differences between neighbours, as in a difference hash (dHash,
https://www.hackerfactor.com/blog/index.php?/archives/529-Kind-of-Like-That.html). But a hash keeps only their signs, which the
noise of a dark or even area decides anew with each encoding; so differences are kept as numbers, cut off at `_CLIP` grey
levels so that the edge of a steel sheet does not outweigh everything that tells two sheets apart. Two pictures are the same
where the cosine of these vectors is `SAME` or more. Encoded anew (JPEG quality 50 to 95) or resized by 0.5 to 1.5, the
cosine is above 0.93 (real and drawn steel sheets, photographs); between different ones it is at most 0.55, 0.86 where one
half of all sheets is made black, and 0.2 between sheets that are nothing but noise. Pictures flatter than `_FLAT` have nothing
to compare and are the same by their bytes only.
"""

from __future__ import annotations

import hashlib
import logging
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from ppdet_ext.data.images.decode import image_size, read_image
from ppdet_ext.data.images.depth import BY_IMAGE, Reading
from ppdet_ext.data.images.raster import is_deep
from ppdet_ext.distributed.progress import track
from ppdet_ext.errors import UserError, counted
from ppdet_ext.files.cache import content_key

logger = logging.getLogger("ppdet_ext")
SAME = 0.9
_NAMED = 3
_MANY = 200  # pictures from which progress is shown
_CELLS = 17
_CLIP = 2.0
# Root mean square of the clipped differences, in units of _CLIP.
_FLAT = 0.05
# libjpeg decodes at 1/8, 1/4 or 1/2 of the size for a fraction of the time; cells then still have so many pixels a side.
_REDUCED = {
    8: cv2.IMREAD_REDUCED_GRAYSCALE_8,
    4: cv2.IMREAD_REDUCED_GRAYSCALE_4,
    2: cv2.IMREAD_REDUCED_GRAYSCALE_2,
    1: cv2.IMREAD_GRAYSCALE,
}
_PIXELS = 6
# Copies are told by what differs within a picture, so its own range serves.
_OWN_RANGE = Reading(range=BY_IMAGE)
# Rows compared at a time: 512 x 45,000 cosines are 92 MB.
_ROWS = 512


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """What is compared of a picture.

    digest: of the file's bytes. vector: (512,) float32 of length 1, or None of a flat picture.
    """

    digest: bytes
    vector: np.ndarray | None


def fingerprint_of(file: str) -> Fingerprint:
    """Read and reduce a picture. Raises: UserError naming the file when it cannot be read or decoded."""
    size = image_size(file)
    try:
        data = Path(file).read_bytes()
    except OSError as fault:
        raise UserError(f"{file}: cannot be read ({fault.strerror}).") from fault
    fraction = next((f for f in _REDUCED if min(size) >= f * _PIXELS * _CELLS), 1)
    # OpenCV keeps the high byte of 16 bits, which is black of a sensor's 12.
    picture = None if is_deep(file) else cv2.imdecode(np.frombuffer(data, np.uint8), _REDUCED[fraction])
    if picture is None:
        picture = cv2.cvtColor(read_image(file, _OWN_RANGE), cv2.COLOR_RGB2GRAY)
    return Fingerprint(hashlib.sha256(data).digest(), _differences(picture))


def _differences(picture: np.ndarray) -> np.ndarray | None:
    # INTER_AREA averages all pixels of a cell, so that noise and ringing of an encoding cancel out.
    cells = cv2.resize(picture.astype(np.float32), (_CELLS, _CELLS), interpolation=cv2.INTER_AREA)
    # Differences, not grey levels: a brighter copy is the same picture. One row and column less makes both alike in size.
    steps = np.concatenate([np.diff(cells, axis=1)[:-1].ravel(), np.diff(cells, axis=0)[:, :-1].ravel()])
    vector = np.clip(steps / _CLIP, -1, 1)
    length = np.linalg.norm(vector)
    return None if length < _FLAT * np.sqrt(vector.size) else vector / length


def fingerprints(files: Sequence[str]) -> Iterator[Fingerprint]:
    """`fingerprint_of` of each file in their order, on all cores."""
    pool = ThreadPoolExecutor(len(os.sched_getaffinity(0)))
    try:
        yield from pool.map(fingerprint_of, files)
    finally:
        # After an error or Ctrl-C nobody waits for thousands of pictures.
        pool.shutdown(wait=True, cancel_futures=True)


def group_duplicates(found: Sequence[Fingerprint]) -> np.ndarray:
    """Group number (n,) int64 of every picture, from 0; equal for those that are one picture, be it by way of others."""
    first: dict[bytes, int] = {}
    group = np.array([first.setdefault(print_.digest, len(first)) for print_ in found], np.int64)
    # One of each identical file is compared with the others.
    _, of_bytes = np.unique(group, return_index=True)
    at = np.array([i for i in of_bytes.tolist() if found[i].vector is not None], np.int64)
    if not len(at):
        return group
    # Vectors have length 1, so a product of matrices is all cosines; in blocks of rows, and each pair once.
    vectors = np.stack([found[i].vector for i in at]).astype(np.float32)
    for start in range(0, len(at), _ROWS):
        row, column = np.nonzero(vectors[start : start + _ROWS] @ vectors[start:].T >= SAME)
        group = _joined(group, group[at[start + row]], group[at[start + column]])
    return group


def _joined(group: np.ndarray, one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """The groups after those numbered `one` are joined with those numbered `other`, (m,) each."""
    count = int(group.max()) + 1
    graph = coo_matrix((np.ones(len(one), bool), (one, other)), shape=(count, count))
    return connected_components(graph, directed=False)[1].astype(np.int64)[group]


def duplicate_groups(names: Sequence[str], files: Sequence[str], fate: str = "which stay together") -> np.ndarray:
    """`group_duplicates` of picture files, with progress and a line for the log that calls them by `names`.

    fate: what becomes of those of a group, in words.
    """
    found = fingerprints(files)
    groups = group_duplicates(list(track(found, len(files), "Duplicates") if len(files) >= _MANY else found))
    sizes = np.bincount(groups)
    several = np.flatnonzero(sizes > 1)
    if not len(several):
        logger.info("No duplicates among %s", counted(len(names), "images"))
        return groups
    largest = several[np.argsort(-sizes[several], kind="stable")][:_NAMED]
    examples = "; ".join(_some([names[i] for i in np.flatnonzero(groups == group)]) for group in largest)
    logger.info(
        "%d of %d images are duplicates of others: %s of up to %d images, %s (%s%s)",
        int((sizes[several] - 1).sum()),
        len(names),
        counted(len(several), "groups"),
        int(sizes.max()),
        fate,
        examples,
        "; …" if len(several) > _NAMED else "",
    )
    return groups


def _some(names: list[str]) -> str:
    return " = ".join(names[:_NAMED]) + (f" = … ({len(names)} images)" if len(names) > _NAMED else "")


def same_bytes(files: Sequence[str]) -> np.ndarray:
    """Group number (n,) int64 of each file, from 0; equal for files of the same content, found without decoding any.

    Only files of equal size are read. Raises: UserError naming a file that cannot be read.
    """
    try:
        sizes = [Path(file).stat().st_size for file in files]
        often = Counter(sizes)
        # A file of a size of its own needs no other key than its place.
        keys = [content_key(file) if often[size] > 1 else str(place) for place, (file, size) in enumerate(zip(files, sizes))]
    except OSError as fault:
        raise UserError(f"{fault.filename} cannot be read: {fault.strerror}.") from fault
    number: dict[str, int] = {}
    return np.array([number.setdefault(key, len(number)) for key in keys], np.int64)
