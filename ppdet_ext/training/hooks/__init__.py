"""What happens around the training steps: logging, evaluation, saving."""

from .base import Hook, Kind
from .ema import AverageWeights
from .evaluate import Evaluate
from .log_line import LogLine
from .metrics_file import MetricsFile
from .plateau import ReportToSchedule
from .progress_bar import ProgressBar
from .save import SaveCheckpoints
from .scalars import ScalarHook, TensorBoard
from .trackers import MLflow, WandB
from .visualdl import VisualDL

__all__ = [
    "AverageWeights",
    "Evaluate",
    "Hook",
    "Kind",
    "LogLine",
    "MLflow",
    "MetricsFile",
    "ProgressBar",
    "ReportToSchedule",
    "SaveCheckpoints",
    "ScalarHook",
    "TensorBoard",
    "VisualDL",
    "WandB",
]
