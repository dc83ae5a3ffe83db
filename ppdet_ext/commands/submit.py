"""Making a submission: predictions, or results of an earlier run, in the format of a competition."""

import argparse
import contextlib
import csv
import json
import logging
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ppdet_ext import distributed
from ppdet_ext.config.files import read_tree
from ppdet_ext.data.datasets import FashionDataSet, ImageFolder
from ppdet_ext.data.images.decode import check_end
from ppdet_ext.distributed.collective import on_every_rank, on_rank_0
from ppdet_ext.distributed.group import among_ranks
from ppdet_ext.errors import UserError, nearest
from ppdet_ext.files.atomic import demand_writable
from ppdet_ext.files.lock import PATIENCE_SECONDS, locked
from ppdet_ext.host import Config
from ppdet_ext.inference.classes import class_list
from ppdet_ext.inference.predictor import Predictor, lowest_score
from ppdet_ext.inference.results import IMAGES_FILE, MASK_FILE
from ppdet_ext.structures import Detections
from ppdet_ext.submission import Format, Journal, images_of_results
from ppdet_ext.submission.header import header_of, sources_of
from ppdet_ext.submission.write import write_submission

from .cli import config_of
from .flags import FORMATS, STYLES, known_formats

# Where nothing is asked for, and no sample tells it.
BY_DATASET: tuple[tuple[type, str], ...] = ((FashionDataSet, "imaterialist_2019"),)
DEFAULT_FORMAT = "severstal_stage2"
SAMPLE = "sample_submission.csv"  # Kaggle's name
PROGRESS = ".progress"
logger = logging.getLogger("ppdet_ext.engine")


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
    usual = next((name for dataset in datasets for kind, name in BY_DATASET if isinstance(dataset, kind)), DEFAULT_FORMAT)
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
    threshold, chosen, output = lowest_score(cfg, threshold), find_format(form or usual_format(cfg)), Path(output)
    demand_writable(output, "--output")
    if results is None:
        with among_ranks(cfg.use_gpu, cfg.stall_timeout):
            return _predicted(cfg, images, output, threshold, chosen)
    # From files to a file: there is nothing to share out.
    return _from_results(cfg, Path(results), images, output, threshold, chosen) if distributed.world()[0] == 0 else 0


def _from_results(cfg: Config, folder: Path, images: str | None, output: Path, threshold: float, form: Format) -> int:
    names = _saved_names(folder)
    if images is not None:
        _demand_same(names.values(), ImageFolder(images).load().records, folder, images)
    form.check_names(names.values())
    class_names, class_ids, _ = class_list(cfg)
    found = images_of_results(folder / MASK_FILE, names, class_ids, threshold)
    return write_submission(output, form, lambda: iter(found), len(found), class_names, class_ids).rows


def _saved_names(folder: Path) -> dict[int, str]:
    """The images' names by id that `infer(..., save_results=True)` has written."""
    try:
        listed = json.loads((folder / IMAGES_FILE).read_text(encoding="utf-8"))
        return {int(image["id"]): str(image["file_name"]) for image in listed}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{folder / IMAGES_FILE} cannot be read ({error}); make it with infer.py --save_results") from error


def _demand_same(saved: Iterable[str], records: Sequence[Any], folder: Path, images: str) -> None:
    ours, theirs = set(saved), {record.name for record in records}
    if ours != theirs:
        text = "; ".join(
            f"{len(some)} {where} ({', '.join(sorted(some)[:5])}{', …' if len(some) > 5 else ''})"
            for some, where in ((ours - theirs, f"are not in {images}"), (theirs - ours, "have no results"))
            if some
        )
        raise UserError(
            f"--results {folder} is of other images than {images}: {text}. Make it anew with infer.py --save_results."
        )


def _predicted(cfg: Config, images: str | None, output: Path, threshold: float, form: Format) -> int:
    predictor = Predictor(cfg, images)
    predictor.warn_of_invented_classes()
    records, class_ids = predictor.dataset.records, predictor.category_ids
    names = [record.name for record in records]
    form.check_names(names)
    for record in records:
        # Better now than after hours.
        check_end(record.file)
    journal = Journal(Path(f"{output}{PROGRESS}"), {}, sources_of(records), class_ids)

    def begin() -> tuple[Mapping[str, Any], set[str]]:
        held.enter_context(locked(journal.folder, PATIENCE_SECONDS, "predicting for", "--output"))
        journal.header = header_of(cfg, names, predictor.class_names, class_ids, threshold, form)
        return journal.header, _done_before(journal)

    with contextlib.ExitStack() as held:
        journal.header, done = on_rank_0(begin, "earlier progress")
        on_every_rank(lambda: _predict_rest(predictor, journal, done, threshold), "prediction")

        def finish() -> int:
            _demand_all(journal, names)
            summary = write_submission(output, form, lambda: journal.read(names), len(names), predictor.class_names, class_ids)
            journal.remove()
            return summary.rows

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
            "%d images have other files than those that were predicted, and are predicted again: %s",
            len(outdated),
            ", ".join(outdated[:5]) + (", …" if len(outdated) > 5 else ""),
        )
    done = set(journal.index())
    if done:
        logger.info("Going on from %s: %d of %d images are done", journal.folder, len(done), len(journal.sources))
    return done


def _predict_rest(predictor: Predictor, journal: Journal, done: set[str], threshold: float) -> None:
    skip = {im_id for im_id, name in predictor.names.items() if name in done}
    with journal.writer(distributed.world()[0]) as writer:
        for _, name, found in predictor.predictions("Submit", skip):
            if name not in done:
                writer.add(name, _counted(found, threshold))


def _counted(detections: Detections, threshold: float) -> Detections:
    """What scores enough and has a pixel."""
    if detections.masks is None:
        raise UserError("The model has no masks to submit (HTCRoIHead.with_mask is false, perhaps).")
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
