"""`Detections`: what a model found in one image."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np

from .rle import Rle

Own = TypeVar("Own", bound="Detections")


@dataclass(frozen=True, eq=False)
class Detections:
    """Objects found in one image of `height` x `width` original pixels, usually sorted by falling score.

    boxes (n, 4) float32 x1, y1, x2, y2 in original pixels; scores (n,) float32; labels (n,) int64, contiguous
    from 0; masks: n `Rle` of that size, or None for a model without masks; attributes: n tuples of the data set's ids of them,
    or None where none are known. ValueError where these disagree.
    """

    height: int
    width: int
    boxes: np.ndarray
    scores: np.ndarray
    labels: np.ndarray
    masks: list[Rle] | None = None
    attributes: list[tuple[int, ...]] | None = None

    def __post_init__(self) -> None:
        n = len(self.scores)
        if self.boxes.shape != (n, 4) or self.scores.shape != (n,) or self.labels.shape != (n,):
            shapes = f"{self.boxes.shape}, {self.scores.shape} and {self.labels.shape}"
            raise ValueError(f"boxes, scores and labels are (n, 4), (n,) and (n,), not {shapes}")
        if self.attributes is not None and len(self.attributes) != n:
            raise ValueError(f"attributes of {len(self.attributes)} objects for {n} boxes")
        if self.masks is not None:
            if len(self.masks) != n:
                raise ValueError(f"{len(self.masks)} masks for {n} boxes")
            wrong = {mask.size for mask in self.masks} - {(self.height, self.width)}
            if wrong:
                raise ValueError(f"masks of {sorted(wrong)} in an image of {self.height}x{self.width}")

    @classmethod
    def empty(cls, height: int, width: int, with_masks: bool = True) -> "Detections":
        """Nothing found."""
        boxes, scores, labels = np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int64)
        return cls(height, width, boxes, scores, labels, [] if with_masks else None)

    @classmethod
    def of_masks(
        cls,
        height: int,
        width: int,
        masks: Sequence[Rle],
        labels: Sequence[int],
        scores: Sequence[float],
        attributes: Sequence[tuple[int, ...]] | None = None,
    ) -> "Detections":
        """Objects of which masks are known; their boxes are the masks'. Scores are float64, as written in files."""
        boxes = np.array([mask.box for mask in masks], np.float32).reshape(-1, 4)
        own = None if attributes is None else list(attributes)
        return cls(height, width, boxes, np.array(scores, np.float64), np.array(labels, np.int64), list(masks), own)

    def __len__(self) -> int:
        return len(self.scores)

    def select(self: Own, index: np.ndarray) -> Own:
        """The detections that a boolean mask (n,) or an array of positions names, in that order."""
        positions = np.arange(len(self))[index]
        masks = None if self.masks is None else [self.masks[i] for i in positions]
        attributes = None if self.attributes is None else [self.attributes[i] for i in positions]
        boxes, scores, labels = self.boxes[positions], self.scores[positions], self.labels[positions]
        return replace(self, boxes=boxes, scores=scores, labels=labels, masks=masks, attributes=attributes)

    def to_coco_results(self, im_id: int, category_ids: Sequence[int]) -> tuple[list[dict], list[dict]]:
        """COCO results of this image: (boxes as x, y, w, h; masks as RLE with counts in bytes, [] if none).

        `category_ids[label]` is the data set's own id of a label; IndexError for a label beyond it.
        """
        xywh = self.boxes.astype(np.float64)
        xywh[:, 2:] -= xywh[:, :2]
        heads = [
            {"image_id": int(im_id), "category_id": category_ids[label], "score": score}
            for label, score in zip(self.labels.tolist(), self.scores.tolist())
        ]
        boxes = [head | {"bbox": box.tolist()} for head, box in zip(heads, xywh)]
        segments = [head | {"segmentation": mask.to_coco()} for head, mask in zip(heads, self.masks or [])]
        return boxes, segments
