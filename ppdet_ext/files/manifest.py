"""A checkpoint's manifest: sizes and hashes of its files, which tell a complete folder from a torn one."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection
from pathlib import Path
from typing import Any

from ppdet_ext.errors import UserError

from .atomic import digest

MANIFEST = "manifest.json"
FORMAT = 1


def demand_whole(file: Path) -> None:
    """UserError if the manifest beside a file says that it was another one; nothing where there is no manifest."""
    try:
        entry = json.loads((file.parent / MANIFEST).read_text(encoding="utf-8"))["files"][file.name]
    except (OSError, KeyError, RecursionError, TypeError, ValueError):
        return
    if (file.stat().st_size, digest(file)) != (entry["bytes"], entry["sha256"]):
        raise UserError(f"Checkpoint file {file} is damaged: it is not what {MANIFEST} says of it.")


def write_manifest(folder: Path, facts: dict[str, Any]) -> None:
    """Describe all files of `folder` in its manifest: sizes, hashes, and `facts` (versions, world size, …)."""
    files = {
        path.name: {"bytes": path.stat().st_size, "sha256": digest(path)}
        for path in sorted(folder.iterdir())
        if path.name != MANIFEST
    }
    content = {"format": FORMAT, **facts, "files": files}
    text = json.dumps({**content, "sha256": _own_digest(content)}, indent=1)
    (folder / MANIFEST).write_text(text, encoding="utf-8")


def _own_digest(content: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def read_manifest(folder: Path, required: Collection[str]) -> dict[str, Any]:
    """The manifest of `folder`, after a look that every file is what it says.

    Raises:
        UserError: naming the file that is missing or damaged; files of the names `required` must be there.
    """
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        if manifest["format"] != FORMAT:
            raise UserError(
                f"Checkpoint {folder} has format {manifest['format']}; its {MANIFEST} is damaged or of another version."
            )
        if manifest.pop("sha256") != _own_digest(manifest):
            raise UserError(f"Checkpoint {folder} has a damaged {MANIFEST}: it is not what its own hash says.")
        files = manifest["files"]
        for name in {*required, *files}:
            path = folder / Path(name).name
            if path.stat().st_size != files[name]["bytes"] or digest(path) != files[name]["sha256"]:
                raise UserError(f"Checkpoint file {path} is damaged: it is not what {MANIFEST} says of it.")
    except UserError:
        raise
    except OSError as error:
        named = Path(error.filename).name if error.filename else ""
        raise UserError(f"Checkpoint {folder} is not complete: {named}: {error.strerror or error}.") from error
    except (AttributeError, KeyError, RecursionError, TypeError, ValueError) as error:
        raise UserError(f"Checkpoint {folder} has a damaged {MANIFEST} ({type(error).__name__}: {error}).") from error
    return manifest
