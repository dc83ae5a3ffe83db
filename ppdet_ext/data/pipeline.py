"""From keys (epoch, index) to a batch of arrays: everything a worker does, as one function without state."""

import difflib
from collections.abc import Mapping, Sequence

import numpy as np
import ppdet.data.transform

from ppdet_ext.errors import UserError

from . import transforms
from .base import InstanceDataSet
from .collate import Allocate, PadToStride
from .record import Sample

_SAMPLE_TRANSFORMS = {name: getattr(transforms, name) for name in transforms.__all__}
_BATCH_TRANSFORMS = {"PadToStride": PadToStride}


class BatchMaker:
    """Makes the batch of some keys. The result depends on the arguments and (seed, epoch, index) alone."""

    def __init__(
        self,
        dataset: InstanceDataSet,
        sample_transforms: Sequence[Mapping],
        batch_transforms: Sequence[Mapping],
        targets: bool,
        seed: int,
    ):
        if not sample_transforms:
            raise UserError("sample_transforms is empty; they begin with ReadImage and end with NormalizeToCHW.")
        self.dataset, self.targets, self.seed = dataset, targets, seed
        self.transforms = build_transforms(sample_transforms, _SAMPLE_TRANSFORMS, "sample_transforms")
        collate = build_transforms(batch_transforms, _BATCH_TRANSFORMS, "batch_transforms")
        if len(collate) > 1:
            raise UserError("batch_transforms: PadToStride once is enough.")
        self.collate = collate[0] if collate else PadToStride()

    def __call__(self, keys: Sequence[tuple[int, int]], allocate: Allocate = np.empty) -> dict[str, object]:
        return self.collate([self.sample(*key) for key in keys], self.targets, allocate)

    def sample(self, epoch: int, index: int) -> Sample:
        """Image `index` as it is in `epoch`."""
        rng = np.random.default_rng([self.seed, epoch, index])
        sample = self.dataset.sample(index, self.targets)
        for transform in self.transforms:
            sample = transform(sample, rng)
        if sample.image is None or sample.image.dtype != np.float32:
            raise UserError("sample_transforms begin with ReadImage and end with NormalizeToCHW.")
        return sample


def build_transforms(entries: Sequence[Mapping], known: Mapping[str, type], key: str) -> list:
    """Objects for a reader's list of {name: arguments}. Raises: UserError naming what is unknown, and the nearest name."""
    built = []
    for entry in entries:
        if not isinstance(entry, Mapping) or len(entry) != 1:
            raise UserError(f"{key}: {entry!r} is not of the form `- Name: {{argument: value}}`.")
        name, arguments = next(iter(entry.items()))
        if name not in known:
            raise UserError(f"{key}: {_unknown(name, known)}")
        try:
            built.append(known[name](**(arguments or {})))
        except TypeError as fault:
            raise UserError(f"{key}: {name}: {str(fault).split('__init__() ')[-1]}.") from None
    return built


def _unknown(name: str, known: Mapping[str, type]) -> str:
    near = difflib.get_close_matches(name, known, 1, 0.4)
    hint = f" Did you mean {near[0]}?" if near else ""
    host = " is an operator of ppdet, made for its own samples" if hasattr(ppdet.data.transform, name) else " is unknown"
    return f"{name}{host}.{hint} There are {', '.join(known)}."
