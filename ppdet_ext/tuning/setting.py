"""`Setting`: what is searched, thresholds of each class; and the steps of a configuration that apply it."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from ppdet_ext.postprocess import PostProcess, class_keys, per_class


class Cut(NamedTuple):
    """How masks are cut: pixels of at least `threshold`, in parts that reach `core` unless that is 0."""

    threshold: float
    core: float = 0.0


class Thresholds(NamedTuple):
    """Of one class.

    score: lowest that counts. nms_iou: IoU above which the worse of two boxes goes. mask_threshold: probability from which a
    pixel is set. area: fewest pixels a mask may have. c_factor: of `SoftGate`, how many times as many where a classifier is
    sure that the class is not there. core: of `CoreExtent`, probability that a part of the mask must reach; 0: none.
    """

    score: float
    nms_iou: float
    mask_threshold: float
    area: float
    c_factor: float = 1.0
    core: float = 0.0

    @property
    def cut(self) -> Cut:
        """How masks are cut."""
        return Cut(self.mask_threshold, max(self.core, self.mask_threshold) if self.core else 0.0)


# In the order in which they are written, the arguments of each step and the fields they set.
TUNED_STEPS: dict[str, dict[str, str]] = {
    "BoxNMS": {"iou": "nms_iou"},
    "ScoreThreshold": {"score": "score"},
    "MaskThreshold": {"threshold": "mask_threshold"},
    "CoreExtent": {"core": "core", "extent": "mask_threshold"},
    "MinArea": {"area": "area"},
    "SoftGate": {"area": "area", "c_factor": "c_factor"},
}
USUAL_STEPS = ("BoxNMS", "ScoreThreshold", "MaskThreshold", "MinArea")
# Leave out classes, or their pixels, whatever the thresholds are: they come before these, and the search sees what is left.
FIRST_STEPS = ("ClassifierGate", "DropClasses", "LikeliestClass")
# Of two values of one field, what both together do; where none is given, the last one counts.
_COMBINED: dict[str, Callable[[float, float], float]] = {"score": max, "nms_iou": min, "area": max}
# For classes that a step's mapping does not name.
_NEUTRAL = {"score": 0.0, "nms_iou": 1.0, "mask_threshold": 0.5, "area": 0.0, "c_factor": 1.0, "core": 0.7}
_EXTENT = 0.4  # likewise, where CoreExtent sets the mask threshold


@dataclass(frozen=True)
class Searched:
    """Which steps the search sets, and what it leaves of them as it is.

    Attributes:
        kinds: names of `TUNED_STEPS`.
        fixed: further arguments by name of the step, such as SoftGate's file.
    """

    kinds: tuple[str, ...] = USUAL_STEPS
    fixed: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @classmethod
    def of(cls, entries: Sequence[Mapping], maps: bool) -> "Searched":
        """Those that a configuration's entries call for.

        CoreExtent takes the place of MaskThreshold, SoftGate that of MinArea. Of `maps` an image has one for each class, so
        that there is nothing for NMS to choose from.
        """
        configured = {next(iter(entry)): dict(next(iter(entry.values())) or {}) for entry in entries}
        left_out = {"BoxNMS"} if maps else set()
        left_out.add("MaskThreshold" if "CoreExtent" in configured else "CoreExtent")
        left_out.add("MinArea" if "SoftGate" in configured else "SoftGate")
        kinds = tuple(kind for kind in TUNED_STEPS if kind not in left_out)
        further = {
            kind: {name: value for name, value in configured[kind].items() if name not in TUNED_STEPS[kind]}
            for kind in kinds
            if kind in configured
        }
        return cls(kinds, {kind: own for kind, own in further.items() if own})

    @property
    def fields(self) -> frozenset[str]:
        """The fields of `Thresholds` that are searched."""
        return frozenset(name for kind in self.kinds for name in TUNED_STEPS[kind].values())


USUAL = Searched()


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

    def steps(
        self, class_names: Sequence[str], category_ids: Sequence[int], searched: Searched = USUAL
    ) -> list[dict[str, Any]]:
        """Entries of `PostProcess`, a number where all classes agree, else `{default: …, class: …}`, or a list."""
        keys = class_keys(class_names, category_ids)
        if "CoreExtent" in searched.kinds:
            # A core below its extent asks for nothing, and is no core.
            self = Setting(tuple(own._replace(core=max(own.core, own.mask_threshold)) for own in self.classes))
        return [
            {
                kind: {
                    **{argument: self._by_class(name, keys) for argument, name in TUNED_STEPS[kind].items()},
                    **searched.fixed.get(kind, {}),
                }
            }
            for kind in searched.kinds
        ]

    def _by_class(self, field: str, keys: Sequence[str | None]) -> Any:
        values = [_plain(field, value) for value in self.values(field)]
        shared = _plain(field, self.common(field))
        own = {key: value for key, value in zip(keys, values) if value != shared}
        by_class = values if None in own else {"default": shared, **own}
        return by_class if own else shared

    def values(self, field: str) -> list[float]:
        """Of one field, by label."""
        return [getattr(own, field) for own in self.classes]


def moved_steps(entries: Sequence[Mapping]) -> list[tuple[str, list[str]]]:
    """(name of a step, those before it in `entries` that the search has after it), where there are any."""
    kinds = [next(iter(entry)) for entry in entries]
    moved = []
    for place, kind in enumerate(kinds):
        if kind in TUNED_STEPS:
            # A box that is dropped for its mask suppresses no other; all else that is searched may change places.
            dropping = ("MinArea", "SoftGate", "CoreExtent") if kind == "BoxNMS" else ()
            stays = {*TUNED_STEPS, *FIRST_STEPS}.difference(dropping)
            passed = [one for one in kinds[:place] if one not in stays]
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
        for argument, name in TUNED_STEPS[kind].items():
            neutral = _EXTENT if argument == "extent" else _NEUTRAL[name]
            values = per_class(getattr(step, argument), class_names, category_ids, f"{kind}.{argument}", neutral)
            for label, value in enumerate(values.tolist()):
                combine = _COMBINED.get(name, lambda _, last: last)
                setting = setting.moved(name, combine(getattr(setting.classes[label], name), value), label)
    return setting, others


def split_first(others: Sequence[Mapping]) -> tuple[list[Mapping], list[Mapping]]:
    """Entries of `FIRST_STEPS`, and the rest."""
    first = [entry for entry in others if next(iter(entry)) in FIRST_STEPS]
    return first, [entry for entry in others if next(iter(entry)) not in FIRST_STEPS]
