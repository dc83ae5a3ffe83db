"""Pictures of the validation set during a training: what the model finds in the same few images, above what is annotated."""

import copy
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import paddle

from ppdet_ext.data.datasets.base import InstanceDataSet
from ppdet_ext.data.images.decode import read_record
from ppdet_ext.data.images.depth import Reading
from ppdet_ext.data.loading.loader import build_loader
from ppdet_ext.data.splits.selection import spread
from ppdet_ext.drawing.detections import draw_detections, draw_ground_truth
from ppdet_ext.drawing.fonts import drawable_names
from ppdet_ext.inference.build import Inference
from ppdet_ext.inference.predict import predict
from ppdet_ext.postprocess import PostProcess

GAP = 4  # px between the two pictures, in white


def validation_pictures(
    dataset: InstanceDataSet, reader: Mapping[str, Any], steps: PostProcess | None, count: int, threshold: float
) -> Callable[[paddle.nn.Layer], dict[str, np.ndarray]]:
    """Draws what a model finds: model -> name of an image and its picture (2·h + gap, w, 3) uint8 RGB.

    Which images they are depends on their names and classes alone, so that a run's pictures can be compared with another's.

    Args:
        dataset: read, with annotations.
        reader: settings of EvalReader.
        steps: after the model; None for none.
        count: of images.
        threshold: lowest score drawn.
    """
    few = copy.copy(dataset)
    few._records = spread(dataset.records, count)
    names = drawable_names(dataset.class_names, dataset.category_ids)
    by_id = {record.im_id: record for record in few.records}
    reading = Reading.of_transforms(reader.get("sample_transforms"))

    def draw(model: paddle.nn.Layer) -> dict[str, np.ndarray]:
        loader = build_loader(few, reader, mode="eval")
        pictures = {}
        inference: Any = Inference(model, steps, reading=reading)
        for im_id, name, found in predict(inference, loader, len(few), "Draw", inference):
            image = read_record(by_id[im_id], reading)
            parts = (draw_detections(image, found, names, threshold), draw_ground_truth(image, by_id[im_id], names))
            gap = np.full((GAP, parts[0].shape[1], 3), 255, np.uint8)
            pictures[name] = np.concatenate([parts[0], gap, parts[1]])
        return pictures

    return draw
