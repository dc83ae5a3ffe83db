"""Batch normalisation whose stored statistics are those that torch would store."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import paddle
import paddle.nn.functional as F
from paddle import nn

from ppdet_ext.errors import UserError

from . import channelwise, norm_groups, norm_residual, norm_silu
from .gates import scale_images, squeeze_excite
from .layers import add_into
from .norm_residual import Following
from .norm_silu import Moments
from .threads import array_of


class BatchNorm2D(nn.BatchNorm2D):
    """paddle.nn.BatchNorm2D that stores the unbiased variance of a batch, as torch.nn.BatchNorm2d does.

    Outputs and gradients are Paddle's. Paddle stores the biased variance on the CPU, which is smaller by (n − 1)/n for n values
    a channel: 4 % for a map of 24 pixels, and half for a map pooled to one pixel of two images.

    Args:
        channels: number of channels.
        momentum: share of a batch in the stored statistics, as torch counts it: 0.1 is Paddle's 0.9.
        epsilon: added to the variance.
    """

    def __init__(self, channels: int, momentum: float = 0.1, epsilon: float = 1e-5):
        super().__init__(channels, momentum=1 - momentum, epsilon=epsilon)

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """(B, C, H, W) -> (B, C, H, W).

        Raises:
            UserError: training with one value a channel, which has no variance.
        """
        if self._is_fixed:
            return self._normalize(x, self._variance)
        if channelwise.applies(x, self.weight):
            return self._ours(x, Following(), private=False)
        count = self._count(x)
        # The operator updates a copy: its gradient keeps what it was given, and must find it unchanged.
        biased = self._variance.clone()
        out = self._normalize(x, biased)
        self._store_variance(x, biased, count)
        return out

    def silu(self, x: paddle.Tensor) -> paddle.Tensor:
        """SiLU of what `forward` gives, on a CPU in one go; x's memory may be used for it, if no gradient is asked for.

        Raises:
            UserError: as `forward`.
        """
        if not channelwise.applies(x, self.weight):
            return F.silu(self(x))
        with self._moments(x) as moments:
            return norm_silu.normalized_silu(x, self.weight, self.bias, moments, self._epsilon)

    def relu(self, x: paddle.Tensor, shortcut: paddle.Tensor | None = None, gate: Sequence[nn.Conv2D] = ()) -> paddle.Tensor:
        """ReLU of what `forward` gives, gated, plus a shortcut; as `silu` in one go, and in x's memory.

        Args:
            x: (B, C, H, W).
            shortcut: (B, C, H, W).
            gate: layers of a squeeze and excitation with a ReLU between them (see `squeeze_excite`).

        Raises:
            UserError: as `forward`.
        """
        if channelwise.applies(x, self.weight):
            tensors = [tensor for layer in gate for tensor in (layer.weight, layer.bias)]
            return self._ours(x, Following(True, shortcut, tensors), private=True)
        out = BatchNorm2D.forward(self, x)
        out = squeeze_excite(out, gate[0], gate[1], F.relu) if gate else out
        if shortcut is not None:
            out = add_into(out, shortcut)
        return F.relu_(out) if paddle.in_dynamic_mode() else F.relu(out)

    def added(self, x: paddle.Tensor, shortcut: paddle.Tensor, factors: paddle.Tensor | None = None) -> paddle.Tensor:
        """What `forward` gives, times a factor for each image (B,), plus a shortcut; as `relu` otherwise."""
        if channelwise.applies(x, self.weight):
            return self._ours(x, Following(False, shortcut, (), factors), private=True)
        out = self(x)
        return add_into(out if factors is None else scale_images(out, factors.astype(out.dtype)), shortcut)

    def _ours(self, x: paddle.Tensor, following: Following, private: bool) -> paddle.Tensor:
        with self._moments(x) as moments:
            return norm_residual.normalized(x, self.weight, self.bias, moments, self._epsilon, following, private)

    @contextmanager
    def _moments(self, x: paddle.Tensor) -> Iterator[Moments]:
        """The moments to normalise by; those of a batch, filled in within the block, are stored behind it."""
        if self._is_fixed:
            yield Moments(False, array_of(self._mean), array_of(self._variance))
            return
        count = self._count(x)
        moments = Moments(True, *np.empty((2, x.shape[1]), np.float32))
        yield moments
        for stored, found in ((self._mean, moments.mean), (self._variance, moments.variance * (count / (count - 1)))):
            after = self._momentum * array_of(stored) + (1 - self._momentum) * found
            paddle.assign(after.astype(np.float32), output=stored)

    @property
    def _is_fixed(self) -> bool:
        """Whether the stored statistics are used, not the batch's."""
        return not self.training or bool(self._use_global_stats)

    def _count(self, x: paddle.Tensor) -> int:
        """Values a channel of (B, C, H, W). UserError if there is one."""
        count = x.shape[0] * x.shape[2] * x.shape[3]
        if count == 1:
            raise UserError(
                "Batch norm has one value a channel: the map of one image was pooled to one pixel. "
                "Train with a batch_size of 2 or more and drop_last: true, or with norm_eval: true where the layer has it."
            )
        return count

    def _normalize(self, x: paddle.Tensor, variance: paddle.Tensor) -> paddle.Tensor:
        return F.batch_norm(
            x,
            self._mean,
            variance,
            self.weight,
            self.bias,
            training=self.training,
            momentum=self._momentum,
            epsilon=self._epsilon,
            use_global_stats=self._use_global_stats,
        )

    @paddle.no_grad()
    def _store_variance(self, x: paddle.Tensor, biased: paddle.Tensor, count: int) -> None:
        """Store the running variance with the batch's unbiased one; `biased` is Paddle's."""
        if x.place.is_cpu_place():
            share = biased - self._momentum * self._variance
            after = biased + share / (count - 1)
        else:
            # cuDNN stores the unbiased one, Paddle's own GPU kernels do not, and which one runs depends on the shape.
            after = self._variance_of(x)
        paddle.assign(after, output=self._variance)

    def _variance_of(self, x: paddle.Tensor) -> paddle.Tensor:
        """The running variance (C,) after a batch, computed from its values."""
        variance = x.astype("float32").var(axis=[0, 2, 3], unbiased=True)
        return self._momentum * self._variance + (1 - self._momentum) * variance


