"""`LabelSet`: what a label tool's files say, in one form for all tools."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from ppdet_ext.structures import Rle

Box = tuple[float, float, float, float]


@dataclass(slots=True)
class LabelledObject:
    """One object of a picture.

    class_name: one of `LabelSet.class_names`.
    mask: of the whole picture; parts that the tool groups are joined, holes are kept.
    box: x1 y1 x2 y2 as annotated, where it is worth keeping; None stands for the mask's.
    crowd: a region that is no single object, as Cityscapes' groups and COCO's iscrowd.
    score: of a prediction, in [0, 1].
    polygons: as drawn, flat [x, y, …] in pixels, where the file had polygons and no holes.
    """

    class_name: str
    mask: Rle
    box: Box | None = None
    crowd: bool = False
    score: float | None = None
    polygons: list[list[float]] | None = None


@dataclass(slots=True)
class LabelledImage:
    """A picture and its objects, in the order of the file.

    name: relative path with `/`, as the labels write it; no other picture of the set has it.
    height, width: in pixels, as the labels count them.
    subset: "train", "val", "test" … where the files tell.
    file: path of the picture, where it was found.
    group: pictures of one group must stay on one side of a split, as augmented copies of one photograph.
    """

    name: str
    height: int
    width: int
    objects: list[LabelledObject] = field(default_factory=list)
    subset: str | None = None
    file: str | None = None
    group: str | None = None


@dataclass
class LabelSet:
    """All pictures of one or more files of one label tool.

    format: key of `formats.FORMATS`.
    class_names: in the order of the file, also those without an object.
    skipped: how many objects were left out, by reason: "boxes without a mask", "polylines".
    notes: what was decided for the user, and where the first of the skipped objects are.
    warnings: what may be wrong with what is learnt, and what mends it.
    lost: paths of pictures that were left out because their objects were, and of masks among the pictures; none is clean.
    """

    format: str
    class_names: list[str]
    images: list[LabelledImage]
    skipped: Counter[str] = field(default_factory=Counter)
    notes: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
