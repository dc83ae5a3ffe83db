"""RoIAlign over a feature pyramid inside a traced graph, where nothing is known of how many regions a level has."""

from collections.abc import Sequence

import paddle
import paddle.nn.functional as F

from .tensor_boxes import area, has_extent


def level_of(boxes: paddle.Tensor, levels: int, finest_size: float) -> paddle.Tensor:
    """Level that each box (n, 4) is pooled from, (n,) int64; `levels` of a box without extent. See `Pyramid`."""
    ratio = paddle.sqrt(paddle.clip(area(boxes), min=0.0)) / finest_size + 1e-6
    level = paddle.zeros_like(ratio)
    for k in range(1, levels):  # comparisons are exact where a logarithm is not
        level = level + (ratio >= float(1 << k)).astype("float32")
    real = has_extent(boxes).astype("float32")
    return (level * real + levels * (1.0 - real)).astype("int64")


def pool_levels(
    maps: Sequence[paddle.Tensor],
    strides: Sequence[int],
    finest_size: float,
    boxes: paddle.Tensor,
    size: int,
    merge: int = 1,
) -> paddle.Tensor:
    """As `Pyramid.pool`, of one image.

    Args:
        maps: per level (1, C, H, W).
        strides, finest_size: of the pyramid.
        boxes: (n, 4) float32 px.
        size, merge: as there.

    Returns:
        (n, C, size, size) float32; 0 of a region without extent.
    """
    level = level_of(boxes, len(maps), finest_size)
    pooled, rows = [], []
    for k, (feature, stride) in enumerate(zip(maps, strides)):
        own = paddle.nonzero(level == k).flatten()
        # One more, left out again: OpenVINO pools no empty batch.
        part = paddle.concat([paddle.gather(boxes, own), paddle.to_tensor([[0.0, 0.0, 1.0, 1.0]])])
        # Counted with that one: ONNX Runtime's CUDA provider refuses a sum over nothing.
        count = paddle.ones_like(part[:, :1]).sum().reshape([1]).astype("int32")
        cells = paddle.vision.ops.roi_align(feature, part, count, size * merge, 1.0 / stride, sampling_ratio=0, aligned=True)
        pooled.append((F.avg_pool2d(cells, merge) if merge > 1 else cells)[:-1])
        rows.append(own)
    # Of a region without extent the operator would give 0 / 0.
    empty = paddle.nonzero(level == len(maps)).flatten()
    blank = paddle.zeros([1, maps[0].shape[1], size, size])
    pooled.append(paddle.gather(blank, paddle.zeros_like(empty)))
    rows.append(empty)
    return paddle.gather(paddle.concat(pooled), paddle.argsort(paddle.concat(rows)))


def pool_fixed(
    maps: Sequence[paddle.Tensor],
    strides: Sequence[int],
    finest_size: float,
    boxes: paddle.Tensor,
    size: int,
    merge: int = 1,
) -> paddle.Tensor:
    """As `Pyramid.pool`, of as many regions in every image; it asks the host nothing.

    Each level pools all regions; those of other levels are small there, and what they give is not used.

    Args:
        maps: per level (B, C, H, W).
        strides, finest_size: of the pyramid.
        boxes: (B, k, 4) float32 px.
        size, merge: as there.

    Returns:
        (B·k, C, size, size) float32; 0 of a region without extent, and of one that is not finite.
    """
    count = paddle.full([boxes.shape[0]], boxes.shape[1], "int32")
    boxes = boxes.reshape([-1, 4])
    finite = paddle.isfinite(boxes).all(axis=1, keepdim=True)  # Paddle's operator would abort the process
    boxes = paddle.where(finite, boxes, paddle.zeros_like(boxes))
    level, total = level_of(boxes, len(maps), finest_size), None
    for k, (feature, stride) in enumerate(zip(maps, strides)):
        own = (level == k).unsqueeze(1)
        small = paddle.to_tensor([[0.0, 0.0, float(stride), float(stride)]])
        part = paddle.where(own, boxes, small.expand_as(boxes))
        cells = paddle.vision.ops.roi_align(feature, part, count, size * merge, 1.0 / stride, sampling_ratio=0, aligned=True)
        cells = F.avg_pool2d(cells, merge) if merge > 1 else cells
        cells = cells * own.astype(cells.dtype).reshape([-1, 1, 1, 1])
        total = cells if total is None else total + cells
    return total
