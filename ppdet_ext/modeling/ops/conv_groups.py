"""3×3 convolutions in groups on the CPU, as ResNeXt has them.

Paddle unfolds the image and multiplies a small matrix for each group, in one thread. Here, as in `conv_rows`, three rows of a
group's channels are a matrix as they lie, and nothing is unfolded.
"""

from typing import Any, NamedTuple

import numpy as np
import paddle
from numpy.lib.stride_tricks import as_strided
from paddle.autograd import PyLayer

from .seam import takes_ours
from .threads import aligned, array_of, summed, tensor_of, without_threads_of_the_library

MIN_CHANNELS = 4  # of a group; thinner ones are depthwise convolutions, or nearly
_BAND = 1 << 19  # floats of what is worked on together: 2 MB


class Job(NamedTuple):
    """An image, some groups, and the rows [first, last) that come out."""

    image: int
    groups: slice
    first: int
    last: int

    def channels(self, of_group: int) -> slice:
        """The groups' channels."""
        return slice(self.groups.start * of_group, self.groups.stop * of_group)


def grouped3x3(x: paddle.Tensor, weight: paddle.Tensor, groups: int, stride: int = 1) -> paddle.Tensor:
    """Convolution in groups with padding 1, without bias; differentiable. float32 CPU tensors.

    Args:
        x: (n, C, H, W).
        weight: (O, C / groups, 3, 3).
        groups: a divisor of C and O.
        stride: down as across, 1 or 2.

    Returns:
        (n, O, H', W').
    """
    return _Grouped.apply(x, weight, groups, stride)


def applies(x: paddle.Tensor, layer: paddle.nn.Conv2D) -> bool:
    """Whether `layer` is such a convolution of x (n, C, H, W)."""
    return (
        layer._groups > 1
        and takes_ours(x)
        and x.dtype == layer.weight.dtype == paddle.float32
        and min(layer._in_channels, layer._out_channels) >= MIN_CHANNELS * layer._groups
        and list(layer._kernel_size) == [3, 3]
        and list(layer._dilation) == [1, 1]
        and list(layer._stride) in ([1, 1], [2, 2])
        and layer._updated_padding in (1, [1, 1], [1, 1, 1, 1])
        and layer._padding_mode == "zeros"
        and layer.bias is None
    )


