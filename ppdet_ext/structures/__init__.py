"""Value classes that travel through the package: a mask, and the detections of one image."""

from ppdet_ext.structures.detections import Detections
from ppdet_ext.structures.rle import Rle

__all__ = ["Detections", "Rle"]
