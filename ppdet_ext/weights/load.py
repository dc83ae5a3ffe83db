"""Loading model weights: the same architecture exactly (`weights`), or what fits of another one (`pretrain_weights`)."""

import difflib
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import paddle
from ppdet.utils.download import get_weights_path

from ppdet_ext.config.load import resolve_path
from ppdet_ext.errors import UserError
from ppdet_ext.files.cache import ArrayCache, content_key
from ppdet_ext.files.download import fetch, weights_folder
from ppdet_ext.files.manifest import demand_whole
from ppdet_ext.weights.files.paddle_file import read_data_file
from ppdet_ext.weights.files.tensor_file import SUFFIXES, TensorFile, open_tensors
from ppdet_ext.weights.mmdet.arrays import read_planned
from ppdet_ext.weights.mmdet.plan import Plan, demand_exact, make_plan, shortened

SUFFIX = ".pdparams"
logger = logging.getLogger("ppdet_ext.engine")


def find_weights(path: str | Path, suffix: str = SUFFIX, theirs: bool = False) -> Path:
    """The weights file meant by a path with or without suffix, or by a URL. UserError, with near names, if absent.

    Args:
        path: of the file.
        suffix: of the file.
        theirs: a path or URL that ends in `.pth`, `.pt` or `.safetensors` means that file, of mmdetection.
    """
    text = str(path)
    if theirs and text.startswith(("http://", "https://")) and Path(urlsplit(text).path).suffix in SUFFIXES:
        text = str(fetch(text))
    elif text.startswith(("http://", "https://", "ppdet://")):
        try:
            text = get_weights_path(text)
        except Exception as error:  # ppdet raises RuntimeError, requests its own kinds
            raise UserError(f"Weights {path} could not be downloaded: {error}") from error
    if theirs and Path(text).suffix in SUFFIXES:
        suffix = Path(text).suffix
    if resolve_path(text).is_dir() and (resolve_path(text) / f"model{suffix}").is_file():
        text = str(Path(text) / "model")  # a checkpoint's folder
    stem = text[: -len(Path(text).suffix)] if Path(text).suffix in (".pdparams", ".pdopt", suffix) else text
    found = resolve_path(stem + suffix)
    if found.is_file():
        return found
    folder = found.parent if found.parent.is_dir() else found.parent.parent
    files = [*folder.glob(f"*{suffix}"), *folder.glob(f"*/*{suffix}")]
    names = {str(file.relative_to(folder)): file for file in sorted(files)}
    wanted = found.name if folder == found.parent else f"{found.parent.name}/{found.name}"
    near = difflib.get_close_matches(wanted, list(names), n=3, cutoff=0.3) or list(names)[:3]
    hint = f" There is: {', '.join(str(names[name]) for name in near)}" if near else ""
    raise UserError(f"Weights file {found} does not exist.{hint}")


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


def _tensors(path: Path) -> dict[str, np.ndarray]:
    content = read_data_file(path)
    wrong = [name for name, value in content.items() if not isinstance(value, np.ndarray)]
    if wrong or not content:
        raise UserError(f"Weights file {path} holds no table of tensors ({', '.join(wrong[:3]) or 'it is empty'}).")
    return content


def _assign(tensors: Mapping[str, paddle.Tensor], values: Mapping[str, np.ndarray]) -> None:
    for name, value in values.items():
        tensors[name].set_value(paddle.to_tensor(value).astype(tensors[name].dtype))


def read_weights(path: str | Path, model: Mapping[str, Sequence[int]], suffix: str = SUFFIX) -> tuple[Path, dict]:
    """The file of `path` with that suffix, and its tensors by name.

    Args:
        path: see `find_weights`.
        model: name -> shape; the file must hold exactly these.
        suffix: of the file.

    Raises:
        UserError: no such file, damaged, or any tensor differs (up to ten of them are listed).
    """
    file = find_weights(path, suffix, theirs=suffix == SUFFIX)
    demand_whole(file)
    if file.suffix in SUFFIXES:
        with open_tensors(file) as opened:
            plan = make_plan(file, opened.shapes, model)
            demand_exact(file, plan, False, "Set num_classes to the file's.")
            return file, dict(read_planned(opened, plan))
    values = _tensors(file)
    lines = differences(model, values)
    if lines:
        matched = len(model) - sum(not line.endswith("not in the model") for line in lines)
        raise UserError(
            f"Weights file {file} is of another architecture or class count: {matched} of the model's {len(model)} "
            f"tensors match, {len(lines)} differ:{shortened(lines)}"
        )
    return file, values


