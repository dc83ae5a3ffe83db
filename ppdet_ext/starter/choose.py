"""Size of the images, anchors, schedule and batch for a data set, a model and a machine."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from .anchors import Anchors, choose_anchors
from .models import Model
from .statistics import Statistics

# Root of the area of a box, px: so large nine of ten objects should be, four cells of the finest level of features.
WANTED_SIZE = 16
SMALL_SHARE = 10  # per cent of the objects that may be smaller
MOST_ENLARGED = 2.0
LONG_SHORT = 1333 / 800  # of COCO's usual size, beyond which the long edge counts
STEP = 32  # px; sizes are multiples of it, as the strides of the features are
BIG_STEP = 1 << 20
MILESTONES = (0.7, 0.9)


@dataclass(frozen=True)
class Machine:
    """gpu: whether there is one. memory: bytes that are free on it, or beside the CPU."""

    gpu: bool
    memory: float


@dataclass(frozen=True)
class Limits:
    """What is bearable on a kind of device.

    least, most: pixels of a resized image. step: pixels of a training step. window: of an image in it; larger ones are cut.
    batch: most images of a step. seen: images shown in the whole training. epochs: fewest and most. base_batch: images of a
    step that base_lr is for. warmup: longest, in steps.
    """

    least: int
    most: int
    step: int
    window: int
    batch: int
    seen: int
    epochs: tuple[int, int]
    base_batch: int
    warmup: int


# A step of the small HTC on the drawn sheets: 4 windows of 128 x 384 px. A GPU's images: 800 x 1333 px, and twice as many
# in a training step. Where objects are small, images without a step may be larger: that costs time, but finds them.
CPU = Limits(1 << 16, 1 << 21, 1 << 18, 3 << 16, 4, 1500, (8, 200), 4, 60)
GPU = Limits(800 * 1333, 4 * 800 * 1333, 64 * BIG_STEP, 2 * 800 * 1333, 16, 30_000, (12, 300), 16, 500)


@dataclass(frozen=True)
class Choices:
    """What a configuration is written from.

    short_edge, long_limit: of `ResizeShortEdge`, px. shown: height and width of the usual image then. small: px that the
    smallest tenth of the objects stays below after it. window: height and width that training cuts, or None for whole images.
    batch: images of a step. epochs, milestones, warmup (steps), base_batch: the schedule. steps: of an epoch.
    anchors: or None where the model has none. empty_ratio: share of images without objects that training keeps, or None: all.
    mirror: whether images may be mirrored.
    """

    short_edge: int
    long_limit: int
    shown: tuple[int, int]
    small: float
    window: tuple[int, int] | None
    batch: int
    epochs: int
    milestones: tuple[int, int]
    warmup: int
    base_batch: int
    steps: int
    anchors: Anchors | None
    empty_ratio: float | None
    mirror: bool


def choose(found: Statistics, model: Model, machine: Machine) -> Choices:
    """All choices; each is explained in the configuration and in docs/own_data.md."""
    limits = CPU if model.small else GPU
    short, long = _edges(found, limits)
    scale = scales(found.sizes, short, long)
    height, width = (max(1, round(edge * scale_of(found.usual_size, short, long))) for edge in found.usual_size)
    window = _window(height, width, limits, found.object_sizes * scale[found.image])
    pixels = math.prod(window or (height, width))
    images = found.images if found.empty * 4 <= found.images else round((found.images - found.empty) * 4 / 3)
    batch = _batch(pixels, images, model, machine, limits)
    epochs = int(np.clip(math.ceil(limits.seen / images), *limits.epochs))
    steps = max(1, images // batch)
    milestones = _milestones(epochs)
    boxes = found.boxes * scale[found.image, None]
    sizes = np.maximum(np.rint(found.sizes * scale[:, None]), 1)[found.image]
    return Choices(
        short, long, (height, width), float(np.percentile(found.object_sizes * scale[found.image], SMALL_SHARE)),
        window, batch, epochs, milestones, max(1, min(limits.warmup, milestones[0] * steps // 4)), limits.base_batch, steps,
        choose_anchors(boxes, sizes, model.inside_only) if model.anchors else None,
        None if found.empty * 4 <= found.images else 0.25,
        not any(_tells_sides(name) for name in found.class_names),
    )  # fmt: skip


def scale_of(size: tuple[int, int], short: int, long: int) -> float:
    """By what `ResizeShortEdge` multiplies the edges of an image."""
    return min(short / min(size), long / max(size))


def scales(sizes: np.ndarray, short: int, long: int) -> np.ndarray:
    """(n,) float64: `scale_of` each image."""
    return np.minimum(short / sizes.min(axis=1), long / sizes.max(axis=1))


def _edges(found: Statistics, limits: Limits) -> tuple[int, int]:
    """Short edge and limit of the long one: as small as the objects allow, within the limits, enlarged no more than twice."""
    own_short, own_long = min(found.usual_size), max(found.usual_size)
    stretch = max(own_long / own_short, LONG_SHORT)
    least, most = (math.sqrt(limit / stretch) for limit in (limits.least, limits.most))
    # An image need not be enlarged for its own sake, only for that of its objects.
    least, most = min(least, own_short), min(most, MOST_ENLARGED * own_short)
    candidates = [own_short, *(edge for edge in range(STEP, int(most) + 1, STEP) if edge >= least)]
    candidates = sorted({edge for edge in candidates if edge <= most}) or [max(1, int(most))]
    for short in candidates:
        long = round(short * stretch)
        sizes = found.object_sizes * scales(found.sizes, short, long)[found.image]
        if np.percentile(sizes, SMALL_SHARE) >= WANTED_SIZE:
            break
    return short, long


def _window(height: int, width: int, limits: Limits, sizes: np.ndarray) -> tuple[int, int] | None:
    """The window that a large image is cut to in training: the whole short edge if that leaves it no narrower than high."""
    if height * width <= limits.window:
        return None
    side = math.isqrt(limits.window)
    short = min(height, width, side)
    long = min(max(height, width), limits.window // short)
    # Nine of ten objects fit into it; else they would be learnt from pieces.
    short = min(max(short, int(np.percentile(sizes, 100 - SMALL_SHARE))), height, width)
    return tuple(_down(edge) for edge in ((short, long) if height <= width else (long, short)))  # type: ignore[return-value]


def _down(edge: int) -> int:
    """To a multiple of 32 px, unless that is nothing."""
    return max(edge // STEP * STEP, min(edge, STEP))


def _batch(pixels: int, images: int, model: Model, machine: Machine, limits: Limits) -> int:
    """Images of a step: by time, by free memory, of which others want some on a CPU, and by what there is."""
    by_memory = (machine.memory * (0.8 if machine.gpu else 0.5) - model.fixed_bytes) / (model.bytes_per_pixel * pixels)
    return int(np.clip(min(limits.step / pixels, by_memory, limits.batch, images), 1, None))


def _milestones(epochs: int) -> tuple[int, int]:
    first, second = (round(share * epochs) for share in MILESTONES)
    return first, min(max(second, first + 1), epochs - 1)


def _tells_sides(name: str) -> bool:
    """Whether a class is of one side, so that a mirrored image would teach the wrong one."""
    words = set(name.casefold().replace("_", " ").replace("-", " ").split())
    return bool(words & {"left", "right", "links", "rechts", "linker", "rechter", "gauche", "droite", "izquierda", "derecha"})
