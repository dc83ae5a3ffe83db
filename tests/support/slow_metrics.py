"""Kaggle's metrics a second time: bitmaps, plain loops and exact fractions, nothing shared with `ppdet_ext.evaluation`."""

from fractions import Fraction

import cv2
import numpy as np

# One image's one class: annotated bitmaps, predicted bitmaps by falling score, and the attributes of each annotation.
Pair = tuple[list[np.ndarray], list[np.ndarray], list[tuple[int, ...]]]


def severstal_dice(images: list[list[Pair]]) -> float:
    """Mean over images and classes of Dice, 1 for nothing in nothing."""
    values = []
    for image in images:
        for annotated, predicted, _ in image:
            left = {tuple(pixel) for bitmap in annotated for pixel in np.argwhere(bitmap).tolist()}
            right = {tuple(pixel) for bitmap in predicted for pixel in np.argwhere(bitmap).tolist()}
            values.append(Fraction(2 * len(left & right), len(left) + len(right)) if left or right else Fraction(1))
    return float(sum(values) / len(values))


def mean_iou(images: list[list[Pair]]) -> float:
    """Mean over classes that occur of shared by covered pixels of all images."""
    ious = []
    for k in range(len(images[0])):
        shared = covered = 0
        for image in images:
            annotated, predicted, _ = image[k]
            for position in np.ndindex(*_size(image)):
                in_truth = any(bitmap[position] for bitmap in annotated)
                in_found = any(bitmap[position] for bitmap in predicted)
                shared += in_truth and in_found
                covered += in_truth or in_found
        if covered:
            ious.append(Fraction(shared, covered))
    return float(sum(ious) / len(ious)) if ious else -1.0


def imaterialist(images: list[list[Pair]], size: int, match: str, average: str) -> float:
    """Mean of TP / (TP + FP + FN), matching anew at each threshold."""
    of_images, of_pairs = [], []
    for image in images:
        scores = []
        for annotated, predicted, attributes in image:
            for left, right in _class_ids(annotated, predicted, attributes, size, match):
                if left or right:
                    scores.append(_precision(left, right))
        of_pairs += scores
        of_images.append(sum(scores) / len(scores) if scores else Fraction(1))
    values = of_images if average == "image" else of_pairs
    return float(sum(values) / len(values)) if values else -1.0


def _class_ids(annotated, predicted, attributes, size, match):
    """(annotated, predicted) of the category alone, then of each class id with attributes."""
    left = [(_small(bitmap, size), tags) for bitmap, tags in zip(annotated, attributes)]
    left = [(bitmap, tags) for bitmap, tags in left if bitmap.any()]
    right = [small for small in (_small(bitmap, size) for bitmap in predicted) if small.any()]
    if match == "category":
        yield [bitmap for bitmap, _ in left], right
        return
    yield [bitmap for bitmap, tags in left if not tags], right
    for group in {frozenset(tags) for _, tags in left if tags}:
        yield [bitmap for bitmap, tags in left if frozenset(tags) == group], []


def _precision(left: list[np.ndarray], right: list[np.ndarray]) -> Fraction:
    """Mean over IoU > 10/20 … 19/20."""
    overlaps = {}
    for j, predicted in enumerate(right):
        for i, annotated in enumerate(left):
            shared, either = int((annotated & predicted).sum()), int((annotated | predicted).sum())
            overlaps[j, i] = Fraction(shared, either)
    total = Fraction(0)
    for k in range(10, 20):
        pairs = sorted((-iou, j, i) for (j, i), iou in overlaps.items() if iou > Fraction(k, 20))
        used_left, used_right = [], []
        for _, j, i in pairs:
            if i not in used_left and j not in used_right:
                used_left.append(i)
                used_right.append(j)
        hits = len(used_left)
        total += Fraction(hits, hits + (len(right) - hits) + (len(left) - hits))
    return total / 10


def _small(bitmap: np.ndarray, size: int) -> np.ndarray:
    return cv2.resize(bitmap.astype(np.uint8), (size, size), interpolation=cv2.INTER_NEAREST).astype(bool)


def _size(image: list[Pair]) -> tuple[int, int]:
    shapes = [bitmap.shape for annotated, predicted, _ in image for bitmap in [*annotated, *predicted]]
    return shapes[0] if shapes else (0, 0)
