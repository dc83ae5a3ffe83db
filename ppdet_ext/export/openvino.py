"""OpenVINO's format: `model.xml` and `model.bin`, made of ONNX in a child process."""

import sys
from collections.abc import Sequence
from pathlib import Path

from .child import convert_in_child, end_with_parent, forbid_processes
from .precise import mark_precise

MODEL, WEIGHTS = "model.xml", "model.bin"


def convert_to_openvino(source: Path, folder: Path, names: Sequence[str], half: bool = False, precise: bool = False) -> None:
    """Make OpenVINO's files of an ONNX file.

    Args:
        source: .onnx.
        folder: where they are written.
        names: of the outputs.
        half: whether weights are stored with 16 bits.
        precise: whether what is no layer keeps fp32 where the engine computes with fewer bits.

    Raises:
        UserError: the converter failed.
    """
    convert_in_child(__name__, [str(source), str(folder / MODEL), str(int(half)), *names], "Conversion to OpenVINO", folder)
    if precise:
        mark_precise(folder / MODEL)


def main(source: str, target: str, half: str, *names: str) -> None:
    """The child."""
    end_with_parent()
    import openvino

    forbid_processes()
    model = openvino.convert_model(source)
    for output in model.outputs:
        # A tensor may have the names of others that came to nothing, and whoever asks gets any of them.
        output.get_tensor().set_names({name for name in output.get_names() if name in names} or output.get_names())
    openvino.save_model(model, target, compress_to_fp16=half == "1")


if __name__ == "__main__":
    main(*sys.argv[1:])
