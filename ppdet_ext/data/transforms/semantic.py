"""Targets of the semantic branch: drawn from the instance masks, or read from COCO-stuff label maps."""

from dataclasses import replace

import numpy as np

from ppdet_ext.data.images.decode import read_label_map
from ppdet_ext.errors import UserError
from ppdet_ext.registry import register_transform
from ppdet_ext.structures.paste import IGNORED, rasterise

from .sample import Sample

__all__ = ["IGNORED", "SemanticFromMap", "SemanticFromMasks", "rasterise"]


@register_transform
class SemanticFromMasks:
    """Draw the semantic target from the instance masks as they are now; put it after resizing and cropping."""

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        return replace(sample, semantic=rasterise(sample.masks, sample.labels, sample.crowd, *sample.size))


@register_transform
class SemanticFromMap:
    """Read the semantic target from the data set's label map; put it right after reading, it moves with the image.

    The values of COCO-stuff's PNGs are used as they are: 255 is ignored.
    """

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        """Raises: UserError when the data set has no maps, or the map's size is not the image's."""
        if sample.semantic_file is None:
            raise UserError(f"{sample.name}: SemanticFromMap needs label maps; set semantic_dir in the data set.")
        semantic = read_label_map(sample.semantic_file)
        if semantic.shape != tuple(sample.size):
            raise UserError(f"{sample.semantic_file}: the label map is {semantic.shape}, its image {sample.size}.")
        return replace(sample, semantic=semantic)
