"""A run that is trained: its configuration and its weights, found in its folder."""

from __future__ import annotations

import contextlib
import json
import logging
from collections.abc import Sequence
from pathlib import Path

from ppdet_ext.config.load import load_config
from ppdet_ext.errors import UserError, nearest
from ppdet_ext.host import Config

from .find import newest_checkpoint
from .folder import BEST, CONFIG_FILE, FINAL, METRICS_FILE

logger = logging.getLogger("ppdet_ext")


def config_of_run(
    folder: Path, texts: Sequence[str] = (), over: str | None = None, training: bool = True, plugins: bool = True
) -> Config:
    """The configuration of a run that lies in `folder`, wherever that was when it was trained.

    texts, over, training, plugins: of `load_config`. Raises: UserError as that, and for a folder of none.
    """
    file = folder / CONFIG_FILE
    if not folder.exists():
        raise UserError(f"There is no run in {folder}: it does not exist.{near_run(folder)}")
    if not file.is_file():
        raise UserError(
            f"{folder} is no folder of a run: it has no {CONFIG_FILE}. Give such a folder, or a configuration file."
        )
    cfg = load_config(file, texts, over, training, plugins)
    # Its results go where its weights are.
    here = cfg.replaced(save_dir=str(folder.resolve().parent))
    here.filename = folder.resolve().name
    return here


def near_run(folder: Path) -> str:
    """The hint ' Did you mean …?' with the run beside `folder` whose name is nearest, or ''."""
    return nearest(folder, [str(file.parent) for file in sorted(folder.parent.glob(f"*/{CONFIG_FILE}"))])


def best_weights(folder: Path) -> Path | None:
    """The weights of a run: the best by its metric, else the final ones, else the newest checkpoint's; None without any.

    Where the run went on without --eval, the final ones were never compared with the best: a warning says so.
    """
    best, final = folder / BEST, folder / FINAL
    if best.is_file() and final.is_file() and _went_on(folder / METRICS_FILE):
        text = "%s is the best of earlier epochs: the run went on without evaluating. For its last weights: weights=%r"
        logger.warning(text, best, str(final))
    for file in (best, final):
        if file.is_file():
            return file
    newest = newest_checkpoint(folder)
    return None if newest is None else newest.weights


def _went_on(file: Path) -> bool:
    """Whether epochs were trained after the last evaluation, by the run's own record."""
    last: dict[str, int] = {}
    # A record may be cut off, or not be ours: then nothing is said.
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        for line in file.read_text(encoding="utf-8").splitlines():
            entry = json.loads(line)
            last[entry["kind"]] = int(entry["epoch"])
    return last.get("train", 0) > last.get("eval", 0)
