"""Which of the images without an instance stay in a data set."""

import logging

from ppdet_ext.errors import UserError

from .record import Record
from .split import keep_empty

logger = logging.getLogger("ppdet_ext")


def without_surplus(
    records: list[Record], *, source: str, annotated: bool, allow_empty: bool, empty_ratio: float, seed: int, called: str
) -> list[Record]:
    """The records with an instance, and as many of the others as are wanted; all where nothing is annotated.

    Args:
        records: usable images.
        source: of the annotations, for messages.
        annotated: whether there are annotations.
        allow_empty, empty_ratio, seed: see `keep_empty`; without `allow_empty` none stays.
        called: what an image without an instance is without, such as "defects".

    Raises:
        UserError: no image is left.
    """
    if records and not annotated:
        logger.info("%s: %d images without annotations, for prediction", source, len(records))
        return records
    empty = [record.name for record in records if not record.masks]
    kept = keep_empty(empty, len(records) - len(empty), empty_ratio, seed) if allow_empty else set()
    records = [record for record in records if record.masks or record.name in kept]
    logger.info(
        "%s: %d images, %d of them without %s (%d more left out), %d instances",
        source,
        len(records),
        len(kept),
        called,
        len(empty) - len(kept),
        sum(len(record.masks) for record in records),
    )
    if not records:
        raise UserError(f"{source}: no image is left. Check split, fold, allow_empty and on_error.")
    return records
