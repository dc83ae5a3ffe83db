"""HTC's heads with losses of one's own: the defaults given by name change no bit, others reach every stage, and only those."""

import numpy as np
import paddle
import paddle.nn.functional as F
from reference_model import random_batch, small_model

from ppdet_ext.modeling.ops.loss_functions import Loss, cross_entropy


def losses_with(class_loss: Loss | None = None, mask_loss: Loss | None = None) -> dict[str, float]:
    """Of one batch, by a model of the same weights whatever its losses."""
    paddle.seed(3)
    np.random.seed(3)
    model = small_model(depth=18, channels=16, class_loss=class_loss, mask_loss=mask_loss)
    model.train()
    return {name: float(value) for name, value in model(random_batch(2)).items()}


def test_the_defaults_by_name_change_no_bit() -> None:
    assert losses_with(cross_entropy, F.binary_cross_entropy_with_logits) == losses_with()


def test_own_losses_reach_every_stage_and_nothing_else() -> None:
    usual = losses_with()
    own = losses_with(
        lambda logits, labels: 2 * cross_entropy(logits, labels),
        lambda logits, targets: 4 * F.binary_cross_entropy_with_logits(logits, targets),
    )
    # Boxes of a later stage are those that the stage before has moved, whatever the losses: nothing was learnt in between.
    for name, value in usual.items():
        factor = 2 if name.startswith("loss_bbox_cls") else 4 if name.startswith("loss_mask") else 1
        if name != "loss":
            assert own[name] == factor * value, name
    assert sum(name.startswith(("loss_bbox_cls", "loss_mask")) for name in usual) == 6
