"""Feature extractors; importing them registers them with ppdet."""

from .encoder import ENCODERS, Encoder, build_encoder
from .resnet import HTCResNet
from .resnet_encoder import ResNetEncoder

__all__ = ["ENCODERS", "Encoder", "HTCResNet", "ResNetEncoder", "build_encoder"]
