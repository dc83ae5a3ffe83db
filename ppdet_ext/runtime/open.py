"""Which engine runs an exported model."""

from pathlib import Path

from ppdet_ext.errors import UserError, nearest

from .engine import Engine, default_threads
from .onnx import OnnxEngine
from .openvino import OpenVinoEngine

ONNX, OPENVINO = "onnx", "openvino"
# Engine -> the model's file that it reads, the first that is there.
FILES = {ONNX: ("model.onnx",), OPENVINO: ("model.xml", "model.onnx")}
PADDLE_FILES = ("model.json", "model.pdmodel")


def open_engine(folder: Path, engine: str, *, device: str, threads: int | None, precision: str, streams: int = 1) -> Engine:
    """Load the model of an exported folder.

    Args:
        folder: its files.
        engine: "onnx", "openvino", or "auto": that which the model was exported for.
        device: "cpu", or "gpu" of ONNX Runtime.
        threads: of all predictions together; None: `default_threads`.
        precision: what the model was exported with, "fp32", "fp16", "bf16" or "int8".
        streams: predictions that run at the same time.

    Raises:
        UserError: no such engine, or it is not installed, has no such device, or cannot read the model.
    """
    if engine not in (*FILES, "auto"):
        raise UserError(f"engine is {engine!r}.{nearest(engine, FILES)} There are auto, {', '.join(FILES)}.")
    if device not in ("cpu", "gpu"):
        raise UserError(f'device is {device!r}; expected "cpu" or "gpu".')
    if threads is not None and threads < 1:
        raise UserError(f"threads is {threads}; give 1 or more.")
    if streams < 1:
        raise UserError(f"streams is {streams}; give 1 or more.")
    chosen = engine if engine != "auto" else next((name for name in FILES if (folder / FILES[name][0]).is_file()), ONNX)
    file = next((folder / name for name in FILES[chosen] if (folder / name).is_file()), None)
    if file is None:
        raise UserError(_nothing_for(folder, chosen))
    count = threads or default_threads()
    if chosen == ONNX:
        return OnnxEngine(file, device, count, streams)
    if device != "cpu":
        raise UserError("OpenVINO runs on the CPU here; for a GPU export with --format onnx, or take device='cpu'.")
    return OpenVinoEngine(file, count, precision, streams)


def _nothing_for(folder: Path, engine: str) -> str:
    there = next((name for name in (*PADDLE_FILES, *sum(FILES.values(), ())) if (folder / name).is_file()), None)
    found = f"it has {there}, of another one" if there else "it has no model"
    return f"{folder}: {engine} reads {' or '.join(FILES[engine])}, {found}. Export with --format {engine}."
