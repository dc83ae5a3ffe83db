"""The folder of a run: `<save_dir>/<name of the configuration file>`, and what describes the run in it."""

import importlib.metadata
import json
import os
import platform
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import paddle
import pycocotools

from ppdet_ext.config.load import dump_config, output_path
from ppdet_ext.distributed import world
from ppdet_ext.files.atomic import write_atomic
from ppdet_ext.host import Config, compat

from .folder import CONFIG_FILE, ENVIRONMENT_FILE


def run_folder(cfg: Config) -> Path:
    """Where weights and records of this configuration lie."""
    return output_path(cfg.save_dir) / cfg.filename


def environment() -> dict[str, Any]:
    """Versions, devices and command of this process; JSON-able."""
    versions = {**compat.versions(), "numpy": np.__version__, "cv2": cv2.__version__}
    versions["pycocotools"] = _distribution_version(pycocotools.__name__)
    return {
        "python": platform.python_version(),
        "system": platform.platform(),
        "versions": versions,
        "device": paddle.device.get_device(),
        "cpu_count": os.cpu_count(),
        "threads": os.environ.get("OMP_NUM_THREADS"),
        "world_size": world()[1],
        "command": sys.argv,
    }


def _distribution_version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def describe_run(folder: Path, cfg: Config) -> None:
    """Write the resolved configuration and the environment. UserError when the folder is not writable."""
    write_atomic(folder / CONFIG_FILE, lambda aside: aside.write_text(dump_config(cfg), encoding="utf-8"))
    text = json.dumps(environment(), indent=1)
    write_atomic(folder / ENVIRONMENT_FILE, lambda aside: aside.write_text(text, encoding="utf-8"))
