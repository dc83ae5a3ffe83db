"""What each of two ranks does, and its arrays: steps of tiny models, with batches of every kind."""

import hashlib
from collections.abc import Callable
from unittest.mock import patch

import numpy as np
import paddle
from reference_model import cascade_mask_rcnn, mask_rcnn, random_batch, small_model

from ppdet_ext import distributed
from ppdet_ext.errors import DivergenceError
from ppdet_ext.modeling.detection import HybridTaskCascade
from ppdet_ext.modeling.detection.losses import Losses
from ppdet_ext.modeling.ops import layers, winograd

ARCHITECTURES: dict[str, Callable[[], HybridTaskCascade]] = {
    # So many samples of so few proposals that the images differ in how many there are.
    "HTC": lambda: small_model(channels=16, rpn={"num_samples": 4096, "nms_iou": 0.3}, num_samples=512),
    "without semantic branch": lambda: small_model(False, depth=18, channels=16),
    "boxes only": lambda: small_model(depth=18, channels=16, with_mask=False),
    "nothing frozen": lambda: small_model(depth=18, channels=16, backbone={"freeze_at": -1}),
    "DCNv1": lambda: small_model(channels=16, backbone={"dcn_v1_stages": (1, 2, 3)}),
    "DCNv2, grouped": lambda: small_model(channels=16, backbone={"groups": 4, "base_width": 4, "dcn_v2_stages": (2, 3)}),
    "Cascade Mask R-CNN": cascade_mask_rcnn,
    "Mask R-CNN": mask_rcnn,
}
# Number of objects of each rank's image.
OBJECTS = (2, 9)
MICRO_BATCHES = 2
KINDS = {
    "objects": {"objects": 5},
    "no object": {"objects": 0},
    "no region": {"objects": 0},
    "no anchor": {"objects": 0, "height": 32, "width": 32},
    "tiny object": {"objects": 1},
}
PAIRS = [
    ("objects", "no object"),
    ("no object", "objects"),
    ("no object", "no object"),
    ("no region", "objects"),
    ("no region", "no region"),
    ("objects", "no anchor"),
    ("tiny object", "no object"),
]


def batch(image: int, objects: int, **size: int) -> dict:
    """One random image, so faint that losses of a network with random weights stay moderate."""
    out = random_batch(objects, seed=image, **size)
    return {**out, "im_id": np.array([image]), "image": out["image"] * 0.01}


def both() -> dict:
    """The batches of both ranks as one."""
    parts = [batch(rank, objects) for rank, objects in enumerate(OBJECTS)]
    out = {k: [value for part in parts for value in part[k]] for k in ("gt_bbox", "gt_class", "gt_mask")}
    out |= {k: np.concatenate([part[k] for part in parts]) for k in ("im_id", "im_shape", "scale_factor", "origin_shape")}
    return out | {k: paddle.concat([part[k] for part in parts]) for k in ("image", "semantic")}


def model(name: str) -> HybridTaskCascade:
    """Always the same weights."""
    paddle.seed(0)
    out = ARCHITECTURES[name]()
    out.train()
    return out


def trained(layer: paddle.nn.Layer) -> dict[str, paddle.Tensor]:
    """Parameters that learn, of a model that DataParallel may have wrapped."""
    return {name: value for name, value in getattr(layer, "_layers", layer).named_parameters() if not value.stop_gradient}


def take_gradients(layer: paddle.nn.Layer) -> dict[str, np.ndarray]:
    """Gradients, which are cleared."""
    out = {name: value.grad.numpy().copy() for name, value in trained(layer).items()}
    layer.clear_gradients()
    return out


def _add_bias_alike(x: paddle.Tensor, bias: paddle.Tensor) -> paddle.Tensor:
    """The same rounding for a batch of one and of two.

    `layers.add_bias` has two ways, of which one is a bit off on some CPUs. A ReLU or a deformable convolution's cell that flips
    for it changes gradients by 1e-4 to 1e-2 of their largest entry.
    """
    return x + bias.reshape([1, -1, 1, 1])


def losses_and_gradients(layer: paddle.nn.Layer, data: dict) -> tuple[dict[str, float], dict[str, np.ndarray]]:
    """Of one batch."""
    with patch.object(layers, "add_bias", _add_bias_alike):
        losses = layer(data)
    losses["loss"].backward()
    distributed.average_gradients(layer)
    return {name: float(value) for name, value in losses.items()}, take_gradients(layer)


def digest(layer: paddle.nn.Layer) -> str:
    """Of all parameters, bit by bit."""
    out = hashlib.sha256()
    for value in layer.parameters():
        out.update(value.numpy().tobytes())
    return out.hexdigest()


