"""tools/tune.py of a classifier of whole images: the probability from which a class counts as being there."""

import argparse
import logging
import shlex
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ppdet_ext.checkpoint.run_folder import run_folder
from ppdet_ext.data.loading.build import load_dataset
from ppdet_ext.data.splits.duplicates import same_bytes
from ppdet_ext.distributed.collective import on_rank_0
from ppdet_ext.distributed.group import among_ranks
from ppdet_ext.errors import UserError
from ppdet_ext.files.atomic import demand_writable, write_atomic
from ppdet_ext.host import Config
from ppdet_ext.inference.members import members_of
from ppdet_ext.inference.presence import presence_over
from ppdet_ext.structures import Record
from ppdet_ext.tuning.cross_validation import assign_folds
from ppdet_ext.tuning.options import CRITERIA, Predicting, Searching
from ppdet_ext.tuning.presence import PresenceTuned, truth_of, tune_presence
from ppdet_ext.tuning.presence_report import format_presence, presence_warnings, presence_yaml
from ppdet_ext.tuning.report import command_line

from .flags import TUNED_FILE

logger = logging.getLogger("ppdet_ext")


def refuse_flags(args: argparse.Namespace) -> None:
    """UserError for flags of `tune_parser` that search masks or boxes."""
    given = {"--metric": args.metric, "--plot": args.plot}
    usual = Predicting()
    for name in ("score_threshold", "nms_iou", "max_detections"):
        given[f"--{name}"] = getattr(args, name) != getattr(usual, name)
    wrong = [flag for flag, value in given.items() if value]
    if wrong:
        raise UserError(
            f"{', '.join(wrong)}: the model classifies whole images, which has no such thresholds; --criterion, --folds, "
            "--min_instances and --min_gain are for it."
        )


def tune_classifier(
    cfg: Config,
    config: str,
    *,
    output: str | Path | None = None,
    criterion: str = CRITERIA[0],
    searching: Searching = Searching(),  # noqa: B008 (frozen)
    command: Sequence[str] = (),
) -> PresenceTuned | None:
    """Search thresholds on EvalDataset, log them, write them; all ranks predict, rank 0 searches and returns the outcome.

    Args:
        cfg: from `load_config`.
        config: file that it comes from, as `Classifier` of what is written names it.
        output: YAML file; `tuned.yml` in the run's folder by default.
        criterion: of `CRITERIA`.
        searching: options.
        command: words after the script's name, for the file.

    Raises:
        UserError: for what the user can mend.
    """
    searching.check()
    target = Path(output) if output else run_folder(cfg) / TUNED_FILE
    outcomes: list[PresenceTuned] = []
    with among_ranks(cfg.use_gpu, cfg.stall_timeout):
        on_rank_0(lambda: demand_writable(target, "--output"), "looking at the files to write")
        dataset = load_dataset(cfg, "EvalDataset")
        if not dataset.annotated or not dataset.records:
            raise UserError("EvalDataset has no annotated images; thresholds are searched on a validation split.")
        members = [{"config": config, **one} for one in members_of(cfg)]
        probabilities = presence_over(cfg, "EvalDataset")

        def search() -> None:
            assert probabilities is not None
            truth = truth_of(dataset.records, len(dataset.class_names))
            folds = _folds(dataset.records, searching.folds)
            tuned = tune_presence(probabilities, truth, dataset.class_names, folds, criterion, searching)
            logger.info("%s", format_presence(tuned))
            for warning in presence_warnings(tuned, searching):
                logger.warning("%s", warning)
            words = command_line("tools/tune.py", command)
            text = presence_yaml(tuned, searching, dataset.class_names, dataset.category_ids, members, words)
            write_atomic(target, lambda aside: aside.write_text(text, encoding="utf-8"), "--output")
            logger.info("Wrote %s; use it with --postprocess %s", target, shlex.quote(str(target)))
            outcomes.append(tuned)

        on_rank_0(search, "searching thresholds")
    return outcomes[0] if outcomes else None


def _folds(records: Sequence[Record], folds: int) -> np.ndarray | None:
    """Fold of each image, copies of a picture in one; None where there are fewer than two."""
    if not folds:
        return None
    groups = same_bytes([record.file for record in records])
    count = min(folds, len(np.unique(groups)))
    return assign_folds(records, count, groups) if count >= 2 else None
