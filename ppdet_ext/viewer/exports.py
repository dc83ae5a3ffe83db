"""What was decided on the page, as a table of measurements or as the files of a label tool."""

from __future__ import annotations

import io
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ppdet_ext.data.formats.result_files import write_measurements
from ppdet_ext.data.formats.submission_format import Format
from ppdet_ext.data.labels.convert import DETECTIONS, place_of
from ppdet_ext.data.labels.label_set import LabelledImage, LabelledObject, LabelSet
from ppdet_ext.data.labels.writers import WRITERS, WriteOptions
from ppdet_ext.errors import UserError, nearest
from ppdet_ext.structures import Detections, Rle

from .catalogue import Catalogue, Item
from .decisions import ACCEPTED, REJECTED, Decisions, object_key

CSV = "csv"
# Accepted predictions; those of a score, but rejected ones; annotations but rejected ones, and accepted predictions.
CHOICES = ("accepted", "predictions", "labels")
_MIME = {".csv": "text/csv", ".xml": "application/xml", ".json": "application/json", ".zip": "application/zip"}


class Chosen(NamedTuple):
    """An object that is exported: score is None for what a person has drawn."""

    class_name: str
    mask: Rle
    score: float | None
    crowd: bool
    verdict: str
    note: str


class File(NamedTuple):
    """A file to be downloaded."""

    name: str
    content: bytes
    mime: str


@dataclass(frozen=True)
class Exports:
    """Writes the decisions on a catalogue's pictures.

    class_names, class_ids: by label. mm_per_pixel: for the table. form: of Kaggle's table; None has no such export.
    """

    catalogue: Catalogue
    decisions: Decisions
    class_names: Sequence[str]
    class_ids: Sequence[int]
    mm_per_pixel: float | None = None
    form: Format | None = None

    @property
    def formats(self) -> list[str]:
        """Names of what `file` can write."""
        return [CSV, *(name for name in WRITERS if name != "kaggle" or self.form is not None)]

    def file(self, format: str, choice: str, score: float) -> File:
        """One file of a format, a ZIP archive where there are several.

        Args:
            format: of `formats`. choice: of `CHOICES`. score: the lowest, of the choice "predictions".

        Raises: UserError for unknown ones, where nothing is there to export, or a writer cannot hold a name.
        """
        for what, own, known in (("format", format, self.formats), ("choice", choice, CHOICES)):
            if own not in known:
                raise UserError(f"There is no {what} {own!r}.{nearest(own, known)} There are {', '.join(known)}.")
        images = list(self.images(choice, score))
        if not images:
            raise UserError(_NOTHING[choice])
        with tempfile.TemporaryDirectory() as folder:
            out = Path(folder)
            if format == CSV:
                self._write_table(out / f"{choice}.csv", images)
            else:
                options = WriteOptions(class_ids=list(self.class_ids), form=self.form)
                WRITERS[format](self._labels(images, choice), out, options)
            return _download(out, f"{choice}_{format}")

    def images(self, choice: str, score: float) -> Iterator[tuple[Item, list[Chosen]]]:
        """The pictures that a choice is about, with their objects: also those that were looked at and have none left."""
        for item in self.catalogue.items:
            own = self.decisions.of(item.name)
            found = list(self._found(item, own, score if choice == "predictions" else None))
            if choice == "predictions":
                wanted = item.found is not None
            elif choice == "labels":
                wanted = item.truth is not None or bool(own)
                found = [*self._annotated(item, own), *found]
            else:
                wanted = any(one.get("verdict") for one in own.values())
            if wanted:
                yield item, found

    def _found(self, item: Item, own: dict[str, Any], lowest: float | None) -> Iterator[Chosen]:
        """Detections that are accepted, or with `lowest` of at least this score and not rejected."""
        if item.found is None:
            return
        for label, score, mask, box in _objects(item.found, item.found.scores):
            decision = own.get(object_key(self.class_names[label], mask, box), {})
            verdict = decision.get("verdict", "")
            if mask is None or verdict == REJECTED:
                continue
            if verdict == ACCEPTED or (lowest is not None and np.float32(score) >= np.float32(lowest)):
                yield self._chosen(label, mask, score, decision)

    def _annotated(self, item: Item, own: dict[str, Any]) -> Iterator[Chosen]:
        if item.truth is None or len(item.truth.masks) != len(item.truth.labels):
            return
        for label, crowd, mask, box in _objects(item.truth, item.truth.crowd):
            decision = own.get(object_key(self.class_names[label], mask, box), {})
            if mask is not None and decision.get("verdict") != REJECTED:
                yield self._chosen(label, mask, None, decision)._replace(crowd=bool(crowd))

    def _chosen(self, label: int, mask: Rle, score: float | None, decision: dict[str, str]) -> Chosen:
        name = decision.get("class") or self.class_names[label]
        return Chosen(name, mask, score, False, decision.get("verdict", ""), decision.get("note", ""))

    def _labels(self, images: Sequence[tuple[Item, list[Chosen]]], choice: str) -> LabelSet:
        labels = LabelSet(DETECTIONS if choice == "predictions" else "decisions", list(self.class_names), [])
        taken: set[str] = set()
        for item, chosen in images:
            # What a person has accepted is no guess any more.
            objects = [
                LabelledObject(own.class_name, own.mask, crowd=own.crowd, score=None if own.verdict else own.score)
                for own in chosen
            ]
            # A name that leads elsewhere is cut to its last part, which another picture may have.
            name = place_of(item.name)
            while name in taken:
                name = f"_{name}"
            taken.add(name)
            labels.images.append(LabelledImage(name, *item.size, objects, file=item.file))
        return labels

    def _write_table(self, path: Path, images: Sequence[tuple[Item, list[Chosen]]]) -> None:
        by_name = {item.name: chosen for item, chosen in images}
        named = [(item.name, self._detections(item, chosen)) for item, chosen in images]
        columns: dict[str, Callable[[str, int], str]] = {
            "verdict": lambda name, place: by_name[name][place].verdict,
            "note": lambda name, place: by_name[name][place].note,
        }
        write_measurements(path, named, self.class_names, self.mm_per_pixel, columns)

    def _detections(self, item: Item, chosen: Sequence[Chosen]) -> Detections:
        labels = [list(self.class_names).index(own.class_name) for own in chosen]
        scores = [np.nan if own.score is None else own.score for own in chosen]
        return Detections.of_masks(*item.size, [own.mask for own in chosen], labels, scores)


_NOTHING = {
    "accepted": "Nothing is decided yet: accept (a) or reject (r) objects first.",
    "predictions": "No picture has a prediction yet.",
    "labels": "No picture has annotations, and nothing is decided yet.",
}


def _objects(own: Any, values: np.ndarray) -> Iterator[tuple[int, Any, Rle | None, np.ndarray]]:
    """(label, value, mask or None, box) of each object."""
    masks: Sequence[Rle | None] = list(own.masks) if own.masks else [None] * len(own.labels)
    yield from zip(own.labels.tolist(), values.tolist(), masks, own.boxes)


def _download(out: Path, name: str) -> File:
    files = sorted(path for path in out.rglob("*") if path.is_file())
    if len(files) == 1:
        suffix = files[0].suffix
        return File(f"{name}{suffix}", files[0].read_bytes(), _MIME.get(suffix, "application/octet-stream"))
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in files:
            archive.write(path, path.relative_to(out).as_posix())
    return File(f"{name}.zip", stream.getvalue(), _MIME[".zip"])
