"""Data sets, transforms and the loader. Importing this package registers them with ppdet."""

from . import transforms
from .coco import CocoJsonDataSet
from .fashion import FashionDataSet
from .folder import ImageFolder
from .loader import Loader, build_loader
from .mixed import MixedDataSet
from .record import Record, Sample
from .steel import SteelDataSet

__all__ = [
    "CocoJsonDataSet",
    "FashionDataSet",
    "ImageFolder",
    "Loader",
    "MixedDataSet",
    "Record",
    "Sample",
    "SteelDataSet",
    "build_loader",
    "transforms",
]
