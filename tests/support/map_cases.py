"""Models that classify pixels without learning anything, for the tests of maps."""

from collections.abc import Sequence

import cv2
import numpy as np

from ppdet_ext.inference.protocol import Batch
from ppdet_ext.structures import Candidates, TestSettings
from ppdet_ext.structures.probability_map import resize_maps


class PixelModel:
    """Probability of class k: how blue, green or red a pixel is, to the power `gamma`, times `gain`; NaN where it is told so.

    It has the class methods and attributes that inference asks of an architecture.
    """

    def __init__(self, num_classes: int = 3, gamma: float = 1.0, gain: float = 1.0, broken: bool = False) -> None:
        self.num_classes, self.gamma, self.gain, self.broken = num_classes, gamma, gain, broken
        self.training = False
        self.settings = TestSettings(score_threshold=0.0)
        self.sizes: list[tuple[int, int]] = []

    def eval(self) -> None:
        self.training = False

    def train(self) -> None:
        self.training = True

    def class_maps(self, batch: Batch) -> list[np.ndarray]:
        images = np.asarray(batch["image"])
        maps = []
        for image, (height, width) in zip(images, np.asarray(batch["im_shape"]).astype(int)):
            self.sizes.append((int(height), int(width)))
            unit = (image[: self.num_classes, :height, :width] - images.min()) / max(float(np.ptp(images)), 1e-6)
            found = (self.gain * unit.astype(np.float32) ** np.float32(self.gamma)).astype(np.float32)
            maps.append(np.full_like(found, np.nan) if self.broken else found)
        return maps

    def candidates(self, batch: Batch, settings: TestSettings) -> list[Candidates]:
        sizes = np.asarray(batch["origin_shape"]).tolist()
        maps = [resize_maps(own, *size) for own, size in zip(self.class_maps(batch), sizes)]
        return [Candidates.of_class_maps(own, above=settings.score_threshold) for own in maps]


class HeadedPixelModel(PixelModel):
    """One with a head for whole images: the mean of each map."""

    def maps_and_presence(self, batch: Batch) -> tuple[list[np.ndarray], np.ndarray]:
        maps = self.class_maps(batch)
        return maps, np.stack([own.mean(axis=(1, 2)) for own in maps])


class WholeImageModel(PixelModel):
    """A classifier: says only how likely a class is in the image."""

    class_maps = None  # type: ignore[assignment]

    def __init__(self, probabilities: Sequence[float]) -> None:
        super().__init__(len(probabilities))
        self.probabilities = np.array(probabilities, np.float32)

    def presence(self, batch: Batch) -> np.ndarray:
        # A mirrored view is brighter on one side: views must differ for a mean to tell.
        left = np.asarray(batch["image"])[:, :, :, :4].mean() > np.asarray(batch["image"])[:, :, :, -4:].mean()
        return np.tile(self.probabilities * np.float32(1.0 if left else 0.5), (len(batch["names"]), 1))

    def candidates(self, batch: Batch, settings: TestSettings) -> list[Candidates]:
        sizes = np.asarray(batch["origin_shape"]).tolist()
        return [Candidates.of_presence(*size, own) for size, own in zip(sizes, self.presence(batch))]


def soft_picture(height: int = 60, width: int = 90, seed: int = 0) -> np.ndarray:
    """Smooth colours (h, w, 3) uint8, brighter on the left."""
    rng = np.random.default_rng(seed)
    coarse = cv2.resize(rng.uniform(0, 255, (5, 7, 3)), (width, height), interpolation=cv2.INTER_CUBIC)
    return (coarse * np.linspace(1, 0.6, width)[None, :, None]).clip(0, 255).astype(np.uint8)
