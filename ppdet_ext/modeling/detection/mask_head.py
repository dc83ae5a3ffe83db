"""Mask head of one HTC stage."""

import numpy as np
import paddle
import paddle.nn.functional as F
from paddle import nn

from ppdet_ext.modeling.ops.layers import conv, upsample


class HTCMaskHead(nn.Layer):
    """Four 3×3 convolutions, a deconvolution and one mask per class, fed with the previous stage's features (HTC §3.2).

    Args:
        channels: channels of the pooled region and of every convolution.
        num_classes: classes without background.
        num_convs: 3×3 convolutions.
        takes_features: the head has a 1×1 convolution for the previous head's features; the first head has none.
        conv_channels: channels of the 3×3 convolutions; `channels` where None.
    """

    def __init__(
        self,
        channels: int,
        num_classes: int,
        num_convs: int = 4,
        takes_features: bool = True,
        conv_channels: int | None = None,
    ):
        super().__init__()
        width = conv_channels or channels
        self.merge = conv(width, channels, 1) if takes_features else None
        self.convs = nn.LayerList([conv(channels if k == 0 else width, width, 3) for k in range(num_convs)])
        self.upsample = upsample(width)
        self.logits = conv(width, num_classes, 1)

    def features(self, regions: paddle.Tensor, previous: paddle.Tensor | None = None) -> paddle.Tensor:
        """What the next stage's head takes: (n, channels, s, s) -> (n, width, s, s), before the deconvolution."""
        x = regions
        if self.merge is not None and previous is not None:
            x = x + self.merge(previous, relu=True)
        for layer in self.convs:
            x = layer(x, relu=True)
        return x

    def predict(self, features: paddle.Tensor) -> paddle.Tensor:
        """Mask logits (n, num_classes, 2s, 2s) from `features`."""
        return self.logits(F.relu(self.upsample(features)))

    def forward(self, regions: paddle.Tensor, previous: paddle.Tensor | None = None) -> paddle.Tensor:
        """Mask logits (n, num_classes, 2s, 2s) of regions (n, channels, s, s)."""
        return self.predict(self.features(regions, previous))

    def predict_own(self, features: paddle.Tensor, labels: np.ndarray | paddle.Tensor) -> paddle.Tensor:
        """Mask logits (n, 2s, 2s) of each region's own class, `labels` (n,): the same numbers as `predict`'s of that class.

        The deconvolution's squares do not overlap, so that it is one matrix product, and a product with the class's own weights
        saves the other classes' masks.
        """
        _, channels, height, width = features.shape
        outputs = self.logits.weight.shape[1]
        index = labels if isinstance(labels, paddle.Tensor) else paddle.to_tensor(labels)
        # Flattened first: DataParallel garbles a gradient that is a transposed view, and this way it is none.
        squares = self.upsample.weight.flatten(2).transpose([0, 2, 1]).reshape([channels, 4 * outputs])
        bias = self.upsample.bias.tile([4])
        cells = features.transpose([0, 2, 3, 1]).reshape([-1, channels])
        if paddle.in_dynamic_mode():
            # The bias is a row that ones multiply: adding it to so long a matrix takes as long as the product, backwards
            # thrice.
            squares = paddle.concat([squares, bias.unsqueeze(0)])
            cells = F.relu(paddle.concat([cells, paddle.ones_like(cells[:, :1])], axis=1) @ squares)
        else:  # of a graph engines do that within the product
            cells = F.relu(cells @ squares + bias)
        weight = paddle.gather(self.logits.weight.flatten(1), index).unsqueeze(2)
        logits = paddle.bmm(cells.reshape([-1, height * width * 4, outputs]), weight).reshape([-1, height, width, 2, 2])
        logits = logits + paddle.gather(self.logits.bias, index).reshape([-1, 1, 1, 1, 1])
        return logits.transpose([0, 1, 3, 2, 4]).reshape([-1, 2 * height, 2 * width])
