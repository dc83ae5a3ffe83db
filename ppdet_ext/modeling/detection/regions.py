"""Regions of a batch: one row each, image after image, and the heads' outputs for them."""

import numpy as np
import paddle

from ppdet_ext.errors import DivergenceError


def stack(boxes: list[np.ndarray]) -> np.ndarray:
    """Boxes (n, 4) of each image as rois (n, 5) float32, the image's index first."""
    image = np.repeat(np.arange(len(boxes)), [len(b) for b in boxes]).astype(np.float32)
    return np.concatenate([image[:, None], np.concatenate(boxes).reshape(-1, 4)], axis=1).astype(np.float32)


def split(rows: np.ndarray, counts: list[int]) -> list[np.ndarray]:
    """Rows of all images -> those of each image, which has `counts` of them."""
    return np.split(rows, np.cumsum(counts)[:-1])


def finite(values: np.ndarray, what: str) -> np.ndarray:
    """The values; DivergenceError naming them where one is NaN or infinite."""
    if not np.isfinite(values).all():
        raise DivergenceError(f"{what} are not finite")
    return values


def of_class(outputs: paddle.Tensor, rows: np.ndarray, labels: np.ndarray) -> paddle.Tensor:
    """outputs[rows, labels] of (n, classes, …) -> (len(rows), …)."""
    return paddle.gather_nd(outputs, paddle.to_tensor(np.stack([rows, labels], axis=1)))
