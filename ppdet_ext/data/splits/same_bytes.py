"""Images that are files of the same bytes, found without decoding any."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ppdet_ext.errors import UserError
from ppdet_ext.files.cache import content_key


def same_bytes(files: Sequence[str]) -> np.ndarray:
    """Group number (n,) int64 of each file, from 0; equal for files of the same content.

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
