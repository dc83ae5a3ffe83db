"""`Predictor`: an exported model as an object that finds things in images, without Paddle."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any, TypeVar, overload

import numpy as np
import yaml

from ppdet_ext.data.images.depth import Reading
from ppdet_ext.data.transforms.sample import Sample, sample_of
from ppdet_ext.errors import DivergenceError, UserError
from ppdet_ext.postprocess import PostProcess
from ppdet_ext.structures import Candidates, Record

from .camera import Camera
from .findings import candidates_of, check_outputs
from .folder import ExportedModel
from .images import as_rgb, is_list, is_one, pictures_of
from .open import open_engine
from .prediction import Prediction

Result = TypeVar("Result")
PathLike = str | os.PathLike[str]
Steps = PathLike | Sequence[Mapping[str, Any]]
_KEY = "PostProcess"
_NO_RANDOMNESS = np.random.default_rng(0)  # transforms of an exported model draw nothing


class Predictor:
    """Finds objects in images.

        from ppdet_ext.runtime.predictor import Predictor

        predictor = Predictor("exported/steel_sample")
        found = predictor.predict("sheet.jpg")
        print(found.class_names, found.scores, found.boxes)

    It has the interface of `ppdet_ext.api.predictor.Predictor`, and gives the same `Prediction`s. Threads may share one, and
    predict at the same time.

    Args:
        folder: what tools/export.py has written.
        engine: "onnx", "openvino", or "auto": that which the model was exported for.
        device: "cpu", or "gpu" of ONNX Runtime.
        threads: of one prediction; None takes OMP_NUM_THREADS, or as many as there are processors.
        postprocess: steps in place of the exported ones: a list as of `PostProcess`, or a YAML file with it, such as tune's.
        batch_size: images of one size that are predicted together; None takes what the model was exported for, or 1.

    Raises:
        UserError: no exported model, a file that is not what was exported, a missing engine, steps that do not exist.
    """

    def __init__(
        self,
        folder: PathLike,
        *,
        engine: str = "auto",
        device: str = "cpu",
        threads: int | None = None,
        postprocess: Steps | None = None,
        batch_size: int | None = None,
    ) -> None:
        self._model = model = ExportedModel.load(Path(folder))
        check_outputs(model.outputs, folder)
        self._entries = model.postprocess if postprocess is None else steps_in(postprocess)
        self._steps = self._post_process(self._entries)
        self._engine = open_engine(model.folder, engine, device=device, threads=threads, precision=model.precision)
        if self._model.input not in self._engine.input_shapes:
            raise UserError(f"{folder}: the model has no input {model.input!r}. Export it with tools/export.py.")
        self._batch_size = self._images_at_once(batch_size)

    def _images_at_once(self, asked: int | None) -> int:
        fixed = self._engine.input_shapes[self._model.input][0]
        if asked is not None and asked < 1:
            raise UserError(f"batch_size is {asked}; give 1 or more.")
        if fixed is not None and asked not in (None, fixed):
            raise UserError(f"batch_size is {asked}, but the model was exported for {fixed} (tools/export.py --batch).")
        return fixed or asked or 1

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, by label."""
        return self._model.classes

    @property
    def category_ids(self) -> tuple[int, ...]:
        """The data set's own ids of the classes, by label."""
        return self._model.category_ids

    @property
    def reading(self) -> Reading:
        """How files become pixels."""
        return self._model.read.reading

    @property
    def has_steps(self) -> bool:
        """Whether steps decide what is found; without any, the model's thresholds do."""
        return bool(self._entries)

    def __repr__(self) -> str:
        return f"<Predictor {self._model.architecture} {self._model.folder}: {', '.join(self.classes)}>"

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
                pixels become uint8 as the exported `ReadImage: {range: …}` says, in files and arrays alike.
            channels: order of the pixels' channels, "rgb" or "bgr" (as OpenCV's `imread` gives them). Files are read rightly.

        Raises:
            UserError: what is no image, a file that cannot be read, a size that the model was not exported for.
            DivergenceError: the model gives NaN or infinite numbers.
        """
        return self._answer(images, channels, self._predicted)

    def candidates(self, images: Any, *, channels: str = "rgb") -> Any:
        """What the model finds before any step, as `structures.Candidates`; arguments as of `predict`."""
        return self._answer(images, channels, lambda samples, found: found)

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
                or those of a file that tune has written. [] cuts the masks and keeps all; None takes the exported ones.
            image: the picture, for steps that look at it.
            name: the image's file name, for steps that go by it.
            channels: of `image`.

        Raises:
            UserError: unknown step or argument.
        """
        chosen = self._steps if steps is None else self._post_process(steps_in(steps))
        size, reading = (candidates.height, candidates.width), self.reading
        read = None if image is None else lambda: as_rgb(image, channels, size, reading)
        return self._prediction(chosen(candidates, name, read), name)

    def warm_up(self, height: int | None = None, width: int | None = None) -> None:
        """Predict a grey picture of that size, so that the first real one does not wait for memory and plans.

        Both are px of the pictures that will come; None takes the smallest size that the model was exported for.
        """
        (least_height, _), (least_width, _) = self._model.sizes
        self.predict(np.full((height or least_height, width or least_width, 3), 128, np.uint8))

    def on_frame(self, handle: Callable[[np.ndarray, Prediction], object], *, channels: str = "rgb") -> Camera:
        """A loop of a camera's frames, each predicted and handed to `handle` in a thread of its own; see `Camera`.

            with predictor.on_frame(show) as camera:
                while running:
                    camera(grab())

        Where frames come faster than they are predicted, all but the newest are dropped: what is handled is never late.
        """
        return Camera(lambda frame: self.predict(frame, channels=channels), handle)

    def _answer(
        self, images: Any, channels: str, apply: Callable[[Sequence[Sample], list[Candidates]], Sequence[Result]]
    ) -> Any:
        """One result, a list or a generator, as `images` is one, a list or anything else."""
        pictures = pictures_of(images, channels, self.reading)
        results = chain.from_iterable(
            apply([decoded for decoded, _ in batch], self._found(batch)) for batch in self._batches(pictures)
        )
        if is_one(images):
            return next(results)
        return list(results) if is_list(images) else results

    def _batches(self, pictures: Iterator[Any]) -> Iterator[list[tuple[Sample, Sample]]]:
        """Decoded and resized samples; those of a batch come one after the other and are of one size."""
        batch: list[tuple[Sample, Sample]] = []
        for number, picture in enumerate(pictures):
            decoded = self._decoded(picture, number)
            pair = decoded, self._resized(decoded)
            if batch and batch[0][1].size != pair[1].size:
                yield batch
                batch = []
            batch.append(pair)
            if len(batch) == self._batch_size:
                yield batch
                batch = []
        if batch:
            yield batch

    def _decoded(self, picture: np.ndarray | Path, number: int) -> Sample:
        if isinstance(picture, np.ndarray):
            return replace(sample_of(Record(number, "", "", *picture.shape[:2]), targets=False), image=picture)
        return self._model.read(sample_of(Record(number, str(picture), picture.name, 0, 0), targets=False), _NO_RANDOMNESS)

    def _resized(self, sample: Sample) -> Sample:
        for resize in self._model.resizes:
            sample = resize(sample, _NO_RANDOMNESS)
        self._model.check_size(*sample.size, _name_of(sample))
        return sample

    def _found(self, batch: Sequence[tuple[Sample, Sample]]) -> list[Candidates]:
        resized = [sample for _, sample in batch]
        # A graph of a fixed batch gets the last image again, whose results are left out.
        missing = (self._engine.input_shapes[self._model.input][0] or 0) - len(resized)
        pixels = np.stack([sample.image for sample in resized] + [resized[-1].image] * missing)
        try:
            return candidates_of(self._engine.run({self._model.input: pixels}), resized, self._model.score_threshold)
        except DivergenceError as error:
            raise DivergenceError(f"{error} (images: {', '.join(map(_name_of, resized))})") from error

    def _predicted(self, samples: Sequence[Sample], found: list[Candidates]) -> list[Prediction]:
        return [
            self._prediction(self._steps(one, sample.name, lambda sample=sample: sample.image), sample.name)  # type: ignore[misc]
            for sample, one in zip(samples, found)
        ]

    def _prediction(self, found: Any, name: str) -> Prediction:
        return Prediction.of(found, name, self.classes, self.category_ids)

    def _post_process(self, entries: Sequence[Mapping[str, Any]]) -> PostProcess:
        return PostProcess(entries, self.classes, self.category_ids, self._model.mask_threshold)


def _name_of(sample: Sample) -> str:
    return sample.name or f"image number {sample.im_id + 1}"


def steps_in(postprocess: Steps) -> Sequence[Mapping[str, Any]]:
    """Entries of `PostProcess`: those given, or those in a YAML file such as tune's. UserError for a file that has none."""
    if not isinstance(postprocess, (str, os.PathLike)):
        return list(postprocess)
    try:
        tree = yaml.safe_load(Path(postprocess).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, RecursionError, yaml.YAMLError) as error:
        raise UserError(f"{os.fspath(postprocess)} cannot be read: {error}") from error
    if not isinstance(tree, dict) or not isinstance(tree.get(_KEY), list):
        raise UserError(f"{os.fspath(postprocess)} has no list {_KEY}; tune writes such a file, tuned.yml of the run.")
    return tree[_KEY]
