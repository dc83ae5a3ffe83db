"""The few things a run on several ranks needs; every function does nothing on one rank."""

import os

import paddle

from ppdet_ext.errors import UserError


def world() -> tuple[int, int]:
    """(rank, world size) as `paddle.distributed.launch` set them; (0, 1) without it."""
    return int(os.environ.get("PADDLE_TRAINER_ID", "0")), int(os.environ.get("PADDLE_TRAINERS_NUM", "1"))


def use_device(use_gpu: bool) -> None:
    """Select CPU or GPU. UserError when a GPU is asked for and this build of paddle has none."""
    if use_gpu and not paddle.is_compiled_with_cuda():
        raise UserError(
            "use_gpu is true, but this paddlepaddle is the CPU build. Install paddlepaddle-gpu, or add -o use_gpu=false"
        )
    paddle.set_device("gpu" if use_gpu else "cpu")


def start() -> None:
    """Join the process group when launched on several ranks."""
    if world()[1] > 1:
        paddle.distributed.init_parallel_env()


def parallel(model: paddle.nn.Layer, find_unused_parameters: bool) -> paddle.nn.Layer:
    """`model`, averaging gradients over ranks when there are several."""
    if world()[1] == 1:
        return model
    return paddle.DataParallel(model, find_unused_parameters=find_unused_parameters)


def wait_for_rank_0(moment: str) -> None:
    """Ranks wait until rank 0 has also called this with the same `moment` (a name used once in the run).

    Rank 0 evaluates and saves alone. A collective would time out on the others after 30 s (gloo, no
    setting), the
    TCP store waits 900 s.
    """
    rank, size = world()
    if size == 1:
        return
    store = paddle.base.core.create_or_get_global_tcp_store()
    if rank == 0:
        store.set(f"ppdet_ext/{moment}", b"done")
    else:
        store.wait(f"ppdet_ext/{moment}")
