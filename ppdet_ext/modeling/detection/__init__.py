"""HTC's parts; importing them registers them with ppdet."""

from .htc import HybridTaskCascade
from .htc_roi_head import HTCRoIHead
from .rpn import HTCRPNHead
from .semantic_head import FusedSemanticHead

__all__ = ["FusedSemanticHead", "HTCRPNHead", "HTCRoIHead", "HybridTaskCascade"]
