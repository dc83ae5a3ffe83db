"""What happens to predictions after the model: a list of steps in the order of the configuration.

PostProcess:
  - BoxNMS: {iou: 0.3}
  - ScoreThreshold: {score: {default: 0.5, shoe: 0.4}}
  - MaskThreshold: {threshold: 0.45}
  - MinArea: {area: 20}
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from ppdet_ext.errors import UserError, nearest
from ppdet_ext.registry import build_entries
from ppdet_ext.structures import Candidates, Detections, Rle

# In a mapping of values by class, this is the value of the classes that it does not name.
DEFAULT = "default"

# A value for all classes, a list with one for each, or by class name (or category id, see `label_of`) with "default" for the
# others, even where a class has that name.
PerClass = float | list | dict


@dataclass
class ImageContext:
    """What a step may ask beside the predictions of an image.

    Attributes:
        name: the image's file name.
        presence: (classes,) float32 probability that a class is in the image at all; None where no classifier tells it.
        read: gives the picture (height, width, 3) uint8 RGB, as the model's reader decodes it; None where there is none.
    """

    name: str
    presence: np.ndarray | None = None
    read: Callable[[], np.ndarray] | None = None

    @cached_property
    def picture(self) -> np.ndarray:
        """The picture, decoded once for all steps. Raises: UserError where it cannot be had."""
        if self.read is None:
            raise UserError(f"PostProcess: the picture of {self.name} is not at hand, and a step works on it; leave it out.")
        return self.read()


class Step:
    """One step. Subclasses take explicit arguments and implement `__call__`, or `apply` where they ask for more.

    Attributes:
        takes_masks: whether it works on `Detections` (masks) instead of `Candidates` (mask probabilities). From the first such
            step on, predictions are `Detections`; steps that need neither (boxes, scores, labels) work on both, with `select`.
        needs_candidates: whether it can work on `Candidates` only, so that it must stand before all that take masks.
        cuts_masks: whether it makes `Detections` of `Candidates`, at thresholds of its own.
        needs_presence: whether it asks for the probabilities of a classifier (`ImageContext.presence`).
        needs_image: whether it asks for the picture (`ImageContext.picture`).
    """

    takes_masks = False
    needs_candidates = False
    cuts_masks = False
    needs_presence = False
    needs_image = False

    def masks_of(self, detections: Detections, name: str) -> list[Rle]:
        """The masks, for steps that need them. Raises: UserError when the model predicts none."""
        if detections.masks is None:
            raise UserError(f"PostProcess: {name} has no masks, which {type(self).__name__} works on; leave the step out.")
        return detections.masks

    def bind(self, class_names: Sequence[str], category_ids: Sequence[int]) -> None:
        """Told once, before the first call, which classes there are. Raises: UserError for a class that does not exist."""

    def check_names(self, names: Sequence[str]) -> None:
        """Told before predicting which images will come. Raises: UserError for one that the step does not know."""

    def __call__(self, detections: Any, name: str) -> Candidates | Detections:
        """The predictions of the image of that file name, changed."""
        raise NotImplementedError

    def apply(self, detections: Any, image: ImageContext) -> Candidates | Detections:
        """`__call__`, for steps that ask for more than the image's name."""
        return self(detections, image.name)


def per_class(
    value: PerClass,
    class_names: Sequence[str],
    category_ids: Sequence[int],
    key: str,
    default: float,
    *,
    low: float = -np.inf,
    high: float = np.inf,
) -> np.ndarray:
    """(classes,) float64 of a per-class setting.

    Args:
        value: see `PerClass`.
        class_names, category_ids: by label.
        key: name of the setting, for messages.
        default: for classes that a mapping names neither itself nor by its own "default".
        low, high: the values allowed.

    Raises:
        UserError: a class that does not exist or is given twice, a list of another length, a value that is not allowed.
    """
    if isinstance(value, Mapping):
        values = _by_name(value, class_names, category_ids, key, default)
    elif isinstance(value, list | tuple):
        if len(value) != len(class_names):
            raise UserError(
                f"{key} has {len(value)} values for {len(class_names)} classes; give one for each, or a single number."
            )
        values = list(value)
    else:
        values = [value] * len(class_names)
    for item in values:
        if isinstance(item, bool) or not isinstance(item, int | float) or not np.isfinite(item):
            raise UserError(f"{key}: {item!r} is no number.")
        if not low <= item <= high:
            raise UserError(
                f"{key}: {item!r} is not " + (f"{low:g} or more." if high == np.inf else f"from {low:g} to {high:g}.")
            )
    return np.array(values, np.float64)


