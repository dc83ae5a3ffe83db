"""From the tensors that an exported model gives to `Candidates` in pixels of the original pictures."""

from collections.abc import Mapping, Sequence

import numpy as np

from ppdet_ext.data.transforms.sample import Sample
from ppdet_ext.errors import DivergenceError, UserError
from ppdet_ext.structures import Candidates
from ppdet_ext.structures.probability_map import resize_maps

INSTANCES, MAPS, PRESENCE = "boxes", "maps", "presence"


def check_outputs(names: Sequence[str], folder: object) -> None:
    """UserError for a model whose outputs are of no kind that is known."""
    if INSTANCES in names and {"scores", "labels"}.issubset(names):
        return
    if MAPS not in names and PRESENCE not in names:
        raise UserError(
            f"{folder}: the model gives {', '.join(names)}; expected boxes, scores and labels, or maps, or presence. "
            "Export it with tools/export.py."
        )


def candidates_of(outputs: Mapping[str, np.ndarray], samples: Sequence[Sample], score_threshold: float) -> list[Candidates]:
    """What was found in each image.

    Args:
        outputs: boxes (n, 4) px of the resized images, scores (n,), labels (n,), image (n,) place in the batch and probs
            (n, S, S); or maps (B, classes, h, w); or presence (B, classes), also beside the others.
        samples: the images of the batch, resized; the batch may have more behind them.
        score_threshold: of maps, see `Candidates.of_class_maps`.

    Raises:
        DivergenceError: an output is NaN or infinite.
    """
    for name, values in outputs.items():
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            raise DivergenceError(f"{name} of the exported model: NaN or infinite numbers")
    presence = outputs.get(PRESENCE)
    likely = [None if presence is None else presence[place].astype(np.float32) for place in range(len(samples))]
    if INSTANCES in outputs:
        return [_objects(outputs, place, sample, likely[place]) for place, sample in enumerate(samples)]
    if MAPS in outputs:
        return [
            Candidates.of_class_maps(_whole(maps, sample), own, score_threshold)
            for maps, sample, own in zip(outputs[MAPS], samples, likely)
        ]
    return [Candidates.of_presence(*sample.original_size, own) for sample, own in zip(samples, outputs[PRESENCE])]


def _objects(outputs: Mapping[str, np.ndarray], place: int, sample: Sample, presence: np.ndarray | None) -> Candidates:
    of_image = outputs.get("image")
    own = np.arange(len(outputs["scores"])) if of_image is None else np.flatnonzero(of_image == place)
    own = own[np.argsort(-outputs["scores"][own], kind="stable")]
    y, x = np.array(sample.scale_factor, np.float32)
    boxes = outputs["boxes"][own].astype(np.float32) / np.array([x, y, x, y], np.float32)
    scores, labels = outputs["scores"][own].astype(np.float32), outputs["labels"][own].astype(np.int64)
    probs = outputs["probs"][own].astype(np.float32) if "probs" in outputs else None
    return Candidates(*sample.original_size, boxes, scores, labels, probs, presence=presence)


def _whole(maps: np.ndarray, sample: Sample) -> np.ndarray:
    """Maps (classes, h, w) of an image, without its padding, at the size of the original picture."""
    height, width = sample.size
    return resize_maps(maps[:, :height, :width].astype(np.float32, copy=False), *sample.original_size)
