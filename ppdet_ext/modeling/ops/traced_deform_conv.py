"""Deformable convolution inside a traced graph, of operators that ONNX Runtime and OpenVINO have."""

import paddle
import paddle.nn.functional as F


def deform_conv2d(
    x: paddle.Tensor,
    offset: paddle.Tensor,
    weight: paddle.Tensor,
    mask: paddle.Tensor | None = None,
    stride: int = 1,
    padding: int = 1,
    groups: int = 1,
) -> paddle.Tensor:
    """As `deform_conv.deform_conv2d`: one `grid_sample` takes all samples, k by k for each output cell.

    What it gives is a map k times as high and as wide, of which the plain convolution with stride k makes the output.
    """
    kernel, height, width = weight.shape[2], x.shape[2], x.shape[3]
    # (B, k·k, H', W') -> (B, 1, k·H', k·W'): samples of a cell beside each other.
    down, across = (F.pixel_shuffle(offset[:, axis::2], kernel) for axis in (0, 1))
    rows, columns = (_at(down, axis, kernel, stride) - padding for axis in (2, 3))
    if min(height, width) < 0:
        size = paddle.shape(x)[2:].astype("float32")
        height, width = size[0], size[1]
    # Cells are squares of which a place is the middle; beyond the outermost middles the map fades to 0 within a cell.
    grid = paddle.concat(
        [((columns + across) * 2.0 + 1.0) / width - 1.0, ((rows + down) * 2.0 + 1.0) / height - 1.0], axis=1
    ).transpose([0, 2, 3, 1])
    samples = F.grid_sample(x, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
    if mask is not None:
        samples = samples * F.pixel_shuffle(mask, kernel)
    return F.conv2d(samples, weight, stride=kernel, groups=groups)


def _at(samples: paddle.Tensor, axis: int, kernel: int, stride: int) -> paddle.Tensor:
    """Cell of the input, without padding, that each sample of (B, 1, k·H', k·W') starts from, along an axis."""
    place = paddle.cumsum(paddle.ones_like(samples[:1]), axis=axis) - 1.0
    cell = paddle.floor(place / kernel)
    return cell * (stride - kernel) + place
