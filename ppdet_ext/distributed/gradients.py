"""Averaging gradients over ranks after the backward pass.

Why not during it, as DataParallel does: there an error of gloo, such as a rank that is gone, aborts the process from C++,
and a rank more than 30 s behind is such an error. Here all ranks come together first, however long that takes.
"""

import numpy as np
import paddle
from paddle.distributed.fleet.utils.hybrid_parallel_util import fused_allreduce_gradients_with_group

from . import phases, session


def keep_gradients_apart(model: paddle.DataParallel) -> paddle.DataParallel:
    """`model`, whose gradients stay those of this rank until `average_gradients`."""
    model.grad_need_sync = False
    return model


def average_gradients(model: paddle.nn.Layer) -> None:
    """Give each parameter of a model that keeps its gradients apart their mean over ranks; any other is left alone.

    Every rank calls it after its last backward pass of a step. A parameter without gradient on this rank, but not on
    all, counts as zero here.

    Raises:
        RankError: a rank is gone, has failed or is elsewhere in the program.
        RuntimeError: an error of paddle's communication; `monitored` and `explain` turn it into a RankError.
    """
    if not isinstance(model, paddle.DataParallel) or model.grad_need_sync:
        return
    parameters = [parameter for parameter in model.parameters() if parameter.trainable]
    used = session.sum_over_ranks(np.array([parameter.grad is not None for parameter in parameters], np.float64))
    for parameter, ranks in zip(parameters, used):
        if ranks and parameter.grad is None:
            parameter.grad = paddle.zeros_like(parameter)
    with phases.waiting("averaging gradients"):
        fused_allreduce_gradients_with_group(parameters, None)
