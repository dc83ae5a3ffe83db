"""Feature extractors; importing them registers them with ppdet."""

from .efficientnet import EfficientNetEncoder
from .encoder import ENCODERS, Encoder, build_encoder
from .resnet import HTCResNet
from .resnet_encoder import ResNetEncoder
from .senet import SENetEncoder

__all__ = ["ENCODERS", "EfficientNetEncoder", "Encoder", "HTCResNet", "ResNetEncoder", "SENetEncoder", "build_encoder"]
