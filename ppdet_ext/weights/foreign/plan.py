"""Which tensor of a file becomes which of the model, and what happens to the others: decided by names and shapes alone."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from ppdet_ext.errors import UserError
from ppdet_ext.weights.files.tensor_file import TensorFile

from .encoders import STEM
from .mmdet import from_mmdet, shape_in_mmdet
from .naming import Naming, recognise, reference_names, root_of

Shape = tuple[int, ...]
Shapes = Mapping[str, Shape]
# Tensors that have one row, or four, for each class; the semantic head counts its own classes.
_CLASS_ROWS = [
    (r"roi_head\.bbox_head\.(\d+\.)?fc_cls\.", lambda classes: classes + 1),
    (r"roi_head\.bbox_head\.(\d+\.)?fc_reg\.", lambda classes: 4 * classes),
    (r"roi_head\.mask_head\.(\d+\.)?conv_logits\.", lambda classes: classes),
]
# Those whose first axis is the number of outputs, whatever that is.
_OUTPUTS = re.compile(
    r"roi_head\.semantic_head\.conv_logits\.|segmentation_head\.0\.|classification_head\.(\d+\.)?(weight|bias)$"
)
_SKIPPED = [
    (r".*\.num_batches_tracked$", "batch norm's step counter, which nothing reads"),
    (r"n_averaged$", "the number of models that torch's AveragedModel has averaged"),
    (r"ema_", "mmdetection 2's second copy of the weights; the plain names hold the averaged ones"),
]
_OF_WRAPPERS = re.compile(r"(pixel_)?(mean|std)$|\w*(loss|criterion|metric)\w*\.")
# Layers that a model may have beside those of a network trained on ImageNet.
_ADDED = re.compile(r".*\.(conv_offset\.(weight|bias)$|cbam\.)")
# Of torchvision's and timm's ResNets, and of Cadene's networks.
_LAST_LAYER = re.compile(r"(fc|last_linear)\.(weight|bias)")
_UNET_BLOCK = re.compile(r"decoder\.blocks\.(\d+)\.conv1\.0\.weight")


@dataclass
class Plan:
    """What becomes of each tensor.

    Attributes:
        mapped: ours -> file's, in the model's order.
        transposed: ours, those mapped whose two axes are swapped.
        adapted: ours, those mapped whose values are changed -> how, see `ADAPTATIONS`.
        skipped: file's -> why it is of no use.
        dropped: ours -> shapes; left out since they depend on the number of classes, which differs.
        fresh: ours that a file of a backbone alone does not hold, and need not.
        missing: ours that the file should hold.
        left_over: the file's that the model has no place for.
        other_shape: a line for each pair that does not fit.
        classes: object classes (of segmentation nets: outputs) in the file and in the model, None where there is no such head.
        naming: what the file is.
        encoder: shapes of the file's encoder, by SMP's bare names.
        root: what the names of the model's encoder begin with.
        widths: channels of the blocks of the file's U-Net, coarsest first; empty where it is none.
        any_channels: a first layer for three channels becomes one of the model's number.
    """

    mapped: dict[str, str] = field(default_factory=dict)
    transposed: list[str] = field(default_factory=list)
    adapted: dict[str, str] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    dropped: dict[str, str] = field(default_factory=dict)
    fresh: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    left_over: list[str] = field(default_factory=list)
    other_shape: list[str] = field(default_factory=list)
    classes: tuple[int | None, int | None] = (None, None)
    naming: Naming = field(default_factory=lambda: Naming({}))
    encoder: dict[str, Shape] = field(default_factory=dict)
    root: str = "backbone."
    widths: tuple[int, ...] = ()
    any_channels: bool = False

    @property
    def backbone_only(self) -> bool:
        """Whether the file is of an image classifier."""
        return self.naming.encoder_only


def unet_widths(shapes: Mapping[str, Sequence[int]]) -> tuple[int, ...]:
    """Channels of the blocks of a U-Net's decoder, coarsest first, of shapes by SMP's names; () for another network."""
    found = {int(match[1]): shape[0] for name, shape in shapes.items() if shape and (match := _UNET_BLOCK.fullmatch(name))}
    return tuple(found[block] for block in sorted(found))


def class_count(shapes: Shapes) -> int | None:
    """Object classes, background apart, of tensors under mmdetection's names; outputs under SMP's."""
    boxes = (s[0] - 1 for n, s in shapes.items() if re.fullmatch(r"roi_head\.bbox_head\.(0\.)?fc_cls\.bias", n) and s)
    maps = (
        s[0] for n, s in shapes.items() if re.fullmatch(r"segmentation_head\.0\.bias|classification_head\.\d+\.bias", n) and s
    )
    return next(boxes, next(maps, None))


def depends_on_classes(name: str, there: Shape, here: Shape, classes: tuple[int | None, int | None]) -> bool:
    """Whether the shapes of a tensor in the file and in the model differ by the number of classes alone."""
    if there == here or not there or not here or there[1:] != here[1:]:
        return False
    if _OUTPUTS.match(name):
        return True
    rows = next((rows for pattern, rows in _CLASS_ROWS if re.match(pattern, name)), None)
    return rows is not None and None not in classes and (there[0], here[0]) == tuple(map(rows, classes))


def _of_no_use(name: str, outside: bool) -> str | None:
    """Why a tensor of a file has no place in any model of ours, or None."""
    if outside and _OF_WRAPPERS.match(name):
        return "of the module around the network: its normalization, losses or metrics"
    return next((why for pattern, why in _SKIPPED if re.match(pattern, name)), None)


def make_plan(
    path: object,
    file: Shapes,
    model: Mapping[str, Sequence[int]],
    outside: frozenset[str] = frozenset(),
    start: bool = False,
) -> Plan:
    """Compare a file with a model.

    Args:
        path: the file, for messages.
        file: its shapes, by its names.
        model: our shapes, by our names.
        outside: the file's names that are of a module around the network.
        start: a training starts from the file: its first layer is made one of the model's number of channels, as always of an
            image classifier's.

    Raises:
        UserError: the file is of mmdetection 1 or has a module of SMP 0.0.x that is no more, or the model has parts that
            mmdetection has not.
    """
    root = root_of(model)
    skipped = {name: why for name in file if (why := _of_no_use(name, name in outside))}
    naming = recognise(path, [name for name in file if name not in skipped], root)
    _take_classifier(naming, file, model)
    plan = Plan(skipped={**skipped, **naming.skipped}, naming=naming, root=root, any_channels=start or naming.encoder_only)
    waiting: dict[str, str] = {}
    for name, theirs in naming.names.items():
        if waiting.setdefault(theirs, name) != name:
            raise UserError(f"Weights file {path}: {name} and {waiting[theirs]} are the same tensor, {theirs}.")
    plan.encoder = {name.removeprefix(root): file[found] for name, found in waiting.items() if name.startswith(root)}
    plan.widths = unet_widths({theirs: file[name] for theirs, name in waiting.items()})
    table = reference_names(model)
    wanted = {theirs: shape_in_mmdet(model[ours]) for ours, theirs in table.items()}
    plan.classes = (class_count({theirs: file[name] for theirs, name in waiting.items()}), class_count(wanted))
    for ours, theirs in table.items():
        if name := waiting.pop(theirs, ""):
            _place(plan, ours, theirs, name, (file[name], wanted[theirs]))
        else:
            need_not = naming.encoder_only and (not ours.startswith(root) or _ADDED.match(theirs))
            (plan.fresh if need_not else plan.missing).append(ours)
    plan.left_over = list(waiting.values())
    return plan


def _take_classifier(naming: Naming, file: Shapes, model: Mapping[str, Sequence[int]]) -> None:
    """Of a whole classifier of as many classes as an `ImageClassifier`'s take the last layer, too: it pools alike.

    EfficientNets do not, having a convolution before it.
    """
    head = {last: f"classification_head.3.{last}" for last in ("weight", "bias")}
    layers = {name: head[match[2]] for name in naming.skipped if (match := _LAST_LAYER.fullmatch(name))}
    fits = all(theirs in model and file[name] == shape_in_mmdet(model[theirs]) for name, theirs in layers.items())
    # What there are notes of computes otherwise.
    if naming.encoder_only and not naming.notes and len(layers) == 2 and fits and "segmentation_head.0.weight" not in model:
        naming.names.update(layers)
        naming.encoder_only = False
        for name in layers:
            del naming.skipped[name]


def _place(plan: Plan, ours: str, theirs: str, name: str, shapes: tuple[Shape, Shape]) -> None:
    """Note what becomes of a tensor that is in file and model."""
    there, here = shapes
    how = _adaptation(plan, theirs, there, here)
    fitted = {"centre": (*there[:2], *here[2:]), "channels": here}.get(how or "", there)
    if fitted == here:
        plan.mapped[ours] = name
        if how:
            plan.adapted[ours] = how
        elif len(here) == 2:
            plan.transposed.append(ours)
    elif depends_on_classes(theirs, fitted, here, plan.classes):
        plan.dropped[ours] = f"{list(there)} in the file, {list(here)} in the model"
    else:
        renamed = "" if name == ours else f"{ours}: "
        plan.other_shape.append(f"{renamed}{name} is {list(there)} in the file, {list(here)} in the model")


def _adaptation(plan: Plan, theirs: str, there: Shape, here: Shape) -> str | None:
    """How the values of a tensor are changed to fit, None if they are not."""
    if len(there) != 4 or len(here) != 4:
        return None
    if plan.naming.of_2019 and theirs == "segmentation_head.0.weight" and (there[2:], here[2:]) == ((1, 1), (3, 3)):
        return "centre"
    stem = plan.any_channels and STEM.fullmatch(theirs.removeprefix(plan.root))
    same = there[0] == here[0] and there[2:] == here[2:]
    return "channels" if stem and same and there[1] == 3 != here[1] else None


def _centre(value: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """A 1×1 kernel in the middle of a 3×3 one."""
    return np.pad(value, [(0, 0), (0, 0), (1, 1), (1, 1)])


def _channels(value: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """Weights for n input channels made of those for three, as SMP does: their sum for one, else each in turn, by 3/n."""
    if shape[1] == 1:
        return value.sum(1, keepdims=True)
    return value[:, [i % 3 for i in range(shape[1])]] * np.float32(3 / shape[1])


ADAPTATIONS = {
    "centre": (_centre, "a 1×1 kernel becomes the middle of a 3×3 one, as Unet has it since segmentation_models_pytorch 0.1"),
    "channels": (
        _channels,
        "its three input channels become the model's number: their sum for 1, else 3/n of each in turn",
    ),
}


def read_planned(file: TensorFile, plan: Plan, model: Mapping[str, Sequence[int]]) -> Iterator[tuple[str, np.ndarray]]:
    """Our names and the file's values in our layout, float32, in the model's order.

    Raises:
        UserError: the file is damaged, or a tensor does not hold floating-point numbers.
    """
    for ours, theirs in plan.mapped.items():
        value = file.read(theirs)
        if value.dtype.kind != "f":
            raise UserError(f"Weights file {file.path}: {theirs} is {value.dtype}; expected floating-point numbers.")
        if ours in plan.adapted:
            value = ADAPTATIONS[plan.adapted[ours]][0](value, model[ours])
        yield ours, np.ascontiguousarray(from_mmdet(theirs, value), np.float32)


def foreign_state_dict(values: Mapping[str, np.ndarray]) -> Iterator[tuple[str, np.ndarray]]:
    """Names and values of a whole model as mmdetection or SMP has them, with batch norm's step counters, which are 0.

    Raises:
        UserError: a tensor of the model has no counterpart in mmdetection.
    """
    for ours, theirs in reference_names(values).items():
        yield theirs, np.asarray(from_mmdet(theirs, values[ours]), np.float32)
        if theirs.endswith(".running_var"):
            yield theirs.replace("running_var", "num_batches_tracked"), np.zeros((), np.int64)
