"""What each of two ranks does with segmentors, for `two_ranks`."""

import numpy as np
import paddle
from rank_cases import digest, losses_and_gradients, trained
from segmentor_base import CLASSES, tiny
from smp_models import batch_of_random

from ppdet_ext import distributed
from ppdet_ext.modeling.detection.losses import Losses
from ppdet_ext.modeling.segmentation import SemanticSegmentor

STEPS = 3
# Images of each rank: the means of a rank with one weigh half as much as those of one with two.
IMAGES = (1, 2)


def part_of(whole: dict, images: slice) -> dict:
    """Some images of a batch."""
    return {key: value[images] for key, value in whole.items()}


def whole_batch() -> dict:
    """The batches of both ranks as one."""
    return batch_of_random(sum(IMAGES), classes=CLASSES)


def fixed() -> SemanticSegmentor:
    """A segmentor whose norms do not depend on the batch, so that halves can be compared with the whole."""
    model = tiny("resnet18", "fpn", classifier=True)
    for layer in model.sublayers():
        if isinstance(layer, paddle.nn.BatchNorm2D):
            layer._use_global_stats = True
        if isinstance(layer, paddle.nn.Dropout2D):
            layer.p = 0
    model.train()
    return model


def _half(rank: int) -> tuple:
    mine = part_of(whole_batch(), slice(0, IMAGES[0]) if rank == 0 else slice(IMAGES[0], None))
    return losses_and_gradients(distributed.parallel(fixed(), find_unused_parameters=False), mine)


def _whole(rank: int) -> tuple:
    before, Losses.over_ranks = Losses.over_ranks, lambda self: self
    try:
        return losses_and_gradients(fixed(), whole_batch())
    finally:
        Losses.over_ranks = before


def _steps(rank: int, decoder: str) -> list[str]:
    """After each SGD step on own batches: the digest of what is learnt. Running statistics are each rank's own."""
    model = tiny("resnet18", decoder)
    model.train()
    parallel = distributed.parallel(model, find_unused_parameters=False)
    optimizer = paddle.optimizer.Momentum(1e-3, parameters=list(trained(parallel).values()))
    out = []
    for step in range(STEPS):
        rng = np.random.default_rng([step, rank])
        batch = batch_of_random(2, classes=CLASSES)
        batch["image"] = paddle.to_tensor(rng.normal(size=batch["image"].shape).astype(np.float32))
        parallel(batch)["loss"].backward()
        distributed.average_gradients(parallel)
        optimizer.step()
        optimizer.clear_grad()
        out.append(digest(_Learnt(model)))
    return out


class _Learnt:
    """The parameters of a model without the running statistics, which Paddle counts among them."""

    def __init__(self, model: SemanticSegmentor) -> None:
        self.model = model

    def parameters(self) -> list[paddle.Tensor]:
        return list(trained(self.model).values())


CASES = {
    "half": _half,
    "whole": _whole,
    **{f"steps of {name}": lambda rank, name=name: _steps(rank, name) for name in ("unet_scse", "pspnet", "deeplabv3plus")},
}
