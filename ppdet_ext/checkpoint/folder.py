"""A checkpoint's folder: its files, and the manifest that tells a complete one from a torn one."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ppdet_ext.errors import UserError
from ppdet_ext.files.atomic import digest

from .position import Position

CHECKPOINTS = "checkpoints"
WEIGHTS, OPTIMIZER, OWN_WEIGHTS = "model.pdparams", "model.pdopt", "model.pdema"
STATE, CONFIG, MANIFEST = "state.json", "config.yml", "manifest.json"
FORMAT = 1


@dataclass
class Checkpoint:
    """A complete checkpoint on disk.

    Attributes:
        weights: `.pdparams`, the averaged weights if the run keeps an average.
        optimizer: `.pdopt`.
        own_weights: `.pdema`, the model's own weights where `weights` are averaged; ppdet's naming.
        position: how far the run had come.
        state: of the trainer (see `Trainer.state_dict`); empty for ppdet's own checkpoints.
        fingerprint: what the run was (see `RunFingerprint`); None for ppdet's own checkpoints.
    """

    weights: Path
    optimizer: Path
    own_weights: Path | None
    position: Position
    state: dict[str, Any] = field(default_factory=dict)
    fingerprint: dict[str, Any] | None = None

    @property
    def path(self) -> Path:
        """What `-r` takes to resume from it."""
        return self.weights.parent if self.fingerprint is not None else self.weights.with_suffix("")


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


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of `folder`, after a look that every file is what it says. UserError naming what is not."""
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        if manifest["format"] != FORMAT:
            raise UserError(
                f"Checkpoint {folder} has format {manifest['format']}; its {MANIFEST} is damaged or of another version."
            )
        if manifest.pop("sha256") != _own_digest(manifest):
            raise UserError(f"Checkpoint {folder} has a damaged {MANIFEST}: it is not what its own hash says.")
        files = manifest["files"]
        for name in {WEIGHTS, OPTIMIZER, STATE, *files}:
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


def read_checkpoint(folder: Path) -> Checkpoint:
    """The checkpoint in `folder`. UserError naming what is missing or damaged."""
    manifest = read_manifest(folder)
    try:
        content = json.loads((folder / STATE).read_text(encoding="utf-8"))
        position = Position(int(content["position"]["epoch"]), int(content["position"]["step"]))
        state, fingerprint = dict(content["trainer"]), dict(content["circumstances"])
    except (OSError, KeyError, RecursionError, TypeError, ValueError) as error:
        raise UserError(f"Checkpoint file {folder / STATE} cannot be read: {error!r}") from error
    if Position.parse(folder.name) not in (None, position):
        raise UserError(f"Checkpoint {folder} is one of {position.name}; give it that name again.")
    own = folder / OWN_WEIGHTS if OWN_WEIGHTS in manifest["files"] else None
    return Checkpoint(folder / WEIGHTS, folder / OPTIMIZER, own, position, state, fingerprint)


def list_folders(run: Path) -> list[Path]:
    """Checkpoint folders of a run, complete or not, the newest first."""
    folders = [path for path in (run / CHECKPOINTS).glob("epoch_*") if Position.parse(path.name) and path.is_dir()]
    return sorted(folders, key=lambda path: Position.parse(path.name), reverse=True)
