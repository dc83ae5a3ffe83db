"""Data sets; importing them registers them with ppdet."""

from .coco import CocoJsonDataSet
from .fashion import FashionDataSet
from .folder import ImageFolder
from .mixed import MixedDataSet
from .rle_csv import RleCsvDataSet
from .steel import SteelDataSet

__all__ = ["CocoJsonDataSet", "FashionDataSet", "ImageFolder", "MixedDataSet", "RleCsvDataSet", "SteelDataSet"]
