"""`Setting`: what is searched, four thresholds of each class; and the steps of a configuration that apply it."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from ppdet_ext.postprocess import PostProcess, class_keys, per_class


class Thresholds(NamedTuple):
    """Of one class.

    score: lowest that counts. nms_iou: IoU above which the worse of two boxes goes. mask_threshold: probability from which a
    pixel is set. area: fewest pixels a mask may have.
    """

    score: float
    nms_iou: float
    mask_threshold: float
    area: float


# Order of the steps, with the argument and the field it sets.
TUNED_STEPS = {
    "BoxNMS": ("iou", "nms_iou"),
    "ScoreThreshold": ("score", "score"),
    "MaskThreshold": ("threshold", "mask_threshold"),
    "MinArea": ("area", "area"),
}
# For classes that a step's mapping does not name.
# Of two values of one step, what both together do.
_COMBINED: dict[str, Callable[[float, float], float]] = {
    "score": max,
    "nms_iou": min,
    "mask_threshold": lambda _, last: last,
    "area": max,
}
NEUTRAL = {"score": 0.0, "nms_iou": 1.0, "mask_threshold": 0.5, "area": 0.0}


@dataclass(frozen=True)
class Setting:
    """Thresholds by label."""

    classes: tuple[Thresholds, ...]

    @classmethod
    def uniform(cls, classes: int, thresholds: Thresholds) -> "Setting":
        """The same for all classes."""
        return cls((thresholds,) * classes)

    def moved(self, field: str, value: float, label: int | None = None) -> "Setting":
        """With another value of one field, for one class or for all."""
        moved = [
            own._replace(**{field: value}) if label is None or place == label else own for place, own in enumerate(self.classes)
        ]
        return Setting(tuple(moved))

    def with_added(self, field: str, by: float) -> "Setting":
        """With that much added to one field of all classes."""
        return Setting(tuple(own._replace(**{field: getattr(own, field) + by}) for own in self.classes))

    def common(self, field: str) -> float:
        """The value that most classes have."""
        return Counter(getattr(own, field) for own in self.classes).most_common(1)[0][0]

    def different_from(self, other: "Setting") -> int:
        """How many classes have other thresholds."""
        return sum(own != its for own, its in zip(self.classes, other.classes))

    def steps(self, class_names: Sequence[str], category_ids: Sequence[int]) -> list[dict[str, Any]]:
        """Entries of `PostProcess`, a number where all classes agree, else `{default: …, class: …}`, or a list."""
        keys = class_keys(class_names, category_ids)
        entries = []
        for step, (argument, field) in TUNED_STEPS.items():
            values = [_plain(field, value) for value in self.values(field)]
            shared = _plain(field, self.common(field))
            own = {key: value for key, value in zip(keys, values) if value != shared}
            by_class = values if None in own else {"default": shared, **own}
            entries.append({step: {argument: by_class if own else shared}})
        return entries

    def values(self, field: str) -> list[float]:
        """Of one field, by label."""
        return [getattr(own, field) for own in self.classes]


def moved_steps(entries: Sequence[Mapping]) -> list[tuple[str, list[str]]]:
    """(name of a step, those before it in `entries` that the search has after it), where there are any."""
    kinds = [next(iter(entry)) for entry in entries]
    moved = []
    for place, kind in enumerate(kinds):
        if kind in TUNED_STEPS:
            # A box that is dropped for its mask's area suppresses no other; all else that is searched may change places.
            passed = [one for one in kinds[:place] if one not in TUNED_STEPS or (kind, one) == ("BoxNMS", "MinArea")]
            moved += [(kind, list(dict.fromkeys(passed)))] if passed else []
    return moved


def _plain(field: str, value: float) -> float | int:
    return int(value) if field == "area" and float(value).is_integer() else float(value)


def from_steps(
    start: Thresholds, entries: Sequence[Mapping], class_names: Sequence[str], category_ids: Sequence[int]
) -> tuple[Setting, list[dict]]:
    """The setting that a configuration's steps amount to after `start`, and the entries that are none of `TUNED_STEPS`.

    Raises: UserError as `PostProcess`.
    """
    steps = PostProcess(entries, class_names, category_ids).steps
    setting, others = Setting.uniform(len(class_names), start), []
    for step, entry in zip(steps, entries):
        kind = type(step).__name__
        if kind not in TUNED_STEPS:
            others.append(dict(entry))
            continue
        argument, field = TUNED_STEPS[kind]
        values = per_class(getattr(step, argument), class_names, category_ids, f"{kind}.{argument}", NEUTRAL[field])
        for label, value in enumerate(values.tolist()):
            before = getattr(setting.classes[label], field)
            setting = setting.moved(field, _COMBINED[field](before, value), label)
    return setting, others
