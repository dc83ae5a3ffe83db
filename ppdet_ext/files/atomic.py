"""Files and folders that are there completely or not at all."""

import contextlib
import hashlib
import os
import shutil
import tempfile
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

from ppdet_ext.errors import UserError

# What a save is writing, what it replaces, what is being deleted.
PART, OLD, GONE = ".part", ".old", ".gone"


@contextlib.contextmanager
def replacing(path: Path, *, durable: bool = True) -> Iterator[Path]:
    """Gives the path of a file to write; at the end of the block it gets the name `path`, in the place of one that is there.

    It is in the same folder, so that the rename is atomic. When the block raises, nothing is left of it.

    Args:
        durable: the content is on the disk by then, whatever happens to the machine. False for what can be made again:
            several processes may do so at a time, each writes a file of its own.
    """
    own = "" if durable else f".{uuid.uuid4().hex}"
    aside = path.with_name(f".{path.name}{own}{PART}")
    try:
        yield aside
        if durable:
            sync(aside)
        os.replace(aside, path)
        if durable:
            sync(path.parent)
    except BaseException:
        with contextlib.suppress(OSError):
            aside.unlink()
        raise


def write_atomic(path: Path, write: Callable[[Path], object], setting: str = "save_dir", *, durable: bool = True) -> None:
    """Let `write` fill a file beside `path` (it is given that file's path), flush it, then put it in place.

    Args:
        setting: what the user changes to have it written elsewhere; for the message.
        durable: see `replacing`.

    Raises:
        UserError: the folder is not writable or the disk is full, or `path` is a device; what was there is left as it was.
    """
    try:
        _demand_regular(path, setting)
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path, durable=durable) as aside:
            write(aside)
    except OSError as error:
        raise UserError(f"Cannot write {path}: {_cause(error)}. Choose another {setting}.") from error


def _demand_regular(path: Path, setting: str) -> None:
    """UserError for a device, pipe or socket: /dev/null would be replaced by a file, where the user may do that."""
    if path.exists() and not path.is_file() and not path.is_dir():
        raise UserError(f"{setting} {path} is a device or a pipe; give a file to write.")


def demand_writable(path: Path, flag: str) -> None:
    """Look, before work whose outcome `path` is to hold, whether `write_atomic` could write it; its folder is made.

    Args:
        path: file to be written later; one that is there stays as it is.
        flag: what the user changes to have it written elsewhere; for the message.

    Raises:
        UserError: it is a folder or a device, or its folder cannot be made or written.
    """
    try:
        for taken in (path, path.with_name(f".{path.name}{PART}")):
            if taken.is_dir():
                raise UserError(f"{flag} {taken} is a folder; give the file to write.")
        _demand_regular(path, flag)
        path.parent.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=path.parent).close()
    except OSError as error:
        raise UserError(f"Cannot write {path}: {_cause(error)}. Choose another {flag}.") from error


@contextlib.contextmanager
def no_empty_folders(*files: Path) -> Iterator[None]:
    """When the block raises, folders that were made in it for these files, and are empty, are removed."""
    made = {folder for file in files for folder in file.parents if not folder.exists()}
    try:
        yield
    except BaseException:
        for folder in sorted(made, key=lambda folder: len(folder.parts), reverse=True):
            with contextlib.suppress(OSError):
                folder.rmdir()
        raise


@contextlib.contextmanager
def new_folder(path: Path, setting: str = "save_dir") -> Iterator[Path]:
    """Gives an empty folder to fill; at the end of the block all files in it are flushed and it gets the name `path`.

    A folder that had this name is replaced. When the block raises, nothing is left of it.

    Args:
        setting: what the user changes to have it written elsewhere; for the message.

    Raises:
        UserError: not writable, no folder, or the disk is full; what was there before is left as it was.
    """
    if path.exists() and not path.is_dir():
        # A device such as /dev/null would be moved away, where the user may do that.
        raise UserError(f"{setting} {path} is no folder; give one.")
    aside = path.with_name(f".{path.name}{PART}")
    try:
        shutil.rmtree(aside, ignore_errors=True)
        aside.mkdir(parents=True)
        yield aside
        for file in sorted(aside.iterdir()):
            sync(file)
        sync(aside)
        former = path.with_name(f".{path.name}{OLD}")
        if path.exists():
            shutil.rmtree(former, ignore_errors=True)
            os.rename(path, former)
        os.rename(aside, path)
        sync(path.parent)
        shutil.rmtree(former, ignore_errors=True)
    except OSError as error:
        shutil.rmtree(aside, ignore_errors=True)
        raise UserError(f"Cannot write {path}: {_cause(error)}{_room(path)} Choose another {setting}.") from error
    except BaseException:
        shutil.rmtree(aside, ignore_errors=True)
        raise


def remove_folder(path: Path) -> None:
    """Delete a folder; a kill in the midst leaves a hidden rest, never half a checkpoint under its name."""
    aside = path.with_name(f".{path.name}{GONE}")
    shutil.rmtree(aside, ignore_errors=True)
    os.rename(path, aside)
    shutil.rmtree(aside, ignore_errors=True)


def remove_rests(folder: Path) -> list[str]:
    """Delete what saves and deletions that were cut off have left in `folder`; gives the names.

    A folder that a save was about to replace when it was cut off gets its name back.
    """
    rests = [path for path in sorted(folder.glob(".*")) if path.suffix in (PART, OLD, GONE)]
    for path in rests:
        named = path.with_name(path.stem[1:])
        if path.suffix == OLD and not named.exists():
            path.rename(named)
        elif path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
    return [path.name for path in rests]


def sync(path: Path) -> None:
    """Wait until a file's or folder's content is on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def digest(path: Path, kind: str = "sha256") -> str:
    """SHA-256 of a file's content, or another of hashlib's, in hexadecimal digits."""
    found = hashlib.new(kind)
    with path.open("rb") as stream:
        while chunk := stream.read(1 << 20):
            found.update(chunk)
    return found.hexdigest()


def _cause(error: OSError) -> str:
    name = f"{Path(error.filename).name}: " if error.filename else ""
    return f"{name}{error.strerror or error}"


def _room(path: Path) -> str:
    try:
        free = shutil.disk_usage(path.parent).free
        kept = ", ".join(sorted(other.name for other in path.parent.iterdir() if not other.name.startswith(".")))
    except OSError:
        return "."
    return f"; {free / 1e6:.0f} MB are free there. Untouched: {kept or 'nothing was saved before'}."


def write_atomically(path: Path, content: bytes) -> None:
    """Write `content`, which can be made again, completely or not at all; OSError leaves no trace."""
    with replacing(path, durable=False) as aside:
        aside.write_bytes(content)
