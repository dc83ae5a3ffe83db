"""What to look at before training, in words, each with what mends it: texts for -o, or another tool's command."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ppdet_ext.config.arguments import parameters_of
from ppdet_ext.errors import counted
from ppdet_ext.host import Config
from ppdet_ext.pages.formats import percent
from ppdet_ext.registry import SEGMENTATION_LOSSES

from .fit import SMALL, enlargement, resizing_of
from .objects import Data
from .schema import Advice, AnchorFacts, ClassFacts, Leaks, Problem, Resized, Suspicion
from .suspicious import TINY

GAIN = 0.02  # of the boxes, that other anchors must meet more
LOST = 0.02  # of the objects, that resizing may make small
UNEVEN = 20  # times as many objects of the commonest class as of the rarest
EMPTY, KEPT = 0.5, 0.25  # share of images without objects that is worth a word, and that training needs
MOST_NAMES = 6


@dataclass(frozen=True)
class Found:
    """What advice is made of. config: as the user calls it."""

    cfg: Config
    config: str
    data: Data
    classes: list[ClassFacts]
    leaks: Leaks
    problems: list[Problem]
    suspicious: list[Suspicion]
    resized: list[Resized]
    anchors: AnchorFacts | None


def advice(found: Found) -> list[Advice]:
    """Grave ones first, then in the order of the page."""
    every = [
        *_number_of_classes(found), *_classes(found), *_balance(found), *_many(found), *_leaks(found), *_problems(found),
        *_suspicious(found), *_resized(found), *_anchors(found),
    ]  # fmt: skip
    return sorted(every, key=lambda one: not one.grave)


def option_line(options: Sequence[str]) -> str:
    """`-o KEY=VALUE …` as a shell takes it."""
    return " ".join(["-o", *map(shlex.quote, options)]) if options else ""


def _number_of_classes(found: Found) -> Iterator[Advice]:
    names, stated = found.data.class_names, int(found.cfg.num_classes)
    lists = [list(part.class_names) for part in found.data.parts if part.class_names]
    if any(one != lists[0] for one in lists):
        told = "; ".join(f"{part.name}: {_listed(part.class_names)}" for part in found.data.parts if part.class_names)
        yield Advice("classes", f"The parts have other classes, or in another order: {told}.", [], "", True)
    elif lists and len(names) != stated:
        text = f"num_classes is {stated}, but the data have {len(names)}."
        yield Advice("classes", text, [f"num_classes={len(names)}"], "", True)


def _classes(found: Found) -> Iterator[Advice]:
    """Classes that a part lacks, and parts without any object."""
    for number, part in enumerate(found.data.parts):
        if not part.annotated:
            continue
        lacking = [row.name for row in found.classes if not row.parts[number].objects]
        if len(lacking) == len(found.classes):
            text = f"None of the {part.name} part's {counted(len(part.records), 'images')} has an object."
            yield Advice("classes", text, [], "", part.name == "train")
        elif lacking:
            fate = "cannot be learnt" if part.name == "train" else "are not measured"
            text = f"Classes without an object in {part.name}, which {fate}: {_listed(lacking)}."
            # What occurs nowhere does no harm.
            elsewhere = any(row.objects and not row.parts[number].objects for row in found.classes)
            yield Advice("classes", text, [], "", part.name == "train" and elsewhere)


def _balance(found: Found) -> Iterator[Advice]:
    if found.data.parts[0].name != "train":
        return
    rows = [row for row in found.classes if row.parts[0].objects]
    if len(rows) > 1:
        most, least = max(rows, key=_trained), min(rows, key=_trained)
        if _trained(most) >= UNEVEN * _trained(least):
            text = (
                f"{most.name} has {_trained(most):,} objects in training, {least.name} {_trained(least):,}. A sampler shows "
                "images of rare classes more often (balance: 1 shows all classes alike)."
            )
            yield Advice("classes", text, ["TrainReader.sampler={balance: 0.5}"], "", False)
            yield from _weighted_losses(found)
    counts = found.data.images.counts[found.data.images.part == 0]
    share = float((counts == 0).mean()) if len(counts) else 0.0
    if EMPTY < share < 1:
        text = f"{percent(share)} of the images in training show no object; a quarter of them teaches what there is to learn."
        options = [f"{path}={KEPT}" for path in found.data.parts[0].adjustable.get("empty_ratio", ())]
        yield Advice("classes", text, options, "", False)


def _weighted_losses(found: Found) -> Iterator[Advice]:
    """What losses of maps can do in place of a sampler; those of detectors have no weights of classes."""
    section = found.cfg.get(found.cfg.architecture) or {}
    # Where each pixel has one class alone, there is a map of the background, too.
    if section.get("task", "multilabel") != "multilabel":
        return
    weights = _numbers([1.0 if row.weight is None else row.weight for row in found.classes], 3)
    for place, entry in enumerate(section.get("losses") or ()):
        for name, given in entry.items():
            takes = "class_weights" in parameters_of(SEGMENTATION_LOSSES[name])[0]
            if takes and (given or {}).get("class_weights") is None:
                text = f"In place of a sampler, the loss {name} can count rare classes more: by the inverse of their numbers."
                key = f"{found.cfg.architecture}.losses.{place}.{name}.class_weights"
                yield Advice("classes", text, [f"{key}=[{weights}]"], "", False)


def _trained(row: ClassFacts) -> int:
    return row.parts[0].objects


def _many(found: Found) -> Iterator[Advice]:
    head = found.cfg.get(found.cfg.architecture) or {}
    if head.get("roi_head") != "HTCRoIHead":
        return
    kept, most = int(found.cfg["HTCRoIHead"]["max_detections"]), int(max(found.data.images.counts, default=0))
    if most > kept:
        over = int((found.data.images.counts > kept).sum())
        text = (
            f"{counted(over, 'images')} with more than {kept} objects, up to {most:,}; a model keeps {kept} detections of one."
        )
        wanted = -(-most // 50) * 50
        rpn = {key: int(found.cfg["HTCRPNHead"][key]) for key in ("test_pre_nms", "test_proposals")}
        more = [f"HTCRPNHead.{key}={max(value, 2 * wanted)}" for key, value in rpn.items() if value < 2 * wanted]
        yield Advice("classes", text, [f"HTCRoIHead.max_detections={wanted}", *more], "", False)


def _leaks(found: Found) -> Iterator[Advice]:
    leaks, parts = found.leaks, found.data.parts
    if leaks.count:
        first = " = ".join(f"{name} ({part})" for part, name in (leaks.groups[0].images[0], leaks.groups[0].images[-1]))
        text = (
            f"{parts[0].name} shares {counted(leaks.affected, 'images')} with other parts: the same {leaks.groups[0].kind}, "
            f"{first}. Measured on them, a model looks better than it is."
        )
        one = len({part.source for part in parts}) == 1
        command = f"python tools/split.py -c {shlex.quote(found.config)}" if one and found.config else ""
        yield Advice("leaks", text, [], command, True)


def _problems(found: Found) -> Iterator[Advice]:
    for part in found.data.parts:
        own = [problem for problem in found.problems if problem.part == part.name]
        if own:
            total = sum(problem.count for problem in own)
            text = (
                f"The data of {part.name} have {counted(total, 'faults')}, which training refuses. Mend them, or go on without "
                "the images that they are about."
            )
            options = [f"{path}=skip" for path in part.adjustable.get("on_error", ())]
            yield Advice("problems", text, options, "", True)


def _suspicious(found: Found) -> Iterator[Advice]:
    for one in found.suspicious:
        text = f"{one.title}: {counted(one.count, 'objects')}. {one.meaning}"
        options = []
        if one.key == "tiny":
            paths = [path for part in found.data.parts for path in part.adjustable.get("min_instance_area", ())]
            options = [f"{path}={TINY}" for path in paths]
        yield Advice("suspicious", text, options, "", one.key in ("whole", "two_classes"))


def _resized(found: Found) -> Iterator[Advice]:
    shown = next((one for one in found.resized if one.reader == "TrainReader"), None)
    if shown is None or shown.small < LOST * shown.objects:
        return
    text = (
        f"{percent(shown.small / shown.objects)} of the objects measure less than {SMALL} px once images are resized to "
        f"{shown.size[1]}x{shown.size[0]} px (width x height), and will hardly be found."
    )
    factor = enlargement(found.cfg, found.data)
    options: list[str] = []
    if factor is None:
        text += " Larger images alone would not help enough: raise the sizes and train on windows (CropAroundDefect), as "
        text += "docs/own_data.md says of tiny objects on huge pictures."
    else:
        text += f" Images {factor:.1f} times as large keep them, and take {factor**2:.1f} times as long."
        for reader in ("TrainReader", "EvalReader", "TestReader"):
            resizing = resizing_of(found.cfg, reader)
            options += [] if resizing is None else resizing.enlarged(factor)
    yield Advice("fit", text, options, "", False)


def _anchors(found: Found) -> Iterator[Advice]:
    one = found.anchors
    if one is None or one.best_reached < one.reached + GAIN:
        return
    text = (
        f"Anchors of ratios {_numbers(one.ratios)} and scale {one.scale:g} meet {percent(one.reached, 1)} of the objects by an "
        f"IoU of .5; ratios {_numbers(one.best_ratios)} and scale {one.best_scale:g} would meet {percent(one.best_reached, 1)}."
    )
    options = [f"HTCRPNHead.ratios=[{_numbers(one.best_ratios)}]", f"HTCRPNHead.scale={one.best_scale:g}"]
    if one.best_inside_only != one.inside_only:
        options.append(f"HTCRPNHead.inside_only={str(one.best_inside_only).lower()}")
    yield Advice("fit", text, options, "", False)


def _numbers(values: Sequence[float], digits: int = 6) -> str:
    return ", ".join(f"{value:.{digits}g}" for value in values)


def _listed(names: Sequence[str]) -> str:
    return ", ".join(map(str, names[:MOST_NAMES])) + (f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else "")
