"""Steps after the model, in the order of the configuration's `PostProcess`."""

from ppdet_ext.host.registry import STEPS, register_step

from .base import PerClass, PostProcess, Step, class_keys, label_of, per_class
from .classes import ClassifierGate, DropClasses
from .masks import FillHoles, RemoveSmallComponents, SuppressOverlaps
from .nms import BoxNMS, MaskNMS
from .thresholds import MaskThreshold, MinArea, ScoreThreshold, TopK

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
