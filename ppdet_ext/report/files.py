"""What is written beside the page: every number as JSON, tables for spreadsheets, likely faults for label tools."""

from __future__ import annotations

import csv
import io
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from ppdet_ext.checkpoint.folder import REPORT_FILES
from ppdet_ext.data.labels.convert import labels_of_detections
from ppdet_ext.data.labels.writers import WRITERS, WriteOptions
from ppdet_ext.errors import UserError
from ppdet_ext.files.atomic import write_atomic
from ppdet_ext.structures import Detections, Record

from .json_file import report_text
from .schema import ClassNumbers, Report
from .schema_objects import LabelError

PAGE, REPORT, CLASSES, FAULTS, PROPOSALS = REPORT_FILES
TOOLS = ("cvat", "label_studio")
SETTING = "--output"
_KINDS = {"segm": "mask", "bbox": "box"}
_NUMBERS = tuple(ClassNumbers.__dataclass_fields__)
# A spreadsheet takes a text that begins so for a formula.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
logger = logging.getLogger("ppdet_ext")


def write_numbers(report: Report, folder: Path) -> list[Path]:
    """Write report.json, report.csv and label_errors.csv; gives their paths. Raises: UserError where they cannot be written."""
    texts = {REPORT: report_text(report), CLASSES: classes_csv(report), FAULTS: faults_csv(report)}
    paths = []
    for name, text in texts.items():
        # Excel takes UTF-8 for what it is by the mark alone.
        content = text.encode("utf-8-sig" if name.endswith(".csv") else "utf-8", errors="backslashreplace")
        path = folder / name
        write_atomic(path, lambda aside, content=content: aside.write_bytes(content), SETTING)  # type: ignore[misc]
        paths.append(path)
    return paths


def classes_csv(report: Report) -> str:
    """A row for each class: label, name, instances, images, detections, then mask_ap, … and box_ap, … of `ClassNumbers`."""
    kinds = list(report.head.numbers)
    head = ["label", "class", "instances", "images", "detections"]
    rows = [
        [row.label, _text(row.name), row.instances, row.images, row.detections]
        + [getattr(row.numbers[kind], name) for kind in kinds for name in _NUMBERS]
        for row in report.classes
    ]
    return _csv([[*head, *(f"{_KINDS[kind]}_{name}" for kind in kinds for name in _NUMBERS)], *rows])


def faults_csv(report: Report) -> str:
    """A row for each likely fault of an annotation: kind, image, its id, classes, positions, score, IoU, where to look."""
    names = report.head.class_names
    head = [
        "kind", "image", "image_id", "proposed_class", "annotated_class", "annotation", "duplicate_of", "score", "iou",
        "x", "y", "w", "h",
    ]  # fmt: skip
    rows = []
    for one in report.label_errors.entries:
        x1, y1, x2, y2 = (round(edge, 2) for edge in one.box)
        annotated = None if one.truth_label is None else _text(names[one.truth_label])
        parts = [one.truth, one.other, one.score, one.iou, x1, y1, round(x2 - x1, 2), round(y2 - y1, 2)]
        rows.append([one.kind, _text(one.name), one.image, _text(names[one.label]), annotated, *parts])
    return _csv([head, *rows])


def _csv(rows: Sequence[Sequence[object]]) -> str:
    stream = io.StringIO()
    csv.writer(stream).writerows([["" if cell is None else cell for cell in row] for row in rows])
    return stream.getvalue()


def _text(value: str) -> str:
    return f"'{value}" if value.startswith(_FORMULA) else value


def export_faults(report: Report, records: Sequence[Record], detections: Mapping[int, Detections], folder: Path) -> list[Path]:
    """Write what the model proposes in place of faulty annotations for label tools: `label_errors/cvat`, `…/label_studio`.

    Duplicates are in label_errors.csv alone, for nothing is to be drawn there. Nothing is written without a proposal or masks.
    """
    chosen = _proposals(report.label_errors.entries, records, detections)
    files = {record.name: record.file for record in records}
    if not chosen:
        return []
    written: list[Path] = []
    try:
        labels = labels_of_detections(chosen, report.head.class_names, 0.0, files)
        options = WriteOptions(overwrite=True, setting=SETTING, model_version=report.head.title)
        for tool in TOOLS:
            written += WRITERS[tool](labels, folder / PROPOSALS / tool, options).files
    except UserError as fault:
        # The report is there; label tools tell classes by name, and not every name goes into their files.
        logger.warning("Likely label errors are in %s alone: %s", FAULTS, fault)
    return written


def _proposals(
    entries: Sequence[LabelError], records: Sequence[Record], detections: Mapping[int, Detections]
) -> list[tuple[str, Detections]]:
    """(image name, the detections that entries are of) of each image that has some with masks."""
    wanted: dict[int, set[tuple[int, float, tuple[float, ...]]]] = {}
    for one in entries:
        if one.score is not None:
            wanted.setdefault(one.image, set()).add((one.label, one.score, tuple(one.box)))
    chosen = []
    for record in records:
        own = detections.get(record.im_id)
        if record.im_id not in wanted or own is None or own.masks is None:
            continue
        keys = zip(own.labels.tolist(), map(float, own.scores), (tuple(map(float, box)) for box in own.boxes))
        chosen_ones = np.array([key in wanted[record.im_id] for key in keys], bool)
        chosen.append((record.name, own.select(chosen_ones)))
    return chosen
