"""Numpy's work on maps with a number for each channel, a few channels at a time."""

from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any, TypeVar

import numpy as np
import paddle

from .seam import takes_ours
from .threads import array_of, even_parts

Job = TypeVar("Job")
# Pixels of a block. While numpy works on one, the other threads need not wait for the interpreter: with a block of a quarter
# of the size, which would fit into the nearest cache, they do so half of the time.
BLOCK = 1 << 19
_SMALL = 1 << 14  # pixels that are not worth a second thread


def applies(x: paddle.Tensor, weight: paddle.Tensor) -> bool:
    """Whether operators like these run for x and a layer with this weight: at once, on a CPU, in float32."""
    return takes_ours(x) and x.dtype == weight.dtype == paddle.float32


def asks_for_gradient(*tensors: paddle.Tensor) -> bool:
    """Whether an operator of these tensors will be asked for a gradient."""
    return paddle.is_grad_enabled() and not all(tensor.stop_gradient for tensor in tensors)


def flat(x: paddle.Tensor) -> np.ndarray:
    """(n, C, H, W) -> its memory as (n, C, H · W)."""
    return array_of(x).reshape(x.shape[0], x.shape[1], -1)


def blocks(shape: Sequence[int], size: int | None = None) -> list[slice]:
    """All channels of maps (n, C, pixels) in parts of at most `size` pixels in all images, or of one channel.

    size: BLOCK if not given.
    """
    (count, channels, pixels), size = shape, size or BLOCK
    if count * channels * pixels <= min(_SMALL, size):
        return [slice(0, channels)]
    return even_parts(channels, max(1, size // (count * pixels)))


def image_blocks(shape: Sequence[int]) -> list[tuple[int, slice]]:
    """All maps (n, C, pixels) as an image and some of its channels, as `blocks` parts them."""
    return [(image, part) for image in range(shape[0]) for part in blocks((1, *shape[1:]))]


def affine(maps: np.ndarray, scale: np.ndarray, shift: np.ndarray, out: np.ndarray) -> None:
    """Maps (C, pixels) times scale (C,) plus shift (C,)."""
    np.multiply(maps, scale[:, None], out=out)
    out += shift[:, None]


def broadcasting(function: Callable[[Job], Any]) -> Callable[[Job], Any]:
    """Let numpy work on rows of more than 256 values where they lie, one factor for each row.

    It copies the factors of rows shorter than its buffer, one for each value, which takes three times as long.
    """

    @wraps(function)
    def with_small_buffers(job: Job) -> Any:
        before = np.setbufsize(256)
        try:
            return function(job)
        finally:
            np.setbufsize(before)

    return with_small_buffers
