"""The linear scaling rule (Goyal et al., arXiv 1706.02677): the learning rate is proportional to the images of a step."""

import logging

from ppdet.core.workspace import global_config

logger = logging.getLogger("ppdet_ext.engine")


def scale_learning_rate(base_batch_size: int | None, total_batch: int) -> float:
    """Multiply the configured `LearningRate.base_lr` by total_batch / base_batch_size; gives the result.

    Args:
        base_batch_size: images of a step that base_lr is meant for; None leaves base_lr alone.
        total_batch: images of a step: batch size × ranks × accumulated batches.
    """
    section = global_config["LearningRate"]
    base = float(section.get("base_lr", 0.01))
    if base_batch_size in (None, total_batch):
        return base
    section["base_lr"] = base * total_batch / base_batch_size
    logger.info(
        "Learning rate %g for %d images a step (base_lr %g is for %d)", section["base_lr"], total_batch, base, base_batch_size
    )
    return section["base_lr"]
