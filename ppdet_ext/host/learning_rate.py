"""The linear scaling rule (Goyal et al., arXiv 1706.02677): the learning rate is proportional to the images of a step."""

import logging

from ppdet.core.workspace import global_config

logger = logging.getLogger("ppdet_ext.engine")


def scale_learning_rate(base: float, base_batch_size: int | None, total_batch: int) -> float:
    """Make ppdet's `LearningRate.base_lr` base · total_batch / base_batch_size; gives it.

    Args:
        base: the configured rate.
        base_batch_size: images of a step that it is meant for; None for any number.
        total_batch: images of a step: batch size × ranks × accumulated batches.
    """
    rate = base if base_batch_size in (None, total_batch) else base * total_batch / base_batch_size
    if rate != base:
        logger.info("Learning rate %g for %d images a step (base_lr %g is for %d)", rate, total_batch, base, base_batch_size)
    global_config["LearningRate"]["base_lr"] = rate
    return rate
