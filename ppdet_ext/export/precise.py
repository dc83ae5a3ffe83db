"""Which operators of an OpenVINO model keep fp32 where the rest is computed with fewer bits: boxes, scores, indices.

The CPU's bf16 has eight bits: a box 800 px to the right would stand at multiples of 4 px. Marked operators (`precise`, which
OpenVINO's own passes set too) are computed in fp32; layers with weights and the features between them are not marked.
"""

import xml.etree.ElementTree as ElementTree
from collections.abc import Mapping
from pathlib import Path

_MARK = {"name": "precise", "version": "0"}
_LAYERS = {"Convolution", "GroupConvolution", "ConvolutionBackpropData", "GroupConvolutionBackpropData", "MatMul"}
# What is a feature where all that it is computed of is; Concat where one is, since levels without regions give it nothing.
_BETWEEN = {"Add", "AvgPool", "Clamp", "Concat", "MaxPool", "Multiply", "PReLU", "ReLU", "ReduceMean", "Subtract", "Swish"}
# The same, of the first input: the others are places and sizes.
_MOVES = {
    "Convert", "FakeQuantize", "Gather", "GridSample", "Interpolate", "ROIAlign", "Reshape", "Squeeze", "Transpose",
    "Unsqueeze",
}  # fmt: skip
_CONSTANTS = {"Const", "Convert", "Multiply", "Reshape", "Subtract", "Transpose", "Unsqueeze"}  # weights, decompressed


def mark_precise(file: Path) -> int:
    """Mark the operators of a model, `.xml`, that are no features; returns their number."""
    tree = ElementTree.parse(file)
    root = tree.getroot()
    nodes = {str(node.get("id")): node for node in root.iterfind("layers/layer")}
    inputs: dict[str, list[str]] = {name: [] for name in nodes}
    for edge in sorted(root.iterfind("edges/edge"), key=lambda edge: int(edge.get("to-port", "0"))):
        inputs[str(edge.get("to-layer"))].append(str(edge.get("from-layer")))
    features = _features(nodes, inputs)
    marked = [node for name, node in nodes.items() if name not in features and node.get("type") not in ("Parameter", "Result")]
    for node in marked:
        told = node.find("rt_info")
        if told is None:
            told = ElementTree.Element("rt_info")
            node.insert(0 if node.find("data") is None else 1, told)
        ElementTree.SubElement(told, "attribute", _MARK)
    tree.write(file, encoding="utf-8", xml_declaration=True)
    return len(marked)


def _features(nodes: Mapping[str, ElementTree.Element], inputs: Mapping[str, list[str]]) -> set[str]:
    """Ids of constants, layers, and of what lies between layers. The file has each node behind its inputs."""
    constants: set[str] = set()
    features: set[str] = set()
    for name, node in nodes.items():
        kind, sources = node.get("type"), inputs[name]
        if kind == "Const" or (kind in _CONSTANTS and sources and constants.issuperset(sources)):
            constants.add(name)
            continue
        others = [source for source in (sources[:1] if kind in _MOVES else sources) if source not in constants]
        known = [source in features for source in others]
        # Of two results, as places and probabilities of masks, a product is none of a layer.
        layer = kind in _LAYERS and (kind != "MatMul" or any(known) or len(others) < 2)
        if layer or (known and ((kind in _BETWEEN | _MOVES and all(known)) or (kind == "Concat" and any(known)))):
            features.add(name)
    return features | constants
