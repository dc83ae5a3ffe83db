"""ONNX: paddle2onnx in a child process, and its outputs given their names."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ppdet_ext.errors import UserError

from .child import convert_in_child, end_with_parent, forbid_processes

MODEL = "model.onnx"
OPSET, OPSETS = 17, range(11, 20)
_OF_DETECTORS, _OF_INT8 = 16, 13  # before them RoIAlign has no half pixels, integers no ranges by channel


def check_opset(opset: int, detector: bool = False, int8: bool = False) -> None:
    """UserError for one that the converter lacks, or that lacks what a detector or integers need."""
    if opset not in OPSETS:
        raise UserError(f"--opset {opset}: paddle2onnx writes opsets {OPSETS[0]} to {OPSETS[-1]}; {OPSET} is the default.")
    if int8 and opset < _OF_INT8:
        raise UserError(f"--opset {opset}: int8 has ranges by channel since opset {_OF_INT8}; give {_OF_INT8} to {OPSETS[-1]}.")
    if detector and opset < _OF_DETECTORS:
        raise UserError(
            f"--opset {opset}: regions of a detector are pooled as they were trained from opset {_OF_DETECTORS} on; give "
            f"{_OF_DETECTORS} to {OPSETS[-1]}."
        )


def convert_to_onnx(source: Path, target: Path, names: Sequence[str], opset: int = OPSET) -> None:
    """Make an ONNX file of Paddle's.

    Args:
        source: folder with `model.json` and `model.pdiparams`.
        target: file to write.
        names: of the outputs, in their order.
        opset: of ONNX.

    Raises:
        UserError: no such opset, or the converter knows an operator of the model not.
    """
    check_opset(opset)
    convert_in_child(__name__, [str(source), str(target), str(opset), *names], "Conversion to ONNX", target.parent)
    if not target.is_file():
        raise UserError("Conversion to ONNX: the converter wrote no file.")


def main(source: str, target: str, opset: str, *names: str) -> None:
    """The child: convert, name the outputs, leave out what nothing uses."""
    end_with_parent()
    import onnx
    import paddle2onnx

    from ppdet_ext.export.paddle import FILES

    forbid_processes()
    model, parameters = (str(Path(source) / name) for name in FILES)
    # No `optimize_tool`: its default is polygraphy, which installs packages.
    paddle2onnx.export(model, parameters, target, opset_version=int(opset), auto_upgrade_opset=False, optimize_tool="")
    graph = onnx.load(target)
    _name_outputs(graph.graph, names)
    _drop_unused(graph.graph)
    onnx.checker.check_model(graph)
    onnx.save(graph, target)


def _name_outputs(graph: Any, names: Sequence[str]) -> None:
    if len(graph.output) != len(names):
        raise ValueError(f"{len(graph.output)} outputs instead of {', '.join(names)}")
    new = {value.name: name for value, name in zip(graph.output, names)}
    for node in graph.node:
        for values in (node.input, node.output):
            for place, name in enumerate(values):
                values[place] = new.get(name, name)
    for value in graph.output:
        value.name = new[value.name]


def _drop_unused(graph: Any) -> None:
    """Nodes and initializers from which no output comes: ONNX Runtime warns of each when it loads the file."""
    used, nodes = {value.name for value in graph.output}, []
    for node in reversed(graph.node):  # each stands behind those whose outputs it takes
        if used.isdisjoint(node.output):
            continue
        nodes.append(node)
        used |= {*node.input, *(name for attribute in node.attribute for name in captured(attribute))}
    for kept, all_of in (
        (nodes[::-1], graph.node),
        ([one for one in graph.initializer if one.name in used], graph.initializer),
    ):
        del all_of[:]
        all_of.extend(kept)


def captured(attribute: Any) -> set[str]:
    """Names that the sub-graphs of a node (loops, branches) take from outside."""
    graphs = [attribute.g] if attribute.HasField("g") else list(attribute.graphs)
    nodes = [node for graph in graphs for node in graph.node]
    inner = {name for node in nodes for own in node.attribute for name in captured(own)}
    return {name for node in nodes for name in node.input} | {value.name for graph in graphs for value in graph.output} | inner


if __name__ == "__main__":
    main(*sys.argv[1:])
