"""Loading model weights: the same architecture exactly (`weights`), or what fits of another one (`pretrain_weights`)."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import paddle

from ppdet_ext.errors import OtherModelError, UserError
from ppdet_ext.files.cache import ArrayCache, content_key
from ppdet_ext.files.download import weights_folder
from ppdet_ext.files.manifest import demand_whole
from ppdet_ext.modeling.backbones import ENCODERS

from .class_rows import by_name, in_order
from .files.class_names import CLASSES, Classes, class_entry
from .files.paddle_file import read_weights_file
from .files.tensor_file import TensorFile, open_tensors
from .find import SUFFIX, find_weights, of_torch
from .foreign.mmdet import shape_in_mmdet
from .foreign.naming import root_of
from .foreign.padding import Provenance, padding_of, say_padding
from .foreign.plan import ADAPTATIONS, Plan, make_plan, read_planned
from .foreign.report import demand_exact, difference_hint, encoder_hint, outputs_of, shortened
from .foreign.smp import smp_name

logger = logging.getLogger("ppdet_ext")


def _shapes(tensors: Mapping[str, paddle.Tensor]) -> dict[str, list[int]]:
    return {name: list(tensor.shape) for name, tensor in tensors.items()}


def differences(model: Mapping[str, Sequence[int]], file: Mapping[str, np.ndarray]) -> list[str]:
    """One line for each tensor that is missing in the file, unexpected in it, or of another shape than the model's."""
    lines = [
        f"{name}: shape {list(file[name].shape)} in the file, {list(shape)} in the model"
        for name, shape in model.items()
        if name in file and list(file[name].shape) != list(shape)
    ]
    lines += [f"{name}: missing in the file" for name in model if name not in file]
    lines += [f"{name}: not in the model" for name in file if name not in model]
    return lines


def _assign(tensors: Mapping[str, paddle.Tensor], values: Mapping[str, np.ndarray]) -> None:
    for name, value in values.items():
        tensors[name].set_value(paddle.to_tensor(value).astype(tensors[name].dtype))


class Weights(NamedTuple):
    """What a weights file holds: tensors by our names, and what its classes are called if it says so."""

    path: Path
    values: dict[str, np.ndarray]
    classes: Classes | None
    padding: Provenance | None = None


def read_weights(path: str | Path, model: Mapping[str, Sequence[int]], suffix: str = SUFFIX) -> Weights:
    """Read the file of `path` with that suffix.

    Args:
        path: see `find_weights`.
        model: name -> shape; the file must hold exactly these.
        suffix: of the file.

    Raises:
        UserError: no such file, damaged, or any tensor differs (up to ten of them are listed).
    """
    file = find_weights(path, suffix, theirs=suffix == SUFFIX)
    demand_whole(file)
    if of_torch(file):
        with open_tensors(file) as opened:
            plan = make_plan(file, opened.shapes, model, opened.outside)
            demand_exact(file, plan, False, "Set num_classes to the file's.", model)
            return Weights(file, dict(read_planned(opened, plan, model)), opened.classes, padding_of(opened, plan))
    values, classes = read_weights_file(file)
    lines = differences(model, values)
    if lines:
        matched = len(model) - sum(not line.endswith("not in the model") for line in lines)
        raise OtherModelError(
            f"Weights file {file} is of another architecture or class count: {matched} of the model's {len(model)} "
            f"tensors match, {len(lines)} differ{_own_hint(file, values, model)}:{shortened(lines)}"
        )
    return Weights(file, values, classes)


def _own_hint(file: Path, values: Mapping[str, np.ndarray], model: Mapping[str, Sequence[int]]) -> str:
    """What is behind the differences of two segmentation nets of ours, whose names are SMP's but for the statistics."""
    if "encoder." not in (root_of(model), root_of(values)) or root_of(model) != root_of(values):
        return ""
    theirs = {smp_name(name): shape_in_mmdet(value.shape) for name, value in values.items()}
    plan = make_plan(file, theirs, model)
    return difference_hint(plan, model) or (f"; {outputs_of(plan)}" if plan.dropped else "")


