"""What happens around the training steps: logging, evaluation, saving."""

from .base import Hook, Kind
from .ema import AverageWeights
from .evaluate import Evaluate
from .log_line import LogLine, ProgressBar
from .metrics_file import MetricsFile
from .plateau import ReportToSchedule
from .save import SaveCheckpoints
from .visualdl import VisualDL

__all__ = [
    "AverageWeights",
    "Evaluate",
    "Hook",
    "Kind",
    "LogLine",
    "MetricsFile",
    "ProgressBar",
    "ReportToSchedule",
    "SaveCheckpoints",
    "VisualDL",
]
