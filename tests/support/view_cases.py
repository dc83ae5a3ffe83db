"""Pictures, readers and models for the tests of views and ensembles."""

import cv2
import numpy as np
import paddle
from recipe import image
from recipe_weights import give_weights
from reference_model import mask_rcnn, reference_model

from ppdet_ext.data.transforms.sample import Sample, sample_of
from ppdet_ext.inference.ensemble import Ensemble
from ppdet_ext.inference.views import Views
from ppdet_ext.modeling.detection import HybridTaskCascade
from ppdet_ext.structures import Candidates, Record, TestSettings

NATIVE = [{"ReadImage": {}}, {"NormalizeToCHW": {}}]
RESIZED = [{"ReadImage": {}}, {"ResizeFixed": {"height": 150, "width": 220}}, {"NormalizeToCHW": {}}]


def fixed(height: int, width: int) -> dict:
    return {"ResizeFixed": {"height": height, "width": width}}


def sample_with(pixels: np.ndarray) -> Sample:
    """A decoded sample of (h, w, 3) uint8."""
    sample = sample_of(Record(1, "a.jpg", "a.jpg", *pixels.shape[:2]), targets=False)
    sample.image = np.ascontiguousarray(pixels)
    return sample


def picture(height: int, width: int, seed: int = 0) -> np.ndarray:
    """Blocky noise (h, w, 3) uint8, in which the reference's models find something."""
    return (image(seed, height, width)[0] * 58 + 120).clip(0, 255).astype(np.uint8).transpose(1, 2, 0)


def mirrored(pixels: np.ndarray) -> np.ndarray:
    return cv2.flip(pixels, 1)


def model(name: str = "tiny_a") -> HybridTaskCascade:
    """One of the reference's tiny models with its weights, in eval mode; "tiny_mask" has boxes of each class."""
    built = mask_rcnn() if name == "tiny_mask" else reference_model(name)
    if name == "tiny_mask":
        give_weights(built, name)
    built.eval()
    return built


def batch_of(sample: Sample, views: Views, index: int = 0) -> dict:
    """What the model alone is given for a view."""
    batch, _ = views.render(sample, index)
    return {**batch, "image": paddle.to_tensor(batch["image"])}


def alone(model: HybridTaskCascade, batch: dict) -> Candidates:
    """What a model finds in the one image of a batch."""
    return model.candidates(batch, model.settings)[0]


def found_by(members: list, sample: Sample, settings: TestSettings | None = None) -> Candidates:
    ensemble = Ensemble(members)
    batch = {"sample": sample, "names": [sample.name], "im_id": np.array([sample.im_id])}
    found = ensemble.candidates(batch, settings or ensemble.settings)
    assert len(found) == 1
    return found[0]


def assert_same(found: Candidates, expected: Candidates, atol: float = 0.0) -> None:
    """Equal, to the last bit where `atol` is 0; boxes to ten times `atol` px."""
    assert len(found) == len(expected)
    assert (found.height, found.width) == (expected.height, expected.width)
    np.testing.assert_array_equal(found.labels, expected.labels)
    for key in ("boxes", "scores", "probs"):
        ours, theirs = getattr(found, key), getattr(expected, key)
        assert (ours is None) == (theirs is None)
        if ours is not None:
            assert ours.dtype == theirs.dtype
            assert ours.shape == theirs.shape
            np.testing.assert_allclose(ours, theirs, rtol=0, atol=atol * (10 if key == "boxes" else 1))


def network_inputs(sizes: list[tuple[int, int]]) -> tuple[np.ndarray, np.ndarray]:
    """Pictures as a reader would make a batch of them: (B, 3, H, W), padded to 32, and im_shape (B, 2)."""
    height, width = (-(-max(side) // 32) * 32 for side in zip(*sizes))
    images = np.zeros((len(sizes), 3, height, width), np.float32)
    for b, (h, w) in enumerate(sizes):
        images[b, :, :h, :w] = (picture(h, w, b).astype(np.float32).transpose(2, 0, 1) - 120) / 58
    return images, np.array(sizes, np.float32)


def network_batch(images: np.ndarray, shapes: np.ndarray) -> dict:
    scale, original = np.ones_like(shapes), shapes.astype(int)
    return {"image": paddle.to_tensor(images), "im_shape": shapes, "scale_factor": scale, "origin_shape": original}
