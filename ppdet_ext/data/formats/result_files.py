"""Files of predictions: COCO results, of the names ppdet gives them, and a table of measurements for spreadsheets."""

import csv
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ppdet_ext.structures import Detections
from ppdet_ext.structures.measurements import measurement_columns, measurement_rows

BOX_FILE, MASK_FILE, IMAGES_FILE = "bbox.json", "mask.json", "images.json"
# {"weights": as configured, "origin": what they and the configuration are by content, "classes": [[category id, name], …]}
ORIGIN_FILE = "origin.json"
TABLE = "measurements.csv"
# A spreadsheet takes a text that begins so for a formula.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def coco_results(
    detections: Iterable[tuple[int, Detections]], category_ids: Sequence[int]
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Boxes and masks of (image id, detections) as results that JSON can hold; no masks of a model without them."""
    boxes: list[dict[str, Any]] = []
    masks: list[dict[str, Any]] = []
    for im_id, own in detections:
        box_results, mask_results = own.to_coco_results(im_id, category_ids)
        boxes.extend(box_results)
        masks.extend(result | {"segmentation": mask.to_coco(text=True)} for result, mask in zip(mask_results, own.masks or []))
    return boxes, masks


def write_measurements(
    path: Path,
    images: Iterable[tuple[str, Detections]],
    class_names: Sequence[str],
    mm_per_pixel: float | None = None,
    further: Mapping[str, Callable[[str, int], str]] | None = None,
) -> None:
    """Write a table for spreadsheets: a row for each object, of columns image, object and those of `measurement_rows`.

    As RFC 4180 says: commas, CRLF, points for decimals. In UTF-8 with a byte order mark, without which Excel takes ä for Ã¤.
    object: its number in the image, from 1, as in the PNGs of instances. Texts that a spreadsheet would take for a formula get
    an apostrophe before them.

    further: columns behind these; (name of the image, place of the object from 0) -> text.

    Raises: OSError where it cannot be written.
    """
    with path.open("w", encoding="utf-8-sig", errors="backslashreplace", newline="") as stream:
        writer = csv.writer(stream)
        more = further or {}
        writer.writerow(["image", "object", *measurement_columns(mm_per_pixel), *more])
        for name, detections in images:
            for place, row in enumerate(measurement_rows(detections, class_names, mm_per_pixel)):
                cells = row | {column: tell(name, place) for column, tell in more.items()}
                writer.writerow([_cell("image", name), place + 1, *(_cell(key, value) for key, value in cells.items())])


def _cell(column: str, value: str | float | None) -> str:
    if value is None or value != value:  # NaN, of a mask without a pixel
        return ""
    if isinstance(value, str):
        return f"'{value}" if value.startswith(_FORMULA) else value
    if isinstance(value, int):
        return str(value)
    if column.endswith(("_mm", "_mm2")):
        return f"{value:.6g}" if value < 1e6 else f"{value:.0f}"
    return f"{value:.4f}" if column == "score" else f"{value:.2f}"
