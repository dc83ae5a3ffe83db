"""Putting the samples of a batch together."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ppdet_ext.data.transforms.sample import Sample
from ppdet_ext.data.transforms.semantic import IGNORED
from ppdet_ext.host.registry import register_batch_transform, whole_number_in
from ppdet_ext.structures.batch import Batch

Allocate = Callable[[tuple[int, ...], np.dtype], np.ndarray]


@register_batch_transform
class PadToStride:
    """Batch transform: pad below and on the right to one size, a multiple of `stride`; images with 0, maps with 255.

    Args:
        stride: of the network's coarsest level; 1 pads only images of different sizes.

    Raises: UserError unless it is 1 or more.
    """

    def __init__(self, stride: int = 32):
        self.stride = whole_number_in(stride, "PadToStride.stride", 1)

    def __call__(self, samples: Sequence[Sample], targets: bool, allocate: Allocate = np.empty) -> Batch:
        """Batch of finished samples, with what is to be learnt if `targets`; `allocate(shape, dtype)` gives large arrays."""
        height, width = (self._padded(max(sample.size[axis] for sample in samples)) for axis in (0, 1))
        batch = Batch(
            image=allocate((len(samples), len(samples[0].image), height, width), np.dtype(np.float32)),
            im_id=np.array([sample.im_id for sample in samples], np.int64),
            im_shape=np.array([sample.size for sample in samples], np.float32),
            scale_factor=np.array([sample.scale_factor for sample in samples], np.float32),
            origin_shape=np.array([sample.original_size for sample in samples], np.int64),
            names=[sample.name for sample in samples],
        )
        for sample, out in zip(samples, batch.image):
            _fill(out, sample.image, 0)
        if targets:
            _add_targets(batch, samples)
            if samples[0].semantic is not None:
                batch.semantic = allocate((len(samples), height, width), np.dtype(np.uint8))
                for sample, out in zip(samples, batch.semantic):
                    _fill(out, sample.semantic, IGNORED)
            if samples[0].class_masks is not None:
                batch.class_masks = allocate((len(samples), len(samples[0].class_masks), height, width), np.dtype(np.uint8))
                for sample, out in zip(samples, batch.class_masks):
                    _fill(out, sample.class_masks, IGNORED)
        return batch

    def _padded(self, side: int) -> int:
        return -(-side // self.stride) * self.stride


def _fill(out: np.ndarray, content: Any, border: int) -> None:
    height, width = content.shape[-2:]
    out[..., :height, :width] = content
    out[..., height:, :] = border
    out[..., :height, width:] = border


def _add_targets(batch: Batch, samples: Sequence[Sample]) -> None:
    """Crowds are no objects to learn: they end here, after the semantic target has marked their pixels."""
    own = [~sample.crowd for sample in samples]
    batch.gt_bbox = [sample.boxes[keep].astype(np.float32) for sample, keep in zip(samples, own)]
    batch.gt_class = [sample.labels[keep] for sample, keep in zip(samples, own)]
    batch.gt_mask = [[mask for mask, kept in zip(s.masks, keep) if kept] for s, keep in zip(samples, own)]
    batch.dropped = sum(sample.dropped for sample in samples)
    batch.crowds = sum(int(sample.crowd.sum()) for sample in samples)
