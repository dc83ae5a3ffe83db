"""Targets of the semantic branch: drawn from the instance masks, or read from COCO-stuff label maps."""

from dataclasses import replace

import numpy as np

from ppdet_ext.data.images.decode import read_label_map
from ppdet_ext.errors import UserError
from ppdet_ext.host.registry import register_transform
from ppdet_ext.structures import Rle

from .sample import Sample

IGNORED = 255


def rasterise(masks: list[Rle], labels: np.ndarray, crowd: np.ndarray, height: int, width: int) -> np.ndarray:
    """(height, width) uint8: 0 background, label + 1 on instances, 255 on crowds.

    Where masks overlap the smaller one is on top, and any instance covers a crowd, since its class is known.
    """
    # Masks run down the columns, so the canvas is filled transposed: one run is one piece of memory.
    canvas = np.zeros((width, height), np.uint8)
    flat = canvas.reshape(-1)
    areas = [mask.area for mask in masks]
    for i in sorted(range(len(masks)), key=lambda i: (not crowd[i], -areas[i])):
        value = IGNORED if crowd[i] else int(labels[i]) + 1
        starts, lengths = masks[i].runs()
        ends = np.cumsum(lengths)
        flat[np.arange(areas[i]) + np.repeat(starts - ends + lengths, lengths)] = value
    return np.ascontiguousarray(canvas.T)


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
