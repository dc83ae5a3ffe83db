"""Which layers become integers, and where what they take is rounded."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from view_cases import model

from ppdet_ext.export.precision import fine_layers, quantize


def test_the_rpn_and_the_ends_of_box_heads_stay_fine():
    detector = model("tiny_a")
    fine, heads = fine_layers(detector), detector.roi_head.box_heads
    assert {parameter.name for parameter in detector.rpn_head.parameters()} < fine
    assert {layer.weight.name for head in heads for layer in (head.classify, head.regress)} < fine
    assert fine.isdisjoint(layer.weight.name for head in heads for layer in head.fcs)
    assert fine.isdisjoint(parameter.name for parameter in detector.backbone.parameters())


def write_network(folder: Path, steps: Sequence[tuple], constants: dict[str, tuple[int, ...]], **outputs: list[int]) -> Path:
    """An ONNX file of pixels (2, 4, 4, 3), as floats `x`, and steps: operator, inputs, output, attributes."""
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("ml_dtypes")
    from onnx import TensorProto, helper, numpy_helper

    rng = np.random.default_rng(0)
    known = [numpy_helper.from_array(rng.standard_normal(shape).astype(np.float32), name) for name, shape in constants.items()]
    known.append(numpy_helper.from_array(np.array([-1, 48]), "flat"))
    nodes = [helper.make_node("Cast", ["pixels"], ["x"], to=TensorProto.FLOAT)]
    nodes += [helper.make_node(kind, inputs, [output], output, **more) for kind, inputs, output, more in steps]
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in outputs.items()]
    pixels = helper.make_tensor_value_info("pixels", TensorProto.UINT8, [2, 4, 4, 3])
    graph = helper.make_graph(nodes, "network", [pixels], values, known)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    made.ir_version = 8
    onnx.save(made, folder / "network.onnx")
    return folder / "network.onnx"


def quantized(file: Path, fine: Sequence[str] = ()) -> dict[str, list[str]]:
    """Output of each node -> the operators of its inputs, of a quantised network, whose results are nearly as before."""
    runtime, onnx = pytest.importorskip("onnxruntime"), pytest.importorskip("onnx")
    batches = [np.random.default_rng(seed).integers(0, 256, (2, 4, 4, 3)).astype(np.uint8) for seed in range(3)]
    run = lambda: runtime.InferenceSession(str(file)).run(["y"], {"pixels": batches[0]})[0]  # noqa: E731
    before = run()
    quantize(file, file, batches, fine)
    np.testing.assert_allclose(run(), before, atol=0.03 * np.abs(before).max())
    graph = onnx.load(file).graph
    made_by = {name: node.op_type for node in graph.node for name in node.output}
    return {node.output[0]: [made_by.get(name, "") for name in node.input] for node in graph.node}


def test_linear_layers_are_rounded_before_they_are_reshaped(tmp_path: Path):
    steps: list[tuple] = [
        ("Relu", ["x"], "positive", {}),
        ("Reshape", ["positive", "flat"], "rows", {}),
        ("Gemm", ["rows", "wide", "wide_bias"], "hidden", {}),
        ("Gemm", ["hidden", "end", "end_bias"], "y", {}),
        ("Gemm", ["y", "y"], "square", {"transB": 1}),
    ]
    weights: dict[str, tuple[int, ...]] = {"wide": (48, 32), "wide_bias": (32,), "end": (32, 5), "end_bias": (5,)}
    inputs = quantized(write_network(tmp_path, steps, weights, y=[2, 5], square=[2, 2]), ["end"])
    assert inputs["hidden"][:2] == ["Reshape", "DequantizeLinear"]
    assert inputs["y"] == ["Gemm", "", ""]
    assert inputs["square"] == ["Gemm", "Gemm"]
    assert [sources for sources in inputs.values() if sources[:1] == ["Relu"]] == [["Relu", "", ""]]  # what is rounded
    assert list(inputs.values()).count(["DequantizeLinear", ""]) == 1  # what is reshaped


def test_what_is_rounded_for_another_layer_is_not_rounded_again(tmp_path: Path):
    steps: list[tuple] = [
        ("Conv", ["x", "first"], "feature", {}),
        ("Conv", ["feature", "second"], "next", {}),
        ("Transpose", ["feature"], "moved", {"perm": [0, 2, 3, 1]}),
        ("Reshape", ["moved", "flat"], "rows", {}),
        ("Gemm", ["rows", "wide", "wide_bias"], "y", {}),
    ]
    weights: dict[str, tuple[int, ...]] = {"first": (4, 4, 1, 1), "second": (2, 4, 1, 1), "wide": (48, 5), "wide_bias": (5,)}
    inputs = quantized(write_network(tmp_path, steps, weights, y=[2, 5], next=[2, 2, 4, 3]))
    assert inputs["y"][:2] == ["Reshape", "DequantizeLinear"]
    assert ["Transpose", ""] in inputs.values()
    assert list(inputs.values()).count(["Conv", "", ""]) == 2  # both convolutions' results, once each
    assert list(inputs.values()).count(["DequantizeLinear"]) == 1  # what is transposed
