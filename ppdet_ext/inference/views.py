"""Views for test-time augmentation: the same picture at several sizes and mirrored, and how boxes and masks relate to it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ppdet_ext.data.loading.batch_maker import BatchMaker
from ppdet_ext.data.transforms import NormalizeToCHW, ReadImage, ResizeFixed, ResizeShortEdge
from ppdet_ext.data.transforms.flip import flip_horizontal, flip_vertical
from ppdet_ext.data.transforms.sample import Sample
from ppdet_ext.errors import UserError
from ppdet_ext.structures.batch import Batch

# Name -> (mirrored left and right, mirrored top and bottom).
FLIPS = {"none": (False, False), "horizontal": (True, False), "vertical": (False, True), "both": (True, True)}
RESIZES = ("ResizeFixed", "ResizeShortEdge")
TARGETS = ("ClassMasks",)  # draw what is to be learnt; nothing is here


@dataclass(frozen=True)
class ViewTransform:
    """How a view lies on the original picture: resized, then mirrored.

    Attributes:
        height, width: of the view in pixels, without padding.
        scale: view over original size, (y, x).
        horizontal, vertical: whether it is mirrored that way.
    """

    height: int
    width: int
    scale: tuple[float, float]
    horizontal: bool = False
    vertical: bool = False

    def to_view(self, boxes: np.ndarray) -> np.ndarray:
        """Boxes (…, 4) in original pixels -> float64 in the view's."""
        return self._mirrored(boxes * self._factors())

    def to_original(self, boxes: np.ndarray) -> np.ndarray:
        """Boxes (…, 4) in the view's pixels -> float64 in original ones; in float64, float32 boxes come back as they were."""
        return self._mirrored(boxes) / self._factors()

    def unmirrored(self, probs: np.ndarray) -> np.ndarray:
        """Masks (n, S, S) of boxes in the view, or maps (n, h, w) of the view -> of the same, not mirrored."""
        return probs[:, :: -1 if self.vertical else 1, :: -1 if self.horizontal else 1]

    def _factors(self) -> np.ndarray:
        y, x = self.scale
        return np.array([x, y, x, y], np.float64)

    def _mirrored(self, boxes: np.ndarray) -> np.ndarray:
        x1, y1, x2, y2 = np.moveaxis(np.asarray(boxes, np.float64), -1, 0)
        if self.horizontal:
            x1, x2 = self.width - x2, self.width - x1
        if self.vertical:
            y1, y2 = self.height - y2, self.height - y1
        return np.stack([x1, y1, x2, y2], axis=-1)


class Views:
    """All pairs (resize, flip) of a picture, as a reader would feed them to the model.

    Args:
        sample_transforms, batch_transforms: of the reader (`EvalReader`, `TestReader`), which must not draw at random.
        resizes: `- Name: {argument: value}`, ResizeFixed or ResizeShortEdge, each in place of the reader's own resizes, or
            after ReadImage where it has none. None keeps the reader's.
        flips: of none, horizontal, vertical, both.

    Raises:
        UserError: a transform that is random or unknown, a resize that is none, an unknown flip, one entry given twice.
    """

    def __init__(
        self,
        sample_transforms: Sequence[Mapping],
        batch_transforms: Sequence[Mapping] = (),
        resizes: Sequence[Mapping] | None = None,
        flips: Sequence[str] = ("none",),
    ):
        for key, entries in (("resizes", [] if resizes is None else resizes), ("flips", flips)):
            if any(entry in entries[:i] for i, entry in enumerate(entries)):
                raise UserError(f"TestTimeAugmentation.{key}: an entry is there twice; remove it.")
        unknown = [str(flip) for flip in flips if flip not in FLIPS]
        if unknown or not flips:
            raise UserError(f"TestTimeAugmentation.flips: {', '.join(unknown) or 'empty'}; there are {', '.join(FLIPS)}.")
        readers = [sample_transforms] if not resizes else [_with_resize(sample_transforms, resize) for resize in resizes]
        self._makers = [_maker(reader, batch_transforms) for reader in readers]
        self._flips = [FLIPS[flip] for flip in flips]

    def __len__(self) -> int:
        return len(self._makers) * len(self._flips)

    @property
    def read(self) -> ReadImage:
        """The first transform; `render` takes what it returns."""
        return self._makers[0].transforms[0]

    def render(self, sample: Sample, index: int) -> tuple[Batch, ViewTransform]:
        """View `index` of a decoded sample: a batch of one image, and where it lies on the picture.

        All flips of the first size come first. The sample is left as it is.
        """
        maker, (horizontal, vertical) = self._makers[index // len(self._flips)], self._flips[index % len(self._flips)]
        rng = np.random.default_rng(0)  # asked for by every transform, used by none of these
        _, *resizes, normalize = maker.transforms
        for transform in resizes:
            sample = transform(sample, rng)
        if horizontal:
            sample = flip_horizontal(sample)
        if vertical:
            sample = flip_vertical(sample)
        batch = maker.collate([normalize(sample, rng)], False)
        (height, width), (y, x) = sample.size, batch["scale_factor"][0].tolist()
        return batch, ViewTransform(height, width, (y, x), horizontal, vertical)


def _name(entry: object) -> str:
    return str(next(iter(entry), "")) if isinstance(entry, Mapping) else str(entry)


def _with_resize(entries: Sequence[Mapping], resize: Mapping) -> list[Mapping]:
    """The reader's transforms with `resize` in place of the first of its own, without the others."""
    if _name(resize) not in RESIZES:
        raise UserError(f"TestTimeAugmentation.resizes: {_name(resize)!r} is not one of {', '.join(RESIZES)}.")
    at = next((i for i, entry in enumerate(entries) if _name(entry) in RESIZES), 1)
    return [*entries[:at], resize, *(entry for entry in entries[at:] if _name(entry) not in RESIZES)]


def _maker(sample_transforms: Sequence[Mapping], batch_transforms: Sequence[Mapping]) -> BatchMaker:
    """The transforms, built and checked; data set and seed take no part in rendering."""
    no_dataset: Any = None
    sample_transforms = [entry for entry in sample_transforms if _name(entry) not in TARGETS]
    maker = BatchMaker(no_dataset, sample_transforms, batch_transforms, targets=False, seed=0)
    if not isinstance(maker.transforms[0], ReadImage) or not isinstance(maker.transforms[-1], NormalizeToCHW):
        raise UserError("sample_transforms begin with ReadImage and end with NormalizeToCHW.")
    for transform in maker.transforms[1:-1]:
        name = type(transform).__name__
        if isinstance(transform, ResizeShortEdge) and len(set(transform.short_edges)) > 1:
            raise UserError(
                f"{name} with short_edges {transform.short_edges} draws one at random; for several views give one entry "
                "of TestTimeAugmentation.resizes for each."
            )
        if not isinstance(transform, ResizeFixed | ResizeShortEdge):
            raise UserError(
                f"sample_transforms: {name} cannot be part of views, whose boxes must be found again in the picture: between "
                f"ReadImage and NormalizeToCHW there may be {' and '.join(RESIZES)}. Remove it from EvalReader and TestReader."
            )
    return maker
