"""A small cache of arrays on disk: keyed by content, written atomically, never needed."""

import contextlib
import hashlib
import logging
import os
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from .atomic import replacing

logger = logging.getLogger("ppdet_ext")


def content_key(file: str, *parts: object) -> str:
    """Hex digest of a file's content and of the parts' reprs."""
    digest = hashlib.sha256(repr(parts).encode())
    with open(file, "rb") as opened:
        while block := opened.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()[:32]


class ArrayCache:
    """Named sets of arrays as .npz files, in `folder` or, where that is read-only, in the user's cache folder.

    $PPDET_EXT_CACHE names another place instead. Without a writable folder nothing is kept; a damaged file counts as absent.
    """

    def __init__(self, folder: Path) -> None:
        home = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "ppdet_ext"
        chosen = os.environ.get("PPDET_EXT_CACHE")
        self.own = None if chosen else folder
        self.folders = [Path(chosen)] if chosen else [folder, home]

    def load(self, key: str) -> dict[str, np.ndarray] | None:
        """The arrays stored under `key`, or None."""
        for folder in self.folders:
            path = folder / f"{key}.npz"
            try:
                with np.load(path, allow_pickle=False) as stored:
                    return {name: stored[name] for name in stored.files}
            except FileNotFoundError:
                continue
            except (OSError, ValueError, EOFError, zipfile.BadZipFile) as fault:
                logger.warning("%s: cache file cannot be read (%s); building it again", path, fault)
        return None

    def store(self, key: str, arrays: dict[str, np.ndarray], instead_of: str | None = None) -> Path | None:
        """Write the arrays aside and rename them into place; their path, or None if no folder is writable.

        instead_of: pattern of file names that go from `folder` (never from one for all data sets) once that is done. Who is
            reading one of them reads on; who comes too late builds it again.
        """
        for folder in self.folders:
            try:
                folder.mkdir(parents=True, exist_ok=True)
                path = _write(folder, key, arrays)
            except OSError as fault:
                logger.debug("%s: no cache here (%s)", folder, fault)
                continue
            if folder == self.own and instead_of is not None:
                _remove(folder.glob(instead_of), path)
            return path
        logger.info("no writable cache folder; set PPDET_EXT_CACHE to keep parsed annotations between runs")
        return None


def _write(folder: Path, key: str, arrays: dict[str, Any]) -> Path:
    path = folder / f"{key}.npz"
    with replacing(path, durable=False) as aside, aside.open("xb") as file:
        np.savez(file, **arrays)
    return path


def _remove(paths: Iterable[Path], but: Path) -> None:
    for path in paths:
        if path != but:
            with contextlib.suppress(OSError):
                path.unlink()
