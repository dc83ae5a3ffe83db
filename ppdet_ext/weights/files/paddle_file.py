"""Opening a file of `paddle.save`."""

import contextlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from ppdet_ext.errors import UserError

from .byte_source import ByteSource
from .paddle_reader import ArrayReader
from .refused import Refused
from .state_dict import NAME_TABLE, entries_of
from .stored_tensor import Malformed
from .torch_legacy import is_legacy

START = 64


def read_data_file(path: Path, with_names: bool = False) -> dict[str, Any]:
    """Content of a file written by `paddle.save(state_dict)`: name -> numpy array (or plain value).

    Nothing that the file names is imported or called, and it takes no more memory than it has bytes, beside a fixed
    amount. Numbers of a learning-rate schedule, names and the like are of the type they have to be.

    Args:
        with_names: keep paddle's table (under `NAME_TABLE`) of the names that optimizer states know the tensors by.

    Raises:
        UserError: the file is missing, truncated, not such a file, or wants anything but data.
    """
    with _naming(path), _opened(path) as (stream, size):
        reader = ArrayReader(ByteSource(stream, size))
        entries = entries_of(reader.load())
    if not with_names:
        entries.pop(NAME_TABLE, None)
    return entries


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[tuple[BinaryIO, int]]:
    """The file at its start, and its bytes. Refused if it is no ordinary file, or by its first bytes another's."""
    # Opening a named pipe would otherwise wait for who writes to it.
    number = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    status = os.fstat(number)
    if not stat.S_ISREG(status.st_mode):
        os.close(number)
        raise Refused("it is a folder, a pipe or a device, no ordinary file")
    with os.fdopen(number, "rb") as stream:
        if status.st_size > os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"):
            raise Refused(f"it has {status.st_size} bytes, more than this machine's memory")
        start = stream.read(START)
        stream.seek(0)
        other = _what_else(start)
        if other:
            raise Refused(f"it is {other}")
        yield stream, status.st_size


def _what_else(start: bytes) -> str:
    """What a file is that does not come from `paddle.save`, by its first bytes; '' where they do not say."""
    if start.startswith(b"PK\x03\x04") or is_legacy(start):
        return "a zip archive or a checkpoint of torch; give the latter its suffix .pth"
    if start.startswith(b"version https://git-lfs"):
        return "a pointer of Git LFS; fetch the file itself (git lfs pull)"
    return "a web page; download it again" if start.lstrip().startswith(b"<") else ""


@contextlib.contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Whatever is wrong with the file becomes a UserError that names it."""
    try:
        yield
    except UserError:
        raise
    except Refused as error:
        raise UserError(f"Weights file {path}: {error}.") from error
    except OSError as error:
        raise UserError(f"Weights file {path} cannot be read: {error.strerror or error}") from error
    except MemoryError as error:
        raise UserError(f"Weights file {path}: it needs more memory than is free.") from error
    except Exception as error:  # a damaged pickle raises nearly anything
        why = error if isinstance(error, Malformed) else type(error).__name__
        raise UserError(
            f"Weights file {path} ({path.stat().st_size} bytes) is truncated or damaged, or no weights file: {why}. "
            "Nothing of it was run; copy it again or use an older checkpoint."
        ) from error
