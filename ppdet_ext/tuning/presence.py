"""Thresholds of a classifier of whole images: of each class the probability from which it counts as being there."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ppdet_ext.errors import UserError
from ppdet_ext.host.registry import one_of
from ppdet_ext.structures import Record

from .options import CRITERIA, Searching
from .search import middle_of_best
from .tuner import HOLDS

# Fine where a classifier that is sure of itself has its probabilities.
GRID = np.array([0.001, 0.002, 0.005, *np.round(np.arange(0.01, 0.995, 0.01), 2), 0.995, 0.998, 0.999])


@dataclass(frozen=True)
class ClassPresence:
    """What was found for one class.

    Attributes:
        name: of the class. positives: how many images have it.
        common, own: the criterion at the common threshold and at the class's own, on the images of the search.
        held_common, held_own: the same on images that were not searched on; NaN without folds.
        own_threshold: the best of the class. spread: lowest and highest of the folds' own; None without folds.
        threshold: the one to be used.
    """

    name: str
    positives: int
    common: float
    own: float
    held_common: float
    held_own: float
    own_threshold: float
    spread: tuple[float, float] | None
    threshold: float


@dataclass(frozen=True)
class PresenceTuned:
    """Outcome.

    Attributes:
        criterion: key of `CRITERIA`.
        images, folds: how many there were; 0 folds without a check.
        common: the threshold that is best for all classes. classes: by label.
        half: the criterion at 0.5, the mean over classes that are in some image.
    """

    criterion: str
    images: int
    folds: int
    common: float
    classes: list[ClassPresence]
    half: float

    @property
    def thresholds(self) -> list[float]:
        """By label."""
        return [one.threshold for one in self.classes]

    def mean(self, field: str) -> float:
        """The mean of `common`, `own`, `held_common` or `held_own` over classes that are in some image."""
        return float(np.mean([getattr(one, field) for one in self.classes if one.positives]))


def truth_of(records: Sequence[Record], classes: int) -> np.ndarray:
    """(images, classes) bool: whether an object of the class is annotated in the image; crowds count."""
    truth = np.zeros((len(records), classes), bool)
    for row, record in zip(truth, records):
        row[record.labels] = True
    return truth


def counts(probabilities: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """(thresholds, 3) int64 of `GRID`: images of a class found rightly, found at all, and found or not rightly.

    probabilities (images,) float32 or float64, truth (images,) bool. Counts of parts of the images add up.
    """
    # In float64, as the gate compares them.
    found = probabilities.astype(np.float64)[:, None] >= GRID
    return np.stack([(found & truth[:, None]).sum(0), found.sum(0), (found == truth[:, None]).sum(0)], axis=1)


def values(counted: np.ndarray, positives: int, images: int, criterion: str) -> np.ndarray:
    """The criterion (…,) of `counts` (…, 3): "f1", 1 where there is nothing and nothing is found, or "accuracy"."""
    hits, found, right = np.moveaxis(counted.astype(np.float64), -1, 0)
    if criterion == "accuracy":
        return right / max(images, 1)
    return np.where(found + positives > 0, 2 * hits / np.maximum(found + positives, 1), 1.0)


def tune_presence(
    probabilities: np.ndarray,
    truth: np.ndarray,
    class_names: Sequence[str],
    folds: np.ndarray | None,
    criterion: str = CRITERIA[0],
    searching: Searching = Searching(),  # noqa: B008 (frozen)
) -> PresenceTuned:
    """Search a common threshold and one for each class, check them on folds, and choose.

    A class gets its own threshold if that gains on the images of the search, and if enough of the gain is left on images that
    were not searched on; else the common one.

    Args:
        probabilities: (images, classes). truth: the same shape, bool.
        class_names: by label.
        folds: (images,) from `assign_folds`; None goes without the check.
        criterion: of `CRITERIA`, of a class over all images; a common threshold has the best mean over classes.
        searching: `min_instances` counts images; `min_gain`, `keep_per_class` as there.

    Raises:
        UserError: another criterion, or no class in any image.
    """
    one_of(criterion, CRITERIA, "--criterion")
    if not truth.any():
        raise UserError(f"No object is annotated in the {len(truth)} images of EvalDataset; no threshold can be searched.")
    parts = [folds == fold for fold in range(int(folds.max()) + 1)] if folds is not None else []
    search = _Search(probabilities, truth, parts, criterion)
    common = search.common(search.whole)
    held_common = search.held([search.common(search.whole - part) for part in search.parts])
    chosen = []
    for label, name in enumerate(class_names):
        own, own_of_folds = search.own(search.whole, label), [search.own(search.whole - part, label) for part in search.parts]
        here, positives = search.value(search.whole, label), int(truth[:, label].sum())
        held, by_common = search.held(own_of_folds)[label], held_common[label]
        takes_own = _holds_up(here[own] - here[common], held - by_common, positives, bool(parts), searching)
        spread = (float(GRID[min(own_of_folds)]), float(GRID[max(own_of_folds)])) if parts else None
        threshold = float(GRID[own if takes_own else common])
        gains = float(here[common]), float(here[own]), float(by_common), float(held)
        chosen.append(ClassPresence(name, positives, *gains, float(GRID[own]), spread, threshold))
    at_half = search.value_for_all(search.whole)[int(np.argmin(np.abs(GRID - 0.5)))]
    return PresenceTuned(criterion, len(truth), len(parts), float(GRID[common]), chosen, float(at_half))


def _holds_up(gain: float, held_gain: float, positives: int, checked: bool, searching: Searching) -> bool:
    """Whether a class's own threshold is to be used, by what it gains here and on other images."""
    if positives < searching.min_instances or gain <= searching.min_gain:
        return False
    return not checked or searching.keep_per_class or held_gain > max(searching.min_gain, HOLDS * gain)


