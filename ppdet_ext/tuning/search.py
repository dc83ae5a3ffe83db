"""The search: one threshold after the other for all classes, then together, then for single classes."""

import itertools
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from .options import SearchBounds
from .scorer import Scorer
from .setting import Setting

FIRST = "configuration"
LEAST = 1e-9  # smaller gains of a global setting are rounding
ROUNDS = 3  # of coordinate descent at most

COARSE: dict[str, tuple[float, ...]] = {
    "score": tuple(round(0.05 * k, 2) for k in range(1, 20)),
    "nms_iou": (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7),
    "mask_threshold": (0.3, 0.4, 0.5, 0.6, 0.7),
    "area": (0, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000),
    "c_factor": (1, 2, 3, 5, 7, 10, 20),
    "core": (0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95),
}
TOGETHER: dict[str, tuple[float, ...]] = {
    "score": (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7),
    "nms_iou": (0.3, 0.4, 0.5, 0.6),
    "mask_threshold": (0.4, 0.5, 0.6),
}
# In the order in which they are searched.
TITLES = {
    "score": "score threshold",
    "nms_iou": "NMS",
    "mask_threshold": "mask threshold",
    "core": "core threshold",
    "area": "min area",
    "c_factor": "c factor",
}


class SearchStage(NamedTuple):
    """A step of the ablation: what was searched, the best setting so far, the metric with it."""

    title: str
    setting: Setting
    value: float


class Search:
    """Looks for the setting with the highest metric.

    Args:
        scorer: of all images.
        bounds: of the search.
        images: positions of the images to tune on; None for all.
        report_phase: called with what is going on, now and then.
    """

    def __init__(
        self,
        scorer: Scorer,
        bounds: SearchBounds,
        images: Sequence[int] | None = None,
        report_phase: Callable[[str], None] = lambda text: None,
    ) -> None:
        self.scorer, self.bounds, self.images, self.report_phase = scorer, bounds, images, report_phase
        self._values: dict[Setting, float] = {}
        self._titles = {field: title for field, title in TITLES.items() if field in scorer.searched.fields}

    def value(self, setting: Setting) -> float:
        if setting not in self._values:
            self._values[setting] = self.scorer.value(setting, self.images)
        return self._values[setting]

    def global_stages(self, start: Setting) -> list[SearchStage]:
        """From the start over one threshold at a time to all of them together; the metric never falls."""
        grid = [start, *(start.moved("mask_threshold", item) for item in COARSE["mask_threshold"])]
        self.scorer.prepare(own.cut for one in grid for own in one.classes)
        stages = [SearchStage(FIRST, start, self.value(start))]
        for field, title in self._titles.items():
            self.report_phase(f"searching {title}")
            stages.append(SearchStage(title, *self._along(field, *stages[-1][1:])))
        self.report_phase("searching all of them together")
        stages.append(SearchStage("together", *self._together(*stages[-1][1:])))
        return stages

    def per_class(self, start: Setting) -> SearchStage:
        """Thresholds of single classes, one class and threshold at a time, each kept only if it gains enough."""
        setting, value = start, self.value(start)
        for label, instances in enumerate(self.scorer.instances):
            if instances < self.bounds.min_instances:
                continue
            self.report_phase(f"searching thresholds of class {label + 1} of {len(start.classes)}")
            for field in self._titles:
                setting, value = self._along(field, setting, value, label)
        return SearchStage("per class", setting, value)

    def _along(self, field: str, setting: Setting, value: float, label: int | None = None) -> tuple[Setting, float]:
        """Best on the coarse grid of a field, then near it."""
        setting, value = self._best(field, COARSE[field], setting, value, label)
        now = setting.common(field) if label is None else getattr(setting.classes[label], field)
        # Masks are cut anew for each threshold, which a single class is not worth.
        if label is None or field == "score":
            setting, value = self._best(field, _near(field, now), setting, value, label)
        return setting, value

    def _best(
        self, field: str, grid: Iterable[float], setting: Setting, value: float, label: int | None
    ) -> tuple[Setting, float]:
        gain = LEAST if label is None else self.bounds.min_gain
        grid = sorted(item for item in set(grid) if self.bounds.allows(field, item))
        moved = [setting.moved(field, item, label) for item in grid]
        if field in ("mask_threshold", "core") and label is None:
            self.scorer.prepare(own.cut for one in moved for own in one.classes)
        values = [self.value(one) for one in moved]
        if not values or max(values) <= value + gain:
            return setting, value
        middle = middle_of_best(values)
        return moved[middle], values[middle]

    def _together(self, setting: Setting, value: float) -> tuple[Setting, float]:
        """A coarse grid over all fields, then coordinate descent from its best."""
        best = setting
        grids = {field: grid for field, grid in TOGETHER.items() if field in self._titles}
        for combination in itertools.product(*grids.values()):
            one = setting
            for field, item in zip(grids, combination):
                one = one.moved(field, min(item, self.bounds.nms_iou) if field == "nms_iou" else item)
            if self.value(one) > self.value(best) + LEAST:
                best = one
        setting, value = best, self.value(best)
        for _ in range(ROUNDS):
            before = value
            for field in self._titles:
                setting, value = self._along(field, setting, value)
            if value <= before + LEAST:
                break
        return setting, value


def _near(field: str, value: float) -> list[float]:
    if field == "area":
        return [round(value * factor) for factor in (0.5, 0.6, 0.7, 0.85, 1.2, 1.4, 1.7)]
    if field == "c_factor":
        return [round(value * factor, 1) for factor in (0.7, 0.85, 1.2, 1.4)]
    steps = {"score": (0.01, 0.02, 0.03, 0.04), "nms_iou": (0.05,), "mask_threshold": (0.05,), "core": (0.05,)}[field]
    return [round(value + sign * step, 4) for step in steps for sign in (-1, 1)]


def middle_of_best(values: Sequence[float]) -> int:
    """Place of the best value; of several equal ones side by side the middle, farthest from where it gets worse."""
    first = values.index(max(values))
    last = first
    while last + 1 < len(values) and values[last + 1] >= values[first] - LEAST:
        last += 1
    return (first + last) // 2
