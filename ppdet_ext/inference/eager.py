"""`EagerPredictor`: what a loaded configuration predicts with, as an object that is given pictures."""

import threading
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import TypeVar

import paddle

from ppdet_ext.config.keys import ENSEMBLE, POSTPROCESS
from ppdet_ext.data.images.depth import Reading
from ppdet_ext.data.transforms.sample import Sample
from ppdet_ext.errors import DivergenceError, UserError
from ppdet_ext.host import Config
from ppdet_ext.postprocess import PostProcess
from ppdet_ext.runtime.base import BasePredictor, Steps
from ppdet_ext.runtime.images import Picture
from ppdet_ext.runtime.prediction import Prediction
from ppdet_ext.runtime.predictor import steps_in
from ppdet_ext.structures import Candidates

from .build import inference_of
from .classes import class_list
from .feed import Feed
from .members import settings_of
from .protocol import Batch

Result = TypeVar("Result")


class EagerPredictor(BasePredictor):
    """Finds objects with the model, views, classifier and steps of a configuration, in Paddle.

    Threads may share one: they take turns.

    Args:
        cfg: from `load_config`; its device is selected already.
        batch_size: images that are predicted together; None takes TestReader's.
        classes: names and the data set's ids, by label of what is found; None takes the weights', or the data sets'.

    Raises: UserError for what the user can mend.
    """

    def __init__(
        self, cfg: Config, batch_size: int | None = None, classes: tuple[Sequence[str], Sequence[int]] | None = None
    ) -> None:
        if batch_size is not None and batch_size < 1:
            raise UserError(f"batch_size is {batch_size}; give 1 or more.")
        self.config, self._batch_size = cfg, batch_size
        names, ids = classes or class_list(cfg, weights_first=True)[:2]
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

    @property
    def has_steps(self) -> bool:
        """Whether steps decide what is found; without any, the model's thresholds do."""
        return bool(self.config.get(POSTPROCESS))

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
