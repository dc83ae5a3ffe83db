"""Steps that leave classes out: always, or where a classifier of whole images finds them improbable."""

import csv
import os
from collections.abc import Mapping, Sequence

import numpy as np

from ppdet_ext.errors import UserError
from ppdet_ext.host.registry import register_step
from ppdet_ext.structures import Candidates, Detections

from .base import PerClass, Step, label_of, per_class

ANY = "any"


@register_step
class DropClasses(Step):
    """Drops everything of the classes of these names or category ids."""

    def __init__(self, classes: list) -> None:
        """UserError unless it is a list."""
        if not isinstance(classes, list | tuple):
            raise UserError(f"DropClasses.classes: {classes!r} is no list of class names or ids.")
        self.classes = classes

    def bind(self, class_names: Sequence[str], category_ids: Sequence[int]) -> None:
        self._labels = [label_of(name, class_names, category_ids, "DropClasses.classes") for name in self.classes]

    def __call__(self, detections: Candidates | Detections, name: str) -> Candidates | Detections:
        return detections.select(~np.isin(detections.labels, self._labels))


@register_step
class ClassifierGate(Step):
    """Drops the classes that another model finds improbable in the image.

    file: a CSV with the columns ImageId (file name, with or without its suffix) and a probability for classes by name or
        category id, `any` for "there is anything at all". Classes without a column pass.
    threshold: a class passes where its probability is at least this; by class, 0.5 for one that a mapping does not name.
    any_threshold: everything is dropped where `any` is below this.
    """

    def __init__(self, file: str, threshold: PerClass = 0.5, any_threshold: float = 0.5) -> None:
        self.file, self.threshold, self.any_threshold = file, threshold, any_threshold

    def bind(self, class_names: Sequence[str], category_ids: Sequence[int]) -> None:
        """Read the file. UserError naming row and column for whatever is wrong with it."""
        lowest = per_class(self.threshold, class_names, category_ids, "ClassifierGate.threshold", 0.5, low=0, high=1)
        (lowest_any,) = per_class(self.any_threshold, [ANY], [0], "ClassifierGate.any_threshold", 0.5, low=0, high=1)
        self._passing: dict[str, np.ndarray] = {}
        try:
            with open(self.file, newline="", encoding="utf-8-sig") as lines:
                reader = csv.DictReader(lines)
                labels = self._labels_of(reader.fieldnames or [], class_names, category_ids)
                limits = {column: lowest_any if label is None else lowest[label] for column, label in labels.items()}
                for row in reader:
                    self._add(row, labels, limits, len(class_names), f"{self.file}, line {reader.line_num}")
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            raise UserError(f"ClassifierGate.file: cannot read {self.file}: {error}") from error

    def _add(
        self, row: Mapping, labels: Mapping[str, int | None], limits: Mapping[str, float], classes: int, where: str
    ) -> None:
        if None in row or None in row.values():
            raise UserError(f"{where}: has not as many values as the header.")
        if row["ImageId"] in self._passing:
            raise UserError(f"{where}: {row['ImageId']} occurs twice.")
        passing = np.ones(classes, bool)
        for column, label in labels.items():
            enough = _probability(row[column], f"{where}, column {column}") >= limits[column]
            passing[slice(None) if label is None else label] &= enough
        self._passing[row["ImageId"]] = passing

    def _labels_of(
        self, columns: Sequence[str], class_names: Sequence[str], category_ids: Sequence[int]
    ) -> Mapping[str, int | None]:
        """Column -> label, None for `any`."""
        if "ImageId" not in columns or len(set(columns)) != len(columns):
            raise UserError(f"{self.file}: the columns are ImageId and classes, each once, not {', '.join(columns) or 'none'}.")
        classes = [column for column in columns if column != "ImageId"]
        labels = {
            column: None if column == ANY else label_of(column, class_names, category_ids, self.file) for column in classes
        }
        if not labels:
            raise UserError(f"{self.file}: beside ImageId there is no column of a class, or {ANY!r}.")
        return labels

    def check_names(self, names: Sequence[str]) -> None:
        missing = [name for name in names if self._row(name) is None]
        if missing:
            shown = f"{', '.join(missing[:10])}{', …' if len(missing) > 10 else ''}"
            raise UserError(
                f"ClassifierGate: {self.file} has no row for {shown} ({len(missing)} of {len(names)} images); "
                "give each image its probabilities."
            )

    def __call__(self, detections: Candidates | Detections, name: str) -> Candidates | Detections:
        self.check_names([name])
        row = self._row(name)
        assert row is not None
        return detections.select(row[detections.labels])

    def _row(self, name: str) -> np.ndarray | None:
        return self._passing.get(name, self._passing.get(os.path.splitext(name)[0]))


def _probability(text: str, where: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = np.nan
    if not 0 <= value <= 1:
        raise UserError(f"{where}: {text!r} is no probability from 0 to 1.")
    return value
