"""HTC's parts; importing them registers them in ppdet's workspace."""

from .htc import HybridTaskCascade
from .htc_roi_head import HTCRoIHead
from .resnet import HTCResNet
from .rpn import HTCRPNHead
from .semantic_head import FusedSemanticHead

__all__ = ["FusedSemanticHead", "HTCRPNHead", "HTCResNet", "HTCRoIHead", "HybridTaskCascade"]
