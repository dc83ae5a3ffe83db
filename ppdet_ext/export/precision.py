"""ONNX files with fewer bits: 8-bit integers calibrated on pictures."""

import tempfile
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from ppdet_ext.environment import muted

from .graph import INPUT

# Whose inputs and weights become integers; the rest, boxes above all, stays as it is.
_OPERATORS = ["Conv"]


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
    """Names of the weights that keep fp32: those of the RPN, whose scores and boxes decide what all else looks at."""
    head = getattr(model, "rpn_head", None)
    return set() if head is None else {parameter.name for parameter in head.parameters()}


def quantize(source: Path, target: Path, batches: Iterable[np.ndarray], fine: Collection[str] = ()) -> None:
    """Write an ONNX file, also over its source, with convolutions of 8-bit integers (QDQ, weights by channel).

    Args:
        source: ONNX file, fp32.
        target: file to write; OpenVINO reads it too.
        batches: pixels (B, H, W, 3) uint8 as the graph takes them, whose ranges the activations get.
        fine: names of weights of layers that stay as they are.
    """
    import onnx
    from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static

    with prepared(source) as file:
        quantize_static(
            str(file),
            str(target),
            _Pictures(batches),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=_OPERATORS,
            nodes_to_exclude=[node.name for node in onnx.load(file).graph.node if not set(fine).isdisjoint(node.input)],
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            calibrate_method=CalibrationMethod.MinMax,
        )
