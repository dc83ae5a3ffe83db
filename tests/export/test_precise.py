"""Boxes and scores are marked to keep fp32; layers and features are not."""

import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import pytest

from ppdet_ext.export.precise import mark_precise
from ppdet_ext.runtime.openvino import OpenVinoEngine

# Name, type, inputs: two convolutions, regions of the first's features pooled at boxes that the second gives.
NODES = [
    ("x", "Parameter", ()),
    ("w", "Const", ()),
    ("half", "Convert", ("w",)),
    ("conv", "Convolution", ("x", "half")),
    ("relu", "ReLU", ("conv",)),
    ("deltas", "Convolution", ("relu", "half")),
    ("exp", "Exp", ("deltas",)),
    ("anchors", "Const", ()),
    ("boxes", "Add", ("exp", "anchors")),
    ("image", "Const", ()),
    ("pooled", "ROIAlign", ("relu", "boxes", "image")),
    ("nothing", "Broadcast", ("boxes",)),
    ("levels", "Concat", ("pooled", "nothing")),
    ("logits", "MatMul", ("levels", "half")),
    ("scores", "SoftMax", ("logits",)),
    ("out", "Result", ("scores",)),
]


def write_model(file: Path) -> None:
    ids = {name: str(place) for place, (name, _, _) in enumerate(NODES)}
    net = ElementTree.Element("net")
    layers, edges = ElementTree.SubElement(net, "layers"), ElementTree.SubElement(net, "edges")
    for name, kind, sources in NODES:
        layer = ElementTree.SubElement(layers, "layer", {"id": ids[name], "name": name, "type": kind})
        ElementTree.SubElement(layer, "data")
        for port, source in enumerate(sources):
            found = {"from-layer": ids[source], "from-port": "0", "to-layer": ids[name], "to-port": str(port)}
            # Edges come in any order.
            edges.insert(0, ElementTree.Element("edge", found))
    ElementTree.ElementTree(net).write(file)


def marked(file: Path) -> set[str]:
    return {str(layer.get("name")) for layer in ElementTree.parse(file).iterfind(".//layer[rt_info]")}


def test_boxes_and_scores_are_marked(tmp_path: Path):
    write_model(tmp_path / "model.xml")
    assert mark_precise(tmp_path / "model.xml") == 4
    assert marked(tmp_path / "model.xml") == {"exp", "boxes", "nothing", "scores"}


def test_openvino_computes_what_is_marked_in_fp32(tmp_path: Path):
    openvino = pytest.importorskip("openvino")
    from openvino import opset13 as ops

    rng = np.random.default_rng(0)
    x = ops.parameter([1, 3, 16, 16], np.float32, name="pixels")
    weights = [rng.standard_normal((8, k, 3, 3)).astype(np.float32) for k in (3, 16)]
    places = ops.sin(ops.convolution(x, weights[0], [1, 1], [1, 1], [1, 1], [1, 1]))
    far = ops.add(places, np.float32(1234.56))
    middle = ops.concat([far, ops.sqrt(far)], 1)
    # Behind it is a layer, since the end of a model is in fp32 in any case.
    y = ops.convolution(middle, weights[1], [1, 1], [1, 1], [1, 1], [1, 1])
    for node, name in ((x, "pixels"), (y, "y")):
        node.output(0).set_names({name})
    model = openvino.Model([ops.result(y, name="y/sink_port_0")], [x], "far")
    openvino.save_model(model, str(tmp_path / "model.xml"), compress_to_fp16=False)
    before, after = (_kinds(tmp_path, mark) for mark in (False, True))
    if ("Convolution", "bf16") not in before:
        pytest.skip("this processor has no bf16")
    assert ("Concatenation", "bf16") in before
    assert ("Concatenation", "f32") in after
    assert ("Convolution", "bf16") in after


def _kinds(folder: Path, mark: bool) -> set[tuple[str, str]]:
    """Type and precision of the operators that run."""
    if mark:
        mark_precise(folder / "model.xml")
    engine = OpenVinoEngine(folder / "model.xml", precision="bf16")
    told = [node.get_rt_info() for node in engine._model.get_runtime_model().get_ops()]
    return {(str(own["layerType"].astype(str)), str(own["runtimePrecision"].astype(str))) for own in told}
