"""Which layers become integers, and where what they take is rounded."""

from pathlib import Path
from typing import Any

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


@pytest.fixture
def network(tmp_path: Path) -> Path:
    """Pixels, reshaped, through two linear layers, and a product with themselves."""
    onnx = pytest.importorskip("onnx")
    from onnx import TensorProto, helper, numpy_helper

    rng = np.random.default_rng(0)
    shapes = {"wide": (48, 32), "wide_bias": (32,), "end": (32, 5), "end_bias": (5,)}
    constants = [numpy_helper.from_array(rng.standard_normal(shape).astype(np.float32), name) for name, shape in shapes.items()]
    constants.append(numpy_helper.from_array(np.array([-1, 48]), "flat"))
    nodes = [
        helper.make_node("Cast", ["pixels"], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("Relu", ["floats"], ["positive"]),
        helper.make_node("Reshape", ["positive", "flat"], ["rows"]),
        helper.make_node("Gemm", ["rows", "wide", "wide_bias"], ["hidden"], "first"),
        helper.make_node("Gemm", ["hidden", "end", "end_bias"], ["y"], "second"),
        helper.make_node("Gemm", ["y", "y"], ["square"], "third", transB=1),
    ]
    values = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in (("y", [2, 5]), ("square", [2, 2]))
    ]
    pixels = helper.make_tensor_value_info("pixels", TensorProto.UINT8, [2, 4, 4, 3])
    graph = helper.make_graph(nodes, "network", [pixels], values, constants)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    made.ir_version = 8
    onnx.save(made, tmp_path / "network.onnx")
    return tmp_path / "network.onnx"


def test_linear_layers_are_integers_rounded_before_they_are_reshaped(network: Path):
    runtime = pytest.importorskip("onnxruntime")
    pytest.importorskip("ml_dtypes")
    import onnx

    batches = [np.random.default_rng(seed).integers(0, 256, (2, 4, 4, 3)).astype(np.uint8) for seed in range(3)]
    run = lambda: runtime.InferenceSession(str(network)).run(["y"], {"pixels": batches[0]})[0]  # noqa: E731
    before = run()
    quantize(network, network, batches, ["end"])
    graph = onnx.load(network).graph
    made_by: dict[str, Any] = {name: node for node in graph.node for name in node.output}
    kinds = {node.name: [made_by[name].op_type if name in made_by else "" for name in node.input] for node in graph.node}
    assert kinds["first"][:2] == ["Reshape", "DequantizeLinear"]
    assert kinds["second"] == ["Gemm", "", ""]
    assert kinds["third"] == ["Gemm", "Gemm"]
    assert [made_by[node.input[0]].op_type for node in graph.node if node.op_type == "Reshape"] == ["DequantizeLinear"]
    np.testing.assert_allclose(run(), before, atol=0.02 * np.abs(before).max())
