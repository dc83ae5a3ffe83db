"""Putting the samples of a batch together."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ppdet_ext.data.transforms.sample import Sample
from ppdet_ext.data.transforms.semantic import IGNORED
from ppdet_ext.host.registry import register_batch_transform

Allocate = Callable[[tuple[int, ...], np.dtype], np.ndarray]


@register_batch_transform
class PadToStride:
    """Batch transform: pad below and on the right to one size, a multiple of `stride`; images with 0, maps with 255.

    Args:
        stride: of the network's coarsest level.
    """

    def __init__(self, stride: int = 32):
        self.stride = stride

    def __call__(self, samples: Sequence[Sample], targets: bool, allocate: Allocate = np.empty) -> dict[str, Any]:
        """Batch of finished samples. The large arrays come from `allocate(shape, dtype)`.

        image (B, 3, H, W) float32; im_id (B,) int64; im_shape (B, 2) float32 h, w before padding; scale_factor (B, 2)
        float32 y, x; origin_shape (B, 2) int64; names. With `targets`: gt_bbox, gt_class, gt_mask by image, without
        crowds; semantic (B, H, W) uint8 if the samples have it; dropped, the number of instances transforms left out.
        """
        height, width = (self._padded(max(sample.size[axis] for sample in samples)) for axis in (0, 1))
        batch: dict[str, Any] = {
            "image": allocate((len(samples), 3, height, width), np.dtype(np.float32)),
            "im_id": np.array([sample.im_id for sample in samples], np.int64),
            "im_shape": np.array([sample.size for sample in samples], np.float32),
            "scale_factor": np.array([sample.scale_factor for sample in samples], np.float32),
            "origin_shape": np.array([sample.original_size for sample in samples], np.int64),
            "names": [sample.name for sample in samples],
        }
        for sample, out in zip(samples, batch["image"]):
            _fill(out, sample.image, 0)
        if targets:
            batch.update(_targets(samples))
            if samples[0].semantic is not None:
                batch["semantic"] = allocate((len(samples), height, width), np.dtype(np.uint8))
                for sample, out in zip(samples, batch["semantic"]):
                    _fill(out, sample.semantic, IGNORED)
        return batch

    def _padded(self, side: int) -> int:
        return -(-side // self.stride) * self.stride


def _fill(out: np.ndarray, content: Any, border: int) -> None:
    height, width = content.shape[-2:]
    out[..., :height, :width] = content
    out[..., height:, :] = border
    out[..., :height, width:] = border


def _targets(samples: Sequence[Sample]) -> dict[str, object]:
    """Crowds are no objects to learn: they end here, after the semantic target has marked their pixels."""
    own = [~sample.crowd for sample in samples]
    return {
        "gt_bbox": [sample.boxes[keep].astype(np.float32) for sample, keep in zip(samples, own)],
        "gt_class": [sample.labels[keep] for sample, keep in zip(samples, own)],
        "gt_mask": [[mask for mask, kept in zip(s.masks, keep) if kept] for s, keep in zip(samples, own)],
        "dropped": sum(sample.dropped for sample in samples),
        "crowds": sum(int(sample.crowd.sum()) for sample in samples),
    }
