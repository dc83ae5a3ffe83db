"""Which engine runs an exported model."""

from numbers import Integral
from pathlib import Path

from ppdet_ext.errors import UserError, nearest

from .engine import Engine, default_threads
from .onnx import OnnxEngine
from .openvino import OpenVinoEngine

ONNX, OPENVINO = "onnx", "openvino"
# Engine -> the model's file that it reads, the first that is there.
FILES = {ONNX: ("model.onnx",), OPENVINO: ("model.xml", "model.onnx")}
DEVICES = ("auto", "cpu", "gpu")
PADDLE_FILES = ("model.json", "model.pdmodel")


def open_engine(folder: Path, engine: str, *, device: str, threads: int | None, precision: str, streams: int = 1) -> Engine:
    """Load the model of an exported folder.

    Args:
        folder: its files.
        engine: "onnx", "openvino", or "auto": that which the model was exported for.
        device: "cpu"; of ONNX Runtime also "gpu" ("gpu:1"), or "auto": a GPU where there is one.
        threads: of all predictions together; None: `default_threads`.
        precision: what the model was exported with, "fp32", "fp16", "bf16" or "int8".
        streams: predictions that run at the same time.

    Raises:
        UserError: no such engine, or it is not installed, has no such device, or cannot read the model.
    """
    if engine not in (*FILES, "auto"):
        raise UserError(f"engine is {engine!r}.{nearest(engine, FILES)} There are auto, {', '.join(FILES)}.")
    kind, number = _device(device)
    if threads is not None:
        demand_count(threads, "threads")
    demand_count(streams, "streams")
    chosen = engine if engine != "auto" else next((name for name in FILES if (folder / FILES[name][0]).is_file()), ONNX)
    file = next((folder / name for name in FILES[chosen] if (folder / name).is_file()), None)
    if file is None:
        raise UserError(_nothing_for(folder, chosen))
    count = threads or default_threads()
    if chosen == ONNX:
        return OnnxEngine(file, kind, count, streams, number)
    if kind == "gpu":
        raise UserError("OpenVINO runs on the CPU here; for a GPU export with --format onnx, or take device='cpu'.")
    return OpenVinoEngine(file, count, precision, streams)


def demand_count(value: object, name: str) -> None:
    """UserError for what is no whole number from 1 on."""
    if isinstance(value, bool) or not isinstance(value, Integral) or value < 1:
        raise UserError(f"{name} is {value!r}; give 1 or more.")


def _device(device: str) -> tuple[str, int]:
    """(kind, number) of a device's name. UserError for one that is none."""
    kind, _, number = str(device).partition(":")
    if kind not in DEVICES or (number and (kind != "gpu" or not number.isdecimal())) or str(device).endswith(":"):
        raise UserError(f'device is {device!r}; expected "auto", "cpu", "gpu" or "gpu:1".')
    return kind, int(number or 0)


def _nothing_for(folder: Path, engine: str) -> str:
    there = next((name for name in (*PADDLE_FILES, *sum(FILES.values(), ())) if (folder / name).is_file()), None)
    found = f"it has {there}, of another one" if there else "it has no model"
    return f"{folder}: {engine} reads {' or '.join(FILES[engine])}, {found}. Export with --format {engine}."
