"""`Candidates`: what a model found in one image before its masks are cut at a threshold."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ppdet_ext.errors import DivergenceError

from .detections import Detections
from .paste import paste_masks, paste_probabilities
from .probability_map import ProbabilityMap
from .rle import Rle


@dataclass(frozen=True, eq=False)
class Candidates:
    """Objects found in one image of `height` x `width` original pixels, sorted by falling score.

    boxes (n, 4) float32 x1, y1, x2, y2 in original pixels; scores (n,) float32; labels (n,) int64, contiguous from 0;
    probs: (n, S, S) float32 mask probabilities, each spanning its box, or None for a model without masks.
    maps: n maps of the whole image in place of `probs`, of a model that classifies pixels: one candidate a class.
    presence: (classes,) float32 probability that a class is in the image at all, where a classifier tells it, else None.
    ValueError where these disagree.
    """

    height: int
    width: int
    boxes: np.ndarray
    scores: np.ndarray
    labels: np.ndarray
    probs: np.ndarray | None = None
    maps: list[ProbabilityMap] | None = None
    presence: np.ndarray | None = None

    def __post_init__(self) -> None:
        n = len(self.scores)
        if self.boxes.shape != (n, 4) or self.scores.shape != (n,) or self.labels.shape != (n,):
            shapes = f"{self.boxes.shape}, {self.scores.shape} and {self.labels.shape}"
            raise ValueError(f"boxes, scores and labels are (n, 4), (n,) and (n,), not {shapes}")
        if self.probs is not None and (self.probs.ndim != 3 or len(self.probs) != n):
            raise ValueError(f"mask probabilities are ({n}, S, S), not {self.probs.shape}")
        if self.maps is not None:
            if self.probs is not None or len(self.maps) != n:
                raise ValueError(f"{len(self.maps)} probability maps for {n} boxes, or mask probabilities beside them")
            if wrong := {one.size for one in self.maps} - {(self.height, self.width)}:
                raise ValueError(f"probability maps of {sorted(wrong)} in an image of {self.height}x{self.width}")

    @classmethod
    def of_class_maps(
        cls, maps: np.ndarray | Sequence[ProbabilityMap], presence: np.ndarray | None = None, above: float = 0.0
    ) -> "Candidates":
        """One candidate for each class that is likely somewhere: its score is the map's highest probability.

        Args:
            maps: (classes, height, width) float32 of the original picture, or a map of each class.
            presence: see there.
            above: classes whose score is not greater are left out, as those whose map is below 1/255 everywhere.

        Raises:
            DivergenceError: a probability is NaN or infinite.
        """
        if isinstance(maps, np.ndarray) and not np.isfinite(maps).all():
            raise DivergenceError("class probabilities are NaN or infinite")
        every = [one if isinstance(one, ProbabilityMap) else ProbabilityMap.of(one) for one in maps]
        extents = [one.extent() for one in every]
        scores = np.array([one.max for one in every], np.float32)
        there = [label for label in np.argsort(-scores, kind="stable").tolist() if extents[label] and scores[label] > above]
        boxes = np.array([extents[label] for label in there], np.float32).reshape(-1, 4)
        kept, labels = [every[label] for label in there], np.array(there, np.int64)
        return cls(*every[0].size, boxes, scores[there], labels, maps=kept, presence=presence)

    @classmethod
    def of_presence(cls, height: int, width: int, presence: np.ndarray) -> "Candidates":
        """One candidate for each class, as large as the image: what a classifier of whole images says.

        presence: (classes,) float32. Raises: DivergenceError for one that is NaN or infinite.
        """
        if not np.isfinite(presence).all():
            raise DivergenceError("class probabilities are NaN or infinite")
        presence = np.asarray(presence, np.float32)
        labels = np.argsort(-presence, kind="stable")
        boxes = np.tile(np.array([0, 0, width, height], np.float32), (len(labels), 1))
        return cls(height, width, boxes, presence[labels], labels, presence=presence)

    def __len__(self) -> int:
        return len(self.scores)

    @property
    def has_masks(self) -> bool:
        """Whether masks can be cut."""
        return self.probs is not None or self.maps is not None

    def select(self, index: np.ndarray) -> "Candidates":
        """Those that a boolean mask (n,) or an array of positions names, in that order."""
        positions = np.arange(len(self))[index]
        probs = None if self.probs is None else self.probs[positions]
        maps = None if self.maps is None else [self.maps[i] for i in positions]
        own = self.boxes[positions], self.scores[positions], self.labels[positions]
        return Candidates(self.height, self.width, *own, probs, maps, self.presence)

    def masks(self, mask_threshold: float | np.ndarray = 0.5) -> list[Rle] | None:
        """Pixels whose probability is at least `mask_threshold`, one for all or (n,); None of a model without masks."""
        thresholds = np.broadcast_to(mask_threshold, (len(self),)).tolist()
        if self.maps is not None:
            return [one.mask(threshold) for one, threshold in zip(self.maps, thresholds)]
        if self.probs is None:
            return None
        return [
            paste_masks(self.probs[i : i + 1], self.boxes[i : i + 1], self.height, self.width, threshold)[0]
            for i, threshold in enumerate(thresholds)
        ]

    def detections(self, mask_threshold: float | np.ndarray = 0.5) -> Detections:
        """With masks of the pixels whose probability is at least `mask_threshold`, one for all or (n,) one for each.

        A map has no box but its mask's; one that has no pixel left is nothing found.
        """
        masks = self.masks(mask_threshold)
        if self.maps is None or masks is None:
            return Detections(self.height, self.width, self.boxes, self.scores, self.labels, masks)
        boxes = np.array([mask.box for mask in masks], np.float32).reshape(-1, 4)
        cut = Detections(self.height, self.width, boxes, self.scores, self.labels, masks)
        return cut.select(np.array([bool(mask) for mask in masks], bool))

    def class_maps(self, classes: int) -> np.ndarray:
        """Probability (classes, height, width) float32 that a pixel is of a class.

        Of objects, it is the highest score · mask probability of those of the class there. ValueError without masks.
        """
        whole = np.zeros((classes, self.height, self.width), np.float32)
        if self.maps is not None:
            for label, one in zip(self.labels.tolist(), self.maps):
                np.maximum(whole[label], one.dense(), out=whole[label])
        elif self.probs is not None:
            pasted = paste_probabilities(self.probs, self.boxes, self.height, self.width)
            for label, score, (y, x, soft) in zip(self.labels.tolist(), self.scores, pasted):
                part = whole[label, y : y + soft.shape[0], x : x + soft.shape[1]]
                np.maximum(part, np.float32(score) * soft, out=part)
        else:
            raise ValueError("boxes without masks tell nothing of pixels")
        return whole
