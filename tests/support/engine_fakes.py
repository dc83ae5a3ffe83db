"""A tiny model, loader and trainer with everything that makes resuming hard: batch norm, momentum, randomness, a schedule."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import paddle
from paddle import nn

from ppdet_ext.checkpoint import RunFingerprint
from ppdet_ext.training.hooks import AverageWeights, Evaluate, Hook, LogLine, MetricsFile, SaveCheckpoints
from ppdet_ext.training.loss_guard import LossGuard
from ppdet_ext.training.resume import resume_or_start
from ppdet_ext.training.trainer import Trainer
from ppdet_ext.weights.files.paddle_file import read_data_file


class TinyModel(nn.Layer):
    """Two losses of a small net; draws from paddle's and numpy's global generators, as ppdet's parts do."""

    def __init__(self, width: int = 4) -> None:
        super().__init__()
        self.first = nn.Linear(3, width)
        self.norm = nn.BatchNorm1D(width)
        self.last = nn.Linear(width, 1)

    def forward(self, batch: dict[str, Any]) -> dict[str, paddle.Tensor]:
        hidden = nn.functional.dropout(self.norm(self.first(batch["image"])), 0.3, training=self.training)
        out = self.last(hidden + float(np.random.rand()))
        fit, size = ((out - 1) ** 2).mean(), out.abs().mean()
        return {"loss_fit": fit, "loss_size": size, "loss": fit + 0.1 * size}


class TinyLoader:
    """`steps` batches that depend on (epoch, index) only; batch `nan_step` of epoch `nan_epoch` holds a NaN."""

    def __init__(self, steps: int = 3, nan_at: tuple[int, int] | None = None) -> None:
        self.steps = steps
        self.nan_at = nan_at
        self.epoch = self.start = 0

    def __len__(self) -> int:
        return self.steps

    def set_epoch(self, epoch: int, start: int = 0) -> None:
        if not 0 <= start <= self.steps:
            raise ValueError(f"batch {start} of {self.steps}")
        self.epoch, self.start = epoch, start

    def __iter__(self) -> Iterator[dict[str, Any]]:
        for step in range(self.start, self.steps):
            image = np.random.default_rng([self.epoch, step]).normal(size=(5, 3)).astype("float32")
            if (self.epoch, step) == self.nan_at:
                image[0, 0] = np.nan
            yield {"image": paddle.to_tensor(image), "names": [f"sheet_{self.epoch}_{step}_{i}.jpg" for i in range(5)]}


def tiny_ap(model: TinyModel) -> tuple[dict[str, list[float]], dict[str, dict[str, float]]]:
    """Stands in for the evaluation: numbers that depend on the weights and disturb the generators."""
    np.random.rand(7)
    value = float(model.last.weight.abs().sum())
    numbers = {"bbox": [0.5] + [0.0] * 11, "segm": [value - int(value)] + [0.0] * 11}
    return numbers, {"segm": {"AP": value - int(value)}}


def make_fingerprint(**changed: Any) -> RunFingerprint:
    """Of a tiny run."""
    facts = {"world_size": 1, "batch_size": 5, "accumulation": 1, "seed": 3, "images": 15, "dataset": "d", "config": {"a": 1}}
    return RunFingerprint(**facts | changed)


def make_trainer(
    folder: Path,
    *,
    epochs: int = 4,
    loader: TinyLoader | None = None,
    extra: tuple[Hook, ...] = (),
    with_eval: bool = True,
    log_iter: int = 2,
    snapshot_epoch: int = 1,
    snapshot_iter: int | None = None,
    keep: int = 3,
    ema_decay: float | None = None,
    accumulation: int = 1,
    skip: int = 0,
) -> Trainer:
    """A trainer as `train` would build it; call it inside `paddle.utils.unique_name.guard()`."""
    loader = loader or TinyLoader()
    paddle.seed(11)
    model = TinyModel()
    schedule = paddle.optimizer.lr.PiecewiseDecay([2, 7], [0.1, 0.05, 0.01])
    optimizer = paddle.optimizer.Momentum(
        schedule, parameters=model.parameters(), weight_decay=paddle.regularizer.L2Decay(1e-3)
    )
    folder.mkdir(parents=True, exist_ok=True)
    hooks = [
        LogLine(log_iter),
        *([] if ema_decay is None else [AverageWeights(ema_decay)]),
        *([Evaluate(tiny_ap, snapshot_epoch)] if with_eval else []),
        MetricsFile(folder / "metrics.jsonl", log_iter),
        *extra,
        SaveCheckpoints(folder, snapshot_epoch, snapshot_iter, keep),
    ]
    guard = LossGuard(skip, folder)
    return Trainer(
        model,
        optimizer,
        schedule,
        loader,
        make_fingerprint(),
        epochs=epochs,
        batch_size=5,
        seed=3,
        hooks=hooks,
        accumulation=accumulation,
        guard=guard,
    )


def run_tiny(folder: Path, *, resume: str | None = None, allow: tuple[str, ...] = (), **kwargs: Any) -> Trainer:
    """Train as `train` does, anew or resumed."""
    with paddle.utils.unique_name.guard():
        trainer = make_trainer(folder, **kwargs)
        resume_or_start(trainer, folder, resume, allow)
        if trainer.state.start.epoch < trainer.state.epochs:
            trainer.train()
        return trainer


def assert_same_file(one: Path, two: Path) -> None:
    """Two files of tensors hold the same names, in the same order, with the same bits."""
    left, right = read_data_file(one), read_data_file(two)
    assert list(left) == list(right)
    for key, value in left.items():
        if isinstance(value, np.ndarray):
            assert value.tobytes() == right[key].tobytes(), key
        else:
            assert value == right[key], key
