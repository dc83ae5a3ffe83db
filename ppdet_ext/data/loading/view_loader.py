"""The loader of views: pictures, one at a time, decoded once however many views of each are rendered."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice

import numpy as np

from ppdet_ext.data.datasets.base import InstanceDataSet
from ppdet_ext.data.transforms import ReadImage
from ppdet_ext.data.transforms.sample import Sample
from ppdet_ext.errors import UserError

from .batch_maker import BatchMaker
from .sampler import EpochSampler


class ViewLoader:
    """Iterating gives one image a batch, or `group`.

    The next picture is decoded meanwhile by a thread, which ends with the iteration.

    Args:
        dataset: read.
        sample_transforms: of the reader, whose ReadImage says how pictures are decoded; the others are for `Views`.
        rank, world_size: this rank takes every world_size-th image, starting with the rank-th.
        skip: image ids to leave out, for example because their results exist. What a rank is to do but for these does not
            depend on them: no image is lost where ranks are told different ones.
        group: images of a batch, for models that see several before the next one's turn.

    Raises:
        UserError: a transform that is unknown, or no ReadImage in the first place.
    """

    def __init__(
        self,
        dataset: InstanceDataSet,
        sample_transforms: Sequence[Mapping],
        rank: int = 0,
        world_size: int = 1,
        skip: Collection[int] = (),
        group: int = 1,
    ):
        self.group = group
        self.dataset, self.skip = dataset, frozenset(map(int, skip))
        self._read = BatchMaker(dataset, sample_transforms, (), targets=False, seed=0).transforms[0]
        if not isinstance(self._read, ReadImage):
            raise UserError("sample_transforms begin with ReadImage and end with NormalizeToCHW.")
        self._sampler = EpochSampler(len(dataset), 1, False, False, 0, rank, world_size, even=False)

    def __len__(self) -> int:
        """Number of batches."""
        return -(-len(self._indices()) // self.group)

    @property
    def images(self) -> int:
        """Number of images of an iteration."""
        return len(self._indices())

    def __iter__(self) -> Iterator[dict[str, object]]:
        """names: file names; im_id: (n,) int64; samples: decoded `Sample`s, of which `Views.render` makes batches.

        Of a single one it is `sample`, too.

        Raises:
            UserError: a picture cannot be read.
        """
        samples = self._samples()
        while group := list(islice(samples, self.group)):
            batch: dict[str, object] = {"names": [one.name for one in group], "samples": group}
            batch["im_id"] = np.array([one.im_id for one in group], np.int64)
            yield batch | ({"sample": group[0]} if self.group == 1 else {})

    def _samples(self) -> Iterator[Sample]:
        indices = self._indices()
        with ThreadPoolExecutor(1, "decode") as pool:
            ahead = [pool.submit(self._decoded, index) for index in indices[:1]]
            for following in [*indices[1:], None][: len(indices)]:
                sample = ahead.pop().result()
                if following is not None:
                    ahead.append(pool.submit(self._decoded, following))
                yield sample

    def _indices(self) -> list[int]:
        keys = [batch[0] for batch in self._sampler.batches(0)]
        return [index for _, index in keys if self.dataset.records[index].im_id not in self.skip]

    def _decoded(self, index: int) -> Sample:
        # Without annotations, as evaluation needs none; reading draws nothing at random.
        return self._read(self.dataset.sample(index, targets=False), np.random.default_rng(0))
