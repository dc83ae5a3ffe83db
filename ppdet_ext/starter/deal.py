"""Labelled pictures on two sides: the subsets that an export tells, or dealt out by class, copies on one side."""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from ppdet_ext.data.labels.label_set import LabelledImage
from ppdet_ext.data.splits.balance import aligned
from ppdet_ext.data.splits.duplicates import duplicate_groups
from ppdet_ext.data.splits.stratify import indicator, stratified_holdout
from ppdet_ext.errors import counted

logger = logging.getLogger("ppdet_ext")
TRAIN, VAL, TEST = SIDES = ("train", "val", "test")
MOST_EMPTY = 3  # classes without an object that have rows of their own in the table
# What exports call them, with a year or number behind it or not.
_CALLED = {TRAIN: TRAIN, "training": TRAIN, VAL: VAL, "valid": VAL, "validation": VAL, "dev": VAL, TEST: TEST, "testing": TEST}


def side_of(image: LabelledImage) -> str | None:
    """The side that the export tells; None where it tells none, or calls it in no usual way."""
    return _CALLED.get((image.subset or "").casefold().rstrip("0123456789_- "))


def deal(
    images: Sequence[LabelledImage],
    class_names: Sequence[str],
    val: int | float,
    duplicates: bool,
    as_told: bool = True,
    seed: int = 0,
) -> list[str]:
    """The side of each picture: as the export tells, where both of its sides show objects; else by class.

    Args:
        val: pictures to hold out, a number or a share of all; 0: none. Pictures for testing stay apart.
        duplicates: look for pictures that are the same, and keep them on one side.
        as_told: go by the subsets of the export.
        seed: of the choice.

    Raises: UserError where so many cannot be held out.
    """
    told = [side_of(image) if as_told else None for image in images]
    by_export = _is_usable(images, told)
    groups = _groups(images, duplicates, "wherever the export puts them" if by_export else "which stay together")
    if by_export:
        # What belongs nowhere is learnt from.
        sides = [side or TRAIN for side in told]
        _warn_of_leaks(images, sides, groups)
        return sides
    own = [number for number, side in enumerate(told) if side != TEST] or list(range(len(images)))
    sides = [TRAIN if number in {*own} else TEST for number in range(len(images))]
    count = max(1, round(val * len(own))) if isinstance(val, float) else val
    if not val:
        return sides
    # Of one picture, or of copies of one, there is nothing to hold out; of no objects there is nothing to measure.
    several = len(np.unique(groups[own])) > 1
    if not several or len(np.unique([groups[number] for number in own if _shows(images[number])])) < 2:
        what = "Objects are on one picture alone, or copies of it" if several else "There is one picture, or copies of one"
        remedy = "Label more pictures for a measure of new ones"
        logger.warning("%s: nothing can be held out, evaluation is on what is learnt. %s", what, remedy)
        return sides
    labels = {name: label for label, name in enumerate(class_names)}
    shown = [[labels[one.class_name] for one in images[number].objects if not one.crowd] for number in own]
    names, present = _without_folder([images[number].name for number in own]), indicator(shown, len(labels))
    held_out = stratified_holdout(names, present, groups[own], count, seed)
    for number, out in zip(own, with_each_class(held_out, present, groups[own])):
        sides[number] = VAL if out else TRAIN
    return sides


def _shows(image: LabelledImage) -> bool:
    return any(not one.crowd for one in image.objects)


def _is_usable(images: Sequence[LabelledImage], told: Sequence[str | None]) -> bool:
    """Whether the export has training and validation, and objects on both; what lacks them alone is warned of."""
    if not {TRAIN, VAL} <= {*told}:
        return False
    shown = {side or TRAIN for image, side in zip(images, told) if _shows(image)}
    if missing := [side for side in (TRAIN, VAL) if side not in shown]:
        logger.warning("The export's pictures for %s show no object: training and validation are dealt out anew", missing[0])
    return not missing


def _without_folder(names: Sequence[str]) -> list[str]:
    """The names without the folders that all of them have: where the pictures lie does not decide on their side."""
    parts = [name.split("/") for name in names]
    shared = len(os.path.commonprefix([own[:-1] for own in parts]))
    return ["/".join(own[shared:]) for own in parts]


