"""Candidates of EvalDataset, predicted once for the same weights, configuration and images."""

import hashlib
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ppdet_ext.checkpoint.run_folder import run_folder
from ppdet_ext.config.files import dump_tree, find_config, read_tree
from ppdet_ext.config.keys import Decides, deciding
from ppdet_ext.distributed.collective import on_every_rank, on_rank_0
from ppdet_ext.errors import UserError, counted
from ppdet_ext.files.atomic import write_atomic
from ppdet_ext.files.cache import content_key
from ppdet_ext.host import Config
from ppdet_ext.structures import Candidates, TestSettings
from ppdet_ext.weights.find import find_weights

from .build import inference_loader
from .candidate_file import load, quantised, save
from .members import classifiers_of, members_of
from .predict import in_order, predict
from .predictor import prepare

logger = logging.getLogger("ppdet_ext")


def candidates_of(cfg: Config, dataset: Any, settings: TestSettings) -> list[Candidates] | None:
    """Quantised candidates of the images of EvalDataset in its order, on rank 0; None on the others.

    Called by all ranks, each of which predicts its part, unless the run's folder holds them already.

    Args:
        cfg: from `load_config`.
        dataset: its EvalDataset, read.
        settings: thresholds of the model.

    Raises:
        UserError: for what the user can mend.
        Exception: as `on_every_rank` and `predict`.
    """
    path = run_folder(cfg) / "tune" / f"candidates_{_key(cfg, dataset, settings)[:16]}.npz"
    stored: list[tuple[int, Candidates]] | None = None

    def look() -> bool:
        nonlocal stored
        stored = load(path)
        return stored is not None

    if on_rank_0(look, "looking for candidates"):
        logger.info("Candidates of the same weights, configuration and images are in %s: not predicting again", path)
    else:
        stored = _predicted(cfg, path, settings)
    if stored is None:
        return None
    by_id = dict(stored)
    if set(by_id) != {record.im_id for record in dataset.records}:
        raise UserError(f"{path} is of other images; delete it.")
    return [by_id[record.im_id] for record in dataset.records]


def _predicted(cfg: Config, path: Path, settings: TestSettings) -> list[tuple[int, Candidates]] | None:
    inference, dataset = prepare(cfg, "EvalDataset", settings)
    loader = inference_loader(cfg, dataset, "eval")

    def quantised_candidates(batch: Mapping[str, Any]) -> list[Candidates]:
        return [quantised(one) for one in inference.candidates(batch)]

    results = predict(inference, loader, loader.images, "Predict", quantised_candidates)
    shards = on_every_rank(lambda: [(im_id, one) for im_id, _, one in results], "prediction")
    if shards is None:
        return on_rank_0(lambda: None, "storing candidates")
    candidates: list[tuple[int, Candidates]] = []

    def store() -> None:
        candidates.extend(in_order(dataset.records, shards))
        # Two searches at a time may both write it: the same bytes.
        write_atomic(path, lambda aside: save(aside, candidates), durable=False)
        found, images = counted(sum(len(one) for _, one in candidates), "candidates"), counted(len(candidates), "images")
        logger.info("%s of %s in %s", found, images, path)

    on_rank_0(store, "storing candidates")
    return candidates


def _key(cfg: Config, dataset: Any, settings: TestSettings) -> str:
    """Hex digest of what predictions depend on: weights, configuration, classes, and names, sizes and times of pictures."""
    digest = hashlib.sha256()
    digest.update((dump_tree(deciding(cfg.resolved, Decides.CANDIDATES)) + repr(settings)).encode())
    for member in [*members_of(cfg), *classifiers_of(cfg)]:
        if member.get("config"):
            digest.update(dump_tree(read_tree(find_config(member["config"]))[0]).encode())
        digest.update(content_key(str(find_weights(member["weights"], theirs=True))).encode())
    # Labels are in their order.
    digest.update(repr(list(dataset.class_names)).encode())
    for record in dataset.records:
        try:
            state = Path(record.file).stat()
        except OSError as error:
            raise UserError(f"{record.file} cannot be read: {error.strerror}.") from error
        digest.update(repr((record.im_id, record.name, record.height, record.width, state.st_size, state.st_mtime_ns)).encode())
    return digest.hexdigest()
