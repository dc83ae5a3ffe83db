"""Whether a configuration suits the objects: how large they are shown, and which anchors meet them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ppdet_ext.host import Config
from ppdet_ext.starter.anchors import REACHED, best_overlaps, choose_anchors
from ppdet_ext.starter.choose import MOST_ENLARGED, STEP
from ppdet_ext.starter.statistics import MOST_BOXES

from .objects import Data
from .schema import AnchorFacts, Resized

SMALL = 8  # pixels, root of the area of a box: two cells of the finest level of features
READERS = {"train": "TrainReader", "eval": "EvalReader", "test": "TestReader"}
RPN = "HTCRPNHead"


@dataclass(frozen=True)
class Resizing:
    """The transform of a reader that resizes. reader: its name; index: its place; name, options: the transform's."""

    reader: str
    index: int
    name: str
    options: Mapping[str, Any]

    def shown(self, sizes: np.ndarray) -> np.ndarray:
        """(n, 2) float64 heights and widths of images of `sizes` (n, 2); of several short edges the middle one."""
        sizes = np.maximum(sizes, 1).astype(np.float64)
        if self.name == "ResizeShortEdge":
            scale = float(np.median(self.options["short_edges"])) / sizes.min(axis=1)
            limit = self.options.get("long_limit", 1333)
            if limit is not None:
                scale = np.minimum(scale, limit / sizes.max(axis=1))
            return np.maximum(np.rint(sizes * scale[:, None]), 1)
        size = np.array([self.options["height"], self.options["width"]], np.float64)
        if self.options.get("keep_ratio"):
            return np.maximum(np.rint(sizes * (size / sizes).min(axis=1)[:, None]), 1)
        return np.broadcast_to(size, sizes.shape)

    def enlarged(self, factor: float) -> list[str]:
        """What to give after -o for images that many times as large, up to the next multiple of 32 px."""
        path = f"{self.reader}.sample_transforms.{self.index}.{self.name}"
        if self.name == "ResizeShortEdge":
            limit = self.options.get("long_limit", 1333)
            edges = ", ".join(str(_up(edge * factor)) for edge in self.options["short_edges"])
            more = [] if limit is None else [f"{path}.long_limit={_up(limit * factor)}"]
            return [f"{path}.short_edges=[{edges}]", *more]
        return [f"{path}.{side}={_up(self.options[side] * factor)}" for side in ("height", "width")]


def _up(length: float) -> int:
    return max(math.ceil(length / STEP - 1e-9), 1) * STEP


def resizing_of(cfg: Config, reader: str) -> Resizing | None:
    """The first transform of a reader that resizes by one of ours; None without."""
    section = cfg.get(reader) or {}
    for index, entry in enumerate(section.get("sample_transforms") or ()):
        for name, options in entry.items() if isinstance(entry, Mapping) else ():
            if name in ("ResizeShortEdge", "ResizeFixed"):
                return Resizing(reader, index, name, dict(options or {}))
    return None


def roots(data: Data, shown: np.ndarray) -> np.ndarray:
    """(m,) float64: root of the area of each object's box in images of `shown` (n, 2) sizes."""
    scale = shown / np.maximum(data.images.sizes, 1)
    return np.sqrt(np.maximum(data.objects.sides, 0).prod(axis=1) * scale.prod(axis=1)[data.objects.image])


def resized_facts(cfg: Config, data: Data) -> list[Resized]:
    """What each reader's resizing leaves of the objects of its own part."""
    found = []
    for number, part in enumerate(data.parts):
        resizing = resizing_of(cfg, READERS[part.name])
        own = data.part_of == number
        if resizing is None or not own.any():
            continue
        small = roots(data, resizing.shown(data.images.sizes))[own] < SMALL
        before = roots(data, data.images.sizes.astype(np.float64))[own] < SMALL
        height, width = resizing.shown(np.array([data.usual_size]))[0].astype(int).tolist()
        lost = np.bincount(data.objects.label[own][small], minlength=len(data.class_names)).tolist()
        found.append(Resized(resizing.reader, (height, width), int(own.sum()), int(small.sum()), int(before.sum()), lost))
    return found


def enlargement(cfg: Config, data: Data, wanted: float = 0.01) -> float | None:
    """By what the images of training should be larger for no more than a share `wanted` of the objects to be small.

    At most twice, or as large as the images are, whichever is more; None where that makes no difference worth a change.
    """
    resizing = resizing_of(cfg, READERS["train"])
    own = data.part_of == 0
    if resizing is None or not own.any():
        return None
    shown = resizing.shown(data.images.sizes)
    sizes = roots(data, shown)[own]
    most = max(MOST_ENLARGED, float(np.median(np.maximum(data.images.sizes, 1) / shown)))
    needed = SMALL / max(float(np.percentile(sizes, 100 * wanted)), 1e-9)
    factor = min(needed, most)
    kept = (sizes < SMALL).mean() - (sizes * factor < SMALL).mean()
    return factor if factor > 1 and kept >= wanted else None


def anchor_facts(cfg: Config, data: Data) -> AnchorFacts | None:
    """Which boxes of training the configuration's anchors meet, and which anchors would; None of a model without ours."""
    resizing = resizing_of(cfg, READERS["train"])
    own = np.flatnonzero(data.part_of == 0)
    model = cfg.get(cfg.architecture)
    if not isinstance(model, Mapping) or model.get("rpn_head") != RPN or resizing is None or not len(own):
        return None
    own = own[np.unique(np.linspace(0, len(own) - 1, min(MOST_BOXES, len(own))).astype(np.int64))]
    shown = resizing.shown(data.images.sizes)
    scale = (shown / np.maximum(data.images.sizes, 1))[data.objects.image[own]]
    boxes = data.objects.boxes[own] * scale[:, [1, 0, 1, 0]]
    sizes = shown[data.objects.image[own]]
    # A box without area has no shape.
    solid = (boxes[:, 2:] > boxes[:, :2]).all(axis=1)
    own, boxes, sizes = own[solid], boxes[solid], sizes[solid]
    if not len(boxes):
        return None
    ratios, side = [float(ratio) for ratio in cfg[RPN]["ratios"]], float(cfg[RPN]["scale"])
    inside = bool(cfg[RPN]["inside_only"])
    met = best_overlaps(boxes, sizes, ratios, side, inside).max(axis=1) >= REACHED
    best = choose_anchors(boxes, sizes, inside)
    label = data.objects.label[own]
    by_class = [float(met[label == k].mean()) if (label == k).any() else None for k in range(len(data.class_names))]
    return AnchorFacts(
        ratios, side, inside, len(boxes), float(met.mean()), by_class,
        list(best.ratios), best.scale, best.inside_only, best.reached,
    )  # fmt: skip
