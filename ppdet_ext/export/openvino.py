"""OpenVINO's format: `model.xml` and `model.bin`, made of ONNX in a child process; and OpenVINO to run it."""

import sys
from pathlib import Path

import numpy as np

from .child import convert_in_child, forbid_processes

MODEL, WEIGHTS = "model.xml", "model.bin"
# What OpenVINO computes with; without a hint it chooses by the processor, and an fp32 model is none any more.
HINTS = {"fp32": "f32", "fp16": "f16", "bf16": "bf16", "int8": "f32"}


def convert_to_openvino(source: Path, folder: Path, half: bool = False) -> None:
    """Make OpenVINO's files of an ONNX file.

    Args:
        source: .onnx.
        folder: where they are written.
        half: whether weights are stored with 16 bits.

    Raises:
        UserError: the converter failed.
    """
    convert_in_child(__name__, [str(source), str(folder / MODEL), str(int(half))], "Conversion to OpenVINO")


def main(source: str, target: str, half: str) -> None:
    """The child."""
    import openvino

    forbid_processes()
    openvino.save_model(openvino.convert_model(source), target, compress_to_fp16=half == "1")


class OpenVinoEngine:
    """Runs OpenVINO's files on a CPU.

    Args:
        file: .xml.
        precision: of `HINTS`.
        threads: None: as many as there are cores.
    """

    def __init__(self, file: Path, precision: str = "fp32", threads: int | None = None) -> None:
        import openvino

        wanted = {"INFERENCE_PRECISION_HINT": HINTS[precision], "PERFORMANCE_HINT": "LATENCY"}
        if threads:
            wanted["INFERENCE_NUM_THREADS"] = str(threads)
        self._compiled = openvino.Core().compile_model(str(file), "CPU", wanted)
        self.names = tuple(output.get_any_name() for output in self._compiled.outputs)

    def run(self, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Arrays by input -> arrays by output."""
        found = self._compiled(inputs)
        return {name: np.array(found[output]) for name, output in zip(self.names, self._compiled.outputs)}


if __name__ == "__main__":
    main(*sys.argv[1:])
