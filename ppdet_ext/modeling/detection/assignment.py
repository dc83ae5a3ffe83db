"""Which boxes learn which object: assignment by IoU, then random sampling of positives and negatives (numpy)."""

from dataclasses import dataclass

import numpy as np

from ppdet_ext.modeling.ops.boxes import pairwise_iou

NEGATIVE, IGNORED = -1, -2


@dataclass(frozen=True)
class IoUAssigner:
    """Give each box the object it overlaps most, if enough (Faster R-CNN, arXiv 1506.01497 §3.1.2).

    Attributes:
        positive: IoU from which a box is positive.
        negative: IoU below which it is negative; between the two it is ignored.
        min_positive: IoU from which an object's best boxes are positive in any case (low-quality matching).
        low_quality: whether that last rule holds. HTC's reference leaves it on in all stages.
    """

    positive: float
    negative: float
    min_positive: float
    low_quality: bool = True

    def __call__(self, boxes: np.ndarray, objects: np.ndarray) -> np.ndarray:
        """Index of each box's object, NEGATIVE or IGNORED, (n,) int64; boxes (n, 4), objects (m, 4) float32."""
        assigned = np.full(len(boxes), IGNORED, np.int64)
        if len(objects) == 0 or len(boxes) == 0:
            assigned[:] = NEGATIVE
            return assigned
        best, owner = np.full(len(boxes), -1, np.float32), np.zeros(len(boxes), np.int64)
        ties = []
        # Object by object: an image of 200 objects and 270,000 anchors must not need a 54-million-entry matrix.
        for k in range(len(objects)):
            iou = pairwise_iou(boxes, objects[k : k + 1])[:, 0]
            better = iou > best
            best[better], owner[better] = iou[better], k
            peak = iou.max()
            ties.append(np.flatnonzero(iou == peak) if self.low_quality and peak >= self.min_positive else None)
        # The order of the three rules is the reference's: the last one overrules the others, and a later object an earlier.
        assigned[best < self.negative] = NEGATIVE
        sure = best >= self.positive
        assigned[sure] = owner[sure]
        for k, rows in enumerate(ties):
            if rows is not None:
                assigned[rows] = k
        return assigned


def keys_of(rng: np.random.Generator | None, count: int) -> np.ndarray:
    """A random key for each of `count` boxes, float32; all 0 without a generator, from which one number is drawn.

    More keys begin with the same ones: boxes behind the others that are none change nothing.
    """
    if rng is None:
        return np.zeros(count, np.float32)
    return np.random.default_rng(int(rng.integers(2**63))).random(count, np.float32)


def choose(index: np.ndarray, count: int, keys: np.ndarray) -> np.ndarray:
    """The `count` of `index` with the largest keys (of all boxes), in ascending order; of equal keys the first ones."""
    if len(index) <= count:
        return index
    if count == 0:
        return index[:0]
    own = keys[index]
    least = np.partition(own, len(own) - count)[len(own) - count]  # sorting all of them takes ten times as long
    above, equal = own > least, np.flatnonzero(own == least)
    above[equal[: count - np.count_nonzero(above)]] = True
    return index[above]


def sample_balanced(
    assigned: np.ndarray, count: int, positive_fraction: float, keys: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Indices of at most `count`·`positive_fraction` positives, and of negatives up to `count` in all; see `choose`."""
    positive = choose(np.flatnonzero(assigned >= 0), int(count * positive_fraction), keys)
    negative = choose(np.flatnonzero(assigned == NEGATIVE), count - len(positive), keys)
    return positive, negative


@dataclass(frozen=True)
class RoISample:
    """Regions of one image that a stage learns from; positives first.

    Attributes:
        boxes: (n, 4) float32 px in the network's image.
        object_index: (p,) int64, the object of each of the p positives.
        is_object: (p,) bool, the positive is a ground-truth box itself.
    """

    boxes: np.ndarray
    object_index: np.ndarray
    is_object: np.ndarray

    @property
    def num_positive(self) -> int:
        """How many of the boxes are positive."""
        return len(self.object_index)


@dataclass(frozen=True)
class RoISampler:
    """Assign proposals and ground truth (which joins the proposals) to objects and draw a balanced sample."""

    assigner: IoUAssigner
    count: int = 512
    positive_fraction: float = 0.25

    def __call__(self, proposals: np.ndarray, objects: np.ndarray, rng: np.random.Generator | None = None) -> RoISample:
        """Sample from {objects ∪ proposals}; see `keys_of` for `rng`."""
        boxes = np.concatenate([objects, proposals]).astype(np.float32)
        # Objects join after the assignment: among the proposals, low-quality matching still looks for their best one.
        assigned = np.concatenate([np.arange(len(objects)), self.assigner(proposals, objects)])
        keys = keys_of(rng, len(boxes))
        positive, negative = sample_balanced(assigned, self.count, self.positive_fraction, keys)
        return RoISample(boxes[np.concatenate([positive, negative])], assigned[positive], positive < len(objects))
