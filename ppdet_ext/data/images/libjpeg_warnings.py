"""What libjpeg complains about while a picture is decoded.

libjpeg replaces damaged data by grey or by the neighbouring block and goes on; the count of its warnings would tell, but
neither OpenCV nor Pillow hands it out. It prints the first warning of each picture to stderr, though, and is read there.
"""

import contextlib
import os
import re
import threading
from collections.abc import Iterator

_STDERR = 2
# Some cameras put a byte or two between the data and the end marker; every block was decoded then.
_MOST_PADDING = 4
_DAMAGE = re.compile(rb"^(?:Corrupt JPEG data|Premature end of JPEG|Inconsistent progression)[^\n]*\n?", re.MULTILINE)
_PADDING = re.compile(rb"(\d+) extraneous bytes before marker 0xd9")
_lock = threading.Lock()


@contextlib.contextmanager
def libjpeg_warning() -> Iterator[list[str]]:
    """A list that holds libjpeg's warning about damaged data, if it had one, once the block is left.

    stderr goes to memory meanwhile (some 10 µs in all); what else was written to it, by any thread, is passed on.
    """
    found: list[str] = []
    with _lock:
        try:
            before = os.dup(_STDERR)
        except OSError:
            # A process without stderr cannot be asked.
            yield found
            return
        aside = os.memfd_create("stderr")
        try:
            os.dup2(aside, _STDERR)
            try:
                yield found
            finally:
                os.dup2(before, _STDERR)
                size = os.fstat(aside).st_size
                if size:
                    _sort_out(os.pread(aside, size, 0), found)
        finally:
            os.close(aside)
            os.close(before)


def _sort_out(written: bytes, found: list[str]) -> None:
    for match in _DAMAGE.finditer(written):
        padding = _PADDING.search(match.group())
        if padding is None or int(padding.group(1)) > _MOST_PADDING:
            found.append(match.group().decode("ascii", "replace").strip())
    rest = _DAMAGE.sub(b"", written)
    if rest:
        os.write(_STDERR, rest)
