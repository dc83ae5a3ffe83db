"""Box head of one cascade stage."""

import paddle
import paddle.nn.functional as F
from paddle import nn

from .layers import linear


class BoxHead(nn.Layer):
    """Two shared fully connected layers, then class logits and one class-agnostic box (Cascade R-CNN, arXiv 1712.00726).

    Args:
        channels: channels of the pooled region.
        num_classes: classes without background; background is the last logit.
        fc_channels: width of the two layers.
        num_fcs: how many layers.
        size: cells along each side of the pooled region.
    """

    def __init__(self, channels: int, num_classes: int, fc_channels: int = 1024, num_fcs: int = 2, size: int = 7):
        super().__init__()
        widths = [channels * size * size] + [fc_channels] * num_fcs
        self.fcs = nn.LayerList([linear(i, o) for i, o in zip(widths, widths[1:])])
        self.classify = linear(widths[-1], num_classes + 1, std=0.01)
        self.regress = linear(widths[-1], 4, std=0.001)

    def forward(self, regions: paddle.Tensor) -> tuple[paddle.Tensor, paddle.Tensor]:
        """(n, channels, size, size) -> logits (n, num_classes + 1), deltas (n, 4)."""
        x = regions.flatten(1)
        for fc in self.fcs:
            x = F.relu(fc(x))
        return self.classify(x), self.regress(x)
