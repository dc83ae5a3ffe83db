"""The command behind tools/kfold.py: N models, each trained without a fold of the images, tuned on it, and their ensemble.

DIR/config.yml      the configuration, all told; images.yml: with all images that are dealt out as EvalDataset
DIR/folds.csv       ImageId,fold: which model has not seen an image
DIR/fold_0.yml      the configuration of a fold, with which every tool works; its run is DIR/fold_0/
DIR/trained_0.json  that this run is through, and with what outcome
DIR/ensemble.yml    the models' ensemble with the thresholds found on the images that each of them has not seen; of classifiers
                    the gate that they are together, for --postprocess of a segmentation model
DIR/report.md       what it is worth

Each of these is whole or not there, and what is there is not made again: a killed command goes on where it was, and leaves
the same bytes as one that was not.
"""

import argparse
import logging
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ppdet_ext.checkpoint.folder import BEST, FINAL
from ppdet_ext.checkpoint.run_folder import run_folder
from ppdet_ext.config.keys import ENSEMBLE, POSTPROCESS
from ppdet_ext.config.load import load_config
from ppdet_ext.data.loading.build import load_dataset
from ppdet_ext.distributed import interrupt
from ppdet_ext.distributed.group import among_ranks
from ppdet_ext.errors import counted
from ppdet_ext.evaluation.run import metrics_of, run_evaluation
from ppdet_ext.files.lock import locked
from ppdet_ext.host import Config
from ppdet_ext.inference.build import inference_loader, reading_of
from ppdet_ext.inference.candidate_store import candidates_of
from ppdet_ext.inference.members import settings_of
from ppdet_ext.inference.predictor import prepare
from ppdet_ext.inference.presence import is_classifier, presence_over
from ppdet_ext.structures import Candidates
from ppdet_ext.tuning.options import Predicting, Searching
from ppdet_ext.tuning.out_of_fold import fold_scores, format_scores, joined
from ppdet_ext.tuning.presence import truth_of, tune_presence
from ppdet_ext.tuning.presence_report import format_presence, presence_warnings, presence_yaml
from ppdet_ext.tuning.problem import Problem
from ppdet_ext.tuning.report import command_line
from ppdet_ext.tuning.run import make_problem, search_problem, write_tuned
from ppdet_ext.tuning.tuner import Tuned

from .cli import config_of
from .debug_run import PREDICTING, SEARCHING, Stages, trial_config
from .kfold_train import CONFIG_FILE, Fold, check_folds, dealt, trained, write_changed
from .submit import submit
from .tune import metric_of, sections_of, with_thresholds

TOOL, SUFFIX = "tools/kfold.py", "_kfold"
ENSEMBLE_FILE, REPORT_FILE = "ensemble.yml", "report.md"
logger = logging.getLogger("ppdet_ext")


def kfold(
    cfg: Config,
    *,
    folds: int,
    only: Sequence[int] = (),
    output: str | Path | None = None,
    evaluate: bool = False,
    train_flags: Sequence[str] = (),
    launch: str | None = None,
    predicting: Predicting = Predicting(),  # noqa: B008 (frozen)
    searching: Searching = Searching(),  # noqa: B008 (frozen)
    command: Sequence[str] = (),
) -> Path:
    """Train what is not trained yet, fold by fold; predict, tune, write the ensemble; returns the folder.

    Args:
        cfg: from `load_config`; the images of TrainDataset are dealt out. Where EvalDataset has images that are none of these,
            the ensemble is evaluated on them.
        folds: number of models.
        only: train the models of these folds, and no more; all, their thresholds and the ensemble where it is empty.
        output: folder; the run's, with `_kfold` after its name, by default.
        evaluate: train with --eval, and take the best weights of each fold in place of the last.
        train_flags: further flags of tools/train.py.
        launch: what starts it on several ranks, see `trained`.
        predicting, searching: options of the search, see `tune`.
        command: words after the script's name, for the files.

    Raises:
        UserError: for what the user can mend.
        DivergenceError: a loss became NaN or infinite.
        Stop: a signal came; the same call goes on.
    """
    check_folds(cfg, folds, only)
    predicting.check()
    searching.check()
    target = Path(output) if output else run_folder(cfg).with_name(cfg.filename + SUFFIX)
    with interrupt.deferred(), locked(target, doing="training folds in", setting="--output"):
        parts = dealt(cfg, target, folds)
        if not is_classifier(cfg):
            # All that can be wrong, before days of training.
            _problem(cfg, parts, predicting, None)
        flags = ["-r", "auto", *(["--eval"] if evaluate else []), *train_flags]
        asked = [part for part in parts if not only or part.number in only]
        weights = [trained(part, folds, flags, BEST if evaluate else FINAL, launch) for part in asked]
        if only:
            return target
        with among_ranks(cfg.use_gpu, cfg.stall_timeout):
            if is_classifier(cfg):
                _gate(target, parts, weights, searching, command)
            else:
                _ensemble(cfg, target, parts, weights, predicting, searching, command)
    return target


def _ensemble(
    cfg: Config,
    target: Path,
    parts: Sequence[Fold],
    weights: Sequence[Path],
    predicting: Predicting,
    searching: Searching,
    command: Sequence[str],
) -> None:
    """Search thresholds on what the models find in the images they have not seen; write the ensemble and the report."""
    problem = _problem(cfg, parts, predicting, weights)
    loose = with_thresholds(settings_of(cfg), predicting)
    outcome, _, _ = search_problem(problem, loose, searching, cfg.worker_num)
    sections = {"_BASE_": [CONFIG_FILE], **sections_of(cfg, loose)}
    # The model's thresholds stay last.
    *averaged, model = sections.items()
    sections = dict([*averaged, (ENSEMBLE, [str(one.with_suffix("")) for one in weights]), model])
    write_tuned(target / ENSEMBLE_FILE, problem, outcome, sections, command, TOOL)
    _report(target, problem, parts, outcome)


