"""The file of a submission: written aside, read back, put in place, summed up."""

import logging
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from ppdet_ext import distributed
from ppdet_ext.distributed.progress import track
from ppdet_ext.errors import counted
from ppdet_ext.files.atomic import write_atomic

from . import Format, NamedDetections, Summary, check_table, write_table

# Images whose writing takes more than some seconds.
MANY = 500
logger = logging.getLogger("ppdet_ext")


def write_submission(
    output: Path,
    form: Format,
    images: Callable[[], Iterator[NamedDetections]],
    count: int,
    class_names: Sequence[str],
    class_ids: Sequence[int],
) -> Summary:
    """Write a submission and log what is in it. The old file, if any, stays as it was until the new one is whole.

    Args:
        output: CSV file.
        form: of the file.
        images: gives the results of all images in the file's order, each time it is called.
        count: of images.
        class_names, class_ids: by label.

    Raises:
        UserError: not writable, or the disk is full.
        RuntimeError: what was written is not what should be; that would be our fault.
    """
    form.class_texts(class_ids, class_names)
    summaries = []

    def write(aside: Path) -> None:
        try:
            summaries.append(write_table(aside, form, _shown(images(), count, "Write"), class_ids, class_names))
            check_table(aside, form, _shown(images(), count, "Check"), class_ids, class_names)
        except BaseException:
            aside.unlink(missing_ok=True)
            raise

    write_atomic(output, write, "--output")
    _log(output, form, summaries[0], class_names, class_ids)
    return summaries[0]


def _shown(images: Iterator[NamedDetections], count: int, title: str) -> Iterator[NamedDetections]:
    """With progress to be seen by the user, where that many take long, and by the other ranks, which wait."""
    for number, image in enumerate(track(images, count, title) if count >= MANY else images):
        distributed.phase(f"{title}, image {number}")
        yield image


def _log(output: Path, form: Format, summary: Summary, class_names: Sequence[str], class_ids: Sequence[int]) -> None:
    if form.empty == "row":
        what = f"one for each of {summary.images} images and each of {len(class_ids)} classes"
        if form.rows == "image":
            what = f"one for each of {summary.images} images"
    else:
        what = f"one for each {form.rows} found in {summary.images} images"
    logger.info(
        "%s: %d rows, %s: %d with a mask, %d blank", output, summary.rows, what, summary.masks, summary.rows - summary.masks
    )
    counts = ", ".join(f"{name} {summary.instances[class_id]}" for name, class_id in zip(class_names, class_ids))
    logger.info("Nothing found in %s; instances: %s", counted(summary.empty, "images"), counts)
    if summary.lost:
        lost = counted(summary.lost, "instances")
        logger.info("No row for %s: covered by others, or without a pixel at the size of the masks", lost)
