"""The ranks as `paddle.distributed.launch` set them, and the model on them."""

import contextlib
import logging
import os
from collections.abc import Iterator

import numpy as np
import paddle
from paddle.distributed.fleet.utils.hybrid_parallel_util import fused_allreduce_gradients_with_group

from ppdet_ext.errors import UserError

from . import phases, session
from .connections import Address, Links, connect, serve
from .environment import host, log_name, world

_KEY = "ppdet_ext/channel"
logger = logging.getLogger("ppdet_ext")
_CONNECT_SECONDS = 120.0


def use_device(use_gpu: bool) -> None:
    """Select CPU or GPU. UserError when a GPU is asked for and this build of paddle has none."""
    if use_gpu and not paddle.is_compiled_with_cuda():
        raise UserError(
            "use_gpu is true, but this paddlepaddle is the CPU build. Install paddlepaddle-gpu, or add -o use_gpu=false"
        )
    paddle.set_device("gpu" if use_gpu else "cpu")


def start() -> None:
    """Join the other ranks, when launched on several; to be called after `use_device`, by every rank.

    Raises:
        RankError: a rank did not come.
    """
    rank, size = world()
    if size == 1 or session.is_open():
        return
    if paddle.device.get_device() == "cpu":
        # A GPU build would choose NCCL, and with it the GPU, whatever `use_device` said.
        os.environ.setdefault("PADDLE_DISTRI_BACKEND", "gloo")
    paddle.distributed.init_parallel_env()
    session.open_session(_meet(rank, size))


def _meet(rank: int, size: int) -> Links:
    """Rank 0 listens and tells the others by paddle's store where."""
    store = paddle.base.core.create_or_get_global_tcp_store()
    if rank == 0:
        return serve(host(), size, log_name(), _CONNECT_SECONDS, lambda address: store.set(_KEY, address.text()))
    return connect(Address.from_text(store.get(_KEY).decode()), rank, size, log_name(), _CONNECT_SECONDS)


def parallel(model: paddle.nn.Layer, find_unused_parameters: bool, *, apart: bool = False) -> paddle.nn.Layer:
    """`model` with rank 0's weights, averaging gradients over ranks, when there are several.

    Args:
        model: of the same architecture on every rank.
        find_unused_parameters: some get no gradient in a step; of no effect with `apart`, which allows that always.
        apart: not during the backward pass but by `average_gradients` after it. For gloo, whose errors in a backward
            pass abort the process.
    """
    if world()[1] == 1:
        return model
    session.barrier("parallel model")
    wrapped = paddle.DataParallel(model, find_unused_parameters=find_unused_parameters)
    # Averaging during the backward pass, an error of gloo, such as a rank that is gone, aborts the process from C++, and a rank
    # more than 30 s behind is such an error. In `average_gradients` all ranks come together first, however long that takes.
    wrapped.grad_need_sync = not apart
    return wrapped


def synchronize_norms(model: paddle.nn.Layer, norm_type: str | None) -> paddle.nn.Layer:
    """`model`; with 'sync_bn' on several GPUs, with batch norms that see the images of all ranks. Elsewhere it is warned of."""
    if norm_type != "sync_bn":
        return model
    if world()[1] > 1 and paddle.device.get_device() != "cpu":
        return paddle.nn.SyncBatchNorm.convert_sync_batchnorm(model)
    logger.warning("norm_type: sync_bn has an effect on several GPUs only; each rank's batch norm sees its own images")
    return model


def share_buffers(model: paddle.nn.Layer) -> None:
    """Give every rank's model (possibly wrapped by DataParallel) the buffers and batch-norm statistics of rank 0's.

    Raises:
        RankError: the models' buffers differ in names or shapes, or a rank is gone.
    """
    buffers = running_statistics(getattr(model, "_layers", model))
    session.share_arrays(
        {name: buffer.numpy() for name, buffer in buffers.items()}, lambda name, value: buffers[name].set_value(value)
    )


@contextlib.contextmanager
def among_ranks(use_gpu: bool, stall_timeout: float) -> Iterator[None]:
    """Use the device, join the other ranks (if any), and end with them if one fails or stalls within the block."""
    use_device(use_gpu)
    start()
    with session.monitored(stall_timeout):
        yield


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


def running_statistics(model: paddle.nn.Layer) -> dict[str, paddle.Tensor]:
    """Name -> tensor of the buffers and of the batch norms' running means and variances, which paddle files as parameters."""
    names = {name for name, _ in model.named_buffers()}
    for prefix, layer in model.named_sublayers(include_self=True):
        own = [name for name in ("_mean", "_variance") if isinstance(getattr(layer, name, None), paddle.Tensor)]
        names.update(f"{prefix}.{name}" if prefix else name for name in own)
    return {name: tensor for name, tensor in model.state_dict().items() if name in names}
