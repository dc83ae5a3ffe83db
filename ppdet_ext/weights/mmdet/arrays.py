"""Tensors on their way between a file and a model: layout and type, one at a time."""

from collections.abc import Iterator, Mapping

import numpy as np

from ppdet_ext.errors import UserError
from ppdet_ext.weights.files.tensor_file import TensorFile

from .names import from_mmdet, name_table
from .plan import Plan


def read_planned(file: TensorFile, plan: Plan) -> Iterator[tuple[str, np.ndarray]]:
    """Our names and the file's values in our layout, float32, in the model's order.

    Raises:
        UserError: the file is damaged, or a tensor does not hold floating-point numbers.
    """
    for ours, theirs in plan.mapped.items():
        value = file.read(theirs)
        if value.dtype.kind != "f":
            raise UserError(f"Weights file {file.path}: {theirs} is {value.dtype}; expected floating-point numbers.")
        yield ours, np.ascontiguousarray(from_mmdet(theirs, value), np.float32)


def state_dict_in_mmdet(values: Mapping[str, np.ndarray]) -> Iterator[tuple[str, np.ndarray]]:
    """Names and values of a whole model as mmdetection has them, with batch norm's step counters, which are 0.

    Raises:
        UserError: a tensor of the model has no counterpart in mmdetection.
    """
    for ours, theirs in name_table(values).items():
        yield theirs, np.asarray(from_mmdet(theirs, values[ours]), np.float32)
        if theirs.endswith(".running_var"):
            yield theirs.replace("running_var", "num_batches_tracked"), np.zeros((), np.int64)
