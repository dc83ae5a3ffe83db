"""Making a submission: predictions, or results of an earlier run, in the format of a competition."""

import argparse
import csv
import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ppdet_ext import distributed
from ppdet_ext.checkpoint.run_folder import run_folder
from ppdet_ext.config.files import read_tree
from ppdet_ext.data.datasets import FashionDataSet, RleCsvDataSet
from ppdet_ext.distributed.collective import on_rank_0
from ppdet_ext.distributed.group import among_ranks
from ppdet_ext.errors import UserError, nearest
from ppdet_ext.evaluation.metric import gain_over_nothing
from ppdet_ext.evaluation.run import RESULTS_FILE
from ppdet_ext.files.atomic import demand_writable
from ppdet_ext.host import Config
from ppdet_ext.inference.classes import class_list
from ppdet_ext.inference.predictor import ImagePredictor, lowest_score
from ppdet_ext.inference.presence import is_classifier
from ppdet_ext.submission import Format
from ppdet_ext.submission.header import header_of, origin_of
from ppdet_ext.submission.predict import submit_predictions
from ppdet_ext.submission.saved import saved_origin, submit_results

from .cli import config_of
from .flags import FORMATS, STYLES, known_formats

# Where nothing is asked for, and no sample tells it.
BY_DATASET: tuple[tuple[type, str], ...] = ((FashionDataSet, "imaterialist_2019"),)
DEFAULT_FORMAT = "severstal_stage2"
SAMPLE = "sample_submission.csv"  # Kaggle's name
logger = logging.getLogger("ppdet_ext")


def find_format(name: str | Path) -> Format:
    """The format of that name, or of a template's file. Raises: UserError where there is none, with the nearest name."""
    path = FORMATS / f"{name}.yml" if str(name) in known_formats() else Path(name)
    if not path.is_file():
        known = known_formats()
        hint = nearest(path.stem, known)
        raise UserError(
            f"There is no submission format {str(name)!r}.{hint} There are {', '.join(known)}, or a template's file."
        )
    tree, _ = read_tree(path)
    return Format.from_tree(tree, str(name))


def usual_format(cfg: Mapping[str, Any]) -> str:
    """The format that fits the configured data set, which the log says.

    That with the columns of the sample submission beside the data, or of the annotations; else the data set's competition's.
    """
    datasets = [cfg[key] for key in ("TestDataset", "EvalDataset", "TrainDataset") if cfg.get(key) is not None]
    by_class = (name for dataset in datasets for kind, name in BY_DATASET if isinstance(dataset, kind))
    by_preset = (dataset.competition for dataset in datasets if isinstance(dataset, RleCsvDataSet))
    usual = next((name for name in (*by_class, *by_preset) if name in known_formats()), DEFAULT_FORMAT)
    # Competitions share columns; the data set's own comes first.
    headers = {name: find_format(name).header for name in (usual, *known_formats())}
    for dataset in datasets:
        for file in (SAMPLE, getattr(dataset, "anno_path", None)):
            path = Path(getattr(dataset, "dataset_dir", None) or "", file or "")
            name = next((name for name, header in headers.items() if header == _header(path)), None)
            if name is not None:
                logger.info("No --format given: using %s, which has the columns of %s", name, path)
                return name
    logger.info("No --format given: using %s (columns %s)", usual, ", ".join(headers[usual]))
    return usual


def _header(path: Path) -> list[str]:
    """The column names of a CSV; none of what is no readable file."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            return next(csv.reader(stream), [])
    except (OSError, UnicodeDecodeError, csv.Error):
        return []


def submit(
    cfg: Config,
    *,
    results: str | Path | None,
    images: str | None,
    output: str | Path,
    threshold: float | None = None,
    form: str | Path | None = None,
) -> int:
    """Write a submission; returns its number of rows.

    Predictions are noted in `<output>.progress` as they are made: after an end of whatever kind, the same call goes on with the
    images that are left. On several ranks they must all reach that folder.

    Args:
        cfg: from `load_config`.
        results: folder of `infer(..., save_results=True)`; None predicts now.
        images: a picture, a folder, or None for TestDataset's; with `results`, what these must be of.
        output: CSV file.
        threshold: lowest score that counts, see `lowest_score`.
        form: name of a format or file of a template, see `find_format`; None takes `usual_format`.

    Raises:
        UserError: for what the user can mend.
    """
    score, chosen, target = lowest_score(cfg, threshold), find_format(form or usual_format(cfg)), Path(output)
    demand_writable(target, "--output")
    if results is None and is_classifier(cfg):
        raise UserError(
            f"{cfg.architecture} says what is in an image and has no masks to submit. Use it as the gate of a model that has: "
            "tune it (tools/tune.py), and give what that writes to this tool with the other model's -c (--postprocess FILE)."
        )
    if results is not None:
        # From files to a file: there is nothing to share out.
        return _from_results(cfg, Path(results), images, target, score, chosen) if distributed.world()[0] == 0 else 0
    with among_ranks(cfg.use_gpu, cfg.stall_timeout):
        predictor = ImagePredictor(cfg, images)
        predictor.warn_of_invented_classes()
        names, classes = list(predictor.names.values()), (predictor.class_names, predictor.category_ids)
        rows = submit_predictions(predictor, target, score, chosen, lambda: header_of(cfg, names, *classes, score, chosen))
        on_rank_0(lambda: _say_score(cfg, origin_of(cfg), score), "the last evaluation")
        return rows


def _from_results(cfg: Config, folder: Path, images: str | None, output: Path, score: float, form: Format) -> int:
    class_names, class_ids, _ = class_list(cfg)
    rows = submit_results(folder, images, output, score, form, class_names, class_ids)
    made_by = saved_origin(folder)
    if made_by:
        logger.info("The results in %s are of %s", folder, made_by.get("weights"))
        _say_score(cfg, made_by.get("origin"), score)
    return rows


def _read_json(path: Path) -> dict[str, Any]:
    """The mapping in a file; an empty one where there is none: of files that only serve to tell more."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _say_score(cfg: Config, origin: Any, threshold: float) -> None:
    """What the last evaluation scored beside an empty submission, where that scores anything.

    Only if it was of the same weights, configuration and steps, by content (`origin`, see `origin_of`): an evaluation of
    before this was noted says nothing.
    """
    path = run_folder(cfg) / RESULTS_FILE
    last = _read_json(path)
    if not origin or last.get("origin") != origin:
        return
    try:
        values = [(name, last[name][0], value) for name, value in last["empty_submission"].items()]
        lines = [gain_over_nothing(*one, own="what was evaluated") for one in values]
    except (LookupError, TypeError, AttributeError):
        return
    note = f"; it was of all scores, the submission is of those from {threshold:g}" if threshold > 0 else ""
    for line in filter(None, lines):
        logger.info("When this was evaluated (%s, %s images): %s%s", path, last.get("images", "?"), line, note)


def run(args: argparse.Namespace) -> int:
    """`submit` with the flags of `submit_parser`."""
    return submit(
        config_of(args),
        results=args.results,
        images=args.infer_img or args.infer_dir,
        output=args.output,
        threshold=args.draw_threshold,
        form=args.format or STYLES.get(args.style),
    )


def go_on(args: argparse.Namespace, interrupt: KeyboardInterrupt) -> str:
    """What to do after an interruption."""
    return "The same command goes on after the images that are done."
