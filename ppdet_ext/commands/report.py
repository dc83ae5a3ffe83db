"""The command behind tools/report.py: predictions compared with annotations, in a page, in JSON and in tables."""

from __future__ import annotations

import argparse
import logging
import signal
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from ppdet_ext.checkpoint.find import AUTO
from ppdet_ext.checkpoint.folder import BEST, CONFIG_FILE
from ppdet_ext.checkpoint.run_folder import run_folder
from ppdet_ext.checkpoint.trained import best_weights, config_of_run
from ppdet_ext.config.keys import CLASSIFIER, ENSEMBLE, VIEWS
from ppdet_ext.data.images.depth import Reading
from ppdet_ext.data.loading.build import load_dataset
from ppdet_ext.distributed.collective import on_rank_0
from ppdet_ext.distributed.group import among_ranks
from ppdet_ext.distributed.interrupt import Interrupted
from ppdet_ext.errors import DivergenceError, UserError
from ppdet_ext.evaluation import CocoMetric
from ppdet_ext.evaluation.run import metrics_of, run_evaluation
from ppdet_ext.files.atomic import demand_writable
from ppdet_ext.host import Config
from ppdet_ext.inference.build import inference_loader, reading_of
from ppdet_ext.inference.classes import one_mask_a_class
from ppdet_ext.inference.predictor import prepare
from ppdet_ext.inference.presence import is_classifier
from ppdet_ext.report.analysis import analyse, fingerprint
from ppdet_ext.report.files import PAGE, SETTING, export_faults, write_numbers
from ppdet_ext.report.page import read_pixels, write_page
from ppdet_ext.report.results import Truth, read_results
from ppdet_ext.report.run_curves import best_numbers, run_curves
from ppdet_ext.report.schema import Report, RunCurves
from ppdet_ext.structures import Detections
from ppdet_ext.training.evaluation import BestFound

from .cli import config_of
from .page_flags import DATA_PARTS, PICTURES
from .report_origin import origin_of_report

UNLIKE = "AP and F1 are of what the report's own model counts as an object."
Found = dict[int, Detections]
logger = logging.getLogger("ppdet_ext")


@dataclass(frozen=True)
class Options:
    """What a report is made of and shows; the flags of `report_parser`.

    results: predictions of files in place of the model's. key: of the data set. compare: runs, or results. output: folder;
    None: the run's. score: None takes that of the best F1. pictures: of a kind; 0: none.
    """

    results: str | None = None
    key: str = "EvalDataset"
    compare: Sequence[str] = ()
    output: str | Path | None = None
    score: float | None = None
    pictures: int = PICTURES


def report(cfg: Config, options: Options | None = None, found: tuple[Any, Found] | None = None) -> Report | None:
    """Write report.html, report.json, report.csv and label_errors.csv of a configuration's predictions.

    Args:
        cfg: from `load_config`.
        options: see there.
        found: the read data set and what was found in it, by image id, where that is known.

    Returns: the report; None beside rank 0.

    Raises: UserError for what the user can mend.
    """
    options = options or Options()
    began = time.perf_counter()
    folder = Path(options.output) if options.output else run_folder(cfg)
    _check(cfg, options, folder)
    kept: list[Report] = []
    with among_ranks(cfg.use_gpu, cfg.stall_timeout):
        joined = one_mask_a_class(cfg)
        dataset, detections = found or _found(cfg, options.key, options.results)
        others = {_name(path, options.compare): _other(path, options.key, dataset, joined) for path in options.compare}
        predicted = time.perf_counter() - began

        def write() -> None:
            truth = _truth(dataset, joined)
            kept.append(_analysed(cfg, options, dataset, truth, detections, others))
            _write(kept[0], truth, detections, folder, reading_of(cfg, "eval") if options.pictures else None)
            _tell(kept[0], folder, predicted, time.perf_counter() - began)

        # What it returned would be sent to all ranks.
        on_rank_0(write, "writing the report")
    return kept[0] if kept else None


def _analysed(
    cfg: Config, options: Options, dataset: Any, truth: Truth, detections: Found, others: Mapping[str, Found]
) -> Report:
    return analyse(
        truth,
        detections,
        origin=origin_of_report(cfg, options.results, options.key, dataset, detections),
        score=options.score,
        examples=options.pictures,
        metrics=metrics_of(cfg),
        runs=_curves([run_folder(cfg), *map(Path, options.compare)]),
        others=others,
        evaluator=cfg.get("evaluator", "auto"),
    )


def _check(cfg: Config, options: Options, folder: Path) -> None:
    """UserError, before anything is predicted, for what cannot be."""
    if options.score is not None and not 0 <= options.score <= 1:
        raise UserError(f"--score is {options.score:g}; scores are numbers from 0 to 1.")
    if options.pictures < 0:
        raise UserError(f"--pictures is {options.pictures}; give a number of pictures, or --no-pictures.")
    if options.results is None and is_classifier(cfg):
        raise UserError("A report is about objects, and this model tells classes of whole images; see tools/eval.py.")
    for path in (options.results, *options.compare):
        if path is not None and not Path(path).exists():
            raise UserError(f"{path}: there is no such folder or file.")
    demand_writable(folder / PAGE, SETTING)


