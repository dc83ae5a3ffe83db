"""Writes data/*.pth with torch, as mmdetection 2's publishing script and mmengine's runner do; run by hand:

python tests/weights/foreign/make_fixtures.py

mmengine's class is stood in for, so that mmengine need not be installed; its pickle is that of mmengine 0.10.7.
"""

import sys
import types
from collections import OrderedDict
from pathlib import Path

import numpy as np
import torch

FOLDER = Path(__file__).parent / "data"
HISTORY = "mmengine.logging.history_buffer"


class HistoryBuffer:
    """mmengine's, as far as its pickle goes."""

    _statistics: dict = {}

    def __init__(self) -> None:
        self.max_length, self._log_history, self._count_history = 1_000_000, np.arange(3000.0), np.ones(3000)

    def mean(self) -> None:
        """A statistic; its pickle asks for getattr."""

    def __getstate__(self) -> dict:
        return {**self.__dict__, "statistics_methods": {"mean": HistoryBuffer.mean}}


def tensors() -> "OrderedDict[str, torch.Tensor]":
    """One of each kind that a state_dict may hold."""
    grid = torch.arange(24, dtype=torch.float32).reshape(4, 6)
    return OrderedDict(
        plain=grid,
        transposed=grid.t(),
        part=grid[1:3, 2:5],
        parameter=torch.nn.Parameter(torch.tensor([0.5, float("nan")])),
        half=torch.tensor([0.1, -2.0], dtype=torch.float16),
        brain=torch.tensor([[0.1], [-2.0]], dtype=torch.bfloat16),
        double=torch.tensor([0.1], dtype=torch.float64),
        count=torch.tensor(7),
        small=torch.tensor([-3, 3], dtype=torch.int8),
        flags=torch.tensor([True, False, True]),
        empty=torch.zeros(0, 3),
    )


def main() -> None:
    """Write the files."""
    state = tensors()
    state._metadata = OrderedDict({"": {"version": 1}})
    published = {"meta": {"CLASSES": ("scratch",), "time": "Thu Mar 12 2020"}, "state_dict": state}
    torch.save(published, FOLDER / "zip.pth")
    torch.save(published, FOLDER / "legacy.pth", _use_new_zipfile_serialization=False)
    sys.modules[HISTORY] = module = types.ModuleType(HISTORY)
    for parent in ("mmengine.logging", "mmengine"):
        sys.modules[parent] = types.ModuleType(parent)
    module.HistoryBuffer, HistoryBuffer.__module__ = HistoryBuffer, HISTORY
    layer = torch.nn.Linear(3, 2)
    torch.nn.init.constant_(layer.weight, 0.25)
    torch.nn.init.constant_(layer.bias, -1)
    optimizer = torch.optim.SGD(layer.parameters(), 0.1, momentum=0.9)
    layer(torch.ones(1, 3)).sum().backward()
    logs = OrderedDict({"train/loss": HistoryBuffer()})
    running = {
        "meta": {"epoch": 3, "seed": np.int64(7), "classes": {"a", "b"}, "lr": np.float32(0.1)},
        "state_dict": OrderedDict(("module." + name, value) for name, value in layer.state_dict().items()),
        "message_hub": {"log_scalars": logs, "runtime_info": OrderedDict(iter=5), "resumed_keys": OrderedDict()},
        "ema_state_dict": OrderedDict(steps=torch.tensor(4)),
        "optimizer": optimizer.state_dict(),
        "param_schedulers": [{"last_step": 5, "verbose": False}],
    }
    torch.save(running, FOLDER / "mmengine.pth")
    torch.save(state, FOLDER / "protocol4.pth", pickle_protocol=4)


if __name__ == "__main__":
    main()
