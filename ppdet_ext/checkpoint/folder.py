"""What lies in a run's folder, and the checkpoints in it: their files, and how one is read."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from ppdet_ext.errors import UserError
from ppdet_ext.files.manifest import read_manifest

# In the run's folder.
CHECKPOINTS, FINAL, BEST = "checkpoints", "model_final.pdparams", "best_model.pdparams"
METRICS_FILE, CONFIG_FILE, ENVIRONMENT_FILE, CURVES = "metrics.jsonl", "config.yml", "environment.json", "vdl"
LOG_FILE, EVENTS = "train.log", "tensorboard"
# Of a report: page, all numbers, classes, likely faults of annotations and what label tools take of these.
REPORT_FILES = ("report.html", "report.json", "report.csv", "label_errors.csv", "label_errors")
# In a checkpoint's.
WEIGHTS, OPTIMIZER, OWN_WEIGHTS = "model.pdparams", "model.pdopt", "model.pdema"
STATE, CONFIG = "state.json", "config.yml"


_NAME = re.compile(r"epoch_(\d+)(?:_step_(\d+))?")


class Position(NamedTuple):
    """`step` steps of epoch `epoch` are done, and all of the epochs before; both count from 0. Later positions are greater."""

    epoch: int
    step: int

    @property
    def name(self) -> str:
        """Name of the checkpoint's folder: `epoch_3` once epoch 3 is complete, else `epoch_3_step_120`."""
        return f"epoch_{self.epoch}_step_{self.step}" if self.step or not self.epoch else f"epoch_{self.epoch - 1}"

    @classmethod
    def parse(cls, name: str) -> Position | None:
        """The position that `name` stands for; None if it is no such name."""
        match = _NAME.fullmatch(name)
        if not match:
            return None
        return cls(int(match[1]) + 1, 0) if match[2] is None else cls(int(match[1]), int(match[2]))

    def __str__(self) -> str:
        return f"epoch {self.epoch}, {self.step} steps done" if self.step else f"{self.epoch} epochs done"


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


def read_checkpoint(folder: Path) -> Checkpoint:
    """The checkpoint in `folder`. UserError naming what is missing or damaged."""
    manifest = read_manifest(folder, {WEIGHTS, OPTIMIZER, STATE})
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
    found = [(Position.parse(path.name), path) for path in (run / CHECKPOINTS).glob("epoch_*") if path.is_dir()]
    return [path for _, path in sorted(((position, path) for position, path in found if position), reverse=True)]
