"""Everything that the page works on, put together: pictures, model, decisions, and the threads that go on meanwhile."""

from __future__ import annotations

import logging
import secrets
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ppdet_ext.data.formats.submission_format import Format
from ppdet_ext.data.images.depth import AS_SHOWN, Reading
from ppdet_ext.runtime.base import BasePredictor
from ppdet_ext.structures.measurements import check_scale

from .catalogue import Catalogue, Item
from .decisions import FILE, Decisions
from .exports import Exports
from .matching import match_picture
from .predictions import SOON, PredictionFiles, Worker, label_order
from .sources import DROPPED, dropped_before, keep_dropped
from .thumbnails import Thumbnails
from .watching import FolderWatch

DEFAULT_SCORE = 0.5
logger = logging.getLogger("ppdet_ext")


@dataclass(frozen=True)
class Model:
    """What predicts: how it is loaded, what tells it from others, its name for people.

    classes: names by its labels; None where they are those of the page.
    """

    make: Callable[[], BasePredictor]
    identity: str
    name: str
    classes: tuple[str, ...] | None = None


class Session:
    """The page's pictures and all that is done to them.

    Args:
        title: of the page.
        folder: where decisions, predictions and small pictures are kept.
        items: the first pictures.
        class_names, class_ids: by label.
        model: None where nothing can be predicted.
        score: that the page begins with.
        mm_per_pixel: side of a pixel, for sizes in millimetres.
        reading: how files become pixels.
        form: of the Kaggle table that can be exported.

    Raises: UserError for a scale that is none, decisions that cannot be read, or a model of other classes.
    """

    def __init__(
        self,
        title: str,
        folder: Path,
        items: Iterable[Item],
        class_names: Sequence[str],
        class_ids: Sequence[int],
        *,
        model: Model | None = None,
        score: float = DEFAULT_SCORE,
        mm_per_pixel: float | None = None,
        reading: Reading = AS_SHOWN,
        form: Format | None = None,
    ) -> None:
        check_scale(mm_per_pixel, "--mm_per_pixel")
        self.title, self.folder, self.score, self.mm_per_pixel, self.reading = title, folder, score, mm_per_pixel, reading
        self.class_names, self.class_ids = [str(name) for name in class_names], list(class_ids)
        self.decisions = Decisions(folder / FILE, self.class_names)
        self.catalogue = Catalogue()
        self.catalogue.add([*items, *dropped_before(folder / DROPPED, reading.exif)])
        self.thumbnails = Thumbnails(folder / "thumbs", reading)
        self.model_name = "" if model is None else model.name
        files = PredictionFiles(folder / "predictions", "" if model is None else model.identity)
        order = None if model is None or model.classes is None else label_order(model.classes, self.class_names)
        self.worker = Worker(self.catalogue, None if model is None else model.make, files, order)
        self.exports = Exports(self.catalogue, self.decisions, self.class_names, self.class_ids, mm_per_pixel, form)
        self.token = secrets.token_hex(8)
        self.watch: FolderWatch | None = None
        self.compared = threading.Event()

    def start(self, watched: Path | None = None) -> None:
        """Compare predictions with annotations, and watch a folder, both beside the page."""
        threading.Thread(target=self.compare, name="comparing", daemon=True).start()
        if watched is not None:
            self.watch = FolderWatch(watched, self._take, exif=self.reading.exif)
            self.watch.start()

    def stop(self) -> None:
        """End the threads."""
        if self.watch is not None:
            self.watch.stop()
        self.worker.stop()

    def compare(self) -> None:
        """Match what is predicted already with annotations."""
        todo = [item for item in self.catalogue.items if item.truth is not None and item.found is not None]
        for item in todo:
            assert item.truth is not None
            assert item.found is not None
            match = match_picture(item.truth, item.found)
            self.catalogue.change(item, lambda own, match=match: setattr(own, "match", match))  # type: ignore[misc]
        self.compared.set()

    def drop(self, name: str, content: bytes) -> Item:
        """Take a picture that was dropped on the page, and have it predicted; the same picture again is the one there was.

        Raises: UserError for what is no picture.
        """
        item = keep_dropped(self.folder / DROPPED, name, content, self.reading)
        same = next((own for own in self.catalogue.items if own.file == item.file), None)
        if same is None:
            (same,) = self.catalogue.add([item])
        self.worker.ask([same], SOON)
        return same

    def _take(self, items: list[Item]) -> None:
        self.worker.ask(self.catalogue.add(items), SOON)