class _Grouped(PyLayer):
    @staticmethod
    @without_threads_of_the_library
    def forward(ctx: Any, x: paddle.Tensor, weight: paddle.Tensor, groups: int, stride: int) -> paddle.Tensor:
        ctx.save_for_backward(x, weight)
        ctx.groups, ctx.stride = groups, stride
        ctx.learns = [not tensor.stop_gradient for tensor in (x, weight)]
        size = [(side - 1) // stride + 1 for side in x.shape[2:]]
        return tensor_of(_correlate(array_of(x), _by_group(weight, groups), size, stride, 1))

    @staticmethod
    @without_threads_of_the_library
    def backward(ctx: Any, grad: paddle.Tensor) -> tuple[paddle.Tensor | None, ...]:
        x, weight = ctx.saved_tensor()
        filters, upstream, dx, dw = _by_group(weight, ctx.groups), array_of(grad), None, None
        if ctx.learns[0]:
            turned = filters.transpose(0, 2, 1, 3, 4)[..., ::-1, ::-1]
            dx = tensor_of(_correlate(upstream, turned, x.shape[2:], 1, ctx.stride))
        if ctx.learns[1]:
            dw = tensor_of(_filter_gradient(array_of(x), upstream, filters.shape, ctx.stride).reshape(weight.shape))
        return dx, dw


def _by_group(weight: paddle.Tensor, groups: int) -> np.ndarray:
    """(O, C / groups, 3, 3) -> (groups, O / groups, C / groups, 3, 3)."""
    return array_of(weight).reshape(groups, -1, *weight.shape[1:])


def _correlate(x: np.ndarray, filters: np.ndarray, size: list[int], stride: int, spread: int) -> np.ndarray:
    """(n, C, h, w), with spread − 1 zeros behind each pixel, and filters (groups, o, c, 3, 3) -> (n, groups · o, *size)."""
    groups, outputs, channels = filters.shape[:3]
    # rows: column of the filter, then output; columns: row of the filter, then channel
    stacked = np.ascontiguousarray(filters.transpose(0, 4, 1, 3, 2)).reshape(groups, 3 * outputs, 3 * channels)
    out = aligned((len(x), groups * outputs, *size))
    width = (size[1] - 1) * stride + 1

    def run(job: Job) -> None:
        rows = _triples(x[job.image, job.channels(channels)], job, width, stride, spread)
        terms = np.matmul(stacked[job.groups, None], rows).reshape(*rows.shape[:2], 3, outputs, -1)
        total = terms[:, :, 0, :, :width:stride] + terms[:, :, 1, :, 1 : 1 + width : stride]
        total += terms[:, :, 2, :, 2 : 2 + width : stride]
        into = out[job.image, job.channels(outputs), job.first : job.last]
        into.reshape(-1, outputs, *into.shape[1:])[...] = total.transpose(0, 2, 1, 3)

    summed(_jobs(len(x), groups, size[0], 3 * max(outputs, channels) * (width + 2)), run)
    return out


def _filter_gradient(x: np.ndarray, upstream: np.ndarray, shape: tuple[int, ...], stride: int) -> np.ndarray:
    """(n, C, H, W) and the output's gradient (n, O, H', W') -> that of the filters, of `shape` (groups, o, c, 3, 3)."""
    groups, outputs, channels = shape[:3]
    width = (upstream.shape[3] - 1) * stride + 1
    jobs = _jobs(len(x), groups, upstream.shape[2], 3 * max(outputs, channels) * (width + 2))
    terms: list[np.ndarray] = [np.empty(0)] * len(jobs)

    def run(number: int) -> None:
        job = jobs[number]
        rows = _triples(x[job.image, job.channels(channels)], job, width, stride, 1)
        shifted = (np.empty if stride == 1 else np.zeros)((*rows.shape[:2], 3, outputs, width + 2), np.float32)
        given = upstream[job.image, job.channels(outputs), job.first : job.last]
        given = given.reshape(-1, outputs, *given.shape[1:]).transpose(0, 2, 1, 3)
        for column in range(3):
            shifted[:, :, column, :, :column] = shifted[:, :, column, :, column + width :] = 0
            shifted[:, :, column, :, column : column + width : stride] = given
        product = np.matmul(shifted.reshape(*rows.shape[:2], 3 * outputs, -1), rows.transpose(0, 1, 3, 2))
        # column of the filter, output, row of the filter, channel
        terms[number] = product.sum(axis=1).reshape(-1, 3, outputs, 3, channels)

    summed(range(len(jobs)), run)
    total = np.zeros(shape, np.float32)
    # In the jobs' order, whichever thread had them.
    for job, own in zip(jobs, terms):
        total[job.groups] += own.transpose(0, 2, 4, 3, 1)
    return total


def _jobs(images: int, groups: int, height: int, floats: int) -> list[Job]:
    """All rows of all groups of all images, so many groups or rows at a time as fit into a cache; `floats` are a row's."""
    bands = -(-height // max(1, _BAND // floats))
    parts = -(-groups // max(1, _BAND // (floats * height)))
    rows, some = ([length * i // count for i in range(count + 1)] for length, count in ((height, bands), (groups, parts)))
    return [Job(i, slice(*own), *ends) for i in range(images) for own in zip(some, some[1:]) for ends in zip(rows, rows[1:])]


def _triples(x: np.ndarray, job: Job, width: int, stride: int, spread: int) -> np.ndarray:
    """For each row that comes out, the row in its middle between its neighbours, with a pixel of zeros at each side.

    Args:
        x: (groups · c, h, w); spread − 1 rows and columns of zeros are put behind each.
        job: the rows that come out.
        width: pixels of a row that are looked at.
        stride: from one middle row to the next.

    Returns:
        (groups, rows, 3 c, width + 2).
    """
    groups = job.groups.stop - job.groups.start
    channels = len(x) // groups
    height, across = x.shape[1:]
    top = job.first * stride - 1
    count = (job.last - job.first - 1) * stride + 3
    rows = np.zeros((groups, count, channels, max(width, (across - 1) * spread + 1) + 2), np.float32)
    first = max(0, -(-top // spread))
    last = min(height, (top + count - 1) // spread + 1)
    inside = rows[:, first * spread - top : (last - 1) * spread - top + 1 : spread]
    given = x[:, first:last].reshape(groups, channels, -1, across)
    inside[..., 1 : (across - 1) * spread + 2 : spread] = given.transpose(0, 2, 1, 3)
    group, row, channel, pixel = rows.strides
    shape, strides = (job.last - job.first, 3 * channels, width + 2), (stride * row, channel, pixel)
    return as_strided(rows, (groups, *shape), (group, *strides))
