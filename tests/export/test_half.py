"""Layers and features become 16 bits wide, and nothing else does."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from ppdet_ext.export.half import to_half

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")


@pytest.fixture
def network(tmp_path: Path) -> Path:
    """Convolution, a gate and its sum, a probability; a number of the size of a box's side that a float16 cannot hold."""
    make, rng = onnx.helper.make_node, np.random.default_rng(0)
    held = {"w": rng.standard_normal((4, 3, 3, 3)) * 0.2, "b": rng.standard_normal(4), "far": np.array([1234.56])}
    nodes = [
        make("Conv", ["x", "w", "b"], ["c"], pads=[1] * 4),
        make("Sigmoid", ["c"], ["gate"]),
        make("Mul", ["c", "gate"], ["silu"]),
        make("Sigmoid", ["silu"], ["probs"]),
        make("Shape", ["silu"], ["shape"]),
        make("Expand", ["far", "shape"], ["filled"]),
        make("Add", ["filled", "x_mean"], ["boxes"]),
        make("ReduceMean", ["x"], ["x_mean"], axes=[1], keepdims=1),
    ]
    nodes.insert(-1, nodes.pop())
    tensor = lambda name, shape: onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape)  # noqa: E731
    graph = onnx.helper.make_graph(
        nodes,
        "small",
        [tensor("x", [1, 3, 8, 9])],
        [tensor("probs", [1, 4, 8, 9]), tensor("boxes", [1, 4, 8, 9])],
        [onnx.numpy_helper.from_array(value.astype(np.float32), name) for name, value in held.items()],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, tmp_path / "model.onnx")
    return tmp_path / "model.onnx"


def run(file: Path, x: np.ndarray) -> dict[str, np.ndarray]:
    from ppdet_ext.runtime.onnx import OnnxEngine

    return OnnxEngine(file).run({"x": x})


def test_features_are_half_and_the_rest_is_as_it_was(network: Path, tmp_path: Path):
    to_half(network, tmp_path / "half.onnx")
    x = np.random.default_rng(1).standard_normal((1, 3, 8, 9)).astype(np.float32)
    before, after = run(network, x), run(tmp_path / "half.onnx", x)
    np.testing.assert_array_equal(after["boxes"], before["boxes"])
    assert 0 < np.abs(after["probs"] - before["probs"]).max() < 2e-3
    graph = onnx.load(tmp_path / "half.onnx").graph
    types = {one.name: one.data_type for one in graph.initializer}
    assert types["w_half"] == types["b_half"] == onnx.TensorProto.FLOAT16
    assert not {"w", "b"} & set(types)
    # One cast before the convolution, one before the probability.
    assert Counter(node.op_type for node in graph.node)["Cast"] == 2


def test_over_its_source(network: Path):
    size = network.stat().st_size
    to_half(network, network)
    assert {value.type.tensor_type.elem_type for value in onnx.load(network).graph.output} == {onnx.TensorProto.FLOAT}
    assert network.stat().st_size != size
