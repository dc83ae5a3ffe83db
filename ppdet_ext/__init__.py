"""Hybrid Task Cascade for PaddleDetection, on data sets of run-length-encoded masks.

    from ppdet_ext import Predictor

    found = Predictor("output/steel_sample").predict("sheet.jpg")

Importing this package sets threads and malloc up, keeps the engines of exported models from reporting their use, and nothing
else. The library's names (`Predictor`, `train`, …) import paddle when they are first asked for, but where there is no paddle
`Predictor` is that of exported models. `import ppdet_ext.register` makes the package's parts known to ppdet.
"""

import importlib
import importlib.util
from typing import TYPE_CHECKING, Any

from . import environment

if TYPE_CHECKING:
    from .api.configuration import load_config
    from .api.explore import explore_data
    from .api.functions import TrainingRun, TuningRun, evaluate, infer, submit, train, tune
    from .api.predictor import Predictor
    from .api.report import write_report
    from .commands.export_labels import export_labels
    from .commands.import_labels import import_labels
    from .commands.new_config import new_config
    from .data.labels.formats import read_labels
    from .runtime.prediction import Prediction
    from .structures import Candidates, Detections, Rle

__version__ = "0.1.0"
# Name -> module that has it.
_LAZY = {
    "Predictor": "api.predictor",
    "Prediction": "runtime.prediction",
    "load_config": "api.configuration",
    **dict.fromkeys(("train", "evaluate", "tune", "infer", "submit", "TrainingRun", "TuningRun"), "api.functions"),
    # `report` and `explore` are rooms.
    "write_report": "api.report",
    "explore_data": "api.explore",
    "import_labels": "commands.import_labels",
    "new_config": "commands.new_config",
    **dict.fromkeys(("Rle", "Detections", "Candidates"), "structures"),
    "read_labels": "data.labels.formats",
    **{name: f"commands.{name}" for name in ("import_labels", "export_labels", "new_config")},
}
_HEAVY = (
    *("api.predictor", "api.configuration", "api.functions", "api.report", "api.explore"),
    *("commands.import_labels", "commands.new_config"),
)
__all__ = [
    "Candidates",
    "Detections",
    "Prediction",
    "Predictor",
    "Rle",
    "TrainingRun",
    "TuningRun",
    "evaluate",
    "explore_data",
    "export_labels",
    "import_labels",
    "infer",
    "load_config",
    "new_config",
    "read_labels",
    "submit",
    "train",
    "tune",
    "write_report",
]

environment.tune_environment()
environment.stand_in_home()
environment.send_nothing()
environment.keep_freed_memory()
environment.quiet_imports()


_give = environment.names_on_demand(__name__, _LAZY)


def __getattr__(name: str) -> Any:
    """What the library offers, imported when it is asked for."""
    if name == "Predictor" and importlib.util.find_spec("paddle") is None:
        # Installed as the runtime for exported models.
        return importlib.import_module(f"{__name__}.runtime.predictor").Predictor
    if _LAZY.get(name) in _HEAVY:
        # Imports paddle and ppdet without their noise.
        importlib.import_module(f"{__name__}.register")
    return _give(name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
