"""What comes after a decoder, and after an encoder: logits of pixels, and of whole images."""

from typing import Literal

import paddle
from paddle import nn

from .layers import Start, Upsample, conv, linear


class SegmentationHead(nn.Sequential):
    """Decoder's map -> logits of the image's pixels: a convolution with bias, enlarged.

    Args:
        channels: of the decoder's map.
        outputs: number of logits of a pixel.
        kernel: side of the convolution.
        upsampling: px of the image to one cell of the map, along each side.
        start: initial weights.
    """

    def __init__(self, channels: int, outputs: int, kernel: int, upsampling: int = 1, start: Start = "xavier") -> None:
        enlarged = [Upsample(upsampling)] if upsampling > 1 else []
        super().__init__(conv(channels, outputs, kernel, bias=True, start=start), *enlarged)


class ClassificationHead(nn.Layer):
    """Encoder's last features -> logits of what is in the image (SMP's `aux_params`); `3` is SMP's name of the layer.

    Args:
        channels: of the features.
        classes: number of logits.
        pooling: "avg" or "max", over the whole image.
        dropout: share of the pooled features left out in training.
        start: initial weights.

    Raises:
        ValueError: another pooling, or no share.
    """

    def __init__(
        self,
        channels: int,
        classes: int,
        pooling: Literal["avg", "max"] = "avg",
        dropout: float = 0.0,
        start: Start = "xavier",
    ) -> None:
        super().__init__()
        if pooling not in ("avg", "max"):
            raise ValueError(f"pooling is {pooling!r}; it is avg or max")
        if not 0 <= dropout < 1:
            raise ValueError(f"dropout is {dropout}; it is a share of 0 or more, less than 1")
        self.pool = nn.AdaptiveAvgPool2D(1) if pooling == "avg" else nn.AdaptiveMaxPool2D(1)
        self.dropout = nn.Dropout(dropout)
        self.add_sublayer("3", linear(channels, classes, start))

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """(B, channels, h, w) -> logits (B, classes)."""
        return self._sub_layers["3"](self.dropout(self.pool(x).flatten(1)))
