"""Steps after the model, in the order of the configuration's `PostProcess`."""

from ppdet_ext.registry import STEPS, register_step

from .base import ImageContext, PerClass, PostProcess, Step, class_keys, label_of, per_class
from .classes import ClassifierGate, DropClasses, SoftGate
from .gate_file import GateFile, write_gate_file
from .maps import Components, CoreExtent, LikeliestClass
from .masks import FillHoles, RemoveSmallComponents, SuppressOverlaps
from .nms import BoxNMS, MaskNMS
from .thresholds import MaskThreshold, MinArea, ScoreThreshold, TopK

__all__ = [
    "STEPS",
    "BoxNMS",
    "ClassifierGate",
    "Components",
    "CoreExtent",
    "DropClasses",
    "FillHoles",
    "GateFile",
    "ImageContext",
    "LikeliestClass",
    "MaskNMS",
    "MaskThreshold",
    "MinArea",
    "PerClass",
    "PostProcess",
    "RemoveSmallComponents",
    "ScoreThreshold",
    "SoftGate",
    "Step",
    "SuppressOverlaps",
    "TopK",
    "class_keys",
    "label_of",
    "per_class",
    "register_step",
    "write_gate_file",
]
