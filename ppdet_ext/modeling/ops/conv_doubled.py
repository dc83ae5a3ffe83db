"""3×3 convolutions of maps at twice their size, each pixel four times, on the CPU without ever making those maps.

Of nine pixels under a filter at most four differ, so that each pixel that comes out is a sum over 2×2 pixels of the small map,
with sums of the filter's weights: one set for each of the four places that a pixel has in its square. That takes four ninths of
the multiplications, and the memory of the large map is saved. Maps that are large already, a U-Net's skips, go row by row.
"""

from typing import Any, NamedTuple

import numpy as np
import paddle
from paddle.autograd import PyLayer

from . import conv_rows
from .threads import aligned, array_of, even_parts, summed, tensor_of, without_threads_of_the_library

_COLUMNS = 400  # of a matrix, at least: several rows of a narrow map are one
# Which rows (or columns) of the filter fall on the first and on the second of two pixels, for an even and for an odd place.
_ON = ((slice(0, 1), slice(1, 3)), (slice(0, 2), slice(2, 3)))


class Band(NamedTuple):
    """Rows [first, last) of the small map of an image."""

    image: int
    first: int
    last: int


def conv3x3(x: paddle.Tensor, skip: paddle.Tensor | None, weight: paddle.Tensor) -> paddle.Tensor:
    """Convolution with padding 1, without bias, of what `doubling.doubled` gives; differentiable. float32 CPU tensors.

    Args:
        x: (B, C, H, W).
        skip: (B, D, 2 H, 2 W), or none.
        weight: (O, C + D, 3, 3).

    Returns:
        (B, O, 2 H, 2 W).
    """
    return _Convolution.apply(x, skip, weight)


def applies(x: paddle.Tensor, layer: paddle.nn.Conv2D) -> bool:
    """Whether `layer` is such a convolution of x (B, C, H, W) doubled, and the map so wide that it pays."""
    return 2 * x.shape[3] >= conv_rows.MIN_WIDTH and layer.bias is None and conv_rows.is_plain_3x3(x, layer)


class _Convolution(PyLayer):
    @staticmethod
    @without_threads_of_the_library
    def forward(ctx: Any, x: paddle.Tensor, skip: paddle.Tensor | None, weight: paddle.Tensor) -> paddle.Tensor:
        ctx.save_for_backward(*[one for one in (x, skip, weight) if one is not None])
        ctx.learns = [not one.stop_gradient for one in (x, skip, weight) if one is not None]
        data, filters, channels = array_of(x), array_of(weight), x.shape[1]
        if skip is None:
            out = aligned((len(data), len(filters), 2 * data.shape[2], 2 * data.shape[3]))
        else:
            out = conv_rows.correlate(array_of(skip), filters[:, channels:], None)
        _correlate(data, _of_places(filters[:, :channels]), out, adds=skip is not None)
        return tensor_of(out)

    @staticmethod
    @without_threads_of_the_library
    def backward(ctx: Any, grad: paddle.Tensor) -> tuple[paddle.Tensor | None, ...]:
        x, *skips, weight = ctx.saved_tensor()
        learns_x, *learns_skip, learns_weight = ctx.learns
        filters, upstream, channels = array_of(weight), array_of(grad), x.shape[1]
        dw = aligned(filters.shape) if learns_weight else None
        dx = _gradients(array_of(x), filters[:, :channels], upstream, learns_x, None if dw is None else dw[:, :channels])
        found = [None if dx is None else tensor_of(dx)]
        if skips:
            own = filters[:, channels:]
            turned = own.transpose(1, 0, 2, 3)[:, :, ::-1, ::-1]
            found.append(tensor_of(conv_rows.correlate(upstream, turned, None)) if learns_skip[0] else None)
            if dw is not None:
                dw[:, channels:] = conv_rows.filter_gradient(array_of(skips[0]), upstream)
        return (*found, None if dw is None else tensor_of(dw))


def _of_places(weight: np.ndarray) -> np.ndarray:
    """(O, C, 3, 3) -> matrices of even and odd rows, (2, 4 O, 2 C): place and pixel across, output; pixel down, channel."""
    outputs, channels = weight.shape[:2]
    places = aligned((2, 2, 2, outputs, 2, channels))

    def run(part: slice) -> None:
        taps = np.ascontiguousarray(weight[part].transpose(2, 3, 0, 1))
        for place, pixel in np.ndindex(2, 2):
            rows = taps[_ON[place][pixel]].sum(axis=0)
            for across in np.ndindex(2, 2):
                np.sum(rows[_ON[across[0]][across[1]]], axis=0, out=places[place, across[0], across[1], part, pixel])

    summed(even_parts(outputs, outputs), run)
    return places.reshape(2, 4 * outputs, 2 * channels)


