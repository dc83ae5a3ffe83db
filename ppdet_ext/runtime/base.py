"""The interface of what finds objects in images, over a model of Paddle's and over an exported one."""

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar, overload

import numpy as np

from ppdet_ext.data.images.depth import Reading
from ppdet_ext.errors import UserError
from ppdet_ext.postprocess import PostProcess
from ppdet_ext.registry import one_of, whole_number_in
from ppdet_ext.structures import Candidates

from .camera import Camera
from .images import CHANNELS, Picture, as_rgb, is_list, is_one, pictures_of
from .prediction import Prediction

Result = TypeVar("Result")
PathLike = str | os.PathLike[str]
Steps = PathLike | Sequence[Mapping[str, Any]]
_SIZE = (256, 256)  # px, of a picture to warm up with, where none is told


class BasePredictor(ABC):
    """Finds objects in images. Subclasses say how, one batch after the other."""

    _streams = 1  # batches at the same time

    @property
    @abstractmethod
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, by label."""

    @property
    @abstractmethod
    def category_ids(self) -> tuple[int, ...]:
        """The data set's own ids of the classes, by label."""

    @property
    @abstractmethod
    def reading(self) -> Reading:
        """How files become pixels."""

    @property
    def has_steps(self) -> bool:
        """Whether steps decide what is found; without any, the model's thresholds do."""
        return bool(self._post_process(None).steps)

    @abstractmethod
    def _predictions(self, pictures: Iterator[Picture]) -> Iterator[Prediction]:
        """What is found in each picture; the next batch of them is taken when its first result is asked for."""

    @abstractmethod
    def _candidates(self, pictures: Iterator[Picture]) -> Iterator[Candidates]:
        """The same, before any step."""

    @abstractmethod
    def _post_process(self, steps: Steps | None) -> PostProcess:
        """These steps, or the configured ones. Raises: UserError for an unknown one."""

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
                pixels become uint8 as the reader's `ReadImage: {range: …}` says, in files and arrays alike.
            channels: order of the pixels' channels, "rgb" or "bgr" (as OpenCV's `imread` gives them). Files are read rightly.

        Raises:
            UserError: what is no image, a file that cannot be read; of an exported model a size that it was not exported for.
            DivergenceError: the model gives NaN or infinite numbers.
        """
        return self._answer(images, channels, self._predictions)

    def candidates(self, images: Any, *, channels: str = "rgb") -> Any:
        """What the model finds before any step, as `structures.Candidates`; arguments as of `predict`.

        `postprocess` makes predictions of them, as often as wanted, with other thresholds each time.
        """
        return self._answer(images, channels, self._candidates)

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
                or those of a file that tune has written. [] cuts the masks and keeps all; None takes the configured ones.
            image: the picture, for steps that look at it.
            name: the image's file name, for steps that go by it.
            channels: of `image`.

        Raises:
            UserError: unknown step or argument.
        """
        chosen = self._post_process(steps)
        size, reading = (candidates.height, candidates.width), self.reading
        read = None if image is None else lambda: as_rgb(image, channels, size, reading)
        return Prediction.of(chosen(candidates, name, read), name, self.classes, self.category_ids)

    def warm_up(self, height: int = _SIZE[0], width: int = _SIZE[1]) -> None:
        """Predict a grey picture of that size, px, so that the first real one does not wait for memory and plans.

        Raises: UserError for a side that is no whole number from 1 on, or that the model was not exported for.
        """
        height, width = whole_number_in(height, "height", 1), whole_number_in(width, "width", 1)
        self.predict([np.full((height, width, 3), 128, np.uint8)] * self._streams)

    def on_frame(self, handle: Callable[[np.ndarray, Prediction], object], *, channels: str = "rgb") -> Camera:
        """A loop of a camera's frames, each predicted and handed to `handle`(frame, found) in a thread of its own (`Camera`).

        Without steps a prediction holds all candidates, down to scores near 0: `handle` filters, `found.filter(score=0.5)`.

            with predictor.on_frame(show) as camera:
                while running:
                    camera(grab())

        Where frames come faster than they are predicted, all but the newest are dropped: what is handled is never late.
        """
        one_of(channels, CHANNELS, "channels")
        if not callable(handle):
            raise UserError(f"on_frame takes a function of (frame, found), not {type(handle).__name__}.")
        return Camera(lambda frame: self.predict(frame, channels=channels), handle)

    def _answer(self, images: Any, channels: str, results: Callable[[Iterator[Picture]], Iterator[Result]]) -> Any:
        """One result, a list or a generator, as `images` is one, a list or anything else."""
        found = results(pictures_of(images, channels, self.reading))
        if is_one(images):
            return next(found)
        return list(found) if is_list(images) else found
