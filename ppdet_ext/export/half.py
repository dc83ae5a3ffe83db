"""ONNX files that compute with 16 bits on a GPU: layers and what lies between them; boxes and scores stay float32.

The converters that are installable (onnxconverter-common, onnxruntime.transformers) round every tensor between layers that
are to stay float32, and boxes of a picture 1600 px wide are then whole pixels.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from .onnx import captured
from .precision import prepared

# Layers with weights.
_LAYERS = {"Conv", "ConvTranspose", "MatMul", "Gemm"}
# What has 16 bits where all comes from those: features.
_BETWEEN = {
    "Add", "AveragePool", "BatchNormalization", "Concat", "GlobalAveragePool", "LeakyRelu", "MaxPool", "Mul", "PRelu", "Relu",
    "Resize", "Shape", "Sum",
}  # fmt: skip
_SUFFIX = "_half"


def to_half(source: Path, target: Path) -> None:
    """Write an ONNX file, also over its source, whose layers compute in float16; inputs and outputs stay as they are.

    Args:
        source: ONNX file, fp32.
        target: file to write.
    """
    import onnx

    with prepared(source) as file:
        model = onnx.load(file)
    _halve(model.graph)
    onnx.checker.check_model(model)
    onnx.save(model, target)


def _halve(graph: Any) -> None:
    """Each tensor of features becomes `…_half`; under its own name is what others want of it, as float32."""
    from onnx import TensorProto, helper

    weights = {one.name: one for one in graph.initializer if one.data_type == TensorProto.FLOAT}
    chosen, wanted = _half_nodes(graph, weights)
    nodes, there = [], set(weights)
    for node, is_half in zip(graph.node, chosen):
        for k in range(_floats(node) if is_half else 0):
            name = node.input[k]
            if name and name not in there:
                nodes.append(helper.make_node("Cast", [name], [name + _SUFFIX], to=TensorProto.FLOAT16))
            there.add(name)
            node.input[k] = name + _SUFFIX if name else name
        nodes.append(node)
        for k, name in enumerate(node.output if is_half and node.op_type != "Shape" else ()):
            node.output[k] = name + _SUFFIX
            there.add(name)
            if name in wanted:
                nodes.append(helper.make_node("Cast", [name + _SUFFIX], [name], to=TensorProto.FLOAT))
    del graph.node[:], graph.value_info[:]
    graph.node.extend(nodes)
    _halve_weights(graph, {name for node in nodes for name in node.input}, wanted)


def _floats(node: Any) -> int:
    """How many of a node's first inputs are what it computes with; the others of Resize are its size."""
    return 1 if node.op_type == "Resize" else len(node.input)


def _half_nodes(graph: Any, weights: Iterable[str]) -> tuple[list[bool], set[str]]:
    """Whether each node computes with 16 bits; and the names of what others take."""
    users: dict[str, list[Any]] = {}
    for node in graph.node:
        for name in node.input:
            users.setdefault(name, []).append(node)
    chosen, features, wanted = [], set(), {value.name for value in graph.output}  # type: list[bool], set[str], set[str]
    for node in graph.node:
        others = [name for name in node.input[: _floats(node)] if name and name not in weights]
        layer = node.op_type in _LAYERS and len(others) == 1
        # A gate is a feature; a probability is a result.
        gate = node.op_type == "Sigmoid" and all(user.op_type == "Mul" for user in users.get(node.output[0], ()))
        chosen.append(layer or (bool(others) and features.issuperset(others) and (node.op_type in _BETWEEN or gate)))
        if chosen[-1] and node.op_type != "Shape":
            features.update(node.output)
        wanted.update(node.input[_floats(node) if chosen[-1] else 0 :])
        wanted.update(name for attribute in node.attribute for name in captured(attribute))
    return chosen, wanted


def _halve_weights(graph: Any, used: set[str], wanted: set[str]) -> None:
    from onnx import numpy_helper

    halved = [one for one in graph.initializer if one.name + _SUFFIX in used]
    copies = [numpy_helper.from_array(numpy_helper.to_array(one).astype(np.float16), one.name + _SUFFIX) for one in halved]
    gone = {one.name for one in halved} - wanted
    kept = [one for one in graph.initializer if one.name not in gone]
    del graph.initializer[:]
    graph.initializer.extend([*kept, *copies])
