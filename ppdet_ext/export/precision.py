"""ONNX files with fewer bits: 8-bit integers calibrated on pictures."""

import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

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


def quantize(source: Path, target: Path, batches: Iterable[np.ndarray]) -> None:
    """Write an ONNX file, also over its source, with convolutions of 8-bit integers (QDQ, weights by channel).

    Args:
        source: ONNX file, fp32.
        target: file to write; OpenVINO reads it too.
        batches: pixels (B, H, W, 3) uint8 as the graph takes them, whose ranges the activations get.
    """
    from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static

    with prepared(source) as file:
        quantize_static(
            str(file),
            str(target),
            _Pictures(batches),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=_OPERATORS,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            calibrate_method=CalibrationMethod.MinMax,
        )
