"""Predicting for a submission: what is done is noted as it is made, so that the same call goes on after any end."""

import contextlib
import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ppdet_ext import distributed
from ppdet_ext.data.images.decode import check_end
from ppdet_ext.distributed.collective import on_every_rank, on_rank_0
from ppdet_ext.errors import UserError, counted
from ppdet_ext.files.lock import PATIENCE_SECONDS, locked
from ppdet_ext.inference.predictor import ImagePredictor
from ppdet_ext.structures import Detections

from . import Format, Journal
from .header import sources_of
from .write import write_submission

PROGRESS = ".progress"
logger = logging.getLogger("ppdet_ext")


def submit_predictions(
    predictor: ImagePredictor, output: Path, threshold: float, form: Format, make_header: Callable[[], Mapping[str, Any]]
) -> int:
    """Predict the images that are left, write the submission; returns its number of rows. Called by all ranks.

    Args:
        predictor: of the images.
        output: CSV file; the journal is the folder `<output>.progress`, which all ranks must reach.
        threshold: lowest score that counts.
        form: of the file.
        make_header: of the journal, see `header_of`; called on rank 0.

    Raises:
        UserError: for what the user can mend.
    """
    records, class_ids = predictor.dataset.records, predictor.category_ids
    names = [record.name for record in records]
    form.check_names(names)
    for record in records:
        # Better now than after hours.
        check_end(record.file)
    journal = Journal(Path(f"{output}{PROGRESS}"), {}, sources_of(records), class_ids)

    def start() -> tuple[Mapping[str, Any], set[str]]:
        held.enter_context(locked(journal.folder, PATIENCE_SECONDS, "predicting for", "--output"))
        journal.header = make_header()
        return journal.header, _done_before(journal)

    def finish() -> int:
        _demand_all(journal, names)
        summary = write_submission(output, form, lambda: journal.read(names), len(names), predictor.class_names, class_ids)
        journal.remove()
        return summary.rows

    with contextlib.ExitStack() as held:
        journal.header, done = on_rank_0(start, "earlier progress")
        on_every_rank(lambda: _predict_rest(predictor, journal, done, threshold), "prediction")
        return on_rank_0(finish, "writing the submission")


def _done_before(journal: Journal) -> set[str]:
    """Names of the images that are done, after progress of other settings has been set aside, or of these taken back."""
    changed = journal.differences()
    aside = journal.set_aside() if changed else None
    taken = journal.take_back()
    if aside and not taken:
        logger.warning("Starting anew: what is done was done with other %s; it is in %s", ", ".join(changed), aside)
    elif aside:
        logger.warning("What was done last was done with other %s; it is in %s", ", ".join(changed), aside)
    if taken:
        logger.info("Taken back from %s: what was done before with these settings", taken)
    if outdated := journal.outdated():
        logger.warning(
            "%s with other files than those that were predicted: to be predicted again: %s",
            counted(len(outdated), "images"),
            ", ".join(outdated[:5]) + (", …" if len(outdated) > 5 else ""),
        )
    done = set(journal.index())
    if done:
        logger.info("Going on from %s: %d of %d images are done", journal.folder, len(done), len(journal.sources))
    return done


def _predict_rest(predictor: ImagePredictor, journal: Journal, done: set[str], threshold: float) -> None:
    skip = {im_id for im_id, name in predictor.names.items() if name in done}
    with journal.writer(distributed.world()[0]) as writer:
        for _, name, detections in predictor.predictions("Submit", skip):
            if name not in done:
                writer.add(name, _counted(detections, threshold))


def _counted(detections: Detections, threshold: float) -> Detections:
    """What scores enough and has a pixel."""
    if detections.masks is None:
        raise UserError("The model has no masks to submit (HTC: HTCRoIHead.with_mask decides).")
    enough = [score >= threshold and bool(mask) for score, mask in zip(detections.scores.tolist(), detections.masks)]
    return detections.select(np.array(enough, bool))


def _demand_all(journal: Journal, names: Sequence[str]) -> None:
    index = journal.index()
    missing = [name for name in names if name not in index]
    if missing:
        raise UserError(
            f"{journal.folder} has no predictions of {len(missing)} of {len(names)} images ({', '.join(missing[:5])}). "
            "All ranks must reach this folder and read the same data set."
        )
