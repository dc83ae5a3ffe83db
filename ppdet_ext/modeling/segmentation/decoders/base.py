"""What a segmentor asks of a decoder, and a decoder of its encoder."""

from collections.abc import Mapping, Sequence
from typing import Any

import paddle
from paddle import nn

from ppdet_ext.errors import UserError, counted
from ppdet_ext.host.registry import number_in, whole_number_in
from ppdet_ext.modeling.backbones.encoder import STAGES

from ..layers import Start


class Decoder(nn.Layer):
    """From an encoder's features to the map from which a head takes logits. Subclasses set the attributes.

    Attributes:
        out_channels: of the map.
        upsampling: px of the image to one cell of the map, along each side; the head makes up for them.
        head_kernel: side of the head's convolution.
        head_start: its initial weights.
        depth: features f1 … f_depth that are taken.
        strides: px of a cell of each of them.
        stride: both sides of the image must be multiples of it; 1 where any size will do.
    """

    out_channels: int
    upsampling: int = 1
    head_kernel: int = 3
    head_start: Start = "xavier"
    depth: int = 5
    stride: int = 1

    @property
    def strides(self) -> list[int]:
        """Px of a cell of f1 … f_depth."""
        return [2**i for i in range(1, self.depth + 1)]

    @classmethod
    def from_config(cls, cfg: Mapping[str, Any], encoder_channels: Sequence[int]) -> dict[str, Any]:
        """ppdet's wiring: the widths follow the encoder."""
        return {"encoder_channels": list(encoder_channels)}

    @classmethod
    def encoder_arguments(cls, section: Mapping[str, Any]) -> dict[str, int]:
        """Arguments of an encoder that gives what the decoder of a section takes, if the configuration does not say them."""
        return {"depth": cls.depth}

    def forward(self, features: list[paddle.Tensor]) -> paddle.Tensor:
        """The image and its features [x, f1 … f_depth], (B, C_i, H_i, W_i), -> (B, out_channels, h, w).

        The list may be emptied: where there is no gradient, features that are not needed any more need no memory.
        """
        raise NotImplementedError


def demand_blocks(key: str, channels: Sequence[int]) -> None:
    """UserError beginning with `key` unless these are the channels of one block for each feature that an encoder may give."""
    if not 1 <= len(channels) <= STAGES:
        raise UserError(
            f"{key} has {counted(len(channels), 'numbers')}; it takes one for each of the encoder's 1 to {STAGES} features."
        )
    for one in channels:
        whole_number_in(one, key, 1)


def demand_range(owner: str, dropout: float = 0.0, **counts: int) -> None:
    """UserError that names the owner's argument unless `dropout` is a share below 1 and all `counts` are 1 or more."""
    number_in(dropout, f"{owner}.dropout", 0, 0.99)
    for name, count in counts.items():
        whole_number_in(count, f"{owner}.{name}", 1)


def check_widths(name: str, encoder_channels: Sequence[int], depth: int) -> list[int]:
    """Channels of [x, f1 … f_depth]. Raises: ValueError where the encoder has another number of features."""
    if len(encoder_channels) != depth + 1:
        raise ValueError(
            f"{name} takes the image and {depth} features, but the encoder gives {len(encoder_channels) - 1}; "
            f"set the encoder's depth to {depth}"
        )
    return list(encoder_channels)