def load_weights(model: paddle.nn.Layer, path: str | Path, suffix: str = SUFFIX) -> Path:
    """Load weights of the same architecture, ours or mmdetection's, into `model`; returns the file read.

    Raises:
        UserError: see `read_weights`.
    """
    tensors = model.state_dict()
    file, values = read_weights(path, _shapes(tensors), suffix)
    _assign(tensors, values)
    logger.info("Loaded %s: %d tensors", file, len(values))
    return file


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


def load_pretrained(model: paddle.nn.Layer, path: str | Path) -> dict[str, int]:
    """Load what fits of a pretrained file, ours or mmdetection's; returns and logs counts.

    The counts: loaded, not_in_file, not_in_model, other_shape. What depends on a number of classes that differs is left as it
    is in the model, and named.

    Raises:
        UserError: no such file, damaged, or fewer than half of the tensors (of the smaller of file and
            model) fit.
    """
    file = find_weights(path, theirs=True)
    tensors = model.state_dict()
    values, counts, lines = (_pretrained_mmdet if file.suffix in SUFFIXES else _pretrained)(file, tensors)
    in_file = counts["loaded"] + counts["not_in_model"] + counts["other_shape"]
    if 2 * len(values) < min(in_file, len(tensors)):
        raise UserError(
            f"Pretrained weights {file}: only {len(values)} of {min(in_file, len(tensors))} tensors fit the model, "
            f"fewer than half; it belongs to another network. Differences:{shortened(lines)}"
        )
    _assign(tensors, values)
    shape_lines = [line for line in lines if ": shape" in line]
    logger.info(
        "Pretrained %s: %d tensors loaded, %d of the model not in the file, %d of the file not in the model, "
        "%d of another shape%s",
        file,
        *counts.values(),
        f" ({'; '.join(shape_lines[:3])})" if shape_lines else "",
    )
    return counts


Pretrained = tuple[dict[str, np.ndarray], dict[str, int], list[str]]


def _pretrained(file: Path, tensors: Mapping[str, paddle.Tensor]) -> Pretrained:
    """What fits of a `.pdparams`, counts, and a line for each difference."""
    values = _tensors(file)
    matched = match_names(tensors, values)
    lines = differences(_shapes(tensors), values)
    other_shape = sum(": shape" in line for line in lines)
    counts = {
        "loaded": len(matched),
        "not_in_file": len(tensors) - len(matched) - other_shape,
        "not_in_model": len(set(values) - set(matched.values())) - other_shape,
        "other_shape": other_shape,
    }
    return {name: values[source] for name, source in matched.items()}, counts, lines


def _pretrained_mmdet(file: Path, tensors: Mapping[str, paddle.Tensor]) -> Pretrained:
    """The same of a file of mmdetection, or of an image classifier's backbone, which must fit altogether."""
    with open_tensors(file) as opened:
        plan = make_plan(file, opened.shapes, _shapes(tensors))
        lines = _describe(file, plan)
        if plan.backbone_only and lines:
            raise UserError(f"Pretrained weights {file}: the backbone differs from the model's:{shortened(lines)}")
        counts = {
            "loaded": len(plan.mapped),
            "not_in_file": len(plan.missing) + len(plan.fresh),
            "not_in_model": len(plan.left_over),
            "other_shape": len(plan.other_shape) + len(plan.dropped),
        }
        return _converted(opened, plan, tensors), counts, lines


def _converted(opened: TensorFile, plan: Plan, tensors: Mapping[str, paddle.Tensor]) -> dict[str, np.ndarray]:
    """The plan's tensors in our layouts, from the cache if the same file has been converted for the same model before."""
    cache = ArrayCache(weights_folder() / "converted")
    key = content_key(str(opened.path), sorted(_shapes(tensors).items()))
    values = cache.load(key)
    if values is None:
        values = dict(read_planned(opened, plan))
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
    missing = [f"{name}: missing in the file" for name in plan.missing]
    return [*plan.other_shape, *missing, *(f"{name}: not in the model" for name in plan.left_over)]
