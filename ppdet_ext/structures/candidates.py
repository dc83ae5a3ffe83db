"""`Candidates`: what a model found in one image before its masks are cut at a threshold."""

from dataclasses import dataclass

import numpy as np

from .detections import Detections
from .paste import paste_masks


@dataclass(frozen=True, eq=False)
class Candidates:
    """Objects found in one image of `height` x `width` original pixels, sorted by falling score.

    boxes (n, 4) float32 x1, y1, x2, y2 in original pixels; scores (n,) float32; labels (n,) int64, contiguous from 0;
    probs: (n, S, S) float32 mask probabilities, each spanning its box, or None for a model without masks.
    ValueError where these disagree.
    """

    height: int
    width: int
    boxes: np.ndarray
    scores: np.ndarray
    labels: np.ndarray
    probs: np.ndarray | None = None

    def __post_init__(self) -> None:
        n = len(self.scores)
        if self.boxes.shape != (n, 4) or self.scores.shape != (n,) or self.labels.shape != (n,):
            shapes = f"{self.boxes.shape}, {self.scores.shape} and {self.labels.shape}"
            raise ValueError(f"boxes, scores and labels are (n, 4), (n,) and (n,), not {shapes}")
        if self.probs is not None and (self.probs.ndim != 3 or len(self.probs) != n):
            raise ValueError(f"mask probabilities are ({n}, S, S), not {self.probs.shape}")

    def __len__(self) -> int:
        return len(self.scores)

    def select(self, index: np.ndarray) -> "Candidates":
        """Those that a boolean mask (n,) or an array of positions names, in that order."""
        positions = np.arange(len(self))[index]
        probs = None if self.probs is None else self.probs[positions]
        return Candidates(self.height, self.width, self.boxes[positions], self.scores[positions], self.labels[positions], probs)

    def detections(self, mask_threshold: float | np.ndarray = 0.5) -> Detections:
        """With masks of the pixels whose probability is at least `mask_threshold`, one for all or (n,) one for each."""
        masks = None
        if self.probs is not None:
            thresholds = np.broadcast_to(mask_threshold, (len(self),)).tolist()
            masks = [
                paste_masks(self.probs[i : i + 1], self.boxes[i : i + 1], self.height, self.width, threshold)[0]
                for i, threshold in enumerate(thresholds)
            ]
        return Detections(self.height, self.width, self.boxes, self.scores, self.labels, masks)
