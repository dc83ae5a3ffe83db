"""Products of a map with one factor a channel or an image."""

import paddle


def scale_channels(x: paddle.Tensor, factors: paddle.Tensor) -> paddle.Tensor:
    """x (B, C, H, W) times factors (B, C) or (B, C, 1, 1)."""
    return x * factors.reshape([x.shape[0], x.shape[1], 1, 1])


def scale_images(x: paddle.Tensor, factors: paddle.Tensor) -> paddle.Tensor:
    """x (B, C, H, W) times factors (B,)."""
    return x * factors.reshape([-1, 1, 1, 1])
