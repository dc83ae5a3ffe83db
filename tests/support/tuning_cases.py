"""Drawn candidates and annotations of images that do not exist, for tests and benchmarks of searching thresholds."""

from dataclasses import dataclass

import numpy as np

from ppdet_ext.structures import Record, Rle
from ppdet_ext.structures.candidates import Candidates
from ppdet_ext.structures.paste import paste_masks

SIDE = 28


def blob(rng: np.random.Generator, threshold: float = 0.5, softness: float = 0.15) -> np.ndarray:
    """(S, S) float32 probabilities of an ellipse that nearly fills the box, `threshold` on its outline."""
    y, x = (np.mgrid[:SIDE, :SIDE] + 0.5) / SIDE * 2 - 1
    radii = rng.uniform(0.75, 0.95, 2)
    inside = 1 - np.hypot(x / radii[0], y / radii[1]) + rng.normal(0, 0.02, (SIDE, SIDE))
    logit = inside / softness + np.log(threshold / (1 - threshold))
    return (1 / (1 + np.exp(-np.clip(logit, -30, 30)))).astype(np.float32)


@dataclass(frozen=True)
class Drawn:
    """Sizes and numbers of what is drawn.

    instances, candidates: of an image, on average. right, wrong: ranges of the scores of what is there and of what is not.
    outline: probability on the true outline; best mask threshold. copies: share of right boxes that come twice.
    """

    images: int = 12
    height: int = 96
    width: int = 128
    classes: int = 3
    instances: float = 3
    candidates: float = 10
    right: tuple[float, float] = (0.3, 1.0)
    wrong: tuple[float, float] = (0.01, 0.7)
    outline: float = 0.5
    copies: float = 0.3
    shake: float = 0.05

    def draw(self, seed: int = 0) -> tuple[list[Record], list[Candidates]]:
        """Records and candidates (float probabilities) of the images."""
        pairs = [self._image(np.random.default_rng([seed, image]), image) for image in range(self.images)]
        return [record for record, _ in pairs], [found for _, found in pairs]

    def _boxes(self, rng: np.random.Generator, count: int) -> np.ndarray:
        size = np.array([self.width, self.height])
        extent = rng.uniform(0.12, 0.4, (count, 2)) * size
        corner = rng.uniform(0, 1, (count, 2)) * (size - extent)
        return np.concatenate([corner, corner + extent], axis=1).astype(np.float32)

    def _image(self, rng: np.random.Generator, image: int) -> tuple[Record, Candidates]:
        true = self._boxes(rng, rng.poisson(self.instances))
        labels = rng.integers(0, self.classes, len(true))
        shapes = [blob(rng, self.outline) for _ in true]
        masks = [
            paste_masks(shape[None], box[None], self.height, self.width, self.outline)[0] for shape, box in zip(shapes, true)
        ]
        record = Record(image, f"{image}.jpg", f"{image}.jpg", self.height, self.width, true, labels, masks)
        record.crowd = np.zeros(len(true), bool)
        return record, self._candidates(rng, true, labels, shapes)

    def _candidates(self, rng: np.random.Generator, true: np.ndarray, labels: np.ndarray, shapes: list) -> Candidates:
        twice = np.flatnonzero(rng.random(len(true)) < self.copies)
        source = np.concatenate([np.arange(len(true)), twice]).astype(int)
        extent = np.tile(true[source, 2:] - true[source, :2], 2)
        shaken = true[source] + extent * rng.normal(0, self.shake, (len(source), 4)).astype(np.float32)
        false = self._boxes(rng, max(0, rng.poisson(self.candidates) - len(source)))
        boxes = np.concatenate([shaken, false]).astype(np.float32)
        scores = np.concatenate([rng.uniform(*self.right, len(source)), rng.uniform(*self.wrong, len(false))])
        probs = [shapes[i] for i in source] + [blob(rng, self.outline) for _ in false]
        order = np.argsort(-scores, kind="stable")
        every = np.concatenate([labels[source], rng.integers(0, self.classes, len(false))]).astype(np.int64)
        stacked = np.array(probs, np.float32).reshape(-1, SIDE, SIDE)
        return Candidates(self.height, self.width, boxes[order], scores[order].astype(np.float32), every[order], stacked[order])


def draw_maps(drawn: Drawn, seed: int = 0) -> tuple[list[Record], list[Candidates]]:
    """The same images as a model that classifies pixels sees them, with the probability that each class is there."""
    records, objects = drawn.draw(seed)
    found = []
    for record, one in zip(records, objects):
        rng = np.random.default_rng([seed, record.im_id, 1])
        there = np.isin(np.arange(drawn.classes), record.labels)
        presence = np.clip(there * 0.6 + 0.2 + rng.normal(0, 0.15, drawn.classes), 0, 1).astype(np.float32)
        found.append(Candidates.of_class_maps(one.class_maps(drawn.classes), presence))
    return records, found


def names_of(classes: int) -> tuple[list[str], list[int]]:
    """Class names and category ids."""
    return [f"kind {k}" for k in range(classes)], list(range(1, classes + 1))


def full(record: Record) -> Rle:
    """A mask of the whole image."""
    return Rle.full(record.height, record.width)