def with_each_class(held_out: np.ndarray, present: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """The choice (n,) bool with groups exchanged so that both sides show objects, and classes whose share is half a picture.

    Stratification weighs all classes together, so one of few pictures can be on one side alone. A class that is on one side
    after it, and of several groups, is brought to the other by the exchange that costs the other classes least.

    present: (n, classes + 1) bool, of `indicator`. groups: (n,) pictures of one number stay together.
    """
    columns = np.column_stack([~present[:, -1], present[:, :-1]])
    _, unit = np.unique(groups, return_inverse=True)
    weight = np.bincount(unit)
    counts = np.zeros((len(weight), columns.shape[1]), np.int64)
    np.add.at(counts, unit, columns)
    side = np.zeros(len(weight), bool)
    side[unit] = held_out
    total, share = counts.sum(axis=0), float(held_out.mean())
    wanted = ((counts > 0).sum(axis=0) > 1) & (total * min(share, 1 - share) >= 0.5)
    wanted[0] = True
    for column in np.flatnonzero(wanted):
        for lacking in (True, False):
            if not counts[side == lacking, column].any() and (pair := _exchange(side, lacking, column, counts, weight, share)):
                side[list(pair)] = ~side[list(pair)]
    return side[unit]


def _exchange(
    side: np.ndarray, lacking: bool, column: int, counts: np.ndarray, weight: np.ndarray, share: float
) -> tuple[int, int] | None:
    """The unit that brings a class to the side that lacks it, and the one that goes for it.

    None where another class would be lost on a side, unless the column is the first, of any object.
    """
    total, have = counts.sum(axis=0), counts[side == lacking].sum(axis=0)
    goal = total * (share if lacking else 1 - share)
    takers = np.flatnonzero(side == lacking)
    best = None
    for giver in np.flatnonzero((side != lacking) & (counts[:, column] > 0)):
        after = have - counts[takers] + counts[giver]
        lost = ((after < 1) & (have > 0)).sum(axis=1) + ((after == total) & (have < total)).sum(axis=1)
        apart = ((after - goal) ** 2 / np.maximum(total, 1)).sum(axis=1)
        # First no class may be lost, then the numbers of pictures stay, then the shares.
        order = np.lexsort((apart, np.abs(weight[takers] - weight[giver]), lost))
        first = order[0]
        key = (int(lost[first]), int(abs(weight[takers[first]] - weight[giver])), float(apart[first]))
        if best is None or key < best[0]:
            best = key, int(giver), int(takers[first])
    if best is None or (best[0][0] and column):
        return None
    return best[1], best[2]


def _groups(images: Sequence[LabelledImage], duplicates: bool, fate: str) -> np.ndarray:
    """(n,) int64: equal for pictures of one group of the labels, or that are the same picture."""
    files = [image.file or image.name for image in images]
    group = duplicate_groups([image.name for image in images], files, fate) if duplicates else np.arange(len(images))
    first: dict[str, int] = {}
    for number, image in enumerate(images):
        if image.group is not None:
            group[group == group[number]] = first.setdefault(image.group, int(group[number]))
    return group


def _warn_of_leaks(images: Sequence[LabelledImage], sides: Sequence[str], groups: np.ndarray) -> None:
    """Say which pictures of the evaluation are learnt, too."""
    learnt = {group: image.name for group, image, side in zip(groups.tolist(), images, sides) if side == TRAIN}
    leaks = [
        f"{image.name} = {learnt[group]}"
        for group, image, side in zip(groups.tolist(), images, sides)
        if side != TRAIN and group in learnt
    ]
    if leaks:
        shown = ", ".join(leaks[:3]) + (", …" if len(leaks) > 3 else "")
        logger.warning(
            "%s held out by the export also in training, so that evaluation flatters: %s. Deal them out anew: --split_anew",
            counted(len(leaks), "pictures"), shown,
        )  # fmt: skip


def table(images: Sequence[LabelledImage], class_names: Sequence[str], sides: Sequence[str], skipped: Mapping[str, int]) -> str:
    """Images and objects of each class by side, and what was left out. Many classes without an object share a row."""
    titles = [side for side in SIDES if side in sides]
    found: Counter[tuple[str, str]] = Counter()
    for image, side in zip(images, sides):
        found["images", side] += 1
        found["images without objects", side] += not image.objects
        for one in image.objects:
            found["crowds" if one.crowd else f"objects: {one.class_name}", side] += 1

    def row(title: str) -> list[str]:
        numbers = [found[title, side] for side in titles]
        return [title, *map(str, numbers), str(sum(numbers))]

    crowds = ["crowds"] if any(found["crowds", side] for side in titles) else []
    empty = [name for name in class_names if not any(found[f"objects: {name}", side] for side in titles)]
    folded = [f"objects: {len(empty)} other classes"] if len(empty) > MOST_EMPTY else []
    shown = [name for name in class_names if not folded or name not in empty]
    rows = ["images", "images without objects", *(f"objects: {name}" for name in shown), *folded, *crowds]
    cells = [["", *titles, "all"], *map(row, rows)]
    cells += [[f"left out: {reason}", *([""] * len(titles)), str(number)] for reason, number in skipped.items() if number]
    return "\n".join(line.rstrip() for line in aligned(cells))
