"""Steps after the model, in the order of the configuration's `PostProcess`."""

from .base import STEPS, PerClass, PostProcess, Step, per_class, register_step

__all__ = ["STEPS", "PerClass", "PostProcess", "Step", "per_class", "register_step"]
