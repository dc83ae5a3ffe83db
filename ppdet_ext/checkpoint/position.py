"""Where in a run a checkpoint was taken."""

from __future__ import annotations

import re
from typing import NamedTuple

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
