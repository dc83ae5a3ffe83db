"""Which tensor of a file becomes which of the model, and what happens to the others: decided by names and shapes alone."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ppdet_ext.errors import UserError

from .names import canonical, name_table, shape_in_mmdet

Shape = tuple[int, ...]
Shapes = Mapping[str, Shape]
# Tensors that have one row, or four, for each class; the semantic head counts its own classes.
_CLASS_ROWS = [
    (r"roi_head\.bbox_head\.(\d+\.)?fc_cls\.", lambda classes: classes + 1),
    (r"roi_head\.bbox_head\.(\d+\.)?fc_reg\.", lambda classes: 4 * classes),
    (r"roi_head\.mask_head\.(\d+\.)?conv_logits\.", lambda classes: classes),
]
_SEMANTIC_ROWS = "roi_head.semantic_head.conv_logits."
_MMDET_1 = re.compile(r"bbox_head\.(\d+\.)?fc_cls\.|mask_head\.(\d+\.)?(convs|conv_logits)\.|semantic_head\.")
_SKIPPED = [
    (r".*\.num_batches_tracked$", "batch norm's step counter, which nothing reads"),
    (r"ema_", "mmdetection 2's second copy of the weights; the plain names hold the averaged ones"),
]
_CLASSIFIER = re.compile(r"(fc|head)\.")
_OFFSETS = re.compile(r".*\.conv_offset\.(weight|bias)$")


@dataclass
class Plan:
    """What becomes of each tensor.

    Attributes:
        mapped: ours -> file's, in the model's order.
        transposed: ours, those mapped whose two axes are swapped.
        skipped: file's -> why it is of no use.
        dropped: ours -> shapes; left out since they depend on the number of classes, which differs.
        fresh: ours that a file of a backbone alone does not hold, and need not.
        missing: ours that the file should hold.
        left_over: the file's that the model has no place for.
        other_shape: a line for each pair that does not fit.
        classes: object classes in the file and in the model, None where there is no box head.
        backbone_only: the file is of an image classifier.
    """

    mapped: dict[str, str] = field(default_factory=dict)
    transposed: list[str] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)
    dropped: dict[str, str] = field(default_factory=dict)
    fresh: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    left_over: list[str] = field(default_factory=list)
    other_shape: list[str] = field(default_factory=list)
    classes: tuple[int | None, int | None] = (None, None)
    backbone_only: bool = False


def class_count(shapes: Shapes) -> int | None:
    """Object classes, background apart, of tensors under mmdetection's names."""
    return next(
        (s[0] - 1 for n, s in shapes.items() if re.fullmatch(r"roi_head\.bbox_head\.(0\.)?fc_cls\.bias", n) and s), None
    )


def depends_on_classes(name: str, there: Shape, here: Shape, classes: tuple[int | None, int | None]) -> bool:
    """Whether the shapes of a tensor in the file and in the model differ by the number of classes alone."""
    if there == here or not there or not here or there[1:] != here[1:]:
        return False
    if name.startswith(_SEMANTIC_ROWS):
        return True
    rows = next((rows for pattern, rows in _CLASS_ROWS if re.match(pattern, name)), None)
    return rows is not None and None not in classes and (there[0], here[0]) == tuple(map(rows, classes))


def _kind(path: object, file: Shapes) -> tuple[bool, str]:
    """Whether the file is of a backbone alone, and what its names lack; mmdetection 1 is refused."""
    if any(_MMDET_1.match(name) for name in file):
        raise UserError(
            f"Weights file {path} is of mmdetection 1.x, which counts background as the first class and names the heads "
            "otherwise. Convert it with mmdetection 2's tools/model_converters/upgrade_model_version.py first."
        )
    if "conv1.weight" in file and "layer1.0.conv1.weight" in file:
        return True, "backbone."
    return all(name.startswith("backbone.") or _CLASSIFIER.match(name) for name in file), ""


def _of_no_use(name: str, backbone_only: bool) -> str | None:
    """Why a tensor of a file has no place in any model of ours, or None."""
    if backbone_only and _CLASSIFIER.match(name):
        return "the image classifier's last layer"
    return next((why for pattern, why in _SKIPPED if re.match(pattern, name)), None)


def make_plan(path: object, file: Shapes, model: Mapping[str, Sequence[int]]) -> Plan:
    """Compare a file with a model.

    Args:
        path: the file, for messages.
        file: its shapes, by mmdetection's names.
        model: our shapes, by our names.

    Raises:
        UserError: the file is of mmdetection 1, or the model has parts that mmdetection has not.
    """
    plan = Plan()
    plan.backbone_only, prefix = _kind(path, file)
    waiting: dict[str, str] = {}
    for name in file:
        if why := _of_no_use(name, plan.backbone_only):
            plan.skipped[name] = why
        else:
            waiting[canonical(prefix + name)] = name
    table = name_table(model)
    wanted = {theirs: shape_in_mmdet(model[ours]) for ours, theirs in table.items()}
    plan.classes = (class_count(file), class_count(wanted))
    for ours, theirs in table.items():
        name = waiting.pop(theirs, "")
        if not name:
            need_not = plan.backbone_only and (not ours.startswith("backbone.") or _OFFSETS.match(theirs))
            (plan.fresh if need_not else plan.missing).append(ours)
            continue
        there, here = file[name], wanted[theirs]
        if there == here:
            plan.mapped[ours] = name
            if len(here) == 2:
                plan.transposed.append(ours)
        elif depends_on_classes(theirs, there, here, plan.classes):
            plan.dropped[ours] = f"{list(there)} in the file, {list(here)} in the model"
        else:
            plan.other_shape.append(f"{ours}: {name} is {list(there)} in the file, {list(here)} in the model")
    plan.left_over = list(waiting.values())
    return plan


SHOWN = 10


def shortened(lines: Sequence[str]) -> str:
    """Up to ten lines, indented, and how many more there are."""
    more = [f"… and {len(lines) - SHOWN} more"] if len(lines) > SHOWN else []
    return "".join(f"\n  {line}" for line in [*lines[:SHOWN], *more])


def demand_exact(path: object, plan: Plan, drop: bool, remedy: str) -> None:
    """UserError unless every tensor of file and model has its counterpart.

    Args:
        path: the file, for messages.
        plan: of the file.
        drop: tensors that depend on the number of classes may be left out.
        remedy: what the user does about a differing number of classes.
    """
    differ = [*plan.other_shape, *(f"{name}: missing in the file" for name in plan.missing)]
    differ += [f"{name}: not in the model" for name in plan.left_over]
    if differ:
        raise UserError(
            f"Weights file {path} is of another architecture than the configured model: {len(plan.mapped)} tensors match, "
            f"{len(differ)} differ:{shortened(differ)}"
        )
    if plan.backbone_only:
        raise UserError(f"Weights file {path} holds a backbone alone; use it by -o pretrain_weights={path}")
    if plan.dropped and not drop:
        counts = "the semantic branch has another number of classes"
        if plan.classes[0] != plan.classes[1]:
            counts = f"it has {plan.classes[0]} classes, the configured model {plan.classes[1]}"
        lines = [f"{name}: {shapes}" for name, shapes in plan.dropped.items()]
        raise UserError(f"Weights file {path} does not fit: {counts}. {remedy} These tensors differ:{shortened(lines)}")
