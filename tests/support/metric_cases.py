"""Images with annotations and predictions for the tests of metrics: drawn at random, or from small texts."""

from dataclasses import dataclass, field

import numpy as np

from ppdet_ext.evaluation import Metric
from ppdet_ext.structures import Detections, Record, Rle


@dataclass
class Case:
    """A small data set and what was found in it."""

    records: list[Record]
    found: list[Detections]
    classes: int
    names: list[str] = field(init=False)

    def __post_init__(self) -> None:
        self.names = [f"class {k}" for k in range(self.classes)]

    def compute(self, metric: Metric, order: list[int] | None = None) -> float:
        """The number that counts."""
        order = list(range(len(self.records))) if order is None else order
        metric.start([self.records[i] for i in order], self.names, [10 * (k + 1) for k in range(self.classes)])
        for i in order:
            metric.update(self.records[i].im_id, self.found[i])
        return next(iter(metric.compute().values()))[0]

    def bitmaps(self) -> list[list[tuple]]:
        """For `slow_metrics`: (annotated, predicted by falling score, attributes) of each image and class."""
        images = []
        for record, found in zip(self.records, self.found):
            order = sorted(range(len(found)), key=lambda i: -found.scores[i])
            image = []
            for k in range(self.classes):
                own = [i for i in range(len(record.masks)) if record.labels[i] == k]
                image.append(
                    (
                        [record.masks[i].to_bitmap().astype(bool) for i in own],
                        [found.masks[i].to_bitmap().astype(bool) for i in order if found.labels[i] == k],
                        [record.attributes[i] if record.attributes else () for i in own],
                    )
                )
            images.append(image)
        return images


def record_of(im_id: int, size: tuple[int, int], masks: list[Rle], labels: list[int], attributes=None, crowd=None) -> Record:
    """A record of those masks."""
    boxes = np.array([mask.box for mask in masks], np.float32).reshape(-1, 4)
    crowd = np.zeros(len(masks), bool) if crowd is None else np.array(crowd, bool)
    record = Record(im_id, "", f"{im_id}.jpg", *size, boxes, np.array(labels, np.int64), masks, crowd)
    record.attributes = attributes
    return record


def detections_of(size: tuple[int, int], masks: list[Rle], labels: list[int], scores: list[float] | None = None) -> Detections:
    """Detections of those masks, by default by falling score."""
    boxes = np.array([mask.box for mask in masks], np.float32).reshape(-1, 4)
    scores = np.linspace(0.9, 0.1, len(masks)) if scores is None else scores
    return Detections(*size, boxes, np.array(scores, np.float32), np.array(labels, np.int64), masks)


def random_case(rng: np.random.Generator, images: int, classes: int, side: int, crowds: bool = False) -> Case:
    """Rectangles on small images, many of them nearly alike, so that every IoU threshold and tie occurs."""
    records, found = [], []
    for im_id in rng.permutation(100)[:images].tolist():
        size = tuple(rng.integers(side // 2, side + 1, 2).tolist())
        n = int(rng.integers(0, 5))
        masks, labels = [_rectangle(rng, size) for _ in range(n)], rng.integers(0, classes, n).tolist()
        attributes = [tuple(rng.permutation(3)[: rng.integers(0, 3)].tolist()) for _ in range(n)]
        records.append(record_of(im_id, size, masks, labels, attributes, rng.random(n) < 0.25 if crowds else None))
        near = [i for i in range(n) for _ in range(int(rng.integers(0, 3)))]
        guesses = [_jittered(rng, masks[i]) for i in near] + [_rectangle(rng, size) for _ in range(int(rng.integers(0, 3)))]
        guessed = [labels[i] for i in near] + rng.integers(0, classes, len(guesses) - len(near)).tolist()
        found.append(detections_of(size, guesses, guessed, np.round(rng.random(len(guesses)), 1)))
    return Case(records, found, classes)


def _rectangle(rng: np.random.Generator, size: tuple[int, int]) -> Rle:
    bitmap = np.zeros(size, bool)
    y, x = rng.integers(0, size[0]), rng.integers(0, size[1])
    bitmap[y : y + rng.integers(1, size[0]), x : x + rng.integers(1, size[1])] = True
    return Rle.from_bitmap(bitmap)


def _jittered(rng: np.random.Generator, mask: Rle) -> Rle:
    bitmap = np.roll(mask.to_bitmap().astype(bool), rng.integers(-1, 2, 2), (0, 1))
    if rng.random() < 0.2:
        bitmap &= rng.random(bitmap.shape) < 0.7
    return Rle.from_bitmap(bitmap)
