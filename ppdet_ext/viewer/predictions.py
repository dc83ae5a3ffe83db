"""Predictions made in a thread of their own: the model is loaded when the first is wanted, and none is made twice."""

from __future__ import annotations

import hashlib
import itertools
import json
import logging
import queue
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ppdet_ext.errors import DivergenceError, UserError
from ppdet_ext.files.atomic import digest, write_atomically
from ppdet_ext.runtime.base import BasePredictor
from ppdet_ext.structures import Detections, Rle

from .catalogue import FAILED, READY, RUNNING, WAITING, Catalogue, Item
from .matching import match_picture

# Who looks at a picture waits for it, and wants the newest of a folder; what was asked for in bulk keeps its order.
URGENT, SOON, SOME_TIME = 0, 1, 2
_FORMAT = 1
logger = logging.getLogger("ppdet_ext")


class PredictionFiles:
    """Predictions of one model, each in a file named by the content of its picture.

    Args:
        folder: of all models.
        identity: what tells the model from others: its weights and settings, by content.
    """

    def __init__(self, folder: Path, identity: str) -> None:
        self.folder = folder / hashlib.sha256(identity.encode(errors="surrogateescape")).hexdigest()[:16]

    def load(self, picture: str) -> Detections | None:
        """What was found in the picture of this content; None where it is not known, or the file is damaged."""
        try:
            return detections_of(json.loads((self.folder / f"{picture}.json").read_text(encoding="ascii")))
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def save(self, picture: str, found: Detections) -> None:
        """Keep it. A disk that is full or read-only is no matter: it is predicted again some day."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            write_atomically(self.folder / f"{picture}.json", json.dumps(content_of(found)).encode("ascii"))
        except OSError as error:
            logger.debug("%s: no prediction is kept (%s)", self.folder, error)


def content_of(found: Detections) -> dict[str, Any]:
    """Detections ready for JSON; float32 numbers come back as they were."""
    masks = None if found.masks is None else [mask.counts.decode("ascii") for mask in found.masks]
    lists = {name: np.asarray(getattr(found, name)).tolist() for name in ("boxes", "scores", "labels")}
    return {"format": _FORMAT, "height": found.height, "width": found.width, **lists, "masks": masks}


def detections_of(content: Any) -> Detections:
    """What `content_of` has made. Raises: ValueError, KeyError or TypeError for what it has not."""
    height, width = int(content["height"]), int(content["width"])
    if content["format"] != _FORMAT:
        raise ValueError(f"format {content['format']}")
    masks = content["masks"]
    return Detections(
        height,
        width,
        np.array(content["boxes"], np.float32).reshape(-1, 4),
        np.array(content["scores"], np.float32),
        np.array(content["labels"], np.int64),
        None if masks is None else [Rle.from_coco({"size": [height, width], "counts": counts}) for counts in masks],
    )


def label_order(theirs: Sequence[str], ours: Sequence[str]) -> np.ndarray | None:
    """(classes,) int64 our label of each of a model's classes, by name; None where they are the same.

    Raises: UserError where they have other names.
    """
    if list(theirs) == list(ours):
        return None
    if sorted(theirs) != sorted(ours) or len(set(ours)) < len(ours):
        raise UserError(
            f"--model finds {', '.join(theirs)}, but the data set has {', '.join(ours)}. Give the model of this data set."
        )
    return np.array([list(ours).index(name) for name in theirs], np.int64)


class Worker:
    """The thread that predicts, and compares what it finds with annotations.

    Args:
        catalogue: of the pictures.
        make: loads the model; called once, in this thread, when the first prediction is wanted. None: there is none.
        files: where predictions are kept.
        labels: (classes,) int64, what a label of the model is on the page; None: the same.
    """

    def __init__(
        self,
        catalogue: Catalogue,
        make: Callable[[], BasePredictor] | None,
        files: PredictionFiles,
        labels: np.ndarray | None = None,
    ) -> None:
        self.catalogue, self.files, self.labels = catalogue, files, labels
        self._make, self._fault = make, ""
        self._model: BasePredictor | None = None
        self._queue: queue.PriorityQueue[tuple[int, int, Item | None]] = queue.PriorityQueue()
        self._order = itertools.count()
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()
        self.loading = False

    @property
    def can_predict(self) -> bool:
        """Whether there is a model, as far as is known."""
        return self._make is not None and not self._fault

    @property
    def waiting(self) -> int:
        """How many pictures wait for their turn."""
        return sum(item.state in (WAITING, RUNNING) for item in self.catalogue.items)

    def ask(self, items: Iterable[Item], priority: int = SOON) -> int:
        """Want these pictures predicted, those that are not; returns how many wait for it now."""
        if self._make is None:
            return 0
        asked = 0
        for item in items:
            if item.found is not None or item.state == RUNNING or (item.state == WAITING and priority != URGENT):
                continue
            if item.state != WAITING:
                self.catalogue.change(item, lambda own: _set(own, WAITING))
            order = next(self._order)
            self._queue.put((priority, order if priority == SOME_TIME else -order, item))
            asked += 1
        if asked:
            self._start()
        return asked

    def stop(self) -> None:
        """End the thread after the picture it is at."""
        if self._thread is not None:
            self._queue.put((-1, next(self._order), None))
            self._thread.join(timeout=60)

    def _start(self) -> None:
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="predictions", daemon=True)
                self._thread.start()

    def _work(self) -> None:
        while True:
            _, _, item = self._queue.get()
            if item is None:
                return
            # One that became urgent stands in the queue twice.
            if item.state == WAITING:
                self._one(item)

    def _one(self, item: Item) -> None:
        self.catalogue.change(item, lambda own: _set(own, RUNNING))
        try:
            found = self._found(item)
        except (UserError, DivergenceError, OSError) as error:
            text = str(error)
            self.catalogue.change(item, lambda own: _set(own, FAILED, text))
        except Exception as error:
            # The thread must live on: others wait.
            logger.exception("%s could not be predicted", item.name)
            told = f"{type(error).__name__}: {error}"
            self.catalogue.change(item, lambda own: _set(own, FAILED, told))
        else:
            match = None if item.truth is None else match_picture(item.truth, found)
            self.catalogue.change(item, lambda own: _finish(own, found, match))

    def _found(self, item: Item) -> Detections:
        picture = digest(Path(item.file))[:40]
        known = self.files.load(picture)
        if known is None or (known.height, known.width) != item.size:
            known = self._loaded().predict(item.file)
            self.files.save(picture, known)
        if (known.height, known.width) != item.size:
            sizes = f"{known.width}x{known.height} pixels where its annotations count {item.width}x{item.height}"
            raise UserError(f"{item.name}: the model reads it with {sizes} (ReadImage: exif of TestReader).")
        return known if self.labels is None else replace(known, labels=self.labels[known.labels])

    def _loaded(self) -> BasePredictor:
        if self._fault:
            raise UserError(self._fault)
        if self._model is None:
            assert self._make is not None
            self.loading = True
            logger.info("Loading the model")
            try:
                self._model = self._make()
            except UserError as error:
                self._fault = str(error)
                logger.warning("The model cannot be loaded: %s", error)
                raise
            finally:
                self.loading = False
        return self._model


def _set(item: Item, state: str, error: str = "") -> None:
    item.state, item.error = state, error


def _finish(item: Item, found: Detections, match: Any) -> None:
    item.found, item.match, item.state, item.error = found, match, READY, ""
