"""The model, its optimizer and schedule, by ppdet's own builders."""

from collections.abc import Sequence
from itertools import pairwise

import paddle
from ppdet.core.workspace import AttrDict, create

from ppdet_ext.errors import UserError


def build_model(cfg: AttrDict) -> paddle.nn.Layer:
    """The configured architecture; UserError where its parts do not go together."""
    try:
        return create(cfg.architecture)
    except UserError:
        raise
    except (AssertionError, TypeError, ValueError) as error:
        raise UserError(f"The model {cfg.architecture} cannot be built from this configuration: {error}") from error


def build_optimizer(
    cfg: AttrDict,
    model: paddle.nn.Layer,
    steps_per_epoch: int,
) -> tuple[paddle.optimizer.lr.LRScheduler, paddle.optimizer.Optimizer]:
    """Learning-rate schedule (its epochs are `steps_per_epoch` steps) and optimizer, by ppdet's builders."""
    try:
        schedule = create("LearningRate")(steps_per_epoch)
        optimizer = create("OptimizerBuilder")(schedule, model)
    except (AssertionError, LookupError, TypeError, ValueError, AttributeError) as error:
        raise UserError(f"LearningRate or OptimizerBuilder cannot be built: {type(error).__name__}: {error}") from error
    boundaries: Sequence[int] = getattr(schedule, "boundaries", ())
    if any(later < earlier for earlier, later in pairwise(boundaries)):
        raise UserError(
            f"LearningRate: with {steps_per_epoch} steps per epoch the warm-up does not end before the first "
            "milestone, or milestones are not ascending. Shorten LinearWarmup.steps or move the milestones."
        )
    return schedule, optimizer