def _of_places_adjoint(gradient: np.ndarray, dw: np.ndarray) -> None:
    """Write the gradient of the matrices (2, 4 O, 2 C) as that of the filters to `dw` (O, C, 3, 3)."""
    outputs, channels = dw.shape[:2]
    sums = gradient.reshape(2, 2, 2, outputs, 2, channels)

    def run(part: slice) -> None:
        taps = np.zeros((3, 3, *dw[part].shape[:2]), np.float32)
        for place, pixel, beside, across in np.ndindex(2, 2, 2, 2):
            taps[_ON[place][pixel], _ON[beside][across]] += sums[place, beside, across, part, pixel]
        dw[part] = taps.transpose(2, 3, 0, 1)

    summed(even_parts(outputs, outputs), run)


def _correlate(x: np.ndarray, places: np.ndarray, out: np.ndarray, adds: bool) -> None:
    """Write to `out` (n, O, 2 h, 2 w), or add, what the places' matrices give of x (n, C, h, w)."""
    outputs, width = out.shape[1], x.shape[3]

    def run(band: Band) -> None:
        rows = _triples(x, band)
        for place in (0, 1):
            terms = (places[place] @ rows[place : place + 2].reshape(places.shape[2], -1)).reshape(4, outputs, -1, width + 2)
            into = out[band.image, :, 2 * band.first + place : 2 * band.last : 2]
            for i, half in enumerate((into[..., ::2], into[..., 1::2])):
                first, second = terms[2 * i, ..., i : i + width], terms[2 * i + 1, ..., i + 1 : i + 1 + width]
                if adds:
                    first += second
                    half += first
                else:
                    np.add(first, second, out=half)

    summed(_bands(x.shape), run)


def _gradients(
    x: np.ndarray, weight: np.ndarray, upstream: np.ndarray, learns_x: bool, dw: np.ndarray | None
) -> np.ndarray | None:
    """The gradient of x (n, C, h, w), if it learns; that of the weight (O, C, 3, 3) is written to `dw`."""
    (_, channels, height, width), bands = x.shape, _bands(x.shape)
    places, dx = _of_places(weight), aligned(x.shape) if learns_x else None
    # Rows of the neighbours' bands that a band has a share of.
    beyond = np.empty((len(bands), 2, channels, width), np.float32) if learns_x else None

    def run(number: int) -> list[np.ndarray]:
        band, sums = bands[number], []
        rows = _triples(x, band) if dw is not None else None
        own = np.zeros((channels, band.last - band.first + 2, width), np.float32)
        for place in (0, 1):
            terms = _spread(upstream[band.image, :, 2 * band.first + place : 2 * band.last : 2])
            if rows is not None:
                sums.append(terms @ rows[place : place + 2].reshape(2 * channels, -1).T)
            if learns_x:
                found = (places[place].T @ terms).reshape(2, channels, -1, width + 2)[..., 1:-1]
                own[:, place : place - 2] += found[0]
                own[:, place + 1 : own.shape[1] - 1 + place] += found[1]
        if dx is not None and beyond is not None:
            dx[band.image, :, band.first : band.last] = own[:, 1:-1]
            beyond[number] = own[:, 0], own[:, -1]
        return [np.stack(sums)] if sums else []

    total = summed(range(len(bands)), run)
    if dx is not None and beyond is not None:
        for band, (above, below) in zip(bands, beyond):
            if band.first:
                dx[band.image, :, band.first - 1] += above
            if band.last < height:
                dx[band.image, :, band.last] += below
    if dw is not None:
        _of_places_adjoint(total[0], dw)
    return dx


def _spread(upstream: np.ndarray) -> np.ndarray:
    """Every second row (O, rows, 2 w) of a gradient -> of the terms of which those rows are sums: (4 O, rows · (w + 2))."""
    outputs, rows, width = upstream.shape[0], upstream.shape[1], upstream.shape[2] // 2
    terms = np.zeros((4, outputs, rows, width + 2), np.float32)
    for i in (0, 1):
        terms[2 * i, ..., i : i + width] = terms[2 * i + 1, ..., i + 1 : i + 1 + width] = upstream[..., i::2]
    return terms.reshape(4 * outputs, -1)


def _bands(shape: tuple[int, ...]) -> list[Band]:
    """All rows of maps (n, C, h, w), so many at a time as make a matrix wide enough."""
    images, _, height, width = shape
    count = -(-height // -(-_COLUMNS // (width + 2)))
    edges = [height * i // count for i in range(count + 1)]
    return [Band(image, *ends) for image in range(images) for ends in zip(edges, edges[1:])]


def _triples(x: np.ndarray, band: Band) -> np.ndarray:
    """A band's rows, and the rows above and below each, with a pixel of zeros at each side: (3, C, rows, w + 2)."""
    (image, first, last), (_, channels, height, width) = band, x.shape
    rows = np.zeros((3, channels, last - first, width + 2), np.float32)
    for i in range(3):
        top, bottom = max(first + i - 1, 0), min(last + i - 1, height)
        rows[i, :, top - first - i + 1 : bottom - first - i + 1, 1:-1] = x[image, :, top:bottom]
    return rows
