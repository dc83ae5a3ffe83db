"""The package's names and layouts of mmdetection, for building reference models in tests."""

from ppdet_ext.mmdet.names import from_mmdet, mmdet_name, shape_in_mmdet

__all__ = ["from_mmdet", "mmdet_name", "shape_in_mmdet"]
