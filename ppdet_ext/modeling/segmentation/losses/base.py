"""What every loss of segmentation maps has: a weight, the kinds of targets it takes, float32, and pixels that do not count."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence

import paddle

from ppdet_ext.errors import UserError
from ppdet_ext.host.registry import SEGMENTATION_LOSSES, build_entries, number_in

IGNORED = 255  # in targets: a pixel that no class is asked of, such as padding or a crowd
MULTILABEL, MULTICLASS = "multilabel", "multiclass"
KIND = "segmentation loss"


class SegmentationLoss:
    """A loss of logits (B, C, H, W); subclasses implement `value`.

    Targets are multilabel, (B, C, H, W) of 0 and 1 (uint8 or float), or multiclass, (B, H, W) of class numbers (int64; 0 is the
    background where the model has one). 255 is ignored in both. Which of the two it is, the number of axes says.

    Args:
        weight: factor of the loss in the sum, 0 or more.

    Attributes:
        tasks: kinds of targets that it takes.

    Raises:
        UserError: an argument is out of its range.
    """

    tasks: tuple[str, ...] = (MULTILABEL, MULTICLASS)

    def __init__(self, weight: float = 1.0) -> None:
        self.weight = number_in(weight, f"{type(self).__name__}.weight", 0)

    def __call__(self, logits: paddle.Tensor, targets: paddle.Tensor) -> paddle.Tensor:
        """The weighted loss, a float32 scalar, under `auto_cast` too: sums over pixels do not fit into 16 bits."""
        _demand_shapes(logits, targets)
        with paddle.amp.auto_cast(enable=False):
            loss = self.value(logits if logits.dtype == paddle.float64 else logits.astype("float32"), targets)
            return loss if self.weight == 1 else loss * self.weight

    def value(self, logits: paddle.Tensor, targets: paddle.Tensor) -> paddle.Tensor:
        """The loss without its weight, a scalar of the logits' type (float32; float64 in tests)."""
        raise NotImplementedError

    @property
    def name(self) -> str:
        """Its name among the losses of a step: `loss_bce`, `loss_batch_dice`."""
        return _loss_name(type(self).__name__)


def _loss_name(cls: str) -> str:
    return "loss_" + re.sub(r"(?<=[a-z])(?=[A-Z])", "_", cls).lower()


def is_map_loss(name: str) -> bool:
    """Whether a loss of a step is one of `loss_values` by its name, also as the second of its class (`loss_bce2`)."""
    known = {_loss_name(cls) for cls in SEGMENTATION_LOSSES}
    return name in known or name.rstrip("0123456789") in known


def build_losses(entries: Sequence[Mapping], task: str, key: str = "losses") -> list[SegmentationLoss]:
    """The losses of a list `[{BCE: {weight: 0.6}}, {Dice: {weight: 0.4}}]`, whose sum is trained.

    Args:
        entries: of the configuration.
        task: "multilabel" or "multiclass".
        key: of the list, for messages.

    Raises:
        UserError: empty, an unknown name or argument, or a loss of the other kind of targets.
    """
    if not entries:
        raise UserError(f"{key}: there is no loss; name at least one, for example [BCE: {{}}].")
    losses = build_entries(entries, KIND, key)
    for loss in losses:
        if task not in loss.tasks:
            cure = {"BCE": " Take SoftCE.", "SoftCE": " Take BCE."}.get(type(loss).__name__, "")
            raise UserError(f"{key}: {type(loss).__name__} takes {loss.tasks[0]} targets, and the task is {task}.{cure}")
    return losses


def loss_values(losses: Sequence[SegmentationLoss], logits: paddle.Tensor, targets: paddle.Tensor) -> dict[str, paddle.Tensor]:
    """Weighted losses by name; the second of one class has a 2 at its end."""
    seen: Counter[str] = Counter()
    found = {}
    for loss in losses:
        seen[loss.name] += 1
        found[loss.name + (str(seen[loss.name]) if seen[loss.name] > 1 else "")] = loss(logits, targets)
    return found


def map_sums(maps: paddle.Tensor, per_class: bool) -> paddle.Tensor:
    """Sums of maps (B, C, H, W) over the batch's pixels, of each class (C,) or of all classes (1,).

    Axis by axis: over several axes at once, and in `mean`, Paddle adds one float32 after the other on a CPU, which is wrong by
    a thousandth for a million pixels. `sum` of everything is exact.
    """
    return maps.sum(3).sum(2).sum(0) if per_class else maps.sum().reshape([1])


def mean_of(values: paddle.Tensor) -> paddle.Tensor:
    """Mean of all values, a scalar; see `map_sums` for why it is not Paddle's."""
    return values.sum() / values.size


def counted_pixels(targets: paddle.Tensor) -> paddle.Tensor:
    """Whether a target counts; bool, of the targets' shape."""
    return targets != IGNORED


def _demand_shapes(logits: paddle.Tensor, targets: paddle.Tensor) -> None:
    shape = list(logits.shape)
    if list(targets.shape) not in (shape, [shape[0], *shape[2:]]):
        raise ValueError(f"targets {list(targets.shape)} do not fit logits {shape}")
