"""From masks and pixels: probabilities of boxes -> `Rle` masks of the image, masks of an image -> one map of classes."""

from collections.abc import Iterator, Sequence

import cv2
import numpy as np

from .rle import Rle

IGNORED = 255  # in a map of classes: nothing is to be learnt there
_UNTHREADED = 1 << 18  # multiplications from which OpenBLAS takes threads
BYTES_PER_PIXEL = 10  # float32 probability, its boolean, and the copies encoding makes


def paste_masks(
    probs: np.ndarray, boxes: np.ndarray, height: int, width: int, threshold: float = 0.5, budget_bytes: int = 64 << 20
) -> list[Rle]:
    """Resample each mask into its box and threshold it, as mmdetection's and ppdet's `paste_mask` do.

    probs (n, S, S) float32 in [0, 1]; boxes (n, 4) float32 x1, y1, x2, y2 in pixels of the image. A pixel is
    set where the bilinear sample at its centre is >= `threshold` (zero outside the mask, align_corners=False).
    Samples agree with a float32 `grid_sample` to about 1e-5: a pixel so close to the threshold may differ.
    Boxes without extent give empty masks.

    Working memory stays under `budget_bytes` whatever the size of image and boxes: only the part of the image
    a box covers is computed, in strips of columns. ValueError for wrong shapes, a box that is not finite, or a
    threshold outside (0, 1].
    """
    n = len(probs)
    if probs.ndim != 3 or boxes.shape != (n, 4):
        raise ValueError(f"probs (n, S, S) and boxes (n, 4) are needed, not {probs.shape} and {boxes.shape}")
    if not np.isfinite(boxes).all():
        raise ValueError("a box to paste a mask into is not finite")
    if not 0 < threshold <= 1:
        raise ValueError(f"threshold {threshold} is not in (0, 1]")
    columns = max(1, budget_bytes // (BYTES_PER_PIXEL * max(height, 1)))
    return [_paste(prob, box, height, width, threshold, columns) for prob, box in zip(probs, boxes)]


def _paste(prob: np.ndarray, box: np.ndarray, height: int, width: int, threshold: float, columns: int) -> Rle:
    y0, rows = sample_weights(box[1], box[3], prob.shape[0], height)
    x0, cols = sample_weights(box[0], box[2], prob.shape[1], width)
    if not len(rows) or not len(cols):
        return Rle.empty(height, width)
    # Bilinear sampling is separable, so two thin matrix products do it. Columns come first: the transpose of
    # the result is in Fortran order, which is the order masks are encoded in.
    across = _product(cols, prob.astype(np.float32, copy=False))
    strips = []
    for start in range(0, len(cols), columns):
        soft = _product(across[start : start + columns], rows)
        strips.append(Rle.from_window((soft >= threshold).T, y0, x0 + start, height, width))
    return strips[0] if len(strips) == 1 else Rle.merge(strips)


def paste_probabilities(probs: np.ndarray, boxes: np.ndarray, height: int, width: int) -> Iterator[tuple[int, int, np.ndarray]]:
    """Resample each mask into its box, as `paste_masks` before the threshold: first row, first column, (h, w) float32 there."""
    for prob, box in zip(probs, boxes):
        y, rows = sample_weights(box[1], box[3], prob.shape[0], height)
        x, cols = sample_weights(box[0], box[2], prob.shape[1], width)
        yield y, x, _product(_product(cols, prob.astype(np.float32, copy=False)), rows).T


def _product(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """left (m, k) times the transpose of right (n, k), float32, in pieces that numpy's matrix library gives no threads.

    Its threads go on spinning after a product, on the cores that a model wants: half of the time of small models.
    """
    out = np.empty((len(left), len(right)), np.float32)
    step = max(1, _UNTHREADED // max(1, right.size))
    for start in range(0, len(left), step):
        np.matmul(left[start : start + step], right.T, out=out[start : start + step])
    return out


def sample_weights(low: float, high: float, samples: int, limit: int) -> tuple[int, np.ndarray]:
    """Bilinear weights along one axis: first pixel touched, and weights (pixels, samples) float32.

    `samples` values span low…high; pixels lie in 0…limit and are sampled at their centres. Pixels more than
    half a sample outside the span get nothing from it and are left out. No pixels where high <= low.
    """
    low, high = np.float32(low), np.float32(high)  # type: ignore[assignment]
    if high <= low:
        return 0, np.zeros((0, samples), np.float32)
    margin = (high - low) / samples / 2
    first = int(np.clip(np.floor(low - margin - 0.5), 0, limit))
    last = int(np.clip(np.ceil(high + margin + 0.5), 0, limit))
    centre = np.arange(first, last, dtype=np.float32) + np.float32(0.5)
    # The same float32 steps as grid_sample's, so that both round alike.
    unit = (centre - low) / (high - low) * 2 - 1
    position = ((unit + 1) * samples - 1) / 2
    weights = 1 - np.abs(position[:, None] - np.arange(samples, dtype=np.float32))
    return first, np.maximum(weights, 0, dtype=np.float32)


def rasterise(masks: Sequence[Rle], labels: np.ndarray, crowd: np.ndarray, height: int, width: int) -> np.ndarray:
    """(height, width) uint8: 0 background, label + 1 on instances, 255 on crowds.

    Where masks overlap the smaller one is on top, and any instance covers a crowd, since its class is known.
    """
    # Masks run down the columns, so the canvas is filled transposed: one run is one piece of memory.
    canvas = np.zeros((width, height), np.uint8)
    flat = canvas.reshape(-1)
    areas = [mask.area for mask in masks]
    for i in sorted(range(len(masks)), key=lambda i: (not crowd[i], -areas[i])):
        flat[_pixels(masks[i])] = IGNORED if crowd[i] else int(labels[i]) + 1
    return np.ascontiguousarray(canvas.T)


def rasterise_classes(
    masks: Sequence[Rle], labels: np.ndarray, crowd: np.ndarray, num_classes: int, height: int, width: int
) -> np.ndarray:
    """(num_classes, height, width) uint8, a plane for each class: 1 on its instances, 0 elsewhere.

    255 on crowds of the class where none of its instances is. Raises: IndexError for a label beyond the classes.
    """
    found = np.zeros((num_classes, height, width), np.uint8)
    for label in np.unique(labels).tolist():
        if not 0 <= label < num_classes:
            raise IndexError(f"label {label} of {num_classes} classes")
        own, plane = labels == label, found[label]
        if (objects := np.flatnonzero(own & ~crowd)).size:
            _draw(masks, objects, plane)
        if (crowds := np.flatnonzero(own & crowd)).size:
            ignored = _draw(masks, crowds, np.empty_like(plane))
            plane[(ignored > 0) & (plane == 0)] = IGNORED
    return found


def _draw(masks: Sequence[Rle], chosen: np.ndarray, plane: np.ndarray) -> np.ndarray:
    """Fill `plane` (height, width) uint8 with 1 on these masks, 0 elsewhere."""
    # Masks run down the columns, so they are decoded so; OpenCV turns an array six times as fast as numpy copies a turned one.
    return cv2.transpose(Rle.merge([masks[i] for i in chosen]).to_bitmap().T, dst=plane)


def _pixels(mask: Rle) -> np.ndarray:
    """Positions (area,) int64 of the set pixels, down the columns."""
    starts, lengths = mask.runs()
    ends = np.cumsum(lengths)
    return np.arange(ends[-1] if len(ends) else 0) + np.repeat(starts - ends + lengths, lengths)
