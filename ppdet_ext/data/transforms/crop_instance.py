"""A window around one object: what a network that sharpens masks is trained on, and is shown by `RefineMasks`."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ppdet_ext.errors import UserError, nearest
from ppdet_ext.registry import number_in, register_transform, whole_number_in

from .crop import crop_sample
from .resize import resize_sample
from .sample import Sample


def window_around(box: np.ndarray, context: float, height: int, width: int) -> tuple[int, int, int, int]:
    """(top, left, bottom, right) in whole pixels: the box with `context` of its sides added on each side, within the image.

    box: x1, y1, x2, y2 in pixels. At least one pixel, for boxes outside of the image, too.
    """
    x1, y1, x2, y2 = np.asarray(box, np.float64).tolist()
    across, down = context * (x2 - x1), context * (y2 - y1)
    left, right = _span(x1 - across, x2 + across, width)
    top, bottom = _span(y1 - down, y2 + down, height)
    return top, left, bottom, right


def _span(low: float, high: float, limit: int) -> tuple[int, int]:
    first = int(np.clip(np.floor(low), 0, limit - 1))
    return first, int(np.clip(np.ceil(high), first + 1, limit))


@register_transform
class CropInstance:
    """Cut out the window around one object, drawn evenly from those of the image, and leave only this one as target.

    The window is resized to a square, whatever its shape, for `RefineMasks` does the same. An image without such an object
    comes whole, without a target. Put it after ReadImage, and before ClassMasks.

    Args:
        size: of the square in pixels.
        context: share of the box's sides that is added on each side.
        jitter: each edge of the box is moved by up to this share of its side, since a detector's boxes are not exact.
        classes: names of those that are drawn; all by default.
        agnostic: show the object as one of every class, so that all objects teach each of the network's outputs: better where
            there is little data.

    Raises: UserError for numbers that cannot be.
    """

    def __init__(
        self,
        size: int = 256,
        context: float = 0.2,
        jitter: float = 0.1,
        classes: list | None = None,
        agnostic: bool = False,
    ):
        self.size = whole_number_in(size, "CropInstance.size", 1)
        self.context = number_in(context, "CropInstance.context", 0)
        self.jitter = number_in(jitter, "CropInstance.jitter", 0, 0.49)
        self.classes, self.agnostic = classes, agnostic
        self._labels: list[int] | None = None
        self._count: int | None = None

    def bind(self, class_count: int, class_names: Sequence[str] = ()) -> None:
        """Take the data set's classes. Raises: UserError for one that it does not have."""
        self._count = class_count
        if self.classes is None:
            return
        names = [str(name) for name in class_names]
        for name in map(str, self.classes):
            if name not in names:
                raise UserError(f"CropInstance.classes: there is no class {name!r}.{nearest(name, names)}")
        self._labels = [label for label, name in enumerate(names) if name in {str(one) for one in self.classes}]

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        height, width = sample.size
        able = ~sample.crowd if self._labels is None else ~sample.crowd & np.isin(sample.labels, self._labels)
        chosen = np.flatnonzero(able)
        window = 0, 0, height, width
        only = np.zeros(len(sample.labels), bool)
        if len(chosen):
            place = chosen[rng.integers(len(chosen))]
            only[place] = True
            x1, y1, x2, y2 = sample.boxes[place].astype(np.float64)
            sides = np.array([x2 - x1, y2 - y1, x2 - x1, y2 - y1])
            moved = sample.boxes[place] + rng.uniform(-self.jitter, self.jitter, 4) * sides
            window = window_around(moved, self.context, height, width)
        top, left, bottom, right = window
        cut = crop_sample(sample.keep(only, count=False), top, left, bottom - top, right - left)
        resized = resize_sample(cut, self.size, self.size)
        return self._of_every_class(resized) if self.agnostic else resized

    def _of_every_class(self, sample: Sample) -> Sample:
        """The object once for each class. UserError where the number of classes is not known."""
        if self._count is None:
            raise UserError("CropInstance: how many classes there are is not known; agnostic works in a reader alone.")
        objects = len(sample.labels)
        return replace(
            sample,
            boxes=np.repeat(sample.boxes, self._count, axis=0),
            labels=np.tile(np.arange(self._count, dtype=np.int64), objects),
            masks=[mask for mask in sample.masks for _ in range(self._count)],
            crowd=np.repeat(sample.crowd, self._count),
        )
