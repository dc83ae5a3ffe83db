"""The command behind tools/average.py: one model with the mean of several checkpoints' weights (SWA, arXiv 1803.05407)."""

import argparse
import logging
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import paddle
from paddle.nn.layer.norm import _BatchNormBase

from ppdet_ext import distributed
from ppdet_ext.checkpoint import Position, find_checkpoint
from ppdet_ext.checkpoint.run_folder import run_folder
from ppdet_ext.config.load import resolve_path
from ppdet_ext.data.loading.build import load_dataset, make_loader
from ppdet_ext.distributed.progress import track
from ppdet_ext.errors import UserError
from ppdet_ext.files.atomic import write_atomic
from ppdet_ext.files.manifest import demand_whole
from ppdet_ext.host import Config
from ppdet_ext.host.build import build_model
from ppdet_ext.training.trainer import seed_step
from ppdet_ext.weights.files.class_names import class_entry
from ppdet_ext.weights.find import SUFFIX, find_weights, stored_classes
from ppdet_ext.weights.load import read_weights, with_order

from .cli import config_of

logger = logging.getLogger("ppdet_ext")


def average_checkpoints(cfg: Config, checkpoints: Sequence[str], output: str | None = None, update_bn: int = 0) -> Path:
    """Write the mean of the checkpoints' weights as plain weights (`-o weights=`); returns the file.

    Args:
        cfg: from `load_config`.
        checkpoints: see `average_parser`.
        output: `.pdparams`; by default `averaged.pdparams` in the run's folder.
        update_bn: batches for the statistics of batch norm; 0 leaves the mean of the checkpoints' statistics.

    Raises:
        UserError: fewer than two checkpoints, or one twice; one is missing, damaged, of another model, or not finite; the
            output cannot be written.
    """
    target = Path(output) if output else run_folder(cfg) / f"averaged{SUFFIX}"
    if target.suffix != SUFFIX:
        raise UserError(f"--output {output} must end in {SUFFIX}.")
    if update_bn < 0:
        raise UserError(f"--update_bn is {update_bn}; give a number of batches.")
    distributed.use_device(cfg.use_gpu)
    files = _weights_files(checkpoints, run_folder(cfg))
    model = build_model(cfg)
    demand_whole(files[-1])
    classes = stored_classes(files[-1])
    shapes = {name: list(tensor.shape) for name, tensor in model.state_dict().items()}
    values = mean_weights(files, shapes, classes.names if classes else ())
    norms = training_norms(model)
    if norms and update_bn:
        values = _with_new_statistics(cfg, model, values, update_bn)
    elif norms:
        logger.warning("Batch norm trains: its statistics are the mean of the checkpoints'; --update_bn N measures them anew")
    elif update_bn:
        logger.info("--update_bn has nothing to do: batch norm runs on its stored statistics, which checkpoints share")
    named = {**values, **class_entry(classes)}
    write_atomic(target, lambda aside: paddle.save(named, str(aside)), "output")
    logger.info("Wrote %s: the mean of %d checkpoints, %d tensors", target, len(files), len(values))
    return target


def _weights_files(checkpoints: Sequence[str], run: Path) -> list[Path]:
    files = []
    for wanted in checkpoints:
        name = f"epoch_{wanted}" if wanted.isascii() and wanted.isdigit() else wanted
        if Position.parse(name) and not resolve_path(wanted).is_dir():
            checkpoint = find_checkpoint(wanted, run)
            assert checkpoint is not None, "only 'auto' finds none"
            files.append(checkpoint.weights)
        else:
            files.append(find_weights(wanted, theirs=True))
    seen: dict[Path, str] = {}
    for wanted, file in zip(checkpoints, files):
        if file.resolve() in seen:
            raise UserError(f"Checkpoints {seen[file.resolve()]} and {wanted} are one file, {file}; give each once.")
        seen[file.resolve()] = wanted
    if len(files) < 2:
        raise UserError(f"One checkpoint, {files[0]}, has nothing to be averaged with; give two or more.")
    return files


def mean_weights(
    files: Sequence[Path], shapes: Mapping[str, Sequence[int]], names: Sequence[str] = ()
) -> dict[str, np.ndarray]:
    """Name -> mean over the files of what is floating point, summed in float64; of all else what the last file has.

    Args:
        files: weights, each read when its turn comes.
        shapes: of the model's tensors; the files must hold exactly these.
        names: of the classes, in whose order the outputs of all files are put, see `with_order`.

    Raises:
        UserError: a file is damaged, differs from the model, or holds NaN or infinite values; it and the tensor are named.
    """
    sums: dict[str, np.ndarray] = {}
    values: dict[str, np.ndarray] = {}
    for file in files:
        values = with_order(read_weights(file, shapes), names).values
        for name, value in values.items():
            if not np.issubdtype(value.dtype, np.floating):
                continue
            if not np.isfinite(value).all():
                raise UserError(f"{file}: {name} holds NaN or infinite values. Leave this checkpoint out.")
            if name in sums:
                sums[name] += value
            else:
                sums[name] = value.astype(np.float64)
        logger.info("Read %s", file)
    return {name: (sums[name] / len(files)).astype(value.dtype) if name in sums else value for name, value in values.items()}


def training_norms(model: paddle.nn.Layer) -> list[_BatchNormBase]:
    """The model's batch norms that measure their batches while training."""
    return [layer for layer in model.sublayers() if isinstance(layer, _BatchNormBase) and not layer._use_global_stats]


@paddle.no_grad()
def update_statistics(model: paddle.nn.Layer, batches: Iterable[dict[str, Any]], seed: int = 0) -> None:
    """Replace the statistics of batch norms that train by their mean over `batches`; nothing else of the model changes.

    Averaged weights give other activations than any checkpoint had, so that no checkpoint's statistics fit them.

    Args:
        model: takes a batch in training mode; it is in evaluation mode afterwards.
        seed: of what is random in the model.
    """
    norms = training_norms(model)
    momenta = [norm._momentum for norm in norms]
    model.train()
    for number, batch in enumerate(batches):
        for norm in norms:
            # The share of what was there before: with the first batch nothing, then a running mean.
            norm._momentum = number / (number + 1)
        seed_step(seed, 0, number, 0)
        model({**batch, "epoch": 0})
    for norm, momentum in zip(norms, momenta):
        norm._momentum = momentum
    model.eval()


def _with_new_statistics(cfg: Config, model: paddle.nn.Layer, values: dict[str, np.ndarray], batches: int) -> dict[str, Any]:
    for name, tensor in model.state_dict().items():
        tensor.set_value(paddle.to_tensor(values[name]).astype(tensor.dtype))
    loader = make_loader(cfg, load_dataset(cfg, "TrainDataset"), "train")
    count = min(batches, len(loader))
    if count < batches:
        logger.warning("An epoch of TrainDataset has %d batches only; batch norm's statistics are of these", count)
    images = count * int(cfg.TrainReader.get("batch_size", 1))
    update_statistics(model, track(islice(loader, count), images, "Batch norm", lambda batch: len(batch["names"])), cfg.seed)
    loader.close()
    return {name: tensor.numpy() for name, tensor in model.state_dict().items()}


def run(args: argparse.Namespace) -> Path:
    """`average_checkpoints` with the flags of `average_parser`."""
    return average_checkpoints(config_of(args), args.checkpoints, args.output, args.update_bn)
