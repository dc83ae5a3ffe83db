"""The model, its optimizer and schedule, by ppdet's own builders."""

import logging
from typing import Any

import paddle
from ppdet.core.workspace import create, global_config

from ppdet_ext.errors import UserError, counted

from . import optimizer, schedules  # noqa: F401  they put their builders in place of ppdet's
from .registry import ADAPTERS
from .schedules import warn_of_length
from .start import check_schedule
from .workspace import Config, workspace

logger = logging.getLogger("ppdet_ext")


def build_model(cfg: Config) -> paddle.nn.Layer:
    """The configured architecture; UserError where its parts do not go together."""
    try:
        with workspace(cfg):
            model = create(cfg.architecture)
        return ADAPTERS[cfg.architecture](model) if cfg.architecture in ADAPTERS else model
    except UserError:
        raise
    except (AssertionError, TypeError, ValueError) as error:
        raise UserError(f"The model {cfg.architecture} cannot be built from this configuration: {error}") from error


def architecture_of(cfg: Config) -> Any:
    """The class of the configured architecture, which need not be built; of ppdet's its adapter.

    Beside the model's methods (`ppdet_ext.inference.protocol`) it has `settings_from`, `has_masks` and `settings_sections`.
    """
    return architecture_named(cfg.architecture)


def architecture_named(name: str) -> Any:
    """`architecture_of` a configuration that names it. KeyError where it is not registered."""
    if name in ADAPTERS:
        return ADAPTERS[name]
    schema = global_config[name]
    return getattr(schema.pymodule, schema.name)


def scaled_rate(base: float, base_batch_size: int | None, total_batch: int) -> float:
    """The learning rate by the linear scaling rule (arXiv 1706.02677): in proportion to the images of a step.

    Args:
        base: the configured rate.
        base_batch_size: images of a step that it is meant for; None for any number.
        total_batch: images of a step: batch size × ranks × accumulated batches.
    """
    rate = base if base_batch_size in (None, total_batch) else base * total_batch / base_batch_size
    if rate != base:
        images = counted(total_batch, "images")
        logger.info("Learning rate %g for %s a step (base_lr %g is for %d)", rate, images, base, base_batch_size)
    return rate


def build_optimizer(
    cfg: Config, model: paddle.nn.Layer, steps_per_epoch: int, base_lr: float | None = None
) -> tuple[paddle.optimizer.lr.LRScheduler, paddle.optimizer.Optimizer]:
    """Learning-rate schedule (its epochs are `steps_per_epoch` steps) and optimizer, by ppdet's builders.

    base_lr: in place of the configured one.
    """
    if base_lr is not None:
        cfg = cfg.replaced(LearningRate={"base_lr": base_lr})
    try:
        with workspace(cfg):
            schedule = create("LearningRate")(steps_per_epoch)
            built = create("OptimizerBuilder")(schedule, model)
    except UserError:
        raise
    except (AssertionError, LookupError, TypeError, ValueError, AttributeError) as error:
        raise UserError(f"LearningRate or OptimizerBuilder cannot be built: {type(error).__name__}: {error}") from error
    check_schedule(cfg, steps_per_epoch, list(getattr(schedule, "boundaries", ())))
    warn_of_length(schedule, cfg.epoch, steps_per_epoch)
    return schedule, built
