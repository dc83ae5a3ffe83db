"""Running a model in OpenVINO."""

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ppdet_ext.errors import UserError

from .engine import failed, import_engine, last_line

_SINK = "/sink_port_0"  # behind the name of an output
# What it computes with. Without a hint it chooses by the processor, and an fp32 model gives other numbers on each. Where bf16
# is asked for, exported models name the operators that keep fp32; of int8 it is what was not quantised.
HINTS = {"fp32": "f32", "fp16": "f32", "bf16": "bf16", "int8": "bf16"}

_BEGINNING = threading.Lock()
_shared: tuple[Any, str] | None = None


class OpenVinoEngine:
    """A model in OpenVINO, on the CPU.

    Args:
        file: `.xml`, or `.onnx`.
        threads: of all predictions together.
        streams: predictions that run at the same time, each on its share of the threads.
        precision: a key of `HINTS`. Of fp16 the weights are stored so, and computed with in fp32.

    Raises:
        UserError: the package is missing, or the file is no model that it reads.
    """

    def __init__(self, file: Path, threads: int = 1, precision: str = "fp32", streams: int = 1) -> None:
        core, version = shared_core()
        hints = {
            "INFERENCE_NUM_THREADS": threads,
            "NUM_STREAMS": streams,
            "INFERENCE_PRECISION_HINT": HINTS.get(precision, "f32"),
        }
        try:
            self._model = core.compile_model(str(file), "CPU", hints)
        except RuntimeError as error:
            raise UserError(f"{file}: OpenVINO {version} cannot load it: {last_line(error)}") from error
        self._file = file
        self._outputs = [(_name_of(output), output) for output in self._model.outputs]
        # A request serves one thread at a time.
        self._local = threading.local()

    @property
    def input_shapes(self) -> dict[str, tuple[int | None, ...]]:
        """Name of each input -> its shape, None where a side is not fixed."""
        shapes = {_name_of(one): one.get_partial_shape() for one in self._model.inputs}
        return {name: tuple(side.get_length() if side.is_static else None for side in shape) for name, shape in shapes.items()}

    def run(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Arrays by input -> arrays by output."""
        try:
            found = self._request().infer(dict(inputs))
        except RuntimeError as error:
            raise UserError(failed(self._file, "OpenVINO", inputs, error)) from error
        # Copies: the request writes into the same memory the next time.
        return {name: np.array(found[output]) for name, output in self._outputs}

    def _request(self) -> Any:
        if not hasattr(self._local, "request"):
            self._local.request = self._model.create_infer_request()
        return self._local.request


def shared_core() -> tuple[Any, str]:
    """The one core of all models, and OpenVINO's version.

    Each core gives its thread a stack for signals and takes it away in the end. Where the first of two ends first, the
    second leaves the first's, freed: the next signal, Ctrl-C too, ends the process with a segmentation fault.
    """
    global _shared
    with _BEGINNING:
        if _shared is None:
            openvino = import_engine("openvino", "openvino")
            _shared = openvino.Core(), openvino.__version__
        return _shared


def _name_of(port: Any) -> str:
    """An input's or output's own name: compiling gives a tensor those of others, too, that came to nothing."""
    own = port.get_node().get_friendly_name().removesuffix(_SINK)
    return own if own in port.get_names() else port.get_any_name()
