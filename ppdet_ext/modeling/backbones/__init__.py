"""Feature extractors; importing them registers them with ppdet."""

from .resnet import HTCResNet

__all__ = ["HTCResNet"]
