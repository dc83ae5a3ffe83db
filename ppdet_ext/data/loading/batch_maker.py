"""From keys (epoch, index) to a batch of arrays: everything a worker does, as one function without state."""

from collections.abc import Mapping, Sequence

import numpy as np

from ppdet_ext.data.datasets.base import InstanceDataSet
from ppdet_ext.data.transforms.sample import Sample
from ppdet_ext.errors import UserError
from ppdet_ext.host.registry import build_entries
from ppdet_ext.structures.batch import Batch

from .collate import Allocate, PadToStride


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
        self.transforms = build_entries(sample_transforms, "transform", "sample_transforms")
        for transform in self.transforms:
            if hasattr(transform, "bind"):
                transform.bind(dataset.num_classes, dataset.class_names)
        collate = build_entries(batch_transforms, "batch transform", "batch_transforms")
        if len(collate) > 1:
            raise UserError("batch_transforms: PadToStride once is enough.")
        self.collate = collate[0] if collate else PadToStride()

    def __call__(self, keys: Sequence[tuple[int, int]], allocate: Allocate = np.empty) -> Batch:
        return self.collate([self.sample(*key) for key in keys], self.targets, allocate)

    def sample(self, epoch: int, index: int) -> Sample:
        """Image `index` as it is in `epoch`; beyond the data set it is one that comes again, see `BalancedSampler`."""
        rng = np.random.default_rng([self.seed, epoch, index])
        sample = self.dataset.sample(index % len(self.dataset), self.targets)
        for transform in self.transforms:
            sample = transform(sample, rng)
        if sample.image is None or sample.image.dtype != np.float32:
            raise UserError("sample_transforms begin with ReadImage and end with NormalizeToCHW.")
        return sample
