"""iMaterialist's metric: instances matched at ten IoU thresholds, per image and class, on masks of 512 x 512 px."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ppdet_ext.errors import UserError
from ppdet_ext.host.registry import one_of, register_metric
from ppdet_ext.structures import Record, Rle

from .metric import NOWHERE, PartialMetric

# k/20, rounded once. An IoU is rounded once too, and two fractions of so few pixels are either equal or further apart than
# rounding: so `iou > threshold` is exact, at .6 and .7 too.
THRESHOLDS = np.arange(10, 20) / 20


class Overlaps(NamedTuple):
    """IoU (predicted, annotated) of the masks of one class; which predicted masks have pixels; class ids beyond matching."""

    iou: np.ndarray
    usable: np.ndarray
    unmatchable: int


@register_metric
class IMaterialistMAP(PartialMetric):
    """Mean of TP / (TP + FP + FN) over IoU > .5, .55, … .95, then over the classes of an image, then over images.

    Masks are resized to `size` x `size` px by nearest neighbour; what has no pixel left is dropped on both sides. At each
    threshold, annotated and predicted masks are matched one to one, by falling IoU (ties: better score, then order of
    annotation). A class that is only annotated or only predicted in an image counts 0, in neither it does not count, and an
    image without any counts 1: the local estimate of the competition's first place (github.com/amirassov/kaggle-imaterialist).

    size: side in px of the square that masks are compared on.
    match: "category", or "classid": as on Kaggle's server in 2019, where a class is a category with all its attributes
        (ClassId 13_20_45). Predictions have no attributes, so each such class id in an image counts 0, and predictions of the
        category match instances without attributes only.
    average: "image", or "pair": over all (image, class) pairs that count.

    A partial is a tuple of scores, one of each class id that counts: none, one, or with "classid" several.
    """

    def __init__(self, size: int = 512, match: str = "category", average: str = "image") -> None:
        """UserError for a value that does not exist."""
        if isinstance(size, bool) or not isinstance(size, int) or size < 1:
            raise UserError(f"IMaterialistMAP.size: {size!r} is no number of pixels.")
        self.size = size
        self.match = one_of(match, ("category", "classid"), "IMaterialistMAP.match")
        self.average = one_of(average, ("image", "pair"), "IMaterialistMAP.average")

    def start(self, records: Sequence[Record], class_names: Sequence[str], category_ids: Sequence[int]) -> None:
        super().start(records, class_names, category_ids)
        if self.match == "classid":
            for record in records:
                if len(record.labels) and record.attributes is None:
                    raise UserError(
                        f"{record.name}: IMaterialistMAP with match: classid needs attributes, and the data set has none; "
                        "use match: category."
                    )

    def prepare(self, truth: Record, masks: list[Rle]) -> Overlaps:
        annotated = [mask.resize(self.size, self.size) for mask in truth.masks]
        predicted = [mask.resize(self.size, self.size) for mask in masks]
        usable = np.array([bool(mask) for mask in predicted], bool)
        kept = [i for i, mask in enumerate(annotated) if mask]
        unmatchable: set[tuple[int, ...]] = set()
        if self.match == "classid":
            attributes = truth.attributes or [()] * len(annotated)
            unmatchable = {tuple(sorted(attributes[i])) for i in kept if attributes[i]}
            kept = [i for i in kept if not attributes[i]]
        return Overlaps(Rle.iou_matrix(predicted, [annotated[i] for i in kept]), usable, len(unmatchable))

    def partial(self, prepared: Overlaps, scores: np.ndarray, chosen: np.ndarray) -> tuple[float, ...]:
        iou = prepared.iou[chosen[prepared.usable[chosen]]]
        zeros = (0.0,) * prepared.unmatchable
        if not sum(iou.shape):
            return zeros
        hits = (np.array(_matched(iou))[:, None] > THRESHOLDS).sum(axis=0)
        return (float(np.mean(hits / (sum(iou.shape) - hits))), *zeros)

    def combine(self, partials: list[list[tuple[float, ...]]]) -> dict[str, list[float]]:
        """{"IMaterialistMAP": [mean, mean of each class over the images in which it counts (-1: in none), …]}."""
        rows = [(i, k, score) for i, row in enumerate(partials) for k, partial in enumerate(row) for score in partial]
        image, label, score = np.array(rows, np.float64).reshape(-1, 3).T
        per_image = _means(image.astype(np.int64), score, len(partials), 1.0)
        per_class = _means(label.astype(np.int64), score, len(partials[0]), NOWHERE)
        if self.average == "image":
            mean = float(per_image.mean())
        else:
            mean = float(score.mean()) if score.size else NOWHERE
        return {"IMaterialistMAP": [mean, *per_class.tolist()]}


def _matched(iou: np.ndarray) -> list[float]:
    """IoUs above the lowest threshold of the pairs matched one to one, falling.

    Taking pairs by falling IoU, those of a higher threshold are the first of a lower one's: one pass does for all.
    """
    rows, columns = np.nonzero(iou > THRESHOLDS[0])
    values = iou[rows, columns]
    free_rows, free_columns, taken = set(rows.tolist()), set(columns.tolist()), []
    for i in np.argsort(-values, kind="stable").tolist():
        row, column = int(rows[i]), int(columns[i])
        if row in free_rows and column in free_columns:
            free_rows.remove(row)
            free_columns.remove(column)
            taken.append(float(values[i]))
    return taken


def _means(group: np.ndarray, values: np.ndarray, groups: int, empty: float) -> np.ndarray:
    counts = np.bincount(group, minlength=groups)
    return np.where(counts > 0, np.bincount(group, values, minlength=groups) / np.maximum(counts, 1), empty)
