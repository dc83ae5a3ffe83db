"""Padding images to multiples of a network's stride, also in a traced graph, where their size may be unknown."""

import paddle
import paddle.nn.functional as F


def pad_to_multiple(images: paddle.Tensor, stride: int) -> paddle.Tensor:
    """Images with zeros below and on the right.

    Args:
        images: (B, C, H, W); in a graph H and W may be unknown (-1).
        stride: whose multiples the sides become.

    Returns:
        (B, C, H', W'), the same tensor where nothing is to be done.
    """
    height, width = images.shape[2:]
    if height >= 0 and width >= 0:
        down, across = -height % stride, -width % stride
        return extend(images, down, across) if down or across else images
    # A slice of more than is needed: pads that are tensors are not what converters to ONNX know.
    sides = (paddle.shape(images)[2:].astype("int32") + (stride - 1)) // stride * stride
    return crop(extend(images, stride - 1, stride - 1), sides)


def extend(images: paddle.Tensor, down: int, across: int) -> paddle.Tensor:
    """Images (B, C, H, W) with `down` rows and `across` columns of zeros more.

    In a graph they are put beside the images: what paddle2onnx 2.1 makes of `pad` has any value in place of zero.
    """
    if paddle.in_dynamic_mode():
        return F.pad(images, [0, across, 0, down])
    for axis, count in ((2, down), (3, across)):
        if count:
            line = paddle.zeros_like(images[:, :, :1] if axis == 2 else images[:, :, :, :1])
            images = paddle.concat([images, line.tile([1, 1, count, 1] if axis == 2 else [1, 1, 1, count])], axis=axis)
    return images


def crop(maps: paddle.Tensor, sides: list[int] | paddle.Tensor) -> paddle.Tensor:
    """(B, C, H, W) -> (B, C, *sides), the upper left of it; `sides` are numbers, or a tensor (2,) int32 in a graph."""
    return maps[:, :, : sides[0], : sides[1]]
