"""Convolutional block attention."""

import paddle
import paddle.nn.functional as F
from paddle import nn

from ppdet_ext.modeling.ops.gates import scale_channels
from ppdet_ext.modeling.ops.norms import BatchNorm2D

from .encoder import conv

_REDUCTION = 16
_KERNEL = 7


class CBAM(nn.Layer):
    """Attention over channels, then over space (arXiv 1807.06521), with the layers' names of its authors' code."""

    def __init__(self, channels: int):
        super().__init__()
        self.ChannelGate = ChannelGate(channels)
        self.SpatialGate = SpatialGate()

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        return self.SpatialGate(self.ChannelGate(x))


class ChannelGate(nn.Layer):
    """Scale each channel by a function of its mean and its maximum."""

    def __init__(self, channels: int):
        super().__init__()
        hidden = channels // _REDUCTION
        self.mlp = nn.Sequential(nn.Flatten(), nn.Linear(channels, hidden), nn.ReLU(), nn.Linear(hidden, channels))

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        gate = self.mlp(F.adaptive_avg_pool2d(x, 1)) + self.mlp(F.adaptive_max_pool2d(x, 1))
        return scale_channels(x, F.sigmoid(gate))


class SpatialGate(nn.Layer):
    """Scale each pixel by a function of the maxima and means over channels around it."""

    def __init__(self) -> None:
        super().__init__()
        self.spatial = nn.LayerDict({"conv": conv(2, 1, _KERNEL), "bn": BatchNorm2D(1, momentum=0.01)})

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        batch, channels, height, width = x.shape
        # The gradient of `x.max(axis=1)` takes Paddle 250 times as long on a CPU: a second for two maps of 64×96.
        largest = F.max_pool2d(x.reshape([batch, 1, channels, height * width]), [channels, 1])
        summary = paddle.concat([largest.reshape([batch, 1, height, width]), x.mean(axis=1, keepdim=True)], axis=1)
        return x * F.sigmoid(self.spatial["bn"](self.spatial["conv"](summary)))
