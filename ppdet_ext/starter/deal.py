"""Labelled pictures on two sides: the subsets that an export tells, or dealt out by class, copies on one side."""

from __future__ import annotations

import logging
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
    """The side of each picture: as the export tells, where it has some for training and some for validation; else by class.

    Args:
        val: pictures to hold out, a number or a share of all; 0: none. Pictures for testing stay apart.
        duplicates: look for pictures that are the same, and keep them on one side.
        as_told: go by the subsets of the export.
        seed: of the choice.

    Raises: UserError where so many cannot be held out.
    """
    told = [side_of(image) if as_told else None for image in images]
    by_export = {TRAIN, VAL} <= {*told}
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
    if len(np.unique(groups[own])) < 2:
        logger.warning("There is one picture, or copies of one: nothing can be held out, evaluation is on what is learnt")
        return sides
    labels = {name: label for label, name in enumerate(class_names)}
    shown = [[labels[one.class_name] for one in images[number].objects if not one.crowd] for number in own]
    names = [images[number].name for number in own]
    held_out = stratified_holdout(names, indicator(shown, len(labels)), groups[own], count, seed)
    for number, out in zip(own, held_out):
        sides[number] = VAL if out else TRAIN
    return sides


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
    """Images and objects of each class by side, and what was left out."""
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
    rows = ["images", "images without objects", *(f"objects: {name}" for name in class_names), *crowds]
    cells = [["", *titles, "all"], *map(row, rows)]
    cells += [[f"left out: {reason}", *([""] * len(titles)), str(number)] for reason, number in skipped.items() if number]
    return "\n".join(line.rstrip() for line in aligned(cells))
