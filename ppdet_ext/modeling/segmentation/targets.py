"""Targets of pixels and of whole images, from a batch's class masks."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import paddle

from ppdet_ext.errors import UserError

from .losses import IGNORED


def masks_of(batch: Mapping[str, Any], num_classes: int) -> paddle.Tensor:
    """The class masks (B, num_classes, H, W) uint8 of a batch.

    Raises:
        UserError: it has none, or those of another number of classes.
    """
    masks = batch.get("class_masks")
    if masks is None:
        raise UserError(
            "The batches have no masks of classes to learn from. Put the transform `- ClassMasks: {}` into "
            "TrainReader.sample_transforms, before NormalizeToCHW."
        )
    if masks.shape[1] != num_classes:
        raise UserError(
            f"The masks have planes for {masks.shape[1]} classes, but num_classes is {num_classes}; set num_classes to the "
            "data set's, and leave ClassMasks.num_classes alone."
        )
    return masks


def class_targets(masks: paddle.Tensor, batch: Mapping[str, Any]) -> paddle.Tensor:
    """Class of each pixel (B, H, W) int64, 0 the background, 255 ignored, from masks (B, C, H, W).

    Raises:
        UserError: a pixel is of several classes; names the image.
    """
    inside = (masks == 1).astype("int64")
    several = inside.sum(axis=1) > 1
    if bool(several.any()):
        image = int(several.any(axis=[1, 2]).astype("int32").argmax())
        raise UserError(
            f"{_name(batch, image)}: {int(several[image].sum())} px are of more than one class, but task: multiclass knows one "
            "class of a pixel. Set ClassMasks: {overlaps: smaller_on_top}, or SemanticSegmentor.task: multilabel."
        )
    numbers = paddle.arange(1, masks.shape[1] + 1, dtype="int64").reshape([1, -1, 1, 1])
    labels = (inside * numbers).sum(axis=1)
    ignored = (masks == IGNORED).any(axis=1) & (labels == 0)
    return paddle.where(ignored, paddle.full_like(labels, IGNORED), labels)


def presence_targets(masks: paddle.Tensor) -> paddle.Tensor:
    """Whether a class has a pixel in an image: (B, C) float32 of 0 and 1, from masks (B, C, H, W)."""
    return (masks == 1).any(axis=[2, 3]).astype("float32")


def presence_of_labels(labels: Sequence[np.ndarray], num_classes: int) -> paddle.Tensor:
    """Whether a class has an object in an image: (B, num_classes) float32, from the labels (n,) of each image's objects.

    Raises:
        UserError: a label beyond the classes.
    """
    found = np.zeros((len(labels), num_classes), np.float32)
    for row, own in zip(found, labels):
        own = np.asarray(own, np.int64)
        if len(own) and (own.min() < 0 or own.max() >= num_classes):
            raise UserError(
                f"A target has class {int(own.max())}, but num_classes is {num_classes}: classes are 0 … {num_classes - 1}. "
                "Set num_classes to the data set's."
            )
        row[own] = 1
    return paddle.to_tensor(found)


def _name(batch: Mapping[str, Any], image: int) -> str:
    names = batch.get("names")
    return str(names[image]) if names is not None else f"Image {image} of the batch"
