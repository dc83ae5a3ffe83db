"""Loading model weights: the same architecture exactly (`weights`), or what fits of another one (`pretrain_weights`)."""

import difflib
import logging
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import paddle
from ppdet.utils.download import get_weights_path

from ppdet_ext.errors import UserError

from .config import resolve_path
from .unpickle import read_data_file

SUFFIX = ".pdparams"
SHOWN = 10
logger = logging.getLogger("ppdet_ext.engine")


def find_weights(path: str | Path, suffix: str = SUFFIX) -> Path:
    """The weights file meant by a path with or without suffix, or by a URL. UserError, with near names, if absent."""
    text = str(path)
    if text.startswith(("http://", "https://", "ppdet://")):
        try:
            text = get_weights_path(text)
        except Exception as error:  # ppdet raises RuntimeError, requests its own kinds
            raise UserError(f"Weights {path} could not be downloaded: {error}") from error
    stem = text[: -len(Path(text).suffix)] if Path(text).suffix in (".pdparams", ".pdopt") else text
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


def differences(model: Mapping[str, paddle.Tensor], file: Mapping[str, np.ndarray]) -> list[str]:
    """One line for each tensor that is missing in the file, unexpected in it, or of another shape."""
    lines = [
        f"{name}: shape {list(file[name].shape)} in the file, {list(tensor.shape)} in the model"
        for name, tensor in model.items()
        if name in file and list(file[name].shape) != list(tensor.shape)
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


def load_weights(model: paddle.nn.Layer, path: str | Path, suffix: str = SUFFIX) -> Path:
    """Load weights of the same architecture (the file of `path` with that suffix) into `model`; returns the file read.

    Raises:
        UserError: no such file, damaged, or any tensor differs (up to ten of them are listed).
    """
    file = find_weights(path, suffix)
    values = _tensors(file)
    tensors = model.state_dict()
    lines = differences(tensors, values)
    if lines:
        more = f"\n  … and {len(lines) - SHOWN} more" if len(lines) > SHOWN else ""
        matched = len(tensors) - sum(not line.endswith("not in the model") for line in lines)
        raise UserError(
            f"Weights file {file} is of another architecture or class count: {matched} of the model's {len(tensors)} "
            f"tensors match, {len(lines)} differ:\n  " + "\n  ".join(lines[:SHOWN]) + more
        )
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
    """Load what fits of a pretrained file; returns and logs counts: loaded, not_in_file, not_in_model, other_shape.

    Raises:
        UserError: no such file, damaged, or fewer than half of the tensors (of the smaller of file and
            model) fit.
    """
    file = find_weights(path)
    values = _tensors(file)
    tensors = model.state_dict()
    matched = match_names(tensors, values)
    shape_lines = [line for line in differences(tensors, values) if ": shape" in line]
    counts = {
        "loaded": len(matched),
        "not_in_file": len(tensors) - len(matched) - len(shape_lines),
        "not_in_model": len(set(values) - set(matched.values())) - len(shape_lines),
        "other_shape": len(shape_lines),
    }
    if 2 * len(matched) < min(len(values), len(tensors)):
        lines = differences(tensors, values)
        raise UserError(
            f"Pretrained weights {file}: only {len(matched)} of {min(len(values), len(tensors))} tensors fit the model, "
            "fewer than half; it belongs to another network. Differences:\n  " + "\n  ".join(lines[:SHOWN])
        )
    _assign(tensors, {name: values[source] for name, source in matched.items()})
    logger.info(
        "Pretrained %s: %d tensors loaded, %d of the model not in the file, %d of the file not in the model, "
        "%d of another shape%s",
        file,
        *counts.values(),
        f" ({'; '.join(shape_lines[:3])})" if shape_lines else "",
    )
    return counts
