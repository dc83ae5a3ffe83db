"""`Predictor`: a trained model as an object that finds things in images."""

import inspect
import os
from pathlib import Path
from typing import Any

import paddle

from ppdet_ext.config.keys import ENSEMBLE
from ppdet_ext.distributed.group import use_device
from ppdet_ext.errors import UserError
from ppdet_ext.inference.eager import EagerPredictor
from ppdet_ext.postprocess import PostProcess
from ppdet_ext.runtime.folder import DESCRIPTION
from ppdet_ext.runtime.predictor import Predictor as Exported

from .configuration import BUILDING, Overrides, Source, Steps, Weights, load_config, steps_in

DEVICES = ("auto", "cpu", "gpu")


class Predictor(EagerPredictor):
    """Finds objects in images.

        from ppdet_ext import Predictor

        predictor = Predictor("output/steel_sample")
        found = predictor.predict("sheet.jpg")
        print(found.class_names, found.scores, found.boxes)

    What it predicts with is what the configuration says: a model or an `Ensemble`, views (`TestTimeAugmentation`), a
    `Classifier`, and the steps of `PostProcess`; results are those of tools/infer.py, bit for bit, of the same batches.

    Threads may share one: they take turns. Processes forked from this one may not use it.

    Of the folder of an exported model it is a `ppdet_ext.runtime.predictor.Predictor`, which takes other options.

    Args:
        config: the folder of a run; a YAML file; or what `load_config` has returned.
        weights: see `load_config`. None takes the run's best, or the configuration's.
        device: "cpu", "gpu" ("gpu:1"), or "auto": a GPU where there is one. It holds for the whole process, as paddle has it.
        overrides: of the configuration, {"HTCRoIHead.score_threshold": 0.3}.
        postprocess: steps in place of the configuration's, see `load_config`.
        batch_size: images that are predicted together; None takes TestReader's. A batch is padded to its largest image; what
            an image is predicted with changes its result in the last digits.
        plugins: see `load_config`.

    Raises:
        UserError: for what the caller can mend.
    """

    def __new__(cls, config: Source, *args: Any, **options: Any) -> Any:
        """Raises: as `ppdet_ext.runtime.predictor.Predictor`, for an exported model."""
        if isinstance(config, (str, os.PathLike)) and (Path(config) / DESCRIPTION).is_file():
            return Exported(config, *args, **options)
        return super().__new__(cls)

    def __init__(
        self,
        config: Source,
        weights: Weights = None,
        device: str = "auto",
        *,
        overrides: Overrides = None,
        postprocess: Steps | None = None,
        batch_size: int | None = None,
        plugins: bool = True,
    ) -> None:
        options: dict[str, Any] = {"weights": weights, "postprocess": postprocess, "plugins": plugins}
        cfg = load_config(config, overrides, training=False, **options).replaced(use_gpu=_choose_device(device))
        if not cfg.weights and not cfg.get(ENSEMBLE):
            raise UserError(f'No weights are configured: Predictor({str(config)!r}, weights="output/…/best_model").')
        with BUILDING:
            super().__init__(cfg, batch_size)

    # As help() and editors show it; they would take `__new__`, which knows not which of both it makes.
    __signature__ = inspect.Signature([*inspect.signature(__init__).parameters.values()][1:])

    def _post_process(self, steps: Steps | None) -> PostProcess:
        # A file of them may be one that comes with the package.
        return super()._post_process(None if steps is None else steps_in(steps))


def _choose_device(device: str) -> bool:
    """Select the device; returns whether it is a GPU. UserError for one that there is not."""
    kind, _, number = device.partition(":")
    if kind not in DEVICES or (number and (kind != "gpu" or not number.isdigit())):
        raise UserError(f'device is {device!r}; expected "auto", "cpu", "gpu" or "gpu:1".')
    usable = paddle.is_compiled_with_cuda() and paddle.device.cuda.device_count() > 0
    use_gpu = kind == "gpu" or (kind == "auto" and usable)
    use_device(use_gpu)
    if number:
        paddle.set_device(device)
    return use_gpu
