"""Decoders, one a file; importing them registers them with ppdet."""

from .base import Decoder
from .deeplab import DeepLabV3Decoder, DeepLabV3PlusDecoder
from .fpn import FPNDecoder
from .linknet import LinknetDecoder
from .pspnet import PSPDecoder
from .unet import UNetDecoder
from .unetplusplus import UNetPlusPlusDecoder

__all__ = [
    "Decoder",
    "DeepLabV3Decoder",
    "DeepLabV3PlusDecoder",
    "FPNDecoder",
    "LinknetDecoder",
    "PSPDecoder",
    "UNetDecoder",
    "UNetPlusPlusDecoder",
]
