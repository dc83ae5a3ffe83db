"""Steps on probabilities of pixels: which class has a pixel, two thresholds, objects from the connected parts of a class."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ppdet_ext.errors import UserError
from ppdet_ext.registry import register_step
from ppdet_ext.structures import Candidates, Detections, Rle
from ppdet_ext.structures.probability_map import ProbabilityMap

from .base import PerClass, Step, per_class
from .masks import with_masks

NOBODY = -1


@register_step
class LikeliestClass(Step):
    """Gives each pixel to the class that is likeliest there, so that none has two; ties go to the class that comes first.

    For models that classify pixels one class at a time; of objects, `SuppressOverlaps` does the like.

    threshold: a class lays claim to pixels of at least this probability alone. With 0 the likeliest class has a pixel, though a
        later threshold of its own may let nobody have it.
    """

    needs_candidates = True

    def __init__(self, threshold: PerClass = 0.0) -> None:
        self.threshold = threshold

    def bind(self, class_names: Sequence[str], category_ids: Sequence[int]) -> None:
        self._threshold = per_class(self.threshold, class_names, category_ids, "LikeliestClass.threshold", 0.0, low=0, high=1)

    def __call__(self, detections: Candidates, name: str) -> Candidates:
        """Raises: UserError for objects instead of maps."""
        if not len(detections):
            return detections
        if detections.maps is None:
            raise UserError(
                f"PostProcess: LikeliestClass works on probability maps of whole images, and {name} has objects; "
                "take SuppressOverlaps instead."
            )
        winner = self._winner(detections, detections.maps)
        left = [self._left(one, winner, place) for place, one in enumerate(detections.maps)]
        return _with_maps(detections, left)

    def _winner(self, detections: Candidates, maps: Sequence[ProbabilityMap]) -> np.ndarray:
        """(height, width) int16: the place of the likeliest map, NOBODY where none lays claim."""
        best = np.zeros((detections.height, detections.width), np.float32)
        winner = np.full(best.shape, NOBODY, np.int16)
        for place in np.argsort(detections.labels, kind="stable").tolist():
            one = maps[place]
            inside, values = _inside(one), one.values()
            more = (values >= np.float32(self._threshold[detections.labels[place]])) & (values > best[inside])
            best[inside][more] = values[more]
            winner[inside][more] = place
        return winner

    def _left(self, one: ProbabilityMap, winner: np.ndarray, place: int) -> ProbabilityMap:
        own = winner[_inside(one)]
        lost = (own != place) & (own != NOBODY)
        if not lost.any():
            return one
        left = np.zeros(one.size, np.float32)
        left[_inside(one)] = np.where(lost, np.float32(0), one.values())
        made = ProbabilityMap.of(left)
        return made.quantised() if one.is_quantised else made


def _inside(one: ProbabilityMap) -> tuple[slice, slice]:
    top, left, bottom, right = one.box
    return slice(top, bottom), slice(left, right)


def _with_maps(candidates: Candidates, maps: Sequence[ProbabilityMap]) -> Candidates:
    """The candidates with other maps: score and box are the maps', those below 1/255 everywhere are left out."""
    extents = [one.extent() for one in maps]
    scores = np.array([one.max for one in maps], np.float32)
    order = [place for place in np.argsort(-scores, kind="stable").tolist() if extents[place]]
    boxes = np.array([extents[place] for place in order], np.float32).reshape(-1, 4)
    kept = [maps[place] for place in order]
    return replace(candidates, boxes=boxes, scores=scores[order], labels=candidates.labels[order], maps=kept)