def with_order(weights: Weights, names: Sequence[str]) -> Weights:
    """The weights, whose outputs are put in the order of `names` where these are the same names in another one.

    Raises:
        UserError: they cannot be matched by name.
    """
    own = weights.classes.names if weights.classes else ()
    if list(own) == list(names) or sorted(own) != sorted(names):
        return weights
    values = dict(by_name(weights.path, weights.values, own, names))
    assert weights.classes is not None
    ids = weights.classes.ids and tuple(weights.classes.ids[own.index(name)] for name in names)
    return weights._replace(values=values, classes=Classes(tuple(names), ids))


def load_weights(model: paddle.nn.Layer, path: str | Path, suffix: str = SUFFIX, names: Sequence[str] = ()) -> Weights:
    """Load weights of the same architecture, ours, mmdetection's or SMP's, into `model`; returns what was loaded.

    names: of the classes, see `with_order`; none leaves the outputs as they are.

    Raises:
        UserError: see `read_weights` and `with_order`.
    """
    tensors = model.state_dict()
    weights = with_order(read_weights(path, _shapes(tensors), suffix), names)
    _assign(tensors, weights.values)
    # With its folder: a configuration that was moved may name weights that lie elsewhere.
    logger.info("Loaded %s: %d tensors", weights.path.absolute(), len(weights.values))
    say_padding(model, weights.path, weights.padding, settle=True)
    return weights


def with_classes(weights: Mapping[str, paddle.Tensor], classes: Classes | None) -> dict[str, paddle.Tensor]:
    """The state_dict with its class names behind its tensors; `paddle.save` lays out the others as without it."""
    if classes is None:
        return dict(weights)
    # Not a generated name: the file would depend on how many tensors this process has made.
    with paddle.utils.unique_name.guard():
        entry = paddle.to_tensor(class_entry(classes)[CLASSES], place=paddle.CPUPlace())
    entry.name = CLASSES
    return {**weights, CLASSES: entry}


def match_names(model: Mapping[str, paddle.Tensor], file: Mapping[str, np.ndarray]) -> dict[str, str]:
    """Model tensor -> file tensor of the same shape: equal name, else the longest file name it ends with.

    ppdet's rule ('res2.0.conv.weight' in a classification checkpoint fits 'backbone.res2.0.conv.weight' here).
    """
    matched = {}
    for name, tensor in model.items():
        parts = name.split(".")
        ends = (".".join(parts[start:]) for start in range(len(parts)))
        found = next((end for end in ends if end in file), None)
        if found is not None and list(file[found].shape) == list(tensor.shape):
            matched[name] = found
    return matched


def load_pretrained(model: paddle.nn.Layer, path: str | Path, names: Sequence[str] = ()) -> dict[str, int]:
    """Load what fits of a pretrained file, ours or another framework's; returns and logs counts.

    The counts: loaded, not_in_file, not_in_model, other_shape. What depends on a number of classes that differs is left as it
    is in the model, and named. Of as many classes, those that the file has too are matched by name.

    names: of the model's classes; none takes them for the file's, row by row.

    Raises:
        UserError: no such file, damaged, classes in another order that cannot be matched by name, or fewer than half
            of the tensors (of the smaller of file and model) fit.
    """
    file = find_weights(path, theirs=True)
    tensors = model.state_dict()
    values, counts, lines, padding, classes = (_pretrained_foreign if of_torch(file) else _pretrained)(file, tensors)
    in_file = counts["loaded"] + counts["not_in_model"] + counts["other_shape"]
    if 2 * len(values) < min(in_file, len(tensors)):
        raise UserError(
            f"Pretrained weights {file}: only {len(values)} of {min(in_file, len(tensors))} tensors fit the model, "
            f"fewer than half; it belongs to another network. Differences:{shortened(lines)}"
        )
    _assign(tensors, _classes_by_name(file, values, classes, tensors, names))
    shape_lines = [line for line in lines if line.endswith(" in the model")]
    logger.info(
        "Pretrained %s: %d tensors loaded, %d of the model not in the file, %d of the file not in the model, "
        "%d of another shape%s",
        file,
        *counts.values(),
        f" ({'; '.join(shape_lines[:3])})" if shape_lines else "",
    )
    say_padding(model, file, padding, settle=False)
    return counts


