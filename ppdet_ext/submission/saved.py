"""A submission from what `infer(..., save_results=True)` has written."""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path

from ppdet_ext.data.datasets import ImageFolder
from ppdet_ext.data.formats.result_files import IMAGES_FILE, MASK_FILE
from ppdet_ext.errors import UserError
from ppdet_ext.structures import Record

from . import Format, images_of_results
from .write import write_submission


def submit_results(
    folder: Path,
    images: str | None,
    output: Path,
    threshold: float,
    form: Format,
    class_names: Sequence[str],
    class_ids: Sequence[int],
) -> int:
    """Write the submission of saved results; returns its number of rows.

    Args:
        folder: with the results.
        images: a picture or a folder that they must be of; None for whatever they are of.
        output: CSV file.
        threshold: lowest score that counts.
        form: of the file.
        class_names, class_ids: by label.

    Raises:
        UserError: results that are missing, damaged, or of other images.
    """
    names = saved_names(folder)
    if images is not None:
        _demand_same(names.values(), ImageFolder(images).load().records, folder, images)
    form.check_names(names.values())
    detections = images_of_results(folder / MASK_FILE, names, class_ids, threshold)
    return write_submission(output, form, lambda: iter(detections), len(detections), class_names, class_ids).rows


def saved_names(folder: Path) -> dict[int, str]:
    """The images' names by id that `infer(..., save_results=True)` has written."""
    try:
        listed = json.loads((folder / IMAGES_FILE).read_text(encoding="utf-8"))
        return {int(image["id"]): str(image["file_name"]) for image in listed}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{folder / IMAGES_FILE} cannot be read ({error}); make it with infer.py --save_results") from error


def _demand_same(saved: Iterable[str], records: Sequence[Record], folder: Path, images: str) -> None:
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
