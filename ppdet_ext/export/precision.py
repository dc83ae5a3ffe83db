"""ONNX files with fewer bits: 8-bit integers calibrated on pictures."""

import tempfile
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from paddle import nn

from ppdet_ext.environment import muted

from .graph import INPUT

# Whose inputs and weights become integers; the rest, boxes above all, stays as it is. Preparation makes Gemm of MatMul and Add.
_OPERATORS = ["Conv", "Gemm"]
_MOVES = ("Reshape", "Transpose")


class _Pictures:
    """Gives ONNX Runtime's calibration a batch of pixels each time, until there are no more."""

    def __init__(self, batches: Iterable[np.ndarray]) -> None:
        self._rest: Iterator[np.ndarray] = iter(batches)

    def get_next(self) -> dict[str, np.ndarray] | None:
        """The next batch by input, None behind the last."""
        pixels = next(self._rest, None)
        return None if pixels is None else {INPUT: pixels}


@contextmanager
def prepared(source: Path) -> Iterator[Path]:
    """An ONNX file with constants and batch norms folded into what they belong to; gone at the end."""
    from onnxruntime.quantization.shape_inference import quant_pre_process

    with tempfile.TemporaryDirectory() as scratch, muted():
        file = Path(scratch) / "prepared.onnx"
        quant_pre_process(str(source), str(file), skip_symbolic_shape=True)
        yield file


def fine_layers(model: Any) -> set[str]:
    """Names of the weights that keep fp32: those of the RPN, whose scores and boxes decide what all else looks at, and of
    linear layers, but for the wide ones that box heads begin with."""
    head, heads = getattr(model, "rpn_head", None), getattr(getattr(model, "roi_head", None), "box_heads", ())
    fine = set() if head is None else {parameter.name for parameter in head.parameters()}
    fine |= {layer.weight.name for layer in model.sublayers() if isinstance(layer, nn.Linear)}
    return fine - {layer.weight.name for head in heads for layer in head.fcs}


def quantize(source: Path, target: Path, batches: Iterable[np.ndarray], fine: Collection[str] = ()) -> None:
    """Write an ONNX file, also over its source, with layers of 8-bit integers (QDQ, weights by channel).

    Args:
        source: ONNX file, fp32.
        target: file to write; OpenVINO reads it too.
        batches: pixels (B, H, W, 3) uint8 as the graph takes them, whose ranges the activations get.
        fine: names of weights of layers that stay as they are.
    """
    import onnx
    from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.onnx_model import ONNXModel

    with prepared(source) as file:
        quantize_static(
            str(file),
            str(target),
            _Pictures(batches),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=_OPERATORS,
            nodes_to_exclude=_left_out(onnx.load(file).graph, set(fine)),
            # What linear layers give is not rounded: the bias comes after it.
            extra_options={"OpTypesToExcludeOutputQuantization": ["Gemm"]},
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            calibrate_method=CalibrationMethod.MinMax,
        )
    model = onnx.load(target)
    _round_before_moves(model.graph)
    ONNXModel(model).topological_sort()
    onnx.save(model, target)


def _left_out(graph: Any, fine: set[str]) -> list[str]:
    """Names of layers that stay as they are; those without weights of their own do, too."""
    weights = {one.name for one in graph.initializer} - fine
    return [node.name for node in graph.node if node.op_type in _OPERATORS and node.input[1] not in weights]


def _round_before_moves(graph: Any) -> None:
    """Round what is reshaped or transposed, not its moved copy: engines do it where that is computed, if it is not done yet."""
    users: dict[str, list[Any]] = {}
    for node in graph.node:
        for name in node.input:
            users.setdefault(name, []).append(node)
    made_by = {name: node for node in graph.node for name in node.output}
    for rounding in [node for node in graph.node if node.op_type == "QuantizeLinear"]:
        name = rounding.input[0]
        moves: list[Any] = []
        while (node := made_by.get(name)) and node.op_type in _MOVES and len(users[name]) == 1:
            name, moves = node.input[0], [node, *moves]
        back = users[rounding.output[0]]
        if not moves or len(back) > 1:
            continue
        result = back[0].output[0]
        known = [user for user in users[name] if user.op_type == "QuantizeLinear"]
        if known:
            moves[0].input[0] = users[known[0].output[0]][0].output[0]
            graph.node.remove(rounding)
            graph.node.remove(back[0])
        else:
            rounding.input[0] = name
            back[0].output[0] = moves[0].input[0] = f"{result}_still"
            users[name].append(rounding)
        moves[-1].output[0] = result
