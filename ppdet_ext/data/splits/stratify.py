"""Dealing images out so that each side gets its share of every class: multilabel stratification of groups of images.

The assignment is that of iterative stratification (Sechidis et al. 2011, https://doi.org/10.1007/978-3-642-23808-6_10) in the
package iterative-stratification. It aims at shares, not at exact numbers of images, and deals out units; here units are
groups of images that must stay together. So numbers of images are put right afterwards, and then groups of equal size are
exchanged as long as that brings the classes nearer to their shares.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from ppdet_ext.errors import UserError

from .selection import hashed

# Pairs of units looked at for an exchange are those of so many kinds on either side, the most promising ones.
_KINDS = 128


@dataclass(frozen=True)
class _Units:
    """Groups of images in an order that depends on the names and the seed alone.

    of_image: (n,) int64 the unit of each image. weight: (u,) int64 images in it. counts: (u, classes) int64 those of them
    that show each class.
    """

    of_image: np.ndarray
    weight: np.ndarray
    counts: np.ndarray


def indicator(classes: Sequence[Iterable[int]], num_classes: int) -> np.ndarray:
    """(n, num_classes + 1) bool: which labels each image shows; the last column is that of images that show none."""
    present = np.zeros((len(classes), num_classes + 1), bool)
    for row, labels in enumerate(classes):
        present[row, list(labels)] = True
    present[:, -1] = ~present[:, :-1].any(axis=1)
    return present


def stratified_folds(names: Sequence[str], present: np.ndarray, groups: np.ndarray, num_folds: int, seed: int) -> np.ndarray:
    """Fold number (n,) int64 of every image; it depends on the names, not on their order.

    Numbers of images in two folds differ by no more than the smallest group of the larger one, so by 1 unless duplicates
    fill a fold.

    Args:
        names: of the images, each once.
        present: (n, classes) bool, of `indicator`.
        groups: (n,) any integers; images of one number stay together.

    Raises: UserError for fewer than 2 folds, or fewer groups than folds.
    """
    units = _units(names, present, groups, seed)
    if not 2 <= num_folds <= len(units.weight):
        raise UserError(
            f"{num_folds} folds of {len(names)} images ({len(units.weight)} without duplicates): there must be at least 2 "
            "folds, and an image for each."
        )
    # The splitter asks for 0 and 1; how many images of a unit show a class is put right by the exchange below.
    from iterstrat.ml_stratifiers import MultilabelStratifiedKFold  # it imports scikit-learn, 60 MB

    splitter = MultilabelStratifiedKFold(num_folds, shuffle=True, random_state=seed)
    side = np.empty(len(units.weight), np.int64)
    for fold, (_, chosen) in enumerate(splitter.split(units.counts, units.counts > 0)):
        side[chosen] = fold
    shares = np.full(num_folds, 1 / num_folds)
    _level(side, units, shares)
    _exchange(side, units, shares)
    return side[units.of_image]


def stratified_holdout(names: Sequence[str], present: np.ndarray, groups: np.ndarray, count: int, seed: int) -> np.ndarray:
    """(n,) bool: `count` images that are held out, or as near to it as groups that stay together allow.

    Arguments as of `stratified_folds`. Raises: UserError unless images are on both sides.
    """
    units = _units(names, present, groups, seed)
    if not 0 < count < len(names) or len(units.weight) < 2:
        raise UserError(
            f"{count} images cannot be held out of {len(names)} ({len(units.weight)} without duplicates): there must be some "
            "on both sides."
        )
    # The splitter deals out units, of which duplicates make some heavier: a first guess, made exact by `_meet`.
    number = min(max(round(count / len(names) * len(units.weight)), 1), len(units.weight) - 1)
    from iterstrat.ml_stratifiers import MultilabelStratifiedShuffleSplit

    splitter = MultilabelStratifiedShuffleSplit(1, test_size=number, random_state=seed)
    _, chosen = next(splitter.split(units.counts, units.counts > 0))
    side = np.zeros(len(units.weight), np.int64)
    side[chosen] = 1
    shares = np.array([1 - count / len(names), count / len(names)])
    _meet(side, units, count, shares)
    _exchange(side, units, shares)
    return side[units.of_image] == 1


def _units(names: Sequence[str], present: np.ndarray, groups: np.ndarray, seed: int) -> _Units:
    # Hashed, so that the result depends on the set of names alone, and neighbours of a film strip are not dealt out in turn.
    order = sorted(range(len(names)), key=lambda i: hashed(names[i], seed))
    number: dict[int, int] = {}
    of_image = np.empty(len(names), np.int64)
    for i in order:
        of_image[i] = number.setdefault(int(groups[i]), len(number))
    counts = np.zeros((len(number), present.shape[1]), np.int64)
    # add.at, as indexing would count a unit with several images once.
    np.add.at(counts, of_image, present)
    return _Units(of_image, np.bincount(of_image, minlength=len(number)), counts)


def _excess(side: np.ndarray, units: _Units, shares: np.ndarray) -> np.ndarray:
    """(sides, classes): by how many images of each class a side has more than its share."""
    found = np.zeros((len(shares), units.counts.shape[1]))
    np.add.at(found, side, units.counts)
    return found - np.outer(shares, units.counts.sum(axis=0))


def _scale(units: _Units) -> np.ndarray:
    """(classes,) what a squared excess counts: an image of a rare class is more of it than one of a frequent class."""
    return 1 / np.maximum(units.counts.sum(axis=0), 1)


def _best_move(candidates: np.ndarray, source: int, target: int, excess: np.ndarray, units: _Units) -> int:
    """The unit of `candidates` whose move from one side to another leaves the classes nearest to their shares."""
    moved = units.counts[candidates]
    # The other sides stay as they are, so these two decide.
    after = (excess[source] - moved) ** 2 + (excess[target] + moved) ** 2
    return int(candidates[np.argmin(after @ _scale(units))])


def _level(side: np.ndarray, units: _Units, shares: np.ndarray) -> None:
    """Move units from the largest to the smallest side as long as that brings their sizes together."""
    while True:
        sizes = np.bincount(side, units.weight, len(shares))
        source, target = int(sizes.argmax()), int(sizes.argmin())
        gap = sizes[source] - sizes[target]
        candidates = np.flatnonzero((side == source) & (units.weight < gap))
        if gap <= 1 or not len(candidates):
            return
        # Units of up to half the gap cannot overshoot; there may be none.
        small = candidates[units.weight[candidates] <= gap / 2]
        side[_best_move(small if len(small) else candidates, source, target, _excess(side, units, shares), units)] = target


def _meet(side: np.ndarray, units: _Units, count: int, shares: np.ndarray) -> None:
    """Move units so that side 1 has `count` images, or the nearest number that whole units can make."""
    weights = np.unique(units.weight)[::-1].tolist()
    # reachable[i]: bit s is set where units of weights[i:] can make a sum of s.
    reachable = [1]
    for weight in reversed(weights):
        sums = reachable[0]
        for _ in range(int((units.weight == weight).sum())):
            sums |= sums << weight
        reachable.insert(0, sums)
    # A subset sum over all units at once: Python's integers are the bit sets, so that shifting adds a weight to every sum.
    goal = _nearest_bit(reachable[0], count, int(units.weight.sum()))
    for place, weight in enumerate(weights, start=1):
        own = np.flatnonzero(units.weight == weight)
        now = int(side[own].sum())
        # Of the numbers that leave a sum the lighter units can make, the one that moves the fewest.
        numbers = sorted(range(min(len(own), goal // weight) + 1), key=lambda number: abs(number - now))
        number = next(number for number in numbers if reachable[place] >> (goal - number * weight) & 1)
        goal -= number * weight
        for _ in range(abs(number - now)):
            source = int(number < now)
            unit = _best_move(own[side[own] == source], source, 1 - source, _excess(side, units, shares), units)
            side[unit] = 1 - source


def _nearest_bit(bits: int, wanted: int, total: int) -> int:
    """The set bit nearest to `wanted`, neither 0 nor `total`."""
    reach = max(wanted, total - wanted)
    near = (place for distance in range(reach) for place in (wanted + distance, wanted - distance))
    return next(place for place in near if 0 < place < total and bits >> place & 1)


def _exchange(side: np.ndarray, units: _Units, shares: np.ndarray) -> None:
    """Exchange units of equal weight between sides, the best pair first, as long as that helps the classes."""
    # Units alike in weight and classes are one kind: exchanging either gives the same, and there are few kinds.
    kinds, kind = np.unique(np.column_stack([units.weight, units.counts]), axis=0, return_inverse=True)
    kind = kind.reshape(-1)
    scale = _scale(units)
    excess = _excess(side, units, shares)
    while True:
        # Below rounding errors nothing is won, and two kinds could be exchanged back and forth for ever.
        best = (-1e-9, 0, 0, 0, 0)
        for a in range(len(shares)):
            for b in range(a + 1, len(shares)):
                best = min(best, _best_exchange(side, kind, kinds, a, b, excess, scale))
        if best[0] >= -1e-9:
            return
        _, a, b, given, taken = best
        given_unit = np.flatnonzero((side == a) & (kind == given))[0]
        taken_unit = np.flatnonzero((side == b) & (kind == taken))[0]
        side[given_unit], side[taken_unit] = b, a
        change = kinds[taken, 1:] - kinds[given, 1:]
        excess[a] += change
        excess[b] -= change


def _best_exchange(
    side: np.ndarray, kind: np.ndarray, kinds: np.ndarray, a: int, b: int, excess: np.ndarray, scale: np.ndarray
) -> tuple[float, int, int, int, int]:
    """(change of the cost, a, b, kind that a gives, kind that b gives) of the best exchange of two units."""
    # The cost is a square: its change is linear in the step (pull) plus the step's own square.
    pull = (excess[a] - excess[b]) * scale
    gain = kinds[:, 1:] @ pull
    given, taken = np.unique(kind[side == a]), np.unique(kind[side == b])
    given = given[np.argsort(-gain[given], kind="stable")[:_KINDS]]
    taken = taken[np.argsort(gain[taken], kind="stable")[:_KINDS]]
    step = kinds[taken, 1:][None] - kinds[given, 1:][:, None]
    cost = 2 * (step @ pull + (step**2) @ scale)
    # Units of other weights would spoil the numbers of images, which are exact by now.
    cost[kinds[given, 0][:, None] != kinds[taken, 0][None]] = np.inf
    if not cost.size:
        return 0.0, a, b, 0, 0
    row, column = np.unravel_index(cost.argmin(), cost.shape)
    return float(cost[row, column]), a, b, int(given[row]), int(taken[column])