def _gate(target: Path, parts: Sequence[Fold], weights: Sequence[Path], searching: Searching, command: Sequence[str]) -> None:
    """The same of classifiers of whole images: the probability from which each class counts as being there."""
    told = [presence_over(part.cfg.replaced(weights=str(file)), "EvalDataset") for part, file in zip(parts, weights)]
    whole = joined([part.held for part in parts])
    numbers = np.concatenate([np.full(len(part.held.records), part.number) for part in parts])
    truth = truth_of(whole.records, len(whole.class_names))
    probabilities = np.concatenate([one for one in told if one is not None])
    tuned = tune_presence(probabilities, truth, whole.class_names, numbers, searching=searching)
    members = [{"config": str(target / CONFIG_FILE), "weights": str(one.with_suffix(""))} for one in weights]
    line = command_line(TOOL, command)
    text = presence_yaml(tuned, searching, whole.class_names, whole.category_ids, members, line)
    write_changed(target / ENSEMBLE_FILE, text)
    report = "\n".join([format_presence(tuned), *presence_warnings(tuned, searching)])
    write_changed(target / REPORT_FILE, f"{report}\n")
    logger.info("%s\nUse it beside a segmentation model: --postprocess %s", report, target / ENSEMBLE_FILE)


def _problem(cfg: Config, parts: Sequence[Fold], predicting: Predicting, weights: Sequence[Path] | None) -> Problem:
    """What is to be searched; without weights there are no candidates yet, and all else is checked."""
    configured = settings_of(cfg)
    loose = with_thresholds(configured, predicting)
    whole, steps = joined([part.held for part in parts]), list(cfg.get(POSTPROCESS) or [])

    def predict() -> list[Candidates]:
        found: list[Candidates] = []
        for part, file in zip(parts, weights or ()):
            logger.info("Fold %d: predicting %s", part.number, counted(len(part.held.records), "images"))
            found += candidates_of(part.cfg.replaced(weights=str(file)), part.held, loose) or []
            interrupt.check()
        return found

    return make_problem(whole, metric_of(cfg), configured, loose, steps, predict, reading_of(cfg, "eval"))


def _report(target: Path, problem: Problem, parts: Sequence[Fold], outcome: Tuned) -> None:
    """Log and write what the models are worth on the images they have not seen, and their ensemble on others, if any."""
    name = type(problem.make_metric()).__name__
    held = [part.held for part in parts]
    lines = [format_scores(name, fold_scores(problem, held, outcome.chosen.setting))]
    cfg = load_config(target / ENSEMBLE_FILE, training=False)
    other = load_dataset(cfg, "EvalDataset") if cfg.get("EvalDataset") is not None else None
    known = {os.path.realpath(record.file) for part in held for record in part.records}
    if other is None or any(os.path.realpath(record.file) in known for record in other.records):
        lines.append("The ensemble has seen all annotated images; there are none left to evaluate it on.")
    else:
        lines.append(_evaluated(cfg))
    lines.append(f"Use it with -c {target / ENSEMBLE_FILE}")
    text = "\n\n".join(lines)
    write_changed(target / REPORT_FILE, f"{text}\n")
    logger.info("%s\n\n%s", target / REPORT_FILE, text)


def _evaluated(cfg: Config) -> str:
    """A table of the ensemble's numbers on EvalDataset."""
    inference, dataset = prepare(cfg, "EvalDataset")
    found = run_evaluation(inference, dataset, inference_loader(cfg, dataset, "eval"), metrics_of(cfg))
    rows = [f"| {name} | {value:.4f} |" for name, value in found.values.items()]
    return "\n".join([f"| ensemble, on {counted(found.images, 'images')} of EvalDataset | |", "|---|---|", *rows])


def go_on(args: argparse.Namespace, interrupt: KeyboardInterrupt) -> str:
    """What to do after an interruption."""
    return "The same command goes on from there."


def run(args: argparse.Namespace) -> Path | None:
    """`kfold` with the flags of `kfold_parser`."""
    cfg = config_of(args)
    options: dict[str, Any] = {
        "evaluate": args.eval,
        "train_flags": [f"--{name}" for name in ("amp", "use_vdl") if getattr(args, name)],
        "launch": args.launch,
        "command": args.words,
    }
    if args.debug_run:
        debug_kfold(cfg, options)
        return None
    return kfold(
        cfg,
        folds=args.folds,
        only=args.only,
        output=args.output,
        predicting=Predicting(args.score_threshold, args.nms_iou, args.max_detections),
        searching=Searching(args.folds, args.min_instances, args.min_gain, args.keep_per_class),
        **options,
    )


def debug_kfold(cfg: Config, options: dict[str, Any]) -> None:
    """All stages with two folds on a handful of images, then a submission; nothing of it stays. See `debug_train`."""
    with tempfile.TemporaryDirectory(prefix="ppdet_ext_debug_") as name:
        stages, folder = Stages(), Path(name)
        trial = load_config(trial_config(cfg, folder, folds=2))
        output = folder / "folds"
        search: dict[str, Any] = {"predicting": PREDICTING, "searching": SEARCHING}
        stages("kfold", lambda: kfold(trial, folds=2, output=output, **search, **{**options, "evaluate": True}))
        if is_classifier(cfg):
            stages.sum_up(cfg.filename)
            return
        last = load_config(output / ENSEMBLE_FILE, training=False)
        stages("submit", lambda: submit(last, results=None, images=None, output=folder / "submission.csv"))
        stages.sum_up(cfg.filename)
