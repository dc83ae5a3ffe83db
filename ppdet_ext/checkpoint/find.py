"""Which checkpoint `-r` means."""

from __future__ import annotations

import logging
from pathlib import Path

from ppdet_ext.config.load import resolve_path
from ppdet_ext.errors import UserError
from ppdet_ext.files.atomic import digest
from ppdet_ext.files.manifest import MANIFEST
from ppdet_ext.weights.find import find_weights

from .folder import CHECKPOINTS, STATE, WEIGHTS, Checkpoint, Position, list_folders, read_checkpoint
from .ppdet_pair import read_pair

AUTO = "auto"
_PAIR = (".pdparams", ".pdopt")
logger = logging.getLogger("ppdet_ext")


def newest_checkpoint(run: Path) -> Checkpoint | None:
    """The newest complete checkpoint of a run's folder; None if there is none at all. Damaged ones are named in a warning.

    Raises:
        UserError: there are checkpoints, all of them damaged.
    """
    folders = list_folders(run)
    for folder in folders:
        try:
            return read_checkpoint(folder)
        except UserError as error:
            logger.warning("Skipped a checkpoint: %s", error)
    if folders:
        raise UserError(
            f"All {len(folders)} checkpoints in {run / CHECKPOINTS} are damaged (see the warnings above). "
            f"To start anew leave -r out; the damaged ones are then moved aside."
        )
    return None


def find_checkpoint(wanted: str, run: Path) -> Checkpoint | None:
    """The checkpoint meant by `-r wanted`.

    Args:
        wanted: 'auto' (newest complete one of `run`, None if there is none), an epoch's number (of `run`), a checkpoint's
            or a run's folder, or ppdet's path of weights, with or without suffix.
        run: the run's folder.

    Raises:
        UserError: nothing is there, or it is damaged or incomplete.
    """
    if wanted == AUTO:
        return newest_checkpoint(run)
    name = f"epoch_{wanted}" if wanted.isascii() and wanted.isdigit() else wanted
    if Position.parse(name) and not resolve_path(wanted).is_dir():
        return _named(name, run)
    folder = resolve_path(wanted)
    if wanted and folder.is_dir():
        return _in_folder(folder)
    if "/" not in wanted and (run / f"{wanted}.pdparams").is_file():
        return _of_weights(run / f"{wanted}.pdparams")
    if "/" not in wanted and "." not in wanted and not any(resolve_path(wanted + end).is_file() for end in _PAIR):
        there = ", ".join(path.name for path in list_folders(run)) or "none"
        raise UserError(
            f"-r {wanted!r}: it takes 'auto', an epoch's number, or the path of a checkpoint, a run or weights. "
            f"Checkpoints of this run: {there}."
        )
    return _of_weights(find_weights(wanted))


def _named(name: str, run: Path) -> Checkpoint:
    folder = run / CHECKPOINTS / name
    if not folder.is_dir():
        names = ", ".join(path.name for path in reversed(list_folders(run)))
        raise UserError(f"There is no checkpoint {folder}. There is: {names or 'none'}.")
    return read_checkpoint(folder)


def _in_folder(folder: Path) -> Checkpoint:
    run = folder.parent if folder.name == CHECKPOINTS else folder
    if (run / CHECKPOINTS).is_dir():
        found = newest_checkpoint(run)
        if found is None:
            raise UserError(f"There is no checkpoint in {run / CHECKPOINTS} yet.")
        return found
    if Position.parse(folder.name) or any((folder / name).exists() for name in (MANIFEST, STATE)):
        return read_checkpoint(folder)
    raise UserError(f"{folder} is neither a checkpoint (it has no {MANIFEST}) nor a run (it has no {CHECKPOINTS}/).")


def _of_weights(weights: Path) -> Checkpoint:
    """The checkpoint that a weights file belongs to: beside it, or the one that `best_model` or `model_final` is a copy of."""
    if weights.name == WEIGHTS and any((weights.parent / name).exists() for name in (MANIFEST, STATE)):
        return read_checkpoint(weights.parent)
    if weights.with_suffix(".pdopt").is_file():
        return read_pair(weights.with_suffix(""))
    folders = list_folders(weights.parent)
    wanted = digest(weights) if folders else ""
    for folder in folders:
        file = folder / WEIGHTS
        if file.is_file() and file.stat().st_size == weights.stat().st_size and digest(file) == wanted:
            return read_checkpoint(folder)
    there = f" The checkpoints of this run: {', '.join(folder.name for folder in folders)}." if folders else ""
    raise UserError(
        f"Cannot resume from {weights}: {weights.stem}.pdopt is missing.{there} To start a new run from these weights "
        f"use -o pretrain_weights={weights.with_suffix('')}"
    )
