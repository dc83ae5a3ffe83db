"""`Predictor`: a trained model as an object that finds things in images."""

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import paddle

from ppdet_ext.config.keys import ENSEMBLE, POSTPROCESS
from ppdet_ext.data.images.depth import Reading
from ppdet_ext.data.transforms.sample import Sample
from ppdet_ext.distributed.group import use_device
from ppdet_ext.errors import DivergenceError, UserError
from ppdet_ext.inference.build import inference_of
from ppdet_ext.inference.classes import class_list
from ppdet_ext.inference.feed import Feed
from ppdet_ext.inference.members import settings_of
from ppdet_ext.inference.protocol import Batch
from ppdet_ext.postprocess import PostProcess
from ppdet_ext.runtime.base import BasePredictor
from ppdet_ext.runtime.folder import DESCRIPTION
from ppdet_ext.runtime.images import Picture
from ppdet_ext.runtime.prediction import Prediction
from ppdet_ext.runtime.predictor import Predictor as Exported
from ppdet_ext.structures import Candidates

from .configuration import BUILDING, Overrides, Source, Steps, Weights, load_config, steps_in

Result = TypeVar("Result")
DEVICES = ("auto", "cpu", "gpu")


class Predictor(BasePredictor):
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
        if batch_size is not None and batch_size < 1:
            raise UserError(f"batch_size is {batch_size}; give 1 or more.")
        self.config, self._batch_size = cfg, batch_size
        with BUILDING:
            names, ids, _ = class_list(cfg, weights_first=True)
            self._names, self._ids = tuple(names), tuple(ids)
            self._inference = inference_of(cfg, names, ids, "test")
            self._feed = Feed(cfg, names, ids)
        self._inference.eval()
        self._lock = threading.Lock()

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, by label."""
        return self._names

    @property
    def category_ids(self) -> tuple[int, ...]:
        """The data set's own ids of the classes, by label."""
        return self._ids

    def __repr__(self) -> str:
        weights = self.config.get(ENSEMBLE) or self.config.weights
        return f"<Predictor {self.config.architecture} {weights}: {', '.join(self._names)}>"

    @property
    def reading(self) -> Reading:
        """How files become pixels."""
        return self._inference.reading

    def _predictions(self, pictures: Iterator[Picture]) -> Iterator[Prediction]:
        return self._each(pictures, self._predicted)

    def _candidates(self, pictures: Iterator[Picture]) -> Iterator[Candidates]:
        return self._each(pictures, lambda batch: self._inference.candidates(batch))

    def _post_process(self, steps: Steps | None) -> PostProcess:
        entries = self.config.get(POSTPROCESS) or [] if steps is None else steps_in(steps)
        return PostProcess(entries, self._names, self._ids, float(settings_of(self.config).mask_threshold))

    def _each(self, pictures: Iterator[Picture], apply: Callable[[Batch], Sequence[Result]]) -> Iterator[Result]:
        samples = (self._feed.decoded(picture, number) for number, picture in enumerate(pictures))
        for first in samples:
            rest = (self._batch_size or self._feed.batch_size(first)) - 1
            yield from self._of_batch([first, *islice(samples, rest)], apply)

    def _of_batch(self, samples: Sequence[Sample], apply: Callable[[Batch], Sequence[Result]]) -> Sequence[Result]:
        with self._lock, paddle.no_grad():
            try:
                return apply(self._feed.batch(samples))
            except DivergenceError as error:
                names = ", ".join(sample.name or f"number {sample.im_id + 1}" for sample in samples)
                raise DivergenceError(f"{error} (images: {names})") from error

    def _predicted(self, batch: Batch) -> list[Prediction]:
        found = self._inference(batch)
        return [Prediction.of(one, str(name), self._names, self._ids) for one, name in zip(found, batch["names"])]


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
