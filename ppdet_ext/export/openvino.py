"""OpenVINO's format: `model.xml` and `model.bin`, made of ONNX in a child process."""

import sys
from pathlib import Path

from .child import convert_in_child, forbid_processes

MODEL, WEIGHTS = "model.xml", "model.bin"


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


if __name__ == "__main__":
    main(*sys.argv[1:])
