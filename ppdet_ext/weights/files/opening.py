"""Opening a weights file: what it is by its first bytes, and whatever is wrong with it said in one way."""

import contextlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from ppdet_ext.errors import UserError

ZIP_MAGIC = b"PK\x03\x04"
# How the pickle of the magic number of torch's older format begins, in every binary protocol.
LEGACY_NUMBER = 0x1950A86A20F9469CFC6C
LEGACY_MAGIC = b"\x8a\x0a" + LEGACY_NUMBER.to_bytes(10, "little")
READABLE = "(.pdparams, .pth, .safetensors)"
START = 64
LONGEST_NAME = 300


class Malformed(Exception):
    """What a file asks for or holds cannot be: it is damaged or forged; the text says how."""


class Refused(Malformed):
    """The file may be whole, but what it asks for or holds is not what a weights file should."""


def shown(value: object, limit: int = 80) -> str:
    """A value of a file in a message: short, and without what a terminal would obey."""
    text = ascii(value)
    return text if len(text) <= limit else f"{text[: limit - 3]}…"


def all_of(values: object, kind: type) -> bool:
    """Whether it is a list or tuple of values of that very type."""
    return isinstance(values, (list, tuple)) and all(type(value) is kind for value in values)


def check_name(name: object) -> str:
    """A tensor's name, as it is. Refused if it is no printable text of a name's length."""
    if type(name) is not str:
        raise Refused(f"it holds something named {shown(name)}, a {type(name).__name__}; names are text")
    if len(name) > LONGEST_NAME or not name.isprintable():
        raise Refused(f"it holds something named {shown(name)}; names are printable and of at most {LONGEST_NAME} letters")
    return name


@contextlib.contextmanager
def naming(path: Path) -> Iterator[None]:
    """Whatever is wrong with the file becomes a UserError that names it."""
    try:
        yield
    except UserError:
        raise
    except Refused as error:
        raise UserError(f"Weights file {path}: {error}.") from error
    except FileNotFoundError as error:
        raise UserError(f"Weights file {path} does not exist.") from error
    except OSError as error:
        raise UserError(f"Weights file {path} cannot be read: {error.strerror or error}") from error
    except MemoryError as error:
        raise UserError(f"Weights file {path}: it needs more memory than is free.") from error
    except Exception as error:  # a damaged file raises nearly anything
        why = error if isinstance(error, Malformed) else type(error).__name__
        raise UserError(
            f"Weights file {path} ({path.stat().st_size} bytes) is truncated or damaged, or no weights file: {why}. "
            "Nothing of it was run; copy it again or use an older checkpoint."
        ) from error


@contextlib.contextmanager
def opened(path: Path) -> Iterator[tuple[BinaryIO, int, bytes]]:
    """The file at its start, its size, and its first bytes. Refused if it is no ordinary file, or plainly something else."""
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
        if start.startswith(b"version https://git-lfs"):
            raise Refused("it is a pointer of Git LFS; fetch the file itself (git lfs pull)")
        if start.lstrip().startswith(b"<"):
            raise Refused("it is a web page; download it again")
        yield stream, status.st_size, start


def is_torch(start: bytes) -> bool:
    """Whether a file that starts with these bytes is one of torch's two formats (or another zip archive)."""
    return start.startswith(ZIP_MAGIC) or (start[:1] == b"\x80" and LEGACY_MAGIC in start[:32])


def is_safetensors(start: bytes) -> bool:
    """Whether a file that starts with these bytes may be one of safetensors: the length of its header, which is JSON."""
    return start[4:9] == b"\0\0\0\0{"


def suffix_by_content(path: Path) -> str:
    """The suffix for a file's content: '.pth', '.safetensors' or '.pdparams'. UserError if it is none of these."""
    with naming(path), opened(path) as (_, _, start):
        if is_torch(start):
            return ".pth"
        if is_safetensors(start):
            return ".safetensors"
        if start[:1] == b"\x80":
            return ".pdparams"
        raise Refused(f"it is no weights file that can be read here {READABLE}")
