"""Paddle's own format: `model.json` and `model.pdiparams`, from which the others are made."""

import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import paddle
from paddle.static import InputSpec

from ppdet_ext.environment import muted
from ppdet_ext.errors import UserError

from .child import disk_is_full
from .graph import INPUT, ExportGraph

STEM = "model"
_ERROR = re.compile(r"\s*([\w.]*)(Error|Exception): (.*)")
_LEAST_FREE = 1 << 20  # bytes
FILES = (f"{STEM}.json", f"{STEM}.pdiparams")


def save_paddle(graph: ExportGraph, shape: tuple[int, int | None, int | None, int], folder: Path) -> None:
    """Trace the graph and write `FILES` into `folder`.

    Args:
        graph: what is written; knows its outputs' names afterwards.
        shape: (B, H, W, 3); None for a side that may be any.
        folder: where; there already.

    Raises:
        UserError: the model has something that cannot be traced, or the disk is full.
    """
    spec = InputSpec([-1 if side is None else side for side in shape], "uint8", INPUT)
    failure: Exception | None = None
    with muted():
        try:
            traced = paddle.jit.to_static(graph, input_spec=[spec], full_graph=True)
            paddle.jit.save(traced, str(folder / STEM))
        except Exception as error:  # here, since what `muted` has held back would come out
            failure = error
    if failure is not None:
        # What Paddle makes of an error has the code around it.
        told = [found[3] for line in str(failure).splitlines() if (found := _ERROR.match(line))] or [type(failure).__name__]
        may_help = None in shape and "--size" not in told[0]
        size = " With images of one size it may go: --size HEIGHT WIDTH." if may_help else ""
        raise UserError(f"{type(graph.model).__name__} cannot be traced: {told[0].rstrip('.')}.{size}") from failure
    # Paddle writes what fits, and says nothing.
    if shutil.disk_usage(folder).free < _LEAST_FREE:
        raise disk_is_full(folder)


class PaddleEngine:
    """Runs what `save_paddle` has written, by Paddle Inference.

    Args:
        folder: with `FILES`.
        names: of the outputs, in their order.
        threads: of a CPU.
    """

    def __init__(self, folder: Path, names: tuple[str, ...], threads: int | None = None) -> None:
        from paddle import inference

        config = inference.Config(*(str(folder / name) for name in FILES))
        config.disable_gpu()
        config.disable_mkldnn()
        config.disable_glog_info()
        config.set_cpu_math_library_num_threads(threads or int(os.environ.get("OMP_NUM_THREADS", "1")))
        with muted():
            self._predictor = inference.create_predictor(config)
        self.names = names

    def run(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Arrays by input -> arrays by output."""
        for name, value in inputs.items():
            handle = self._predictor.get_input_handle(name)
            handle.reshape(value.shape)
            handle.copy_from_cpu(np.ascontiguousarray(value))
        self._predictor.run()
        outputs = self._predictor.get_output_names()
        return {name: self._predictor.get_output_handle(own).copy_to_cpu() for name, own in zip(self.names, outputs)}