class _Search:
    """Counts of all images and of each fold: (classes, thresholds, 5), `counts` with positives and images."""

    def __init__(self, probabilities: np.ndarray, truth: np.ndarray, parts: Sequence[np.ndarray], criterion: str) -> None:
        self.criterion = criterion
        self.whole = self._counted(probabilities, truth)
        self.parts = [self._counted(probabilities[part], truth[part]) for part in parts]
        self._there = truth.any(axis=0)

    @staticmethod
    def _counted(probabilities: np.ndarray, truth: np.ndarray) -> np.ndarray:
        counted = [counts(own, its) for own, its in zip(probabilities.T, truth.T)]
        sizes = [np.broadcast_to([its.sum(), len(its)], (len(GRID), 2)) for its in truth.T]
        return np.concatenate([np.stack(counted), np.stack(sizes)], axis=-1)

    def value(self, counted: np.ndarray, label: int) -> np.ndarray:
        """(thresholds,) of a class."""
        own = counted[label]
        return values(own[:, :3], int(own[0, 3]), int(own[0, 4]), self.criterion)

    def own(self, counted: np.ndarray, label: int) -> int:
        """Place of the best threshold of a class."""
        return middle_of_best(self.value(counted, label).tolist())

    def value_for_all(self, counted: np.ndarray) -> np.ndarray:
        """(thresholds,): the mean over classes; those that are in no image at all do not count."""
        return np.mean([self.value(counted, label) for label in np.flatnonzero(self._there)], axis=0)

    def common(self, counted: np.ndarray) -> int:
        """Place of the best threshold for all classes."""
        return middle_of_best(self.value_for_all(counted).tolist())

    def held(self, places: Sequence[int]) -> np.ndarray:
        """(classes,): the criterion over all images, each fold with its own threshold."""
        if not self.parts:
            return np.full(len(self.whole), np.nan)
        added = np.sum([part[:, place] for part, place in zip(self.parts, places)], axis=0)
        return np.array([values(own[:3], int(own[3]), int(own[4]), self.criterion) for own in added])


def gate_entry(tuned: PresenceTuned, keys: Sequence[str | None]) -> dict[str, Any]:
    """The entry of `PostProcess` that applies the thresholds: a number where all classes agree, else by class.

    keys: of the classes, from `class_keys`.
    """
    own = {key: one for key, one in zip(keys, tuned.thresholds) if one != tuned.common}
    by_class: float | list[float] | Mapping = tuned.thresholds if None in own else {"default": tuned.common, **own}
    return {"ClassifierGate": {"threshold": by_class if own else tuned.common}}
