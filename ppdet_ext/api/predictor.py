"""`Predictor`: a trained model as an object that finds things in images."""

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar, overload

import paddle

from ppdet_ext.config.keys import ENSEMBLE, POSTPROCESS
from ppdet_ext.data.transforms.sample import Sample
from ppdet_ext.distributed.group import use_device
from ppdet_ext.errors import DivergenceError, UserError
from ppdet_ext.inference.build import inference_of
from ppdet_ext.inference.classes import class_list
from ppdet_ext.inference.feed import Feed
from ppdet_ext.inference.members import settings_of
from ppdet_ext.inference.protocol import Batch
from ppdet_ext.postprocess import PostProcess
from ppdet_ext.runtime.folder import DESCRIPTION
from ppdet_ext.runtime.images import as_rgb, is_list, is_one, pictures_of
from ppdet_ext.runtime.prediction import Prediction
from ppdet_ext.runtime.predictor import Predictor as Exported
from ppdet_ext.structures import Candidates

from .configuration import BUILDING, Overrides, Source, Steps, Weights, load_config, steps_in

Result = TypeVar("Result")
DEVICES = ("auto", "cpu", "gpu")


class Predictor:
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

    @overload
    def predict(self, images: list[Any] | tuple[Any, ...], *, channels: str = "rgb") -> list[Prediction]: ...

    @overload
    def predict(self, images: Iterator[Any], *, channels: str = "rgb") -> Iterator[Prediction]: ...

    @overload
    def predict(self, images: Any, *, channels: str = "rgb") -> Any: ...

    def predict(self, images: Any, *, channels: str = "rgb") -> Any:
        """Find the objects in one image or many.

        Args:
            images: one image gives one `Prediction`, a list or (n, h, w, c) pixels a list of them. A folder, and any other
                iterable, gives a generator, which takes the next batch of images when its first result is asked for.
                An image is pixels (h, w, 3) or, of a grey one, (h, w) or (h, w, 1), uint8; a file's path; or Pillow's. Deeper
                pixels become uint8 as TestReader's `ReadImage: {range: …}` says, in files and arrays alike.
            channels: order of the pixels' channels, "rgb" or "bgr" (as OpenCV's `imread` gives them). Files are read rightly.

        Raises:
            UserError: what is no image, a file that cannot be read.
            DivergenceError: the model gives NaN or infinite numbers.
        """
        return self._answer(images, channels, self._predicted)

    def candidates(self, images: Any, *, channels: str = "rgb") -> Any:
        """What the model finds before any step, as `structures.Candidates`; arguments as of `predict`.

        `postprocess` makes predictions of them, as often as wanted, with other thresholds each time.
        """
        return self._answer(images, channels, lambda batch: self._inference.candidates(batch))

    def postprocess(
        self,
        candidates: Candidates,
        steps: Steps | None = None,
        *,
        image: Any = None,
        name: str = "",
        channels: str = "rgb",
    ) -> Prediction:
        """What other steps make of `candidates`, without predicting anew.

        Args:
            candidates: of one image.
            steps: as of `PostProcess`, such as [{"ScoreThreshold": {"score": 0.3}}, {"MinArea": {"area": 50}}],
                or those of a file that tune has written. [] cuts the masks and keeps all; None takes the configuration's.
            image: the picture, for steps that look at it.
            name: the image's file name, for steps that go by it.
            channels: of `image`.

        Raises:
            UserError: unknown step or argument.
        """
        entries = self.config.get(POSTPROCESS) or [] if steps is None else steps_in(steps)
        threshold = float(settings_of(self.config).mask_threshold)
        chosen = PostProcess(entries, self._names, self._ids, threshold)
        size, reading = (candidates.height, candidates.width), self._inference.reading
        read = None if image is None else lambda: as_rgb(image, channels, size, reading)
        return Prediction.of(chosen(candidates, name, read), name, self._names, self._ids)

    def _answer(self, images: Any, channels: str, apply: Callable[[Batch], Sequence[Result]]) -> Any:
        """One result, a list or a generator, as `images` is one, a list or anything else."""
        results = self._each(pictures_of(images, channels, self._inference.reading), apply)
        if is_one(images):
            return next(results)
        return list(results) if is_list(images) else results

    def _each(self, pictures: Iterator[Any], apply: Callable[[Batch], Sequence[Result]]) -> Iterator[Result]:
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