def _classes_by_name(
    file: Path,
    values: dict[str, np.ndarray],
    classes: Classes | None,
    tensors: Mapping[str, paddle.Tensor],
    names: Sequence[str],
) -> Mapping[str, np.ndarray]:
    """What fits of a file, whose rows of classes are those of the names that the model's have."""
    own = classes.names if classes else ()
    # Of other numbers of classes no row has been taken.
    if len(own) != len(names) or list(own) == list(names):
        return values
    if in_order(own, names):
        logger.warning(
            "Pretrained %s: classes of other names, taken for the same one by one: %s; the data set: %s",
            file, ", ".join(own), ", ".join(names),
        )  # fmt: skip
        return values
    return by_name(file, values, own, names, tensors)


Pretrained = tuple[dict[str, np.ndarray], dict[str, int], list[str], Provenance | None, Classes | None]


def _pretrained(file: Path, tensors: Mapping[str, paddle.Tensor]) -> Pretrained:
    """What fits of a `.pdparams`, counts, and a line for each difference."""
    values, classes = read_weights_file(file)
    matched = match_names(tensors, values)
    lines = differences(_shapes(tensors), values)
    encoder = {smp_name(n).removeprefix("encoder."): value.shape for n, value in values.items() if n.startswith("encoder.")}
    if lines and (hint := encoder_hint(encoder, "encoder.", _shapes(tensors))):
        raise UserError(f"Pretrained weights {file}: the backbone differs from the model's{hint}:{shortened(lines)}")
    other_shape = sum(": shape" in line for line in lines)
    counts = {
        "loaded": len(matched),
        "not_in_file": len(tensors) - len(matched) - other_shape,
        "not_in_model": len(set(values) - set(matched.values())) - other_shape,
        "other_shape": other_shape,
    }
    return {name: values[source] for name, source in matched.items()}, counts, lines, None, classes


def _pretrained_foreign(file: Path, tensors: Mapping[str, paddle.Tensor]) -> Pretrained:
    """The same of a file of another framework, or of an image classifier's encoder, which must fit altogether."""
    shapes = _shapes(tensors)
    with open_tensors(file) as opened:
        plan = make_plan(file, opened.shapes, shapes, opened.outside, start=True)
        lines = _describe(file, plan)
        # A shallow ResNet's tensors are all in a deep one; what fits of another encoder is of no use.
        hint = (
            encoder_hint(plan.encoder, plan.root, shapes) if lines and (plan.backbone_only or plan.root == "encoder.") else ""
        )
        if plan.backbone_only and plan.root == "encoder." and not plan.mapped:
            hint = hint or f"; it is none of those here ({', '.join(ENCODERS)})"
        if hint or (plan.backbone_only and lines):
            raise UserError(f"Pretrained weights {file}: the backbone differs from the model's{hint}:{shortened(lines)}")
        counts = {
            "loaded": len(plan.mapped),
            "not_in_file": len(plan.missing) + len(plan.fresh),
            "not_in_model": len(plan.left_over),
            "other_shape": len(plan.other_shape) + len(plan.dropped),
        }
        return _converted(opened, plan, shapes), counts, lines, padding_of(opened, plan), opened.classes


def _converted(opened: TensorFile, plan: Plan, shapes: Mapping[str, Sequence[int]]) -> dict[str, np.ndarray]:
    """The plan's tensors in our layouts, from the cache if the same file has been converted for the same model before."""
    cache = ArrayCache(weights_folder() / "converted")
    # With the plan, for a later version may know what to do with more of a file's tensors.
    key = content_key(str(opened.path), sorted(shapes.items()), list(plan.mapped.items()), plan.adapted)
    values = cache.load(key)
    if values is None:
        values = dict(read_planned(opened, plan, shapes))
        cache.store(key, values)
    return values


def _describe(file: Path, plan: Plan) -> list[str]:
    """A line for each difference; what is left out on purpose goes to the log."""
    if plan.dropped:
        counts = " and ".join(str(count) for count in plan.classes)
        text = "Pretrained %s: classes differ (%s); left at the model's own start: %s"
        logger.info(text, file, counts, ", ".join(plan.dropped))
    for why in dict.fromkeys(plan.skipped.values()):
        count = sum(reason == why for reason in plan.skipped.values())
        logger.info("Pretrained %s: %d tensors skipped: %s", file, count, why)
    for line in [*plan.naming.notes, *(f"{name}: {ADAPTATIONS[how][1]}" for name, how in plan.adapted.items())]:
        logger.info("Pretrained %s: %s", file, line)
    missing = [f"{name}: missing in the file" for name in plan.missing]
    return [*plan.other_shape, *missing, *(f"{name}: not in the model" for name in plan.left_over)]
