"""What a reader does to a picture before the network sees it, split into what an exported graph does and what it does not."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ppdet_ext.data.datasets import ImageFolder
from ppdet_ext.data.loading.batch_maker import BatchMaker
from ppdet_ext.data.loading.build import reader_of
from ppdet_ext.data.transforms import NormalizeToCHW, ReadImage, ResizeFixed, ResizeShortEdge
from ppdet_ext.data.transforms.sample import Sample, sample_of
from ppdet_ext.errors import UserError
from ppdet_ext.host import Config
from ppdet_ext.inference.views import Views
from ppdet_ext.structures import Record
from ppdet_ext.structures.batch import Batch

KEY = "TestReader"


@dataclass(frozen=True)
class ReaderPlan:
    """`TestReader` of a configuration: reading and resizing happen before the graph, normalisation and padding in it.

    Attributes:
        read: the first transform.
        resizes: those between, `ResizeFixed` and `ResizeShortEdge`.
        normalize: the last one.
        maker: puts samples together, padded to a multiple of its stride.
    """

    read: ReadImage
    resizes: tuple[Any, ...]
    normalize: NormalizeToCHW
    maker: BatchMaker

    @classmethod
    def of(cls, cfg: Config, class_names: Sequence[str], category_ids: Sequence[int]) -> "ReaderPlan":
        """Raises: UserError for a transform that an exported model cannot be given."""
        reader = reader_of(cfg, "test")
        classes = ImageFolder([], list(class_names), list(category_ids))
        transforms, batch_transforms = reader.get("sample_transforms") or (), reader.get("batch_transforms") or ()
        maker = BatchMaker(classes, transforms, batch_transforms, targets=False, seed=cfg.seed)
        first, *between, last = maker.transforms if len(maker.transforms) > 1 else [None, None]
        if not isinstance(first, ReadImage) or not isinstance(last, NormalizeToCHW):
            raise UserError(f"{KEY}.sample_transforms begin with ReadImage and end with NormalizeToCHW.")
        for one in between:
            if not isinstance(one, ResizeFixed | ResizeShortEdge):
                raise UserError(
                    f"{KEY}: {type(one).__name__} cannot be exported; between ReadImage and NormalizeToCHW an exported model "
                    "knows ResizeFixed and ResizeShortEdge."
                )
            if isinstance(one, ResizeShortEdge) and len(one.short_edges) > 1:
                raise UserError(f"{KEY}: ResizeShortEdge draws one of {one.short_edges}; give one length to export.")
        return cls(first, tuple(between), last, maker)

    @property
    def stride(self) -> int:
        """Images are padded to a multiple of this, px."""
        return self.maker.collate.stride

    @property
    def size(self) -> tuple[int, int] | None:
        """Height and width, px, of every image behind the resizes; None where that depends on the picture."""
        last = self.resizes[-1] if self.resizes else None
        return (last.height, last.width) if isinstance(last, ResizeFixed) and not last.keep_ratio else None

    def resized(self, picture: np.ndarray | str | Path) -> np.ndarray:
        """Pixels (h, w, 3) uint8 RGB as the graph takes them, of such pixels or of a file.

        Raises: UserError for a file that cannot be read.
        """
        rng = np.random.default_rng(0)
        if isinstance(picture, np.ndarray):
            sample = self.sample(picture)
        else:
            sample = self.read(sample_of(Record(0, str(picture), Path(picture).name, 0, 0), False), rng)
        for resize in self.resizes:
            sample = resize(sample, rng)
        return sample.image

    def batch(self, pixels: np.ndarray) -> Batch:
        """What the model itself takes, of resized pixels (B, H, W, 3) uint8: normalised and padded by the reader's own code."""
        rng, finished = np.random.default_rng(0), []
        for number, own in enumerate(pixels):
            record = Record(number, "", f"number {number + 1}", *own.shape[:2])
            finished.append(self.normalize(replace(sample_of(record, targets=False), image=own), rng))
        return self.maker.collate(finished, False)

    def views(self, flips: Sequence[str]) -> Views:
        """Mirrored views of resized pictures, as `tools/infer.py` renders them; flips are of those that `Views` has."""
        first, *_, last = self.entries()
        return Views([first, last], [{"PadToStride": {"stride": self.stride}}], None, flips)

    def sample(self, pixels: np.ndarray) -> Sample:
        """Decoded picture, as `Views` take it, of pixels (h, w, 3) uint8 RGB."""
        return replace(sample_of(Record(0, "", "", *pixels.shape[:2]), targets=False), image=pixels)

    def entries(self) -> list[dict[str, Any]]:
        """The transforms in their order as a configuration lists them, every argument said; YAML-able."""
        return [{type(one).__name__: _arguments(one)} for one in (self.read, *self.resizes, self.normalize)]


def _arguments(transform: Any) -> Mapping[str, Any]:
    names = {
        ReadImage: ("exif", "range"),
        ResizeFixed: ("height", "width", "keep_ratio", "interpolation"),
        ResizeShortEdge: ("short_edges", "long_limit", "interpolation"),
        NormalizeToCHW: ("mean", "std"),
    }[type(transform)]
    return {name: getattr(transform, name) for name in names}
