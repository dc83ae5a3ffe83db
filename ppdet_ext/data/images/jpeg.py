"""Just enough of JPEG (ITU-T T.81, annex B) and EXIF to read size and orientation, and to tell whether a file is complete."""

import re
from typing import Literal

START = b"\xff\xd8"
END = b"\xff\xd9"
_START_OF_FRAME = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_START_OF_SCAN = 0xDA
_APP1 = 0xE1
_EXIF = b"Exif\0\0"
_BYTE_ORDERS: dict[bytes, Literal["little", "big"]] = {b"II*\0": "little", b"MM\0*": "big"}
_ORIENTATION = 0x0112
_ENTRY = 12
# Inside entropy-coded data FF00 is a stuffed FF, FFD0-FFD7 are restarts, and FFFF is fill: none of them ends the scan.
_NEXT_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]", re.DOTALL)


def is_jpeg(data: bytes) -> bool:
    return data[:3] == b"\xff\xd8\xff"


def frame_of(data: bytes) -> tuple[int, int, int] | None:
    """(height, width, EXIF orientation, 1 for none) if the first bytes of a file, `data`, hold them; None otherwise.

    Of several APP1 segments the first one counts, as in OpenCV.
    """
    at, orientation = 2, 0
    while at + 9 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker == 0xFF:
            at += 1
        elif marker in _START_OF_FRAME:
            height, width = (int.from_bytes(data[place : place + 2], "big") for place in (at + 5, at + 7))
            return height, width, orientation or 1
        elif marker == _START_OF_SCAN:
            return None
        else:
            length = int.from_bytes(data[at + 2 : at + 4], "big")
            if marker == _APP1 and not orientation:
                orientation = _orientation(data[at + 4 : at + 2 + length])
            at += 2 + length
    return None


def _orientation(segment: bytes) -> int:
    """The orientation, 1 to 8, that the first directory of an EXIF segment holds; 1 where it holds none."""
    tiff = segment.removeprefix(_EXIF)
    order = _BYTE_ORDERS.get(tiff[:4])
    if order is None or len(tiff) == len(segment):
        return 1
    start = int.from_bytes(tiff[4:8], order)
    end = start + 2 + _ENTRY * int.from_bytes(tiff[start : start + 2], order)
    for at in range(start + 2, min(end, len(tiff)), _ENTRY):
        if int.from_bytes(tiff[at : at + 2], order) == _ORIENTATION:
            found = int.from_bytes(tiff[at + 8 : at + 10], order)
            return found if 1 <= found <= 8 else 1
    return 1


def is_complete(data: bytes) -> bool:
    """Whether the file's own end marker follows its scans.

    Searching for the two bytes FFD9 is not enough: an embedded thumbnail has them too, and a file cut by a broken
    transfer may be filled up with zeros.
    """
    at = 2
    while at + 4 <= len(data):
        if data[at] != 0xFF:
            return False
        marker = data[at + 1]
        if marker == 0xFF:
            at += 1
            continue
        if marker == END[1]:
            return True
        at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        if marker == _START_OF_SCAN:
            found = _NEXT_MARKER.search(data, at)
            if found is None:
                return False
            at = found.start()
    return data[at : at + 2] == END
