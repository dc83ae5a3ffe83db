"""Candidates of EvalDataset, predicted once for the same weights, configuration and images."""

import hashlib
import logging
from pathlib import Path
from typing import Any

from ppdet_ext.checkpoint.run_folder import run_folder
from ppdet_ext.commands.eval import prepare
from ppdet_ext.config.files import dump_tree, find_config, read_tree
from ppdet_ext.config.inference import ENSEMBLE, POSTPROCESS
from ppdet_ext.distributed.collective import on_every_rank, on_rank_0
from ppdet_ext.errors import UserError
from ppdet_ext.evaluation.run import in_order, predict
from ppdet_ext.files.atomic import write_atomic
from ppdet_ext.files.cache import content_key
from ppdet_ext.host import Config
from ppdet_ext.host.registry import METRICS
from ppdet_ext.structures.candidates import Candidates
from ppdet_ext.weights.load import find_weights

from .build import Inference, inference_loader
from .candidate_file import load, quantised, save

# Keys that do not change what a model predicts.
INDIFFERENT = {POSTPROCESS, "metric", "weights", "save_dir", "log_iter", "worker_num", "stall_timeout", "epoch"}
logger = logging.getLogger("ppdet_ext.engine")


class _ForPredicting:
    """An `Inference` that gives quantised candidates, as `predict` calls it."""

    def __init__(self, inference: Inference) -> None:
        self.inference = inference
        self.eval, self.train = inference.eval, inference.train

    @property
    def training(self) -> bool:
        return self.inference.training

    def __call__(self, batch: dict[str, Any]) -> list[Candidates]:
        return [quantised(found) for found in self.inference.candidates(batch)]


def candidates_of(cfg: Config, dataset: Any) -> list[Candidates] | None:
    """Quantised candidates of the images of EvalDataset in its order, on rank 0; None on the others.

    Called by all ranks, each of which predicts its part, unless the run's folder holds them already.

    Args:
        cfg: from `load_config`.
        dataset: its EvalDataset, read.

    Raises:
        UserError: for what the user can mend.
        Exception: as `on_every_rank` and `predict`.
    """
    path = run_folder(cfg) / "tune" / f"candidates_{_key(cfg, dataset)[:16]}.npz"
    stored: list[tuple[int, Candidates]] | None = None

    def look() -> bool:
        nonlocal stored
        stored = load(path)
        return stored is not None

    if on_rank_0(look, "looking for candidates"):
        logger.info("Candidates of the same weights, configuration and images are in %s: not predicting again", path)
    else:
        stored = _predicted(cfg, path)
    if stored is None:
        return None
    by_id = dict(stored)
    if set(by_id) != {record.im_id for record in dataset.records}:
        raise UserError(f"{path} is of other images; delete it.")
    return [by_id[record.im_id] for record in dataset.records]


def _predicted(cfg: Config, path: Path) -> list[tuple[int, Candidates]] | None:
    inference, dataset = prepare(cfg, "EvalDataset")
    loader = inference_loader(cfg, dataset, "eval")
    shards = on_every_rank(
        lambda: [(im_id, found) for im_id, _, found in predict(_ForPredicting(inference), loader, loader.images, "Predict")],
        "prediction",
    )
    if shards is None:
        return on_rank_0(lambda: None, "storing candidates")
    found: list[tuple[int, Candidates]] = []

    def store() -> None:
        found.extend(in_order(dataset.records, shards))
        write_atomic(path, lambda aside: save(aside, found))
        logger.info("%d candidates of %d images in %s", sum(len(one) for _, one in found), len(found), path)

    on_rank_0(store, "storing candidates")
    return found


def _key(cfg: Config, dataset: Any) -> str:
    """Hex digest of what predictions depend on: content of weights, configuration, names, sizes and times of pictures."""
    digest = hashlib.sha256()
    tree = {key: value for key, value in cfg.resolved.items() if key not in INDIFFERENT and key not in METRICS}
    digest.update(dump_tree(tree).encode())
    members = [{"weights": one} if isinstance(one, str) else one for one in cfg.get(ENSEMBLE) or [{"weights": cfg.weights}]]
    for member in members:
        if not member["weights"]:
            raise UserError("No weights are configured; add -o weights=output/…/best_model (suffix not needed).")
        if member.get("config"):
            digest.update(dump_tree(read_tree(find_config(member["config"]))[0]).encode())
        digest.update(content_key(str(find_weights(member["weights"], theirs=True))).encode())
    for record in dataset.records:
        try:
            state = Path(record.file).stat()
        except OSError as error:
            raise UserError(f"{record.file} cannot be read: {error.strerror}.") from error
        digest.update(repr((record.im_id, record.name, record.height, record.width, state.st_size, state.st_mtime_ns)).encode())
    return digest.hexdigest()
