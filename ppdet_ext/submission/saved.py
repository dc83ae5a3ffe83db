"""A submission from what `infer(..., save_results=True)` has written."""

import json
import logging
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from ppdet_ext.data.datasets import ImageFolder
from ppdet_ext.data.formats.result_files import IMAGES_FILE, MASK_FILE, ORIGIN_FILE
from ppdet_ext.errors import UserError
from ppdet_ext.inference.classes import compare_classes
from ppdet_ext.structures import Record

from . import Format, images_of_results
from .write import write_submission

logger = logging.getLogger("ppdet_ext")


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
    ids = saved_ids(folder, class_names, class_ids)
    detections = images_of_results(folder / MASK_FILE, names, ids, threshold)
    return write_submission(output, form, lambda: iter(detections), len(detections), class_names, class_ids).rows


def saved_names(folder: Path) -> dict[int, str]:
    """The images' names by id that `infer(..., save_results=True)` has written."""
    try:
        listed = json.loads((folder / IMAGES_FILE).read_text(encoding="utf-8"))
        return {int(image["id"]): str(image["file_name"]) for image in listed}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{folder / IMAGES_FILE} cannot be read ({error}); make it with infer.py --save_results") from error


def saved_ids(folder: Path, class_names: Sequence[str], class_ids: Sequence[int]) -> list[int]:
    """The category ids that saved results have for classes of these names, by label.

    Results say what their ids are called (`origin.json`). Where the names are the same, they decide, with a warning if the
    configuration has other ids; where they differ, or are not known, the configuration's ids are taken.
    """
    try:
        theirs = [(int(number), str(name)) for number, name in saved_origin(folder)["classes"]]
    except (ValueError, KeyError, TypeError):
        return list(class_ids)
    ids = {name: number for number, name in theirs}
    ours = list(zip(class_ids, class_names))
    if len(ids) < len(theirs) or sorted(ids) != sorted(class_names):
        compare_classes(class_names, [name for _, name in theirs], str(folder / ORIGIN_FILE), "the configuration")
        return list(class_ids)
    if sorted(theirs) != sorted(ours):
        listed = [", ".join(f"{number} {name}" for number, name in one) for one in (theirs, ours)]
        logger.warning(
            "Classes with other ids. %s: %s; the configuration: %s. They are matched by name", folder / ORIGIN_FILE, *listed
        )
    return [ids[name] for name in class_names]


def saved_origin(folder: Path) -> dict[str, Any]:
    """What `origin.json` says of saved results, see `ORIGIN_FILE`; nothing of those without one, as of other programs."""
    try:
        found = json.loads((folder / ORIGIN_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


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