@register_step
class CoreExtent(Step):
    """Makes masks by two thresholds: the 8-connected parts of probability >= `extent` that hold a pixel of >= `core`.

    A low `extent` draws what is there to its faint end, a high `core` leaves faint specks alone: hysteresis, as of Canny's
    edges. Works on maps and on objects; a mask without such a part is dropped.

    core, extent: by class; 0.7 and 0.4 for one that a mapping does not name.
    """

    needs_candidates = True
    cuts_masks = True

    def __init__(self, core: PerClass = 0.7, extent: PerClass = 0.4) -> None:
        self.core, self.extent = core, extent

    def bind(self, class_names: Sequence[str], category_ids: Sequence[int]) -> None:
        """UserError where a core would be fainter than its extent."""
        self._core, self._extent = (
            per_class(value, class_names, category_ids, f"CoreExtent.{key}", default, low=0.001, high=1)
            for value, key, default in ((self.core, "core", 0.7), (self.extent, "extent", 0.4))
        )
        for label in np.flatnonzero(self._core < self._extent)[:1]:
            raise UserError(
                f"CoreExtent: of {class_names[label]}, core {self._core[label]:g} is below extent {self._extent[label]:g}; "
                "the core is the higher threshold."
            )

    def __call__(self, detections: Candidates, name: str) -> Detections:
        extents, candidates = _cut(detections, self._extent[detections.labels])
        masks = self.masks_of(extents, name)
        cores = candidates.masks(self._core[candidates.labels]) or []
        return with_masks(extents, [around(core, mask) for core, mask in zip(cores, masks)])


def _cut(candidates: Candidates, thresholds: np.ndarray) -> tuple[Detections, Candidates]:
    """Detections at thresholds (n,), and the candidates they are of: maps without a pixel that counts are in neither."""
    if candidates.maps is not None:
        highest = np.array([one.max for one in candidates.maps], np.float32)
        there = highest >= thresholds.astype(np.float32)
        candidates, thresholds = candidates.select(there), thresholds[there]
    return candidates.detections(thresholds), candidates


def around(core: Rle, extent: Rle) -> Rle:
    """The 8-connected parts of `extent` that share a pixel with `core`."""
    parts = extent.components()
    held = [part for part in parts if part.intersect(core)] if core else []
    if len(held) == len(parts):
        return extent
    return Rle.merge(held) if held else Rle.empty(*extent.size)


@register_step
class Components(Step):
    """Makes an object of each 8-connected part of a mask: classes of pixels become instances.

    Before masks are cut, it cuts them itself, and a part of a probability map scores its pixels' mean probability. After
    that, and of objects, a part has the score of its whole. Objects are sorted by falling score.

    min_area: parts of fewer px of the original image are dropped; a class that a mapping does not name keeps all.
    threshold: probability from which a pixel is set, where masks are not cut yet; 0.5 for a class that a mapping does not name.
    """

    cuts_masks = True

    def __init__(self, min_area: PerClass = 0, threshold: PerClass = 0.5) -> None:
        self.min_area, self.threshold = min_area, threshold

    def bind(self, class_names: Sequence[str], category_ids: Sequence[int]) -> None:
        self._area = per_class(self.min_area, class_names, category_ids, "Components.min_area", 0, low=0)
        self._threshold = per_class(self.threshold, class_names, category_ids, "Components.threshold", 0.5, low=0.001, high=1)

    def __call__(self, detections: Candidates | Detections, name: str) -> Detections:
        maps = None
        if isinstance(detections, Candidates):
            detections, candidates = _cut(detections, self._threshold[detections.labels])
            maps = candidates.maps
        parts = [
            (place, part)
            for place, mask in enumerate(self.masks_of(detections, name))
            for part in mask.components(int(np.ceil(self._area[detections.labels[place]])))
        ]
        whole = detections.select(np.array([place for place, _ in parts], np.int64))
        split = with_masks(whole, [part for _, part in parts])
        if maps is not None:
            split = replace(split, scores=np.array([_mean(maps[place], part) for place, part in parts], np.float32))
        return split.select(np.argsort(-split.scores, kind="stable"))


def _mean(one: ProbabilityMap, part: Rle) -> float:
    """Mean probability of the pixels of a part, all of which lie within the map's box."""
    top, left, bottom, right = one.box
    return float(one.values()[part.crop(top, left, bottom, right).to_bitmap().astype(bool)].mean(dtype=np.float64))
