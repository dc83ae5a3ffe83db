"""What inference asks of a model. It knows no class of `modeling`: whatever has these methods predicts, or is averaged."""

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

import numpy as np

from ppdet_ext.structures import Candidates, TestSettings

# Images, (B, 3, H, W) tensor "image", with "im_shape" (h, w) without padding, "scale_factor" (y, x), "origin_shape" (h, w),
# "im_id" and "names" of each.
Batch = Mapping[str, Any]
# numpy.ndarray or paddle.Tensor, on any device: whoever takes one calls `numpy.asarray` or `paddle.to_tensor` on it.
Array = Any
# What a model computes once for a batch; only the model itself looks into it.
Features = Any


@runtime_checkable
class Detector(Protocol):
    """Every model. `settings` are those it is configured with; callers pass them on, or others.

    The class itself also tells, before any model is built, what a configuration says, and how a configuration says something:

        settings_from(cfg) -> TestSettings
        has_masks(cfg) -> bool
        settings_sections(score_threshold=…, nms_iou=…, max_detections=…) -> {"HTCRoIHead": {"score_threshold": …, …}}
    """

    @property
    def training(self) -> bool: ...

    @property
    def settings(self) -> TestSettings: ...

    def eval(self) -> None: ...

    def train(self) -> None: ...

    def candidates(self, batch: Batch, settings: TestSettings) -> list[Candidates]:
        """Find the objects of each image of a batch, in pixels of the original image.

        Raises:
            DivergenceError: an output is NaN or infinite.
        """
        ...


@runtime_checkable
class MapDetector(Detector, Protocol):
    """A model that classifies pixels: its views and its likes are averaged as maps, see `MapEnsemble`.

    Attributes:
        num_classes: without background.
    """

    @property
    def num_classes(self) -> int: ...

    def class_maps(self, batch: Batch) -> list[np.ndarray]:
        """Of each image probabilities (num_classes, h, w) float32 in the network's pixels, without padding."""
        ...


@runtime_checkable
class PresenceDetector(Detector, Protocol):
    """A model that says which classes are in an image: a classifier, or a model with a head for that.

    Attributes:
        num_classes: without background.
    """

    @property
    def num_classes(self) -> int: ...

    def presence(self, batch: Batch) -> np.ndarray:
        """Probabilities (B, num_classes) float32 that a class is in an image."""
        ...


@runtime_checkable
class AveragedDetector(Detector, Protocol):
    """A model whose views and whose likes can be averaged, as `Ensemble` does. Boxes are in pixels of the network's input.

    Attributes:
        num_classes: without background.
        mask_cells: cells along each side of a mask's probabilities; None of a model without masks.
        class_agnostic: whether a region has one box for all classes.
    """

    @property
    def num_classes(self) -> int: ...

    @property
    def mask_cells(self) -> int | None: ...

    @property
    def class_agnostic(self) -> bool: ...

    def pyramid(self, batch: Batch) -> Features:
        """Compute what the other methods take."""
        ...

    def proposals(self, features: Features, settings: TestSettings) -> list[tuple[Array, Array]]:
        """Propose regions of each image, best first: boxes (n, 4) float32, objectness (n,) float32."""
        ...

    def cascade(self, features: Features, proposals: list[Array]) -> tuple[list[Array], list[Array]]:
        """Classify and refine regions: of each image boxes (n, 4) or (n, classes, 4), scores (n, classes) float32."""
        ...

    def masks(self, features: Features, boxes: list[Array], labels: list[Array]) -> list[Array]:
        """Draw masks of boxes (n, 4) of classes (n,): of each image probabilities (n, mask_cells, mask_cells) float32."""
        ...
