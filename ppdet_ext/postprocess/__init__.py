"""Steps after the model, in the order of the configuration's `PostProcess`."""

from ppdet_ext.host.registry import STEPS, register_step

from .base import PerClass, PostProcess, Step, per_class
from .box_nms import BoxNMS
from .class_keys import class_keys, label_of
from .classifier_gate import ClassifierGate
from .drop_classes import DropClasses
from .fill_holes import FillHoles
from .mask_nms import MaskNMS
from .mask_threshold import MaskThreshold
from .min_area import MinArea
from .overlaps import SuppressOverlaps
from .score_threshold import ScoreThreshold
from .small_components import RemoveSmallComponents
from .top_k import TopK

__all__ = [
    "STEPS",
    "BoxNMS",
    "ClassifierGate",
    "DropClasses",
    "FillHoles",
    "MaskNMS",
    "MaskThreshold",
    "MinArea",
    "PerClass",
    "PostProcess",
    "RemoveSmallComponents",
    "ScoreThreshold",
    "Step",
    "SuppressOverlaps",
    "TopK",
    "class_keys",
    "label_of",
    "per_class",
    "register_step",
]
