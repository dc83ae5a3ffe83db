"""Objects that look wrong, and how much objects of an image overlap."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from ppdet_ext.distributed.progress import track
from ppdet_ext.structures import Rle

from .facts import distribution
from .objects import MANY, Data
from .schema import Distribution, Spot, Suspicion

TINY = 16  # pixels, area
WHOLE = 0.95  # of the image
SAME, TWICE = 0.999, 0.8  # IoU
MOST_SPOTS = 24
MEANINGS = {
    "tiny": "Often a slip of the tool; a model cannot learn them.",
    "whole": "An inverted mask, or a label of the whole image that was drawn as a mask.",
    "two_classes": "The same pixels twice, by different names: one is wrong, or classes exclude each other less than thought.",
    "twice": f"Two objects of one class that overlap by an IoU of {TWICE:g} or more.",
}
_ROWS = 256  # masks that are compared with all of an image at a time


@dataclass(frozen=True)
class Overlaps:
    """best: (m,) float64: the greatest IoU of each object with another of its image; NaN where it is alone.

    pairs: (p, 2) int64: objects of one image that overlap by `TWICE` or more, the earlier one first; ious: (p,) float64.
    """

    best: np.ndarray
    pairs: np.ndarray
    ious: np.ndarray


def overlaps(data: Data) -> Overlaps:
    """Compare the objects of each image with each other: masks, boxes where there are none."""
    best = np.full(len(data.objects), np.nan)
    pairs: list[tuple[int, int]] = []
    ious: list[float] = []
    ends = np.cumsum(data.images.counts)
    several = np.flatnonzero(data.images.counts > 1).tolist()
    for image in track(several, len(several), "Overlaps") if len(several) >= MANY else several:
        own = np.arange(ends[image] - data.images.counts[image], ends[image])
        for first, block in _blocks(data, image, own):
            rows = np.arange(len(block))
            block[rows, first + rows] = -1
            best[own[first : first + len(block)]] = block.max(axis=1)
            found, other = np.nonzero(block >= TWICE)
            later = other > first + found
            pairs += zip(own[first + found[later]].tolist(), own[other[later]].tolist())
            ious += block[found[later], other[later]].tolist()
    return Overlaps(best, np.array(pairs, np.int64).reshape(-1, 2), np.array(ious))


def _blocks(data: Data, image: int, own: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """IoU of some of an image's objects with all of them, and where the former begin."""
    record = data.images.records[image]
    if len(record.masks):
        every = list(record.masks)
        masks = [every[place] for place in data.objects.place[own].tolist()]
        yield from ((first, Rle.iou_matrix(masks[first : first + _ROWS], masks)) for first in range(0, len(masks), _ROWS))
        return
    boxes = data.objects.boxes[own]
    for first in range(0, len(boxes), _ROWS):
        yield first, _box_ious(boxes[first : first + _ROWS], boxes)


def _box_ious(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    low, high = np.maximum(one[:, None, :2], other[:, :2]), np.minimum(one[:, None, 2:], other[:, 2:])
    common = np.clip(high - low, 0, None).prod(axis=2)
    areas = [(boxes[:, 2:] - boxes[:, :2]).prod(axis=1) for boxes in (one, other)]
    return common / np.maximum(areas[0][:, None] + areas[1] - common, 1e-9)


def overlap_distribution(data: Data, found: Overlaps) -> Distribution | None:
    """How much objects overlap the one that they overlap most; those that are alone are left out."""
    names = list(enumerate(data.class_names))
    title = "Greatest IoU with another object of the image"
    return distribution("overlap", title, "", "objects", found.best, data.objects.label, names, False)


def suspicions(data: Data, found: Overlaps) -> list[Suspicion]:
    """Kinds of objects that look wrong, those alone that occur."""
    objects = data.objects
    whole = data.images.sizes.prod(axis=1)[objects.image]
    one, other = found.pairs.T if len(found.pairs) else np.zeros((2, 0), np.int64)
    alike = objects.label[one] == objects.label[other]
    same = found.ious >= SAME

    def share(i: int) -> str:
        return f"{objects.area[i] / max(whole[i], 1):.0%} of the image"

    tiny = np.flatnonzero(objects.area < TINY)
    tiny = tiny[np.argsort(objects.area[tiny], kind="stable")]
    large = np.flatnonzero(objects.area >= WHOLE * np.maximum(whole, 1))
    kinds = (
        ("tiny", f"Smaller than {TINY} px²", tiny, lambda i: f"{objects.area[i]:.0f} px²"),
        ("whole", f"Masks of {WHOLE:.0%} of the image or more", large, share),
        ("two_classes", "One mask under two classes", *_later(data, found, ~alike & same)),
        ("twice", "Annotated twice", *_later(data, found, alike)),
    )
    return [_suspicion(data, *kind) for kind in kinds if len(kind[2])]


def _later(data: Data, found: Overlaps, which: np.ndarray) -> tuple[np.ndarray, Callable[[int], str]]:
    """The later objects of some pairs, each once, and what is said of them."""
    notes: dict[int, str] = {}
    for (one, other), iou in zip(found.pairs[which].tolist(), found.ious[which].tolist()):
        names = [data.class_names[label] for label in data.objects.label[[one, other]].tolist()]
        notes.setdefault(other, f"{' and '.join(names)}, IoU {iou:.2f}")
    return np.array(list(notes), np.int64), notes.__getitem__


def _suspicion(data: Data, key: str, title: str, own: np.ndarray, note: Callable[[int], str]) -> Suspicion:
    return Suspicion(key, title, MEANINGS[key], len(own), spots(data, own[:MOST_SPOTS].tolist(), note))


def spots(data: Data, own: Sequence[int], note: Callable[[int], str]) -> list[Spot]:
    """Where objects are, by their numbers; `note` says what is the matter with each."""
    objects, images = data.objects, data.images
    return [
        Spot(
            data.parts[images.part[objects.image[i]]].name,
            images.records[objects.image[i]].name,
            int(objects.place[i]),
            int(objects.label[i]),
            [round(float(edge), 2) for edge in objects.boxes[i]],
            float(objects.area[i]),
            note(i),
        )
        for i in own
    ]
