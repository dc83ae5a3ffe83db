"""Which pictures a report shows, and the objects on them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from .errors import DEFINITIONS as ERROR_KINDS
from .errors import MISSED, TITLES, WrongOnes, missed_ones, wrong_ones
from .label_errors import TITLES as FAULTS
from .label_errors import Candidate
from .matching import IN_CROWD
from .schema import BACKGROUND, Confusion
from .schema_objects import Example, Group, Picture, Pictures, Shown
from .tables import Tables

OF_CLASS, CLASSES, CELLS, OF_CELL = 3, 20, 12, 3


class Gallery:
    """Collects groups of pictures, of which each is described once.

    tables, score: what is shown. number: of examples of a group; 0 shows none.
    """

    def __init__(self, tables: Tables, score: float, number: int) -> None:
        self.tables, self.score, self.number = tables, score, number
        truths = tables.truths
        self.finder = tables.matched.finder(len(truths.image), tables.found.score, score)
        self.shown = np.flatnonzero(tables.found.score >= score)
        images = len(tables.records)
        right, wrong = tables.matched.right[self.shown], tables.matched.wrong[self.shown]
        where = tables.found.image[self.shown]
        self.tp, self.fp = (np.bincount(where[flags], minlength=images) for flags in (right, wrong))
        self.fn = np.bincount(truths.image[(self.finder < 0) & ~truths.crowd], minlength=images)
        # Rows of the tables are images in turn: an object's position in its picture is a difference.
        self.first_truth = np.searchsorted(truths.image, np.arange(images))
        self.truths_of = np.bincount(truths.image, minlength=images)
        self.first_shown = np.searchsorted(where, np.arange(images))
        self.iou, self.best = tables.matched.iou_of_taken(), tables.matched.best_iou()
        self.groups: list[Group] = []
        self.used: dict[int, int] = {}
        # Detections below the score that some group is about.
        self.extra: dict[int, list[int]] = {}

    def add(
        self, key: str, title: str, total: int, examples: Iterable[Example], detail: str = "", label: int | None = None
    ) -> None:
        """A group, unless it would be empty."""
        chosen = list(examples)
        if chosen:
            self.groups.append(Group(key, detail, label, title, total, chosen))

    def whole(self, image: int, text: str) -> Example:
        """All of an image; `image` is its row."""
        im_id = self.tables.records[image].im_id
        self.used.setdefault(im_id, image)
        return Example(im_id, None, text)

    def truth(self, row: int, text: str) -> Example:
        """An annotated object."""
        image = int(self.tables.truths.image[row])
        return Example(self.whole(image, "").image, int(row - self.first_truth[image]), text)

    def detection(self, row: int, text: str) -> Example:
        """A detection; of those below the score, too."""
        image = int(self.tables.found.image[row])
        example = self.whole(image, "")
        if self.tables.found.score[row] >= self.score:
            place = int(np.searchsorted(self.shown, row) - self.first_shown[image])
        else:
            extra = self.extra.setdefault(image, [])
            if row not in extra:
                extra.append(row)
            place = self._shown_of(image) + extra.index(row)
        return Example(example.image, int(self.truths_of[image]) + place, text)

    def _shown_of(self, image: int) -> int:
        return int((self.tables.found.image[self.shown] == image).sum())

    def f1(self) -> np.ndarray:
        """(images,) 1 where nothing is to be found and nothing is."""
        total = 2 * self.tp + self.fp + self.fn
        return np.where(total > 0, 2 * self.tp / np.maximum(total, 1), 1.0)

    def pictures(self) -> Pictures:
        """Everything that was added."""
        f1 = self.f1()
        return Pictures([self._picture(image, float(f1[image])) for _, image in sorted(self.used.items())], self.groups)

    def _picture(self, image: int, f1: float) -> Picture:
        record = self.tables.records[image]
        rows = self.shown[self.tables.found.image[self.shown] == image].tolist() + self.extra.get(image, [])
        truths = range(int(self.first_truth[image]), int(self.first_truth[image] + self.truths_of[image]))
        objects = [*(self._truth(row) for row in truths), *(self._found(row) for row in rows)]
        counts = int(self.tp[image]), int(self.fp[image]), int(self.fn[image])
        return Picture(record.im_id, record.name, record.file, record.height, record.width, f1, *counts, objects)

    def _truth(self, row: int) -> Shown:
        truths, by = self.tables.truths, int(self.finder[row])
        record = self.tables.records[int(truths.image[row])]
        mask = record.masks[int(truths.place[row])].to_coco(text=True) if len(record.masks) else None
        verdict = "crowd" if truths.crowd[row] else "tp" if by >= 0 else "fn"
        iou = float(self.iou[by]) if by >= 0 else None
        return Shown("truth", int(truths.label[row]), None, truths.box[row].tolist(), mask, verdict, iou)

    def _found(self, row: int) -> Shown:
        found, matched = self.tables.found, self.tables.matched
        masks = self.tables.detections[int(found.image[row])].masks
        mask = masks[int(found.place[row])].to_coco(text=True) if masks is not None else None
        right, crowd = bool(matched.right[row]), matched.taken[0, row] == IN_CROWD
        iou = float(self.iou[row] if right else self.best[row]) or None
        verdict = "tp" if right else "ignored" if crowd or not matched.counted[row] else "fp"
        return Shown("found", int(found.label[row]), float(found.score[row]), found.box[row].tolist(), mask, verdict, iou)


def choose_pictures(tables: Tables, score: float, number: int, confusion: Confusion, faults: Sequence[Candidate]) -> Pictures:
    """The pictures of all groups; none where `number` is 0."""
    gallery = Gallery(tables, score, number)
    if not number or not tables.records:
        return Pictures([], [])
    _add_whole(gallery)
    wrong = wrong_ones(tables)
    _add_objects(gallery, None, number)
    for label in np.argsort(-tables.instances(), kind="stable")[:CLASSES].tolist() if tables.classes > 1 else []:
        _add_objects(gallery, label, min(OF_CLASS, number))
    _add_confused(gallery, confusion)
    _add_errors(gallery, wrong, min(OF_CLASS, number))
    for kind, title in FAULTS.items():
        own = [one for one in faults if one.kind == kind]
        gallery.add("label_errors", title, len(own), [_fault(gallery, one) for one in own[:number]], kind)
    return gallery.pictures()


def _add_whole(gallery: Gallery) -> None:
    f1, faults = gallery.f1(), gallery.fp + gallery.fn
    images = len(f1)

    def text(image: int) -> str:
        right, wrong, missed = int(gallery.tp[image]), int(gallery.fp[image]), int(gallery.fn[image])
        return f"F1 {f1[image]:.2f}: {right} right, {wrong} wrong, {missed} missed"

    worst = [i for i in np.lexsort((np.arange(images), -faults, f1)).tolist() if faults[i]]
    # Of pictures without a fault those with most to find say most.
    best = [i for i in np.lexsort((np.arange(images), -gallery.tp, -f1)).tolist() if gallery.tp[i]]
    for key, title, chosen in (("worst", "Worst pictures", worst), ("best", "Best pictures", best)):
        gallery.add(key, title, len(chosen), [gallery.whole(i, text(i)) for i in chosen[: gallery.number]])


def _add_objects(gallery: Gallery, label: int | None, number: int) -> None:
    """The surest wrong detections and the largest missed objects, of a class or of all."""
    tables, found, truths = gallery.tables, gallery.tables.found, gallery.tables.truths
    suffix = "" if label is None else f": {tables.class_names[label]}"
    wrong, missed = tables.matched.wrong & (found.score >= gallery.score), (gallery.finder < 0) & ~truths.crowd
    if label is not None:
        wrong, missed = wrong & (found.label == label), missed & (truths.label == label)
    rows = np.flatnonzero(wrong)[np.argsort(-found.score[wrong], kind="stable")]
    examples = [gallery.detection(row, _named(tables, row)) for row in rows[:number].tolist()]
    gallery.add("false_positives", f"Surest false positives{suffix}", len(rows), examples, label=label)
    rows = np.flatnonzero(missed)[np.argsort(-truths.area[missed], kind="stable")]
    names = [f"{tables.class_names[int(truths.label[row])]}, {truths.area[row]:.0f} px" for row in rows[:number]]
    examples = [gallery.truth(row, name) for row, name in zip(rows.tolist(), names)]
    gallery.add("misses", f"Largest misses{suffix}", len(rows), examples, label=label)


def _named(tables: Tables, row: int) -> str:
    return f"{tables.class_names[int(tables.found.label[row])]} {tables.found.score[row]:.2f}"


def _add_confused(gallery: Gallery, confusion: Confusion) -> None:
    names = gallery.tables.class_names
    image_of = {record.im_id: i for i, record in enumerate(gallery.tables.records)}

    def title_of(truth: int | None, found: int | None) -> str:
        if truth is None or found is None:
            return f"{names[found or 0]} found on nothing" if truth is None else f"{names[truth]} not found"
        return f"{names[truth]} taken for {names[found]}"

    for cell in confusion.cells[:CELLS]:
        detail = ">".join(BACKGROUND if label is None else str(label) for label in (cell.truth, cell.found))
        title = title_of(cell.truth, cell.found)
        gallery.add("confusion", title, cell.count, [gallery.whole(image_of[i], "") for i in cell.images[:OF_CELL]], detail)


def _add_errors(gallery: Gallery, wrong: WrongOnes, number: int) -> None:
    tables = gallery.tables
    for key in ERROR_KINDS:
        if key == MISSED:
            rows = np.flatnonzero(missed_ones(tables, wrong, gallery.score))
            rows = rows[np.argsort(-tables.truths.area[rows], kind="stable")]
            names = [tables.class_names[int(tables.truths.label[row])] for row in rows[:number]]
            examples = [gallery.truth(row, name) for row, name in zip(rows.tolist(), names)]
        else:
            rows = wrong.rows[wrong.of(key) & (tables.found.score[wrong.rows] >= gallery.score)]
            rows = rows[np.argsort(-tables.found.score[rows], kind="stable")]
            examples = [gallery.detection(row, _named(tables, row)) for row in rows[:number].tolist()]
        gallery.add("errors", TITLES[key], len(rows), examples, key)


def _fault(gallery: Gallery, one: Candidate) -> Example:
    tables = gallery.tables
    if one.row < 0:
        return gallery.truth(one.truth, f"IoU {one.iou:.2f} with another annotation")
    text = _named(tables, one.row)
    if one.truth >= 0:
        text += f", annotated {tables.class_names[int(tables.truths.label[one.truth])]}, IoU {one.iou:.2f}"
    return gallery.detection(one.row, text)
