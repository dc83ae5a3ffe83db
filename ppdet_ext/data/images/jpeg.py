"""Just enough of the JPEG format (ITU-T T.81, annex B) to read a size and to tell whether a file is complete."""

import re

START = b"\xff\xd8"
END = b"\xff\xd9"
_START_OF_FRAME = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_START_OF_SCAN = 0xDA
_EXIF = 0xE1
# Inside entropy-coded data FF00 is a stuffed FF, FFD0-FFD7 are restarts, and FFFF is fill: none of them ends the scan.
_NEXT_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]", re.DOTALL)


def is_jpeg(data: bytes) -> bool:
    return data[:3] == b"\xff\xd8\xff"


def frame_size(data: bytes) -> tuple[int, int] | None:
    """(height, width) of the frame header if the first bytes of a file, `data`, hold it.

    None when the header lies further on, or when the file carries EXIF data, which may turn the picture.
    """
    at = 2
    while at + 9 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker == 0xFF:
            at += 1
        elif marker in _START_OF_FRAME:
            return int.from_bytes(data[at + 5 : at + 7], "big"), int.from_bytes(data[at + 7 : at + 9], "big")
        elif marker in (_EXIF, _START_OF_SCAN):
            return None
        else:
            at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return None


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
