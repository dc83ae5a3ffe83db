"""What a model says of whole images: the probabilities of their classes, over a data set."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from ppdet_ext.distributed.collective import on_every_rank, on_rank_0
from ppdet_ext.errors import UserError
from ppdet_ext.host import Config
from ppdet_ext.host.build import architecture_of

from .build import inference_loader
from .predict import in_order, predict
from .predictor import prepare


def is_classifier(cfg: Config) -> bool:
    """Whether the configured model tells classes of whole images, and nothing of pixels or boxes."""
    architecture = architecture_of(cfg)
    return hasattr(architecture, "presence") and not architecture.has_masks(cfg)


def presence_over(cfg: Config, key: str) -> np.ndarray | None:
    """Probabilities (images, classes) float32 of the data set under `key` in its order, on rank 0; None on the others.

    Called by all ranks, each of which predicts its part.

    Raises:
        UserError: for what the user can mend; a model that tells nothing of whole images.
        Exception: as `on_every_rank` and `predict`.
    """
    inference, dataset = prepare(cfg, key)
    loader = inference_loader(cfg, dataset, "eval")

    def presence(batch: Mapping[str, Any]) -> list[np.ndarray]:
        return [told(one.presence, cfg) for one in inference.candidates(batch)]

    results = predict(inference, loader, loader.images, "Predict", presence)
    shards = on_every_rank(lambda: [(im_id, one) for im_id, _, one in results], "prediction")
    ordered: list[np.ndarray] = []
    on_rank_0(lambda: ordered.extend(one for _, one in in_order(dataset.records, shards)), "putting predictions together")
    return np.stack(ordered) if ordered else None


def told(presence: np.ndarray | None, cfg: Config) -> np.ndarray:
    """What is there. Raises: UserError for None."""
    if presence is None:
        raise UserError(
            f"{cfg.architecture} does not tell which classes are in an image; take an ImageClassifier, a SemanticSegmentor "
            "with a classification head, or name one beside the model (Classifier: {config: …, weights: …})."
        )
    return presence
