"""Running a model in ONNX Runtime."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from ppdet_ext.environment import give_freed_memory_back, keep_freed_memory
from ppdet_ext.errors import UserError

from .engine import failed, import_engine

CPU, CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"


class OnnxEngine:
    """An ONNX file in ONNX Runtime.

    Args:
        file: `.onnx`.
        device: "cpu", "gpu" (the package onnxruntime-gpu), or "auto": a GPU where there is one.
        threads: of all predictions together.
        streams: predictions that run at the same time, each on its share of the threads.
        number: of the GPU, where there are several.

    Raises:
        UserError: the package is missing or lacks the device, or the file is no model that it reads.
    """

    def __init__(self, file: Path, device: str = "cpu", threads: int = 1, streams: int = 1, number: int = 0) -> None:
        runtime = import_engine("onnxruntime", "runtime")
        on_gpu = device != "cpu" and CUDA in runtime.get_available_providers()
        if device == "gpu" and not on_gpu:
            raise UserError(f"This onnxruntime has no {CUDA}; install onnxruntime-gpu in its place, or take device='cpu'.")
        providers = [*([(CUDA, {"device_id": number})] if on_gpu else []), CPU]
        options = runtime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = max(1, threads // streams), 1
        # Warnings of single nodes are for those who write converters.
        options.log_severity_level = 3
        # Planned for the sizes of one picture, memory is taken a second time: half a gigabyte of R50's 1.5.
        options.enable_mem_pattern = False
        try:
            self._session = runtime.InferenceSession(str(file), options, providers=providers)
        except Exception as error:  # its errors have no base class of their own
            raise UserError(f"{file}: ONNX Runtime {runtime.__version__} cannot load it: {error}") from error
        # Where CUDA's libraries do not load, it goes on with the CPU and says so in a log alone.
        if device == "gpu" and CUDA not in self._session.get_providers():
            raise UserError(
                f"ONNX Runtime {runtime.__version__} could not start {CUDA}: the driver or CUDA's libraries are missing"
                f" or of other versions, or there is no GPU {number}. See its table of versions, or take device='cpu'."
            )
        give_freed_memory_back()  # the file's own weights: the session has a copy
        keep_freed_memory()  # with the heap its huge pages went, too
        self._file = file
        self._outputs = [output.name for output in self._session.get_outputs()]

    @property
    def input_shapes(self) -> dict[str, tuple[int | None, ...]]:
        """Name of each input -> its shape, None where a side is not fixed."""
        inputs = self._session.get_inputs()
        return {one.name: tuple(side if isinstance(side, int) else None for side in one.shape) for one in inputs}

    def run(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Arrays by input -> arrays by output."""
        try:
            return dict(zip(self._outputs, self._session.run(self._outputs, dict(inputs))))
        except Exception as error:  # as above
            raise UserError(failed(self._file, "ONNX Runtime", inputs, error)) from error