def _half(rank: int, name: str, apart: bool = False) -> tuple[dict[str, float], dict[str, np.ndarray]]:
    parallel = distributed.parallel(model(name), find_unused_parameters=False, apart=apart)
    return losses_and_gradients(parallel, batch(rank, OBJECTS[rank]))


def _half_with_own_means(rank: int) -> tuple[dict[str, float], dict[str, np.ndarray]]:
    with patch.object(Losses, "over_ranks", lambda self: self):
        return _half(rank, "HTC")


def _whole(rank: int, name: str) -> tuple[dict[str, float], dict[str, np.ndarray]]:
    """What one rank learns of both batches; here, since another number of threads would propose other regions."""
    with patch.object(Losses, "over_ranks", lambda self: self):
        return losses_and_gradients(model(name), both())


def _data_of_kind(rank: int, layer: HybridTaskCascade, kind: str) -> dict:
    """A batch, and a model that proposes nothing where `kind` says so."""
    layer.rpn_head.limits = {True: (1, 0) if kind == "no region" else (2000, 2000)}
    data = batch(10 + rank, **KINDS[kind])
    if kind == "tiny object":  # overlaps no anchor enough
        data["gt_bbox"] = [data["gt_bbox"][0] * 0 + np.array([50, 50, 54, 54], np.float32)]
    return data


def _steps(rank: int, name: str) -> list[tuple[str, dict[str, int]]]:
    """After an SGD step on each pair of kinds: the parameters' digest, and what the losses were means over."""
    layer = model(name)
    parallel = distributed.parallel(layer, find_unused_parameters=False)
    optimizer = paddle.optimizer.Momentum(1e-3, parameters=list(trained(layer).values()))
    out = []
    for pair in PAIRS:
        data = _data_of_kind(rank, layer, pair[rank])
        with patch.object(Losses, "over_ranks", autospec=True, side_effect=Losses.over_ranks) as made:
            parallel(data)["loss"].backward()
        optimizer.step()
        optimizer.clear_grad()
        out.append((digest(layer), dict(made.call_args.args[0].counts)))
    return out


def _fast(rank: int) -> list[tuple[str, dict[str, int]]]:
    with patch.multiple(winograd, MIN_CHANNELS=1, MIN_CELLS=1):  # the tiny models are too narrow and small otherwise
        return _steps(rank, "nothing frozen")


def _accumulation(rank: int) -> list[tuple[dict[str, np.ndarray], dict[str, np.ndarray]]]:
    """Of two steps in a row: the sums of this rank's own gradients, and what DataParallel makes of them."""
    layer, out = model("nothing frozen"), []
    parallel = distributed.parallel(layer, find_unused_parameters=False)
    for step in range(2):
        data = [batch(20 + 10 * rank + step + 2 * k, (k + rank) % 3) for k in range(MICRO_BATCHES)]
        own = [losses_and_gradients(layer, each)[1] for each in data]
        for each in data[:-1]:
            with parallel.no_sync():
                parallel(each)["loss"].backward()
        parallel(data[-1])["loss"].backward()
        out.append(({name: sum(part[name] for part in own) for name in own[0]}, take_gradients(layer)))
    return out


def _divergence(rank: int) -> tuple[list[str], str]:
    """Messages of steps in which rank 1's proposals and last boxes are NaN, and the parameters after one that is fine."""
    layer, messages = model("HTC"), []
    parallel = distributed.parallel(layer, find_unused_parameters=False)
    optimizer = paddle.optimizer.SGD(1e-3, parameters=list(trained(layer).values()))
    for bias in (layer.rpn_head.deltas.bias, layer.roi_head.box_heads[2].regress.bias, None):
        if spoiled := bias is not None and rank == 1:
            bias.set_value(paddle.full_like(bias, np.nan))
        try:
            parallel(batch(rank, OBJECTS[rank]))["loss"].backward()
            optimizer.step()
        except DivergenceError as error:
            messages.append(str(error))
        if spoiled:
            bias.set_value(paddle.zeros_like(bias))
    return messages, digest(layer)


CASES: dict[str, Callable[[int], object]] = {
    **{f"whole of {name}": lambda rank, name=name: _whole(rank, name) for name in ARCHITECTURES},
    **{f"half of {name}": lambda rank, name=name: _half(rank, name) for name in ARCHITECTURES},
    **{f"half, apart, of {name}": lambda rank, name=name: _half(rank, name, True) for name in ("HTC", "DCNv1")},
    "half with own means": _half_with_own_means,
    **{f"steps of {name}": lambda rank, name=name: _steps(rank, name) for name in ARCHITECTURES},
    "steps with fast convolutions": _fast,
    "accumulation": _accumulation,
    "divergence": _divergence,
}
