"""The head of a report: which data and predictions it is of, and what the model was trained on as far as that is known."""

from __future__ import annotations

import datetime
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ppdet_ext.checkpoint.folder import CONFIG_FILE
from ppdet_ext.checkpoint.trained import config_of_run
from ppdet_ext.config.keys import ENSEMBLE
from ppdet_ext.data.loading.build import load_dataset
from ppdet_ext.errors import UserError, counted
from ppdet_ext.host import Config
from ppdet_ext.inference.classes import one_mask_a_class
from ppdet_ext.report.analysis import Origin
from ppdet_ext.structures import Detections
from ppdet_ext.submission.saved import saved_origin

JOINED = (
    "The model gives a class one mask in an image, so the annotations of a class are joined, too: what is counted as an "
    "object, and numbered as an annotation, is all of a class in one image, and AP is not that of eval.py. To count objects, "
    "take the masks apart with the step Components (PostProcess)."
)
logger = logging.getLogger("ppdet_ext")


def origin_of_report(cfg: Config, results: str | None, key: str, dataset: Any, detections: Mapping[int, Detections]) -> Origin:
    """What the head of the report says.

    results: file or folder that the detections are of; None: of the configuration's model. key: of the data set. dataset: read.
    """
    place = [str(getattr(dataset, name)) for name in ("dataset_dir", "anno_path") if getattr(dataset, name, None)]
    weights = str(cfg.get(ENSEMBLE) or cfg.weights or "") if results is None else _weights_of(results)
    learner, trained_on = (cfg, _chosen(cfg)) if results is None else _learner(results, weights)
    notes = []
    missing = len(dataset.records) - len(detections)
    if results is not None and missing:
        notes.append(f"{counted(missing, 'images')} have no detection in the results, and count as images without any.")
    if one_mask_a_class(cfg):
        notes.append(JOINED)
    trainer = cfg if learner is None else learner
    both = len(dataset.records) if trainer is cfg and key == "TrainDataset" else _in_training(trainer, dataset)
    if both:
        images = f"{both} of the {len(dataset.records)} images"
        known = f"{images} were trained on: the numbers say little of other images."
        may_be = f"{images} are in TrainDataset: if the results are of a model trained on it, they say little of other images."
        notes.append(may_be if learner is None else known)
    return Origin(
        title=cfg.filename if results is None else f"{cfg.filename}: {Path(results).name}",
        made=datetime.datetime.now().astimezone().isoformat(timespec="seconds"),
        config=cfg.filename,
        data=", ".join(filter(None, (f"{key}: {'/'.join(place)}", getattr(dataset, "chosen_in_words", "")))),
        weights=weights,
        predictions=results or "the model",
        notes=notes,
        trained_on=trained_on,
    )


def _weights_of(results: str) -> str:
    """As they were configured when infer.py saved the results; "" of other programs' results, which do not tell."""
    return str(saved_origin(Path(results)).get("weights") or "")


def _learner(results: str, weights: str) -> tuple[Config | None, str]:
    """(configuration of the run that the results' weights lie in, its training's images in words), or (None, why not)."""
    run = Path(weights).parent
    if not weights:
        return None, f"not known: {results} does not say"
    if (run / CONFIG_FILE).is_file():
        try:
            found = config_of_run(run, training=False)
            return found, ", ".join(filter(None, (_chosen(found), f"run {run}")))
        except UserError as error:
            logger.info("What the results’ model was trained on is not known: %s", error)
    return None, f"not known: {results} says its weights alone"


def _chosen(cfg: Config) -> str:
    return getattr(cfg.get("TrainDataset"), "chosen_in_words", "")


def _in_training(cfg: Config, dataset: Any) -> int:
    """How many images are in the configuration's TrainDataset, too; 0 where that cannot be read."""
    if cfg.get("TrainDataset") is None:
        return 0
    try:
        trained = {record.file for record in load_dataset(cfg, "TrainDataset").records}
    except UserError as error:
        logger.info("Whether images were trained on is not known: %s", error)
        return 0
    return sum(record.file in trained for record in dataset.records)