def _by_name(value: Mapping, class_names: Sequence[str], category_ids: Sequence[int], key: str, default: float) -> list:
    given: dict[int, object] = {}
    values = [value.get(DEFAULT, default)] * len(class_names)
    for name, item in value.items():
        if name == DEFAULT:
            continue
        label = label_of(name, class_names, category_ids, key)
        if label in given:
            raise UserError(f"{key}: {given[label]!r} and {name!r} are the same class; give it once.")
        values[label], given[label] = item, name
    return values


def label_of(name: object, class_names: Sequence[str], category_ids: Sequence[int], key: str) -> int:
    """The label of a class by its name, or by its category id where no class has that name.

    Raises: UserError beginning with `key`: no such class (the nearest is named), or several of that name.
    """
    names, ids = [str(one) for one in class_names], [str(one) for one in category_ids]
    named = [label for label, one in enumerate(names) if one == str(name)]
    if len(named) > 1:
        raise UserError(f"{key}: {len(named)} classes are named {name!r}; give their category ids in place of the name.")
    if named:
        return named[0]
    if str(name) in ids:
        return ids.index(str(name))
    hint = nearest(name, [*ids, *names]) or f" There are {', '.join(names[:20])}."
    raise UserError(f"{key}: there is no class {name!r}.{hint}")


def class_keys(class_names: Sequence[str], category_ids: Sequence[int]) -> list[str | None]:
    """By label, the key of a mapping that `label_of` finds the class by: its name, or else its category id.

    None for a class that no key means, as one named "default" whose id is another's name: a list of values can tell it.
    """
    names, ids = [str(one) for one in class_names], [str(one) for one in category_ids]
    several = {name for name, count in Counter(names).items() if count > 1}
    by_id = [None if one in names else one for one in ids]
    return [its_id if name == DEFAULT or name in several else name for name, its_id in zip(names, by_id)]


class PostProcess:
    """All steps of a configuration.

    Args:
        entries: `- Name: {argument: value}` of each step.
        class_names, category_ids: by label.
        mask_threshold: of masks that no step cuts.

    Raises:
        UserError: unknown step or argument; a step that needs probabilities after one that needs masks.
    """

    def __init__(
        self, entries: Sequence[Mapping], class_names: Sequence[str], category_ids: Sequence[int], mask_threshold: float = 0.5
    ):
        self.steps: list[Step] = build_entries(entries, "step", "PostProcess")
        self.mask_threshold, self.classes = mask_threshold, len(class_names)
        masked = None
        for step in self.steps:
            if step.needs_candidates and masked is not None:
                kind = type(step).__name__
                raise UserError(f"PostProcess: {kind} works on mask probabilities; put it before {type(masked).__name__}.")
            masked = masked or (step if step.takes_masks or step.cuts_masks else None)
            step.bind(class_names, category_ids)

    def check_names(self, names: Sequence[str]) -> None:
        """Before predicting images of these file names. Raises: UserError for one that a step does not know."""
        for step in self.steps:
            step.check_names(names)

    @property
    def needs_image(self) -> bool:
        """Whether a step asks for pictures."""
        return any(step.needs_image for step in self.steps)

    @property
    def needs_presence(self) -> bool:
        """Whether a step asks for the probabilities of a classifier."""
        return any(step.needs_presence for step in self.steps)

    def __call__(self, detections: Candidates, name: str, read: Callable[[], np.ndarray] | None = None) -> Detections:
        """Final detections of the image of that file name. UserError for a label beyond the classes.

        read: gives the picture, see `ImageContext`.
        """
        if len(detections) and detections.labels.max() >= self.classes:
            raise UserError(
                f"{name}: the model predicts class number {detections.labels.max() + 1} of {self.classes} in the data set."
            )
        found: Candidates | Detections = detections
        image = ImageContext(name, getattr(detections, "presence", None), read)
        for step in self.steps:
            if step.takes_masks and isinstance(found, Candidates):
                found = found.detections(self.mask_threshold)
            found = step.apply(found, image)
        return found.detections(self.mask_threshold) if isinstance(found, Candidates) else found
