"""Gives our models the weights of the reference's."""

from baseline_recipe import parameter_of
from paddle.nn import Layer

from ppdet_ext.weights.foreign.mmdet import from_mmdet, mmdet_name, shape_in_mmdet


def give_weights(model: Layer, name: str) -> None:
    """Set every parameter and statistic to the reference model `name`'s, under mmdetection's names and layouts."""
    for key, value in model.state_dict().items():
        theirs = mmdet_name(key)
        value.set_value(from_mmdet(theirs, parameter_of(theirs, shape_in_mmdet(value.shape), name)))
