"""The command behind tools/convert.py: checkpoints of other frameworks into ours, or ours into theirs."""

import argparse
import json
import logging
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import paddle
from safetensors.numpy import save

from ppdet_ext.config.load import resolve_path
from ppdet_ext.errors import UserError
from ppdet_ext.files.atomic import write_atomic
from ppdet_ext.host import Config
from ppdet_ext.host.build import build_model
from ppdet_ext.inference.classes import class_list
from ppdet_ext.weights.files.class_names import class_entry, meta_of
from ppdet_ext.weights.files.tensor_file import SUFFIXES, open_tensors
from ppdet_ext.weights.files.torch_writer import write_torch
from ppdet_ext.weights.find import SUFFIX
from ppdet_ext.weights.foreign.naming import root_of
from ppdet_ext.weights.foreign.padding import padding_of
from ppdet_ext.weights.foreign.plan import Plan, foreign_state_dict, make_plan, read_planned
from ppdet_ext.weights.foreign.report import demand_exact, format_plan
from ppdet_ext.weights.load import read_weights

from .cli import config_of

logger = logging.getLogger("ppdet_ext")
OTHER_COUNT = "Set num_classes to the file's, or add --num-classes-from-config to leave out what depends on it."


def model_shapes(cfg: Config) -> dict[str, list[int]]:
    """Names and shapes of the configured model's tensors; no memory is taken for their values. UserError as `build_model`."""
    with paddle.LazyGuard():
        return {name: list(tensor.shape) for name, tensor in build_model(cfg).state_dict().items()}


def _check_suffix(output: Path, suffixes: Iterable[str]) -> None:
    if output.suffix not in suffixes:
        raise UserError(f"The output {output} must end in {' or '.join(suffixes)}.")


def convert(cfg: Config, source: str, output: str, drop_class_heads: bool = False) -> Plan:
    """Write a checkpoint of another framework as `.pdparams` of the configured model, and log what became of each tensor.

    Args:
        cfg: from `load_config`.
        source: `.pth` or `.safetensors`.
        output: `.pdparams`.
        drop_class_heads: leave out tensors that depend on the number of classes where that differs.

    Raises:
        UserError: the source is damaged, no checkpoint, or asks for anything but data; any tensor of it is left over, or
            one of the model missing; the output cannot be written.
    """
    target, shapes = Path(output), model_shapes(cfg)
    _check_suffix(target, (SUFFIX,))
    with open_tensors(resolve_path(source)) as file:
        plan = make_plan(file.path, file.shapes, shapes, file.outside)
        for note in [*file.notes, *plan.naming.notes]:
            logger.info("%s: %s", file.path, note)
        demand_exact(file.path, plan, drop_class_heads, OTHER_COUNT, shapes)
        values = dict(read_planned(file, plan, shapes))
        named = {**values, **class_entry(None if plan.dropped else file.classes)}
        padding = padding_of(file, plan)
    write_atomic(target, lambda aside: paddle.save(named, str(aside)), "output file")
    logger.info("%s: %d tensors, %d of the model's %d in %s\n%s", file.path, len(file.shapes), len(values),
                len(values) + len(plan.dropped), target, format_plan(plan))  # fmt: skip
    if plan.dropped:
        logger.info("Without the dropped tensors it is for training: -o pretrain_weights=%s", target)
    if padding and padding.padding:
        text = "EfficientNet's padding (%s): use %s with -o EfficientNetEncoder.padding=%s"
        logger.info(text, padding.why, target, padding.padding)
    return plan


def convert_back(cfg: Config, source: str, output: str) -> int:
    """Write our weights as mmdetection's, or SMP's of segmentation nets; returns how many tensors with step counters.

    Args:
        cfg: from `load_config`.
        source: `.pdparams` of the configured model.
        output: `.pth` (for torch) or `.safetensors`.

    Raises:
        UserError: the source differs from the model, or the output cannot be written.
    """
    target = Path(output)
    _check_suffix(target, (".pth", ".safetensors"))
    shapes = model_shapes(cfg)
    if Path(source).suffix in SUFFIXES:
        framework = "mmdetection's" if root_of(shapes) == "backbone." else "SMP's"
        raise UserError(f"The source {source} is {framework} already; a .pdparams can be converted.")
    weights = read_weights(source, shapes)
    tensors = dict(foreign_state_dict(weights.values))
    names = weights.classes.names if weights.classes else _names_of_data(cfg)
    meta = {"framework": "paddle", "config": str(cfg.filename), **meta_of(names)}
    write_atomic(target, lambda aside: _write(target.suffix, aside, meta, tensors), "output file")
    logger.info("%s: %d tensors, in %s %d with batch norm's counters", weights.path, len(weights.values), target, len(tensors))
    return len(tensors)


def _names_of_data(cfg: Config) -> list[str]:
    names, _, invented = class_list(cfg)
    return [] if invented else names


def _write(suffix: str, path: Path, meta: dict[str, Any], tensors: dict[str, np.ndarray]) -> None:
    if suffix == ".pth":
        write_torch(path, meta, tensors.items())
        return
    metadata = {"format": "pt", **({"CLASSES": json.dumps(meta["CLASSES"], ensure_ascii=False)} if "CLASSES" in meta else {})}
    # Not save_file: what it writes only its owner may read.
    path.write_bytes(save({name: np.ascontiguousarray(value) for name, value in tensors.items()}, metadata))


def run(args: argparse.Namespace) -> Plan | int:
    """`convert` or `convert_back` with the flags of `convert_parser`: the output's suffix says which way."""
    cfg = config_of(args)
    # The command of former versions has a flag for it.
    back = args.to_mmdet if hasattr(args, "to_mmdet") else Path(args.output).suffix in SUFFIXES
    if back:
        return convert_back(cfg, args.source, args.output)
    return convert(cfg, args.source, args.output, args.num_classes_from_config)
