"""Classes, distributions, places and what occurs together: what is counted of objects and images, without pixels."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from .objects import Data
from .schema import ClassFacts, ClassPart, Distribution, Layer, Places, SizeCount, Together

BINS = 30
MOST_LAYERS = 8  # classes that histograms tell apart
MOST_MAPS, MOST_TOGETHER = 12, 24
GRID = 240  # cells of a map of places, about
MOST_SIZES = 50


def class_facts(data: Data) -> list[ClassFacts]:
    """A row for each class, in the order of the labels."""
    objects, part_of = data.objects, data.part_of
    total = np.bincount(objects.label, minlength=len(data.class_names))
    weights = _weights(total)
    sides = objects.sides
    facts = []
    for label, name in enumerate(data.class_names):
        own = np.flatnonzero(objects.label == label)
        area, box = objects.area[own], sides[own]
        low, middle, high = np.percentile(area, (5, 50, 95)).tolist() if len(own) else (None, None, None)
        aspect = float(np.median(box[:, 1] / np.maximum(box[:, 0], 1e-9))) if len(own) else None
        fill = float(np.median(area / np.maximum(box.prod(axis=1), 1e-9))) if len(own) else None
        parts = [_class_part(data, own[part_of[own] == part], part) for part in range(len(data.parts))]
        facts.append(ClassFacts(label, name, parts, len(own), middle, low, high, aspect, fill, weights[label]))
    return facts


def _class_part(data: Data, own: np.ndarray, part: int) -> ClassPart:
    pixels = float(data.images.sizes[data.images.part == part].prod(axis=1).sum())
    share = float(data.objects.area[own].sum() / pixels) if pixels else None
    return ClassPart(len(own), len(np.unique(data.objects.image[own])), share)


def _weights(total: np.ndarray) -> list[float | None]:
    """Inverse of the numbers of objects, 1 on average over the classes that have any."""
    there = total > 0
    inverse = np.divide(1.0, total, out=np.zeros(len(total)), where=there)
    mean = inverse[there].mean() if there.any() else 1.0
    return [float(value / mean) if value else None for value in inverse]


def distributions(data: Data) -> list[Distribution]:
    """Histograms of objects, then of images; none of a property that nothing has."""
    objects = data.objects
    width, height = objects.sides.T
    whole = data.images.sizes.prod(axis=1)[objects.image]
    boundary = objects.shapes[:, 2]
    measures = (
        ("area", "Area", "px", objects.area, True),
        ("relative_area", "Area as a share of the image", "", objects.area / np.maximum(whole, 1), True),
        ("aspect", "Height over width of the box", "", height / np.maximum(width, 1e-9), True),
        ("fill", "Share of its box that an object fills", "", objects.area / np.maximum(width * height, 1e-9), False),
        ("parts", "Parts of an object", "", objects.shapes[:, 0], False),
        ("holes", "Holes of an object", "", objects.shapes[:, 1], False),
        ("boundary", "Length of the boundary", "px", boundary, True),
    )
    found = [
        distribution(key, title, unit, "objects", values, objects.label, list(enumerate(data.class_names)), log)
        for key, title, unit, values, log in measures
    ]
    names = [(number, part.name) for number, part in enumerate(data.parts)]
    counts = distribution(
        "objects", "Objects of an image", "", "images", data.images.counts.astype(float), data.images.part, names, False
    )
    return [one for one in (*found, counts) if one is not None]


def distribution(
    key: str,
    title: str,
    unit: str,
    of: str,
    values: np.ndarray,
    group: np.ndarray,
    names: list[tuple[int, str]],
    log: bool,
) -> Distribution | None:
    """A histogram of values (m,), layer by layer of `group` (m,); None where no value is known.

    NaN, and where the axis is logarithmic what is not positive, is left out. More than `MOST_LAYERS` groups are one layer.
    """
    known = np.isfinite(values) & ((values > 0) | (not log))
    values, group = values[known], group[known]
    if not len(values):
        return None
    edges = _edges(values, log)
    present = [(number, name) for number, name in names if (group == number).any()]
    layers = [Layer("all", None, np.histogram(values, edges)[0].tolist())]
    if len(present) <= MOST_LAYERS:
        layers = [Layer(name, number, np.histogram(values[group == number], edges)[0].tolist()) for number, name in present]
    low, middle, high = np.percentile(values, (5, 50, 95)).tolist()
    return Distribution(key, title, unit, of, log, edges.tolist(), layers, low, middle, high)


def _edges(values: np.ndarray, log: bool) -> np.ndarray:
    low, high = float(values.min()), float(values.max())
    if log:
        return np.geomspace(low, high, BINS + 1) if high > low * 1.001 else np.array([low / 1.5, low * 1.5])
    if (values == np.rint(values)).all():
        # Whole numbers have bins of their own, or of as many each.
        step = max(1, int(np.ceil((high - low + 1) / BINS)))
        return np.arange(low - 0.5, high + step + 0.5, step)
    return np.linspace(low, high, BINS + 1) if high > low else np.array([low - 0.5, low + 0.5])


def places(data: Data) -> Places | None:
    """Where objects lie in their images, all laid upon each other; None without objects."""
    objects = data.objects
    if not len(objects):
        return None
    height, width = data.usual_size
    aspect = min(max(width / max(height, 1), 0.25), 8.0)
    rows = int(np.clip(round((GRID / aspect) ** 0.5), 4, 24))
    columns = int(np.clip(round(rows * aspect), 4, 48))
    centre = (objects.boxes[:, :2] + objects.boxes[:, 2:]) / 2 / np.maximum(data.images.sizes[objects.image][:, ::-1], 1)
    column = np.clip((centre[:, 0] * columns).astype(int), 0, columns - 1)
    row = np.clip((centre[:, 1] * rows).astype(int), 0, rows - 1)
    cell = row * columns + column

    def counted(own: np.ndarray) -> list[list[int]]:
        return np.bincount(cell[own], minlength=rows * columns).reshape(rows, columns).tolist()

    labels = commonest(data, MOST_MAPS)
    whole = counted(np.ones(len(cell), bool))
    return Places(aspect, whole, labels, [counted(objects.label == label) for label in labels])


def commonest(data: Data, most: int) -> list[int]:
    """Labels of the classes with the most objects, in the order of the labels; none without objects."""
    total = np.bincount(data.objects.label, minlength=len(data.class_names))
    order = [int(label) for label in np.argsort(-total, kind="stable")[:most] if total[label]]
    return sorted(order)


def together(data: Data) -> Together | None:
    """Which classes are seen in one image; None of a single class."""
    labels = commonest(data, MOST_TOGETHER)
    if len(labels) < 2:
        return None
    shown = np.zeros((len(data.images.counts), len(data.class_names)), np.int64)
    shown[data.objects.image, data.objects.label] = 1
    own = shown[:, labels]
    return Together(labels, (own.T @ own).tolist())


def size_counts(data: Data) -> list[SizeCount]:
    """Sizes of the images, the commonest first."""
    if not len(data.images.sizes):
        return []
    found, often = np.unique(data.images.sizes, axis=0, return_counts=True)
    return list(_sizes(found, often))[:MOST_SIZES]


def _sizes(found: np.ndarray, often: np.ndarray) -> Iterator[SizeCount]:
    for i in np.argsort(-often, kind="stable").tolist():
        yield SizeCount(int(found[i, 0]), int(found[i, 1]), int(often[i]))