def _found(cfg: Config, key: str, results: str | None) -> tuple[Any, Found]:
    """(the read data set, what was found by image id): of files, or predicted now, each rank its part; rank 0 gets all."""
    if results is not None:
        dataset: Any = load_dataset(cfg, key)
        _demand_annotated(dataset, key)
        return dataset, read_results(Path(results), _truth(dataset))
    model, dataset = prepare(cfg, key)
    _demand_annotated(dataset, key)
    outcome = run_evaluation(model, dataset, inference_loader(cfg, dataset, "eval"), [CocoMetric()], with_metrics=False)
    return dataset, outcome.metrics[0].detections if outcome.metrics else {}


def _demand_annotated(dataset: Any, key: str) -> None:
    if not dataset.annotated:
        raise UserError(f"A report compares with annotations, and {key} has none: set its anno_path, or take another --part.")


def _truth(dataset: Any, joined: bool = False) -> Truth:
    """joined: with one mask a class in an image, as the model that is looked at has it."""
    records = [record.joined_by_class() for record in dataset.records] if joined else dataset.records
    return Truth(records, [str(name) for name in dataset.class_names], list(dataset.category_ids))


def _other(path: str, key: str, dataset: Any, joined: bool) -> Found:
    """What another run has found in the same images. Raises: UserError where these are others, or have other classes."""
    folder = Path(path)
    if not (folder / CONFIG_FILE).is_file():
        return read_results(folder, _truth(dataset))
    own = _run(folder)
    if one_mask_a_class(own) != joined:
        logger.warning("--compare %s: one of the two gives a class one mask in an image, the other objects: %s", path, UNLIKE)
    theirs, detections = _found(own, key, None)
    if list(theirs.class_names) != list(dataset.class_names) or fingerprint(theirs.records) != fingerprint(dataset.records):
        raise UserError(f"--compare {path}: its {key} holds other images, annotations or classes than the report's.")
    return detections


def _run(folder: Path, texts: Sequence[str] = (), over: str | None = None) -> Config:
    """The configuration of a run, with its best weights unless others are named."""
    cfg = config_of_run(folder, texts, over, training=False)
    if cfg.get(ENSEMBLE) or any(text.startswith("weights=") for text in texts):
        return cfg
    weights = best_weights(folder)
    return cfg if weights is None else cfg.replaced(weights=str(weights))


def _curves(folders: Sequence[Path]) -> list[RunCurves]:
    return [curves for curves in map(run_curves, folders) if curves is not None]


def _name(path: str, paths: Sequence[str]) -> str:
    """The last part of a path, where that tells it from others."""
    last = Path(path).resolve().name
    return last if sum(Path(other).resolve().name == last for other in paths) == 1 else path


def report_of_training(cfg: Config, folder: Path, best: BestFound | None = None) -> None:
    """Report on the best weights of a training that is complete, unless `report: false`. Every rank calls it.

    best: what its best evaluation has found; where that is not of the best weights, because the run was resumed, or without
    views that the configuration asks for, they predict once more. What the user can mend is logged, for the training itself
    has succeeded. Raises: Interrupted by SIGINT.
    """
    if not cfg.report or is_classifier(cfg):
        return
    with among_ranks(cfg.use_gpu, cfg.stall_timeout):
        # Rank 0 may be writing them still while others are here.
        weights, known = on_rank_0(lambda: (best_weights(folder), _knows(cfg, folder, best)), "finding the best weights")
    if weights is None:
        return
    found = (best.dataset, best.detections) if known and best is not None else None
    later = f"The training is complete: {folder}. A report of it: python tools/report.py --run {folder}"
    try:
        report(cfg.replaced(weights=str(weights)), Options(output=folder), found)
    except (UserError, DivergenceError) as error:
        logger.warning("No report was written: %s\n%s", error, later)
    except KeyboardInterrupt:
        logger.warning("%s", later)
        raise Interrupted(signal.SIGINT, weights, AUTO) from None


def _knows(cfg: Config, folder: Path, best: BestFound | None) -> bool:
    """Whether what is kept is what the best weights find."""
    if best is None or best.dataset is None or any(cfg.get(key) for key in (VIEWS, ENSEMBLE, CLASSIFIER)):
        return False
    return (folder / BEST).is_file() and best_numbers(folder) == best.numbers


def _write(made: Report, truth: Truth, detections: Mapping[int, Detections], folder: Path, reading: Reading | None) -> None:
    """All files. reading: of pictures; None shows none."""
    write_numbers(made, folder)
    export_faults(made, truth.records, detections, folder)
    write_page(made, None if reading is None else partial(read_pixels, reading=reading), folder / PAGE, SETTING)


def _tell(made: Report, folder: Path, predicted: float, seconds: float) -> None:
    """The report in words, and where it is."""
    for sentence in made.words:
        logger.info("%s", sentence.text)
    for note in made.head.notes:
        logger.warning("%s", note)
    page = folder / PAGE
    size = page.stat().st_size / 1e6
    text = "Report in %.1f s (%.1f s of it for the predictions): %s (%.1f MB), and its numbers in report.json, report.csv"
    logger.info(text, seconds, predicted, page, size)


def run(args: argparse.Namespace) -> Report | None:
    """`report` with the flags of `report_parser`."""
    if args.run is not None and args.config is not None:
        raise UserError("--run has its own configuration; leave -c out, or give -c CONFIG -o weights=… in place of --run.")
    cfg = config_of(args) if args.run is None else _run(Path(args.run), args.opt, args.postprocess)
    options = Options(args.results, DATA_PARTS[args.part], args.compare, args.output, args.score, args.pictures)
    return report(cfg, options)
