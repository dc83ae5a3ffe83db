"""Value noise: the random fields, float32, that sheets and defects are made of."""

import cv2
import numpy as np


def value_noise(rng: np.random.Generator, height: int, width: int, cell_y: float, cell_x: float) -> np.ndarray:
    """Smooth noise (height, width), roughly N(0, 1), whose bumps measure cell_y × cell_x pixels.

    Random values on a coarse grid, cubic interpolation between them. Cells of unequal size give streaks:
    cell_y ≫ cell_x runs along the rolling direction, which is vertical in our sheets.
    """
    rows = max(2, int(np.ceil(height / max(cell_y, 1.0))) + 2)
    cols = max(2, int(np.ceil(width / max(cell_x, 1.0))) + 2)
    grid = rng.standard_normal((rows, cols), dtype=np.float32)
    # The grid is placed with a random phase: else every field would have its extremes in the same pixels.
    phase_y, phase_x = rng.random(2)
    scale_y, scale_x = (rows - 2) / height, (cols - 2) / width
    move = np.array([[scale_x, 0, phase_x], [0, scale_y, phase_y]], np.float32)
    flags = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(grid, move, (width, height), flags=flags, borderMode=cv2.BORDER_REFLECT_101)


def octaves(
    rng: np.random.Generator,
    height: int,
    width: int,
    cell_y: float,
    cell_x: float,
    count: int,
    gain: float = 0.55,
) -> np.ndarray:
    """Sum of `count` value noises (height, width), each of half the cell and `gain` times the strength."""
    total = np.zeros((height, width), np.float32)
    power = 0.0
    for level in range(count):
        weight = gain**level
        total += weight * value_noise(rng, height, width, cell_y / 2**level, cell_x / 2**level)
        power += weight**2
    return total / np.float32(np.sqrt(power))


def smooth_step(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """0 below `low`, 1 above `high`, and the cubic 3t² − 2t³ between; float32, same shape."""
    t = np.clip((values - low) / (high - low), 0, 1).astype(np.float32)
    return t * t * (3 - 2 * t)


def grain(rng: np.random.Generator, height: int, width: int, sigma: float) -> np.ndarray:
    """Camera grain (height, width) with unit deviation, blurred by `sigma` pixels as an optic does."""
    noise = rng.standard_normal((height, width), dtype=np.float32)
    if sigma <= 0:
        return noise
    # A Gaussian blur divides the deviation of white noise by 2·sigma·sqrt(pi).
    return cv2.GaussianBlur(noise, (0, 0), sigma) * np.float32(max(1.0, 2 * sigma * np.sqrt(np.pi)))
