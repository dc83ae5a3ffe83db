"""Pictures that are at hand, put together as a configuration's reader does with those of a data set."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import paddle

from ppdet_ext.data.datasets import ImageFolder
from ppdet_ext.data.loading.batch_maker import BatchMaker
from ppdet_ext.data.loading.build import reader_of
from ppdet_ext.data.transforms import ReadImage
from ppdet_ext.data.transforms.sample import Sample, sample_of
from ppdet_ext.errors import UserError
from ppdet_ext.host import Config
from ppdet_ext.structures import Record

from .members import pictures_at_once, sees_views
from .protocol import Batch


class Feed:
    """Makes batches for `inference_of`, the same that `inference_loader` makes of files.

    Args:
        cfg: from `load_config`.
        class_names, category_ids: by label.
        mode: whose reader it is, "test" or "eval".

    Raises:
        UserError: no such reader, or one that does not begin with ReadImage.
    """

    def __init__(self, cfg: Config, class_names: Sequence[str], category_ids: Sequence[int], mode: str = "test") -> None:
        self._cfg, self._views = cfg, sees_views(cfg)
        reader = reader_of(cfg, mode)
        classes = ImageFolder([], list(class_names), list(category_ids))
        transforms, batch_transforms = reader.get("sample_transforms") or (), reader.get("batch_transforms") or ()
        self._maker = BatchMaker(classes, transforms, batch_transforms, targets=False, seed=cfg.seed)
        if not isinstance(self._maker.transforms[0], ReadImage):
            raise UserError("sample_transforms begin with ReadImage and end with NormalizeToCHW.")
        self._size = int(reader.get("batch_size", 1))

    def decoded(self, picture: np.ndarray | str | Path, number: int) -> Sample:
        """The picture as the first transform leaves it.

        Args:
            picture: a file, or pixels (h, w, 3) uint8 RGB.
            number: of it among all, which stands for the index in a data set.

        Raises:
            UserError: a file that cannot be read.
        """
        if isinstance(picture, np.ndarray):
            height, width = picture.shape[:2]
            return replace(sample_of(Record(number, "", "", height, width), targets=False), image=picture)
        file = str(picture)
        return self._maker.transforms[0](sample_of(Record(number, file, Path(file).name, 0, 0), False), self._rng(number))

    def batch_size(self, first: Sample) -> int:
        """Images of a batch that begins with this one: the reader's number, but one where models render views themselves."""
        if not self._views:
            return self._size
        height, width = first.original_size
        return pictures_at_once(self._cfg, [Record(0, "", "", height, width)])

    def batch(self, samples: Sequence[Sample]) -> Batch:
        """What a model takes, of decoded samples; these are in it as "samples", for steps that look at the picture."""
        decoded: dict[str, Any] = {"samples": list(samples)}
        if self._views:
            one: Mapping[str, Any] = {"sample": samples[0]} if len(samples) == 1 else {}
            ids = np.array([sample.im_id for sample in samples], np.int64)
            return {"names": [sample.name for sample in samples], "im_id": ids, **decoded, **one}
        finished = [self._finished(sample) for sample in samples]
        return {**self._maker.collate(finished, False).converted(paddle.to_tensor), **decoded}

    def _finished(self, sample: Sample) -> Sample:
        rng = self._rng(sample.im_id)
        for transform in self._maker.transforms[1:]:
            sample = transform(sample, rng)
        if sample.image.dtype != np.float32:
            raise UserError("sample_transforms begin with ReadImage and end with NormalizeToCHW.")
        return sample

    def _rng(self, number: int) -> np.random.Generator:
        return np.random.default_rng([self._cfg.seed, 0, number])
