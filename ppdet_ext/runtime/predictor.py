"""`Predictor`: an exported model as an object that finds things in images, without Paddle."""

import functools
import os
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from ppdet_ext.data.images.depth import Reading
from ppdet_ext.data.transforms.sample import Sample, sample_of
from ppdet_ext.errors import DivergenceError, UserError
from ppdet_ext.postprocess import PostProcess
from ppdet_ext.structures import Candidates, Record

from .base import BasePredictor, PathLike, Result, Steps
from .findings import candidates_of, check_outputs
from .folder import ExportedModel
from .images import Picture
from .open import demand_count, open_engine
from .prediction import Prediction

Batch = list[tuple[Sample, Sample]]  # of each image what was decoded, and resized

_KEY = "PostProcess"
_NO_RANDOMNESS = np.random.default_rng(0)  # transforms of an exported model draw nothing


class Predictor(BasePredictor):
    """Finds objects in images.

        from ppdet_ext.runtime.predictor import Predictor

        predictor = Predictor("exported/steel_sample")
        found = predictor.predict("sheet.jpg")
        print(found.class_names, found.scores, found.boxes)

    It has the interface of the library's `Predictor`, see `BasePredictor`, and gives the same `Prediction`s. Threads may share
    one, and predict at the same time. Pickled, as by multiprocessing, it is opened anew in the other process.

    Args:
        folder: what tools/export.py has written.
        engine: "onnx", "openvino", or "auto": that which the model was exported for.
        device: "cpu"; of ONNX Runtime (onnxruntime-gpu) also "gpu" ("gpu:1"), or "auto": a GPU where there is one.
        threads: of all predictions together; None takes OMP_NUM_THREADS, or as many as there are processors.
        postprocess: steps in place of the exported ones: a list as of `PostProcess`, or a YAML file with it, such as tune's.
        batch_size: images of one size that are predicted together; None takes what the model was exported for, or 1.
        streams: batches of a list, a folder or a generator that are predicted at the same time, each on its share of the
            threads. 1 has one image the soonest; as many as threads have many images the soonest, each with working
            memory of its own. From a generator so many batches and one are taken ahead.

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
        streams: int = 1,
    ) -> None:
        self._model = model = ExportedModel.load(Path(folder))
        check_outputs(model.outputs, folder)
        self._entries = model.postprocess if postprocess is None else steps_in(postprocess)
        self._steps = self._post_process(self._entries)
        self._opened_as = functools.partial(
            type(self),
            model.folder.absolute(),
            engine=engine,
            device=device,
            threads=threads,
            postprocess=self._entries,
            batch_size=batch_size,
            streams=streams,
        )
        self._engine = open_engine(
            model.folder, engine, device=device, threads=threads, precision=model.precision, streams=streams
        )
        if self._model.input not in self._engine.input_shapes:
            raise UserError(f"{folder}: the model has no input {model.input!r}. Export it with tools/export.py.")
        self._batch_size = self._images_at_once(batch_size)
        self._streams = streams
        self._workers = ThreadPoolExecutor(streams, "predict") if streams > 1 else None

    def __reduce__(self) -> tuple[Callable[[], "Predictor"], tuple[()]]:
        return self._opened_as, ()

    def _images_at_once(self, asked: int | None) -> int:
        fixed = self._engine.input_shapes[self._model.input][0]
        if asked is not None:
            demand_count(asked, "batch_size")
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

    def warm_up(self, height: int | None = None, width: int | None = None) -> None:
        """Predict a grey picture of that size, px; None takes the smallest that the model was exported for."""
        (least_height, _), (least_width, _) = self._model.sizes
        super().warm_up(least_height if height is None else height, least_width if width is None else width)

    def check_size(self, height: int, width: int, name: str) -> None:
        """UserError, beginning with `name`, for pictures of a size, px, that the model was not exported for."""
        sample = sample_of(Record(0, "", name, height, width), targets=False)
        self._resized(replace(sample, image=np.zeros((height, width, 3), np.uint8)))

    def _predictions(self, pictures: Iterator[Picture]) -> Iterator[Prediction]:
        return self._of_batches(pictures, lambda batch: self._predicted([decoded for decoded, _ in batch], self._found(batch)))

    def _candidates(self, pictures: Iterator[Picture]) -> Iterator[Candidates]:
        return self._of_batches(pictures, self._found)

    def _of_batches(self, pictures: Iterator[Picture], work: Callable[[Batch], list[Result]]) -> Iterator[Result]:
        """Results of all batches in their order; a batch that cannot be read, or fails, raises in its place."""
        batches = self._batches(pictures)
        if self._workers is None:
            for batch in batches:
                yield from work(batch)
            return
        waiting: deque[Future[list[Result]]] = deque()
        while True:
            while len(waiting) <= self._streams and (begun := _begun(self._workers, batches, work)):
                waiting.append(begun)
            if not waiting:
                return
            yield from waiting.popleft().result()

    def _post_process(self, steps: Steps | None) -> PostProcess:
        if steps is None:
            return self._steps
        return PostProcess(steps_in(steps), self.classes, self.category_ids, self._model.mask_threshold)

    def _batches(self, pictures: Iterator[Picture]) -> Iterator[Batch]:
        """Decoded and resized samples; those of a batch come one after the other and are of one size."""
        batch: Batch = []
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

    def _decoded(self, picture: Picture, number: int) -> Sample:
        if isinstance(picture, np.ndarray):
            return replace(sample_of(Record(number, "", "", *picture.shape[:2]), targets=False), image=picture)
        return self._model.read(sample_of(Record(number, str(picture), picture.name, 0, 0), targets=False), _NO_RANDOMNESS)

    def _resized(self, sample: Sample) -> Sample:
        for resize in self._model.resizes:
            sample = resize(sample, _NO_RANDOMNESS)
        self._model.check_size(*sample.size, _name_of(sample))
        return sample

    def _found(self, batch: Batch) -> list[Candidates]:
        resized = [sample for _, sample in batch]
        # A graph of a fixed batch gets the last image again, whose results are left out.
        missing = (self._engine.input_shapes[self._model.input][0] or 0) - len(resized)
        pixels = np.stack([sample.image for sample in resized] + [resized[-1].image] * missing)
        try:
            return candidates_of(self._engine.run({self._model.input: pixels}), resized, self._model.score_threshold)
        except DivergenceError as error:
            raise DivergenceError(f"{error} (images: {', '.join(map(_name_of, resized))})") from error

    def _predicted(self, samples: Sequence[Sample], found: list[Candidates]) -> list[Prediction]:
        cut = [self._steps(one, own.name, lambda own=own: own.image) for own, one in zip(samples, found)]  # type: ignore[misc]
        return [Prediction.of(one, own.name, self.classes, self.category_ids) for own, one in zip(samples, cut)]


def _begun(
    workers: ThreadPoolExecutor, batches: Iterator[Batch], work: Callable[[Batch], list[Result]]
) -> Future[list[Result]] | None:
    """The next batch in a thread's hands; what it raised if it could not be read, and None if there is none."""
    try:
        batch = next(batches)
    except StopIteration:
        return None
    except Exception as error:
        failed: Future[list[Result]] = Future()
        failed.set_exception(error)
        return failed
    return workers.submit(work, batch)


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
