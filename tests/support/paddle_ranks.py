"""Run by test_paddle_ranks.py as rank 0 and 1: prints one JSON line, then rank 1 is killed while rank 0 averages gradients."""

import json
import os
import signal
import sys

import numpy as np
import paddle

from ppdet_ext import distributed
from ppdet_ext.errors import RankError


class TwoLayers(paddle.nn.Layer):
    """Of which `second` is used only where `both` says so, and `never` nowhere."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.never = paddle.nn.Linear(4, 3), paddle.nn.Linear(3, 2), paddle.nn.Linear(2, 2)
        self.norm = paddle.nn.BatchNorm1D(4)

    def forward(self, x: paddle.Tensor, both: bool) -> paddle.Tensor:
        middle = self.first(self.norm(x))
        return self.second(middle).square().sum() if both else middle.square().sum()


def gradients(model: paddle.nn.Layer) -> dict[str, list | None]:
    return {name: None if p.grad is None else p.grad.numpy().tolist() for name, p in model.named_parameters() if p.trainable}


def step(model: paddle.nn.Layer, rank: int) -> None:
    """Two batches; the second does without `second` on both ranks, the first on rank 1."""
    paddle.seed(rank)
    for number in range(2):
        model(paddle.rand([5, 4]), both=(rank, number) == (0, 0)).backward()


def main() -> None:
    distributed.use_device(False)
    distributed.start()
    distributed.start()
    rank, _ = distributed.world()
    paddle.seed(7 + rank)
    bare = TwoLayers()
    model = distributed.parallel(bare, find_unused_parameters=False, apart=True)
    step(model, rank)
    record = {"weights": bare.first.weight.numpy().tolist(), "local": gradients(bare)}
    distributed.average_gradients(model)
    record["mean"] = gradients(bare)
    record["statistics"] = bare.norm._mean.numpy().tolist()
    distributed.share_buffers(model)
    record["shared"] = bare.norm._mean.numpy().tolist()
    record["sum"] = distributed.sum_over_ranks(np.array([rank + 1.0])).tolist()
    print(json.dumps(record), flush=True)
    with distributed.monitored(100):
        for number in range(100):
            distributed.phase(f"step {number}")
            step(model, rank)
            if number == 2:
                distributed.barrier("before the kill")
                if rank == 1:
                    os.kill(os.getpid(), signal.SIGKILL)
                # Past the ranks' meeting, so that it is gloo that fails.
                distributed.session._current().sum = lambda vector: vector
            distributed.average_gradients(model)


if __name__ == "__main__":
    try:
        main()
    except RankError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)
