"""Curves for VisualDL."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import paddle

from ppdet_ext.errors import UserError
from ppdet_ext.files.atomic import demand_writable
from ppdet_ext.training.state import TrainState

from .base import Hook


class VisualDL(Hook):
    """Scalars under ppdet's names: each loss and `learning_rate` per step, `bbox-mAP` and `mask-mAP`
    (or the metric's name) per evaluation, and at each evaluation pictures of what the model finds.

    Args:
        folder: where VisualDL's log goes; show it with `visualdl --logdir folder`.
        log_iter: steps between scalars.
        draw: model -> name and picture (h, w, 3) uint8 RGB of some images; None draws none.

    Raises:
        UserError: visualdl is not installed, or the folder is not writable.
    """

    def __init__(
        self, folder: Path, log_iter: int, draw: Callable[[paddle.nn.Layer], Mapping[str, np.ndarray]] | None = None
    ) -> None:
        if importlib.util.find_spec("visualdl") is None:
            raise UserError("--use_vdl needs the package visualdl: pip install visualdl")
        demand_writable(folder / "vdlrecords", "--vdl_log_dir")
        self.folder, self.log_iter, self.draw = folder, log_iter, draw

    def before_train(self, state: TrainState) -> None:
        from visualdl import LogWriter

        # Not before: what an earlier run left here is moved aside first.
        self.writer = LogWriter(str(self.folder))

    def after_step(self, state: TrainState) -> None:
        if state.step % self.log_iter == 0:
            for name, value in {**state.losses, "learning_rate": state.learning_rate}.items():
                self.writer.add_scalar(name, value, state.iteration)

    def after_epoch(self, state: TrainState) -> None:
        for kind, numbers in (state.metrics or {}).items():
            self.writer.add_scalar({"bbox": "bbox-mAP", "segm": "mask-mAP"}.get(kind, kind), numbers[0], state.epoch)
        if state.metrics is not None and self.draw is not None:
            with state.evaluated_weights():
                pictures = self.draw(state.model)
            for name, picture in pictures.items():
                self.writer.add_image(name, picture, state.epoch)

    def after_train(self, state: TrainState) -> None:
        self.writer.close()
