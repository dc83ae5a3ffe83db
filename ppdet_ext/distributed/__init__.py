"""What a run on several ranks needs: the launcher's world, exchange of values, and a watch over the ranks."""

# ruff: noqa: E402  the imports after paddle's own, which is quiet
from ppdet_ext.environment import import_paddle

import_paddle()

from .environment import launched, world
from .group import average_gradients, parallel, running_statistics, share_buffers, start, synchronize_norms, use_device
from .session import barrier, explain, gather, monitored, phase, report_failure, share, sum_over_ranks

__all__ = [
    "average_gradients",
    "barrier",
    "explain",
    "gather",
    "launched",
    "monitored",
    "parallel",
    "phase",
    "report_failure",
    "running_statistics",
    "share",
    "share_buffers",
    "start",
    "sum_over_ranks",
    "synchronize_norms",
    "use_device",
    "world",
]
