"""The target of semantic segmentation: a plane of pixels for each class."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations

import numpy as np

from ppdet_ext.errors import UserError, counted
from ppdet_ext.registry import one_of, register_transform, whole_number_in
from ppdet_ext.structures.paste import rasterise, rasterise_classes

from .sample import Sample

OVERLAPS = ("keep", "refuse", "smaller_on_top")
MOST_ON_TOP = 254  # labels that one map of bytes has room for, beside background and what is ignored


@register_transform
class ClassMasks:
    """Draw `class_masks` (classes, H, W) uint8 from the masks as they are now; put it right before NormalizeToCHW.

    A plane is 1 on the objects of its class and 0 elsewhere; 255, where nothing is to be learnt, on crowds of the class that
    none of its objects covers. All data sets have masks, so it works for each.

    Args:
        overlaps: pixels of objects of several classes belong to all of them ("keep", for a sigmoid for each class), are an
            error ("refuse", for one class a pixel), or belong to the smaller object ("smaller_on_top", as SemanticFromMasks).
        num_classes: number of planes; by default the data set's.

    Raises: UserError for another word, or a number that is none.
    """

    def __init__(self, overlaps: str = "keep", num_classes: int | None = None):
        self.overlaps = one_of(overlaps, OVERLAPS, "ClassMasks.overlaps")
        self.num_classes = None if num_classes is None else whole_number_in(num_classes, "ClassMasks.num_classes", 1)
        self._planes = self.num_classes
        self._names: list[str] = []

    def bind(self, class_count: int, class_names: Sequence[str] = ()) -> None:
        """Take the data set's number of classes, unless a number was given; the names are for messages."""
        self._planes = self.num_classes if self.num_classes is not None else class_count
        self._names = [str(name) for name in class_names]

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        """Raises: UserError naming the image, for a class beyond the planes, or classes that overlap but may not."""
        planes = self._planes
        if planes is None:
            raise UserError("ClassMasks: how many classes there are is not known; give it num_classes.")
        beyond = sample.labels[(sample.labels < 0) | (sample.labels >= planes)]
        if len(beyond):
            raise UserError(
                f"{sample.name}: an object is of class {int(beyond[0])}, but the classes are 0 to {planes - 1}. "
                "Correct the annotations, or set num_classes and class_names to all classes there are."
            )
        if self.overlaps == "smaller_on_top":
            return replace(sample, class_masks=_on_top(sample, planes))
        class_masks = rasterise_classes(sample.masks, sample.labels, sample.crowd, planes, *sample.size)
        if self.overlaps == "refuse":
            _refuse_overlaps(sample.name, class_masks, self._names or list(map(str, range(planes))))
        return replace(sample, class_masks=class_masks)


def _on_top(sample: Sample, planes: int) -> np.ndarray:
    """Planes of which at most one is 1 in a pixel: the smaller object's. There a crowd is none, of whatever class."""
    if planes > MOST_ON_TOP:
        raise UserError(f"ClassMasks: overlaps: smaller_on_top has room for {MOST_ON_TOP} classes, not {planes}; set `keep`.")
    shown = rasterise(sample.masks, sample.labels, sample.crowd, *sample.size)
    crowds = rasterise_classes(sample.masks, sample.labels, sample.crowd, planes, *sample.size)
    objects = shown == np.arange(1, planes + 1, dtype=np.uint8)[:, None, None]
    # What the map calls ignored no object covers.
    return np.where((crowds > 1) & (shown > planes), crowds, objects.astype(np.uint8))


def _refuse_overlaps(name: str, class_masks: np.ndarray, class_names: Sequence[str]) -> None:
    """UserError naming the image and two of the classes where a pixel is of several."""
    objects = class_masks == 1
    if not len(objects) or objects.sum(axis=0, dtype=np.uint16).max() < 2:
        return
    for one, other in combinations(np.flatnonzero(objects.any(axis=(1, 2))).tolist(), 2):
        both = int((objects[one] & objects[other]).sum())
        if both:
            raise UserError(
                f"{name}: objects of the classes {class_names[one]} and {class_names[other]} share {counted(both, 'pixels')}, "
                "which `ClassMasks: {overlaps: refuse}` does not take. Correct the annotations, let the smaller object have "
                "them (overlaps: smaller_on_top), or predict each class by itself (task: multilabel, overlaps: keep)."
            )
