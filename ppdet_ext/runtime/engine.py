"""What an engine is: one interface to ONNX Runtime and OpenVINO, which are imported when they are chosen."""

import importlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from ppdet_ext.errors import UserError

INSTALL = 'pip install ".[{extra}]" in the checkout'


class Engine(Protocol):
    """A model that is loaded. Several threads may call `run` at a time."""

    @property
    def input_shapes(self) -> dict[str, tuple[int | None, ...]]:
        """Name of each input -> its shape, None where a side is not fixed."""

    def run(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Arrays by input -> arrays by output."""


def default_threads() -> int:
    """Threads where none are told: OMP_NUM_THREADS, which `import ppdet_ext` sets where nobody has."""
    words = os.environ.get("OMP_NUM_THREADS", "")
    return int(words) if words.isdecimal() and int(words) else os.cpu_count() or 1


def import_engine(package: str, extra: str) -> Any:
    """The package of an engine. Raises: UserError, with the command that installs it."""
    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise UserError(f"The package {package} is not installed. Install it with: {INSTALL.format(extra=extra)}") from error


def last_line(error: Exception) -> str:
    """What an engine says in the end, where it tells the cause."""
    return (str(error).strip().splitlines() or [type(error).__name__])[-1]


def failed(file: Path, engine: str, inputs: Mapping[str, np.ndarray], error: Exception) -> str:
    """The message of a model that fails while it runs."""
    told = ", ".join(f"{name} {values.shape} {values.dtype}" for name, values in inputs.items())
    return f"{file}: {engine} cannot run it on {told}: {last_line(error)}. Export the model anew, or with another --format."
