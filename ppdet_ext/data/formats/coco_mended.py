"""What is mended of a COCO JSON's sound annotations, and said: boxes that are not those of their masks, and repetitions."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ppdet_ext.errors import counted
from ppdet_ext.structures import Rle

from .coco_segmentation import box_iou

# Below this IoU a box is another one than its mask's; above it roundings and generous hands stay.
_FITS = 0.5
# COCO itself has one box in 800 that does not fit, and a few annotations twice: so much is named and left as it is.
_TOLERATED = 0.01
_SHOWN = 10

logger = logging.getLogger("ppdet_ext")
Box = tuple[float, float, float, float]


@dataclass(slots=True)
class Annotation:
    """One annotation as read.

    Attributes:
        number: its id, for messages.
        label, mask, crowd, area: what it says.
        raw: bbox as it is written; None where there is none, or no mask beside it.
        box: x1 y1 x2 y2 of `raw`, clipped to the image; None where that has no area.
        size: (height, width) of the image.
    """

    number: Any
    label: int
    mask: Rle
    crowd: bool
    area: float
    raw: Box | None
    box: Box | None
    size: tuple[int, int]

    def final_box(self) -> Box:
        """Its box, or else its mask's."""
        return self.mask.box if self.box is None else self.box


# How a bbox [a, b, c, d] may have been meant, as x1 y1 x2 y2 of an image (height, width).
_MEANINGS: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "x1 y1 x2 y2": lambda raw, size: raw,
    "centre x, centre y, width, height": lambda raw, size: np.hstack(
        [raw[:, :2] - raw[:, 2:] / 2, raw[:, :2] + raw[:, 2:] / 2]
    ),
    "y, x, height, width": lambda raw, size: np.hstack([raw[:, 1::-1], raw[:, 1::-1] + raw[:, :1:-1]]),
    "y1 x1 y2 x2": lambda raw, size: raw[:, [1, 0, 3, 2]],
    "fractions of the picture": lambda raw, size: np.hstack([raw[:, :2], raw[:, :2] + raw[:, 2:]]) * size[:, [1, 0, 1, 0]],
    "fractions, from the centre": lambda raw, size: np.hstack([raw[:, :2] - raw[:, 2:] / 2, raw[:, :2] + raw[:, 2:] / 2])
    * size[:, [1, 0, 1, 0]],
}


def mend(found: Mapping[int, list[Annotation]], source: str) -> None:
    """Give boxes to annotations without one or with one that is not their mask's, and leave repeated ones out; log all."""
    everything = [one for own in found.values() for one in own]
    if not everything:
        return
    without = [one for one in everything if one.box is None]
    if without:
        logger.warning(
            "%s: %s without a bbox of their mask (missing, of no area, or outside of the image): %s. "
            "The boxes of the masks are taken",
            source,
            counted(len(without), "annotations"),
            _ids(without),
        )
    _mend_boxes([one for one in everything if one.box is not None and one.raw is not None], source)
    _leave_out_repeated(found, len(everything), source)


def _mend_boxes(boxed: Sequence[Annotation], source: str) -> None:
    if not boxed:
        return
    of_masks = np.array([one.mask.box for one in boxed])
    fit = box_iou(np.array([one.box for one in boxed]), of_masks)
    wrong = np.flatnonzero(fit < _FITS)
    if not len(wrong):
        return
    others = [boxed[place] for place in wrong]
    taken, most = len(others) > _TOLERATED * len(boxed), len(others) > len(boxed) / 2
    logger.warning(
        "%s: %s of %d that %s not fit the mask (median IoU %.2f%s): %s. %s; look at a picture, for the masks may be "
        "what is wrong",
        source,
        counted(len(others), "bboxes"),
        len(boxed),
        "does" if len(others) == 1 else "do",
        float(np.median(fit[wrong])),
        _meant(others, of_masks[wrong]),
        _ids(others),
        f"The boxes of the masks are taken for {'all' if most else 'these'}" if taken else "They stay, as so few are",
    )
    if taken:
        # Read another way, a box in a corner may fit by chance.
        for one in boxed if most else others:
            one.box = None


def _meant(others: Sequence[Annotation], of_masks: np.ndarray) -> str:
    """How the boxes read, if one way fits them."""
    raw, size = np.array([one.raw for one in others], np.float64), np.array([one.size for one in others], np.float64)
    medians = {name: float(np.median(box_iou(read(raw, size), of_masks))) for name, read in _MEANINGS.items()}
    best = max(medians, key=medians.__getitem__)
    return f"; they read like {best}" if medians[best] > 0.7 else ""


def _leave_out_repeated(found: Mapping[int, list[Annotation]], total: int, source: str) -> None:
    repeated: list[tuple[int, Annotation, Annotation]] = []
    for image, own in found.items():
        first: dict[tuple[int, bool, Rle], Annotation] = {}
        for one in own:
            earlier = first.setdefault((one.label, one.crowd, one.mask), one)
            if earlier is not one:
                repeated.append((image, one, earlier))
    if not repeated:
        return
    gone = len(repeated) > _TOLERATED * total
    logger.warning(
        "%s: %s of the same image, class and mask as another one: %s%s. %s",
        source,
        counted(len(repeated), "annotations"),
        "; ".join(f"id {one.number} repeats id {earlier.number}" for _, one, earlier in repeated[:_SHOWN]),
        " …" if len(repeated) > _SHOWN else "",
        "The repetitions are left out" if gone else "They stay, as so few are",
    )
    if gone:
        out = {id(one) for _, one, _ in repeated}
        for image in {image for image, _, _ in repeated}:
            found[image][:] = [one for one in found[image] if id(one) not in out]


def _ids(some: Sequence[Annotation]) -> str:
    return ", ".join(f"id {one.number}" for one in some[:_SHOWN]) + (" …" if len(some) > _SHOWN else "")
