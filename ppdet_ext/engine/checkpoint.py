"""Checkpoints of a training run: ppdet's two files, written aside and published by rename, and a small manifest.

`<name>.pdparams` and `<name>.pdopt` are what plain ppdet writes and reads. `<name>.json` comes last; it holds
the sizes and hashes of the two, so that a torn file or a pair from two different moments is recognised, and the
trainer's own state.
"""

from __future__ import annotations

import contextlib
import glob
import hashlib
import json
import logging
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import paddle

from ppdet_ext.errors import UserError

from .unpickle import NAME_TABLE, read_data_file
from .weights import SUFFIX, find_weights, load_weights

if TYPE_CHECKING:
    from .hooks import AverageWeights

logger = logging.getLogger("ppdet_ext.engine")
_SUFFIXES, RAW_SUFFIX = (SUFFIX, ".pdopt"), ".pdema"


@dataclass
class Checkpoint:
    """A complete checkpoint on disk: its path without suffix, epochs done, and the hooks' state (empty if ppdet's)."""

    stem: Path
    epoch: int
    state: dict[str, Any]


def write_atomic(path: Path, write: Callable[[Path], object], setting: str = "save_dir") -> None:
    """Let `write` fill a file beside `path` (it is given that file's path), flush it, then put it in place.

    Args:
        setting: what the user changes to have it written elsewhere; for the message.

    Raises:
        UserError: the folder is not writable or the disk is full; the old file is left as it was.
    """
    aside = path.with_name(f".{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write(aside)
        with aside.open("rb+") as stream:
            os.fsync(stream.fileno())
        os.replace(aside, path)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        with contextlib.suppress(OSError):
            aside.unlink()
        raise UserError(f"Cannot write {path}: {error.strerror or error}. Choose another {setting}.") from error


def _digest(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def save_checkpoint(
    stem: Path,
    model: paddle.nn.Layer,
    optimizer: paddle.optimizer.Optimizer,
    epoch: int,
    state: dict[str, Any],
    raw: dict[str, paddle.Tensor] | None = None,
) -> None:
    """Write `<stem>.pdparams`, `.pdopt` and `.json`; with averaged weights `.pdema` too.

    Args:
        stem: path without suffix.
        epoch: number of epochs done (ppdet's `last_epoch`).
        state: JSON-able state of the trainer's hooks.
        raw: where the model has averaged weights now: its own ones. ppdet files those under `.pdema`.
    """
    contents = {".pdparams": model.state_dict(), ".pdopt": {**optimizer.state_dict(), "last_epoch": epoch}}
    if raw is not None:
        contents[RAW_SUFFIX] = raw
    # Without its manifest the old checkpoint of this name is not 'complete' while its files are replaced.
    _with_suffix(stem, ".json").unlink(missing_ok=True)
    _with_suffix(stem, RAW_SUFFIX).unlink(missing_ok=True)
    files = {}
    for suffix, content in contents.items():
        path = _with_suffix(stem, suffix)
        write_atomic(path, lambda aside, content=content: paddle.save(content, str(aside)))
        files[suffix] = {"bytes": path.stat().st_size, "sha256": _digest(path)}
    manifest = {"epoch": epoch, "files": files, "state": state}
    write_atomic(_with_suffix(stem, ".json"), lambda aside: aside.write_text(json.dumps(manifest, indent=1)))


def _with_suffix(stem: Path, suffix: str) -> Path:
    return stem.with_name(stem.name + suffix)


def _read_manifest(stem: Path) -> Checkpoint:
    """The checkpoint if its manifest and both files agree. UserError naming what does not."""
    try:
        manifest = json.loads(_with_suffix(stem, ".json").read_text(encoding="utf-8"))
        checkpoint = Checkpoint(stem, int(manifest["epoch"]), dict(manifest["state"]))
        expected = {suffix: manifest["files"][suffix] for suffix in {*_SUFFIXES, *manifest["files"]}}
        for suffix, entry in expected.items():
            path = _with_suffix(stem, suffix)
            if path.stat().st_size != entry["bytes"] or _digest(path) != entry["sha256"]:
                raise UserError(
                    f"Checkpoint file {path} is truncated or of another moment than {stem}.json; "
                    "resume from an older checkpoint."
                )
    except UserError:
        raise
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise UserError(f"Checkpoint {stem} is not complete: {error}") from error
    return checkpoint


def newest_checkpoint(folder: Path) -> Checkpoint | None:
    """The complete checkpoint of `folder` with most epochs done; None if there is none. Damaged ones are named."""
    found = []
    for manifest in sorted(folder.glob("*.json")):
        stem = manifest.with_suffix("")
        if not _with_suffix(stem, ".pdopt").exists():
            continue
        try:
            found.append(_read_manifest(stem))
        except UserError as error:
            logger.warning("Skipped: %s", error)
    return max(found, key=lambda checkpoint: checkpoint.epoch, default=None)


def find_checkpoint(path: str) -> Checkpoint:
    """The checkpoint meant by `-r path` (with or without suffix); ppdet's own, which have no manifest, too.

    Raises:
        UserError: a file is missing, or the files do not belong together.
    """
    params = find_weights(path)
    stem = params.with_suffix("")
    optimizer_file = _with_suffix(stem, ".pdopt")
    if not optimizer_file.is_file():
        raise UserError(
            f"Cannot resume from {stem}: {optimizer_file.name} is missing. To start a new run from these "
            f"weights use -o pretrain_weights={stem}"
        )
    if _with_suffix(stem, ".json").is_file():
        return _read_manifest(stem)
    return _without_manifest(stem)


def _without_manifest(stem: Path) -> Checkpoint:
    """The checkpoint of a pair that nothing vouches for: what can be seen to be wrong with it is refused or logged.

    Both files have to be whole, and every optimizer state has to be of a tensor of the weights and of its
    shape. Which of two moments a file is from cannot be told from its content, only guessed from its date.
    """
    params_file, optimizer_file = (_with_suffix(stem, suffix) for suffix in _SUFFIXES)
    params, state = read_data_file(params_file, with_names=True), read_data_file(optimizer_file)
    shapes = {name: np.shape(params[key]) for key, name in params.get(NAME_TABLE, {}).items() if key in params}
    strange = [key for key, value in state.items() if shapes and not _state_of(key, value, shapes)]
    try:
        epoch = int(state.get("last_epoch", 0))
    except (TypeError, ValueError):
        strange.append("last_epoch")
    if strange:
        raise UserError(
            f"{optimizer_file} does not belong to {params_file.name} ({', '.join(strange[:3])}); resume from another "
            f"checkpoint, or start a new run from the weights with -o pretrain_weights={stem}"
        )
    logger.warning("%s has no manifest (%s.json): the best AP so far is unknown and starts anew", stem, stem.name)
    unfinished = [path.name for path in stem.parent.glob(f".{glob.escape(stem.name)}.*.part")]
    if unfinished or optimizer_file.stat().st_mtime < params_file.stat().st_mtime:
        reason = f"{unfinished[0]} is left of it" if unfinished else "its .pdopt is older than its .pdparams"
        logger.warning("%s may be from an interrupted save (%s); an older checkpoint is safer", stem, reason)
    return Checkpoint(stem, epoch, {})


def _state_of(key: str, value: Any, shapes: dict[str, tuple[int, ...]]) -> bool:
    """Whether an entry of an optimizer state goes with weights of these parameter names and shapes."""
    if key in ("LR_Scheduler", "master_weights", "last_epoch"):
        return True
    # '<parameter>_<slot>_<n>'; one parameter's name may begin another's.
    parts = key.split("_")
    owners = ("_".join(parts[:end]) for end in range(len(parts), 0, -1))
    owner = next((name for name in owners if name in shapes), None)
    # Slots such as Adam's beta powers are one number.
    return owner is not None and (np.size(value) == 1 or np.shape(value) == shapes[owner])


def load_checkpoint(
    checkpoint: Checkpoint,
    model: paddle.nn.Layer,
    optimizer: paddle.optimizer.Optimizer,
    average: AverageWeights | None = None,
) -> None:
    """Put weights, optimizer state and learning-rate schedule back, and averaged weights if the run keeps any.

    Raises:
        UserError: damaged files, another architecture, or an optimizer state of other tensors; nothing is half-loaded.
    """
    content = read_data_file(_with_suffix(checkpoint.stem, ".pdopt"))
    content.pop("last_epoch", None)
    strange = foreign_slots(content, optimizer)
    if strange or "LR_Scheduler" not in content:
        raise UserError(
            f"Optimizer state {checkpoint.stem}.pdopt does not belong to this model and optimizer "
            f"({', '.join(strange[:3]) or 'it has no LR_Scheduler'}). To start a new run from its weights "
            f"use -o pretrain_weights={checkpoint.stem}"
        )
    has_raw = _with_suffix(checkpoint.stem, RAW_SUFFIX).is_file()
    if has_raw and average is not None:
        load_weights(model, checkpoint.stem)
        average.start(model)
    load_weights(model, checkpoint.stem, RAW_SUFFIX if has_raw else SUFFIX)
    if not has_raw and average is not None:
        average.start(model)
    optimizer.set_state_dict({key: _to_tensors(value) for key, value in content.items()})


def foreign_slots(content: dict[str, Any], optimizer: paddle.optimizer.Optimizer) -> list[str]:
    """Entries of an optimizer state that are no '<parameter>_<slot>_<n>' of this optimizer; paddle would ignore them.

    A parameter without an entry is in order: slots come into being with its first gradient.
    """
    groups = [group["params"] if isinstance(group, dict) else [group] for group in optimizer._parameter_list]
    names = {parameter.name for group in groups for parameter in group}
    slots = [getattr(optimizer, name) for name in dir(optimizer) if name.endswith("_acc_str")]
    pattern = re.compile(rf"(.+?)(_fp32_master_\d+)?_({'|'.join(map(re.escape, slots)) or '(?!)'})_\d+")
    entries = [key for key in content if key not in ("LR_Scheduler", "master_weights")]
    return [key for key in entries if not (match := pattern.fullmatch(key)) or match[1] not in names]


def _to_tensors(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _to_tensors(item) for key, item in value.items()}
    return paddle.to_tensor(value) if isinstance(value, np.ndarray) else value