class BatchNormReLU(BatchNorm2D):
    """Batch normalisation and a ReLU as one layer, in x's memory where that can be."""

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """(B, C, H, W) -> (B, C, H, W). UserError as of `BatchNorm2D`."""
        return self.relu(x)


class GroupNorm(nn.GroupNorm):
    """paddle.nn.GroupNorm; a traced graph has it as means and products, as paddle2onnx gets the operator wrong."""

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        return super().forward(x) if paddle.in_dynamic_mode() else self.by_means(x)

    def relu(self, x: paddle.Tensor) -> paddle.Tensor:
        """ReLU of what `forward` gives; on a CPU in one go, and in x's memory."""
        if channelwise.applies(x, self.weight):
            return norm_groups.normalized_relu(x, self.weight, self.bias, self._num_groups, self._epsilon)
        return F.relu(GroupNorm.forward(self, x))

    def by_means(self, x: paddle.Tensor) -> paddle.Tensor:
        """The same from means over maps, whose size may be unknown: groups' statistics are means of channels'."""
        apart = x - self._of_groups(x)
        scale = paddle.rsqrt(self._of_groups(apart * apart) + self._epsilon) * self.weight.reshape([1, -1, 1, 1])
        return apart * scale + self.bias.reshape([1, -1, 1, 1])

    def _of_groups(self, x: paddle.Tensor) -> paddle.Tensor:
        """Mean of each channel's group, (B, C, 1, 1)."""
        batch, channels = x.shape[:2]
        size = channels // self._num_groups
        means = x.mean(axis=[2, 3]).reshape([batch, self._num_groups, size]).mean(axis=2, keepdim=True)
        return means.tile([1, 1, size]).reshape([batch, channels, 1, 1])


class GroupNormReLU(GroupNorm):
    """Group normalisation and a ReLU as one layer, in x's memory where that can be."""

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        return self.relu(x)
