"""The CSV in which a classifier of whole images says how probable each class is: read by gates, written by tools/infer.py."""

import csv
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ppdet_ext.errors import UserError
from ppdet_ext.files.atomic import write_atomic

from .base import class_keys, label_of

ANY, IMAGE = "any", "ImageId"


@dataclass
class GateFile:
    """Probabilities by image.

    Attributes:
        path: of the file.
        presence: image's name as the file has it, with or without suffix -> (classes,) float64, NaN where there is no column.
        anything: the same -> probability that there is anything at all, NaN where the file has no such column.
    """

    path: str
    presence: dict[str, np.ndarray] = field(default_factory=dict)
    anything: dict[str, float] = field(default_factory=dict)

    @classmethod
    def read(cls, path: str, class_names: Sequence[str], category_ids: Sequence[int], step: str) -> "GateFile":
        """Read the columns ImageId, classes by name or category id, and `any`.

        step: that names the file, for messages. Raises: UserError naming row and column for whatever is wrong with it.
        """
        gate = cls(path)
        try:
            with open(path, newline="", encoding="utf-8-sig") as lines:
                reader = csv.DictReader(lines)
                labels = gate._labels_of(reader.fieldnames or [], class_names, category_ids)
                for row in reader:
                    gate._add(row, labels, len(class_names), f"{path}, line {reader.line_num}")
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            raise UserError(f"{step}.file: cannot read {path}: {error}") from error
        return gate

    def _labels_of(
        self, columns: Sequence[str], class_names: Sequence[str], category_ids: Sequence[int]
    ) -> Mapping[str, int | None]:
        """Column -> label, None for `any`."""
        if IMAGE not in columns or len(set(columns)) != len(columns):
            raise UserError(f"{self.path}: the columns are ImageId and classes, each once, not {', '.join(columns) or 'none'}.")
        classes = [column for column in columns if column != IMAGE]
        labels = {
            column: None if column == ANY else label_of(column, class_names, category_ids, self.path) for column in classes
        }
        if not labels:
            raise UserError(f"{self.path}: beside ImageId there is no column of a class, or {ANY!r}.")
        return labels

    def _add(self, row: Mapping, labels: Mapping[str, int | None], classes: int, where: str) -> None:
        if None in row or None in row.values():
            raise UserError(f"{where}: has not as many values as the header.")
        name = row[IMAGE]
        if name in self.presence:
            raise UserError(f"{where}: {name} occurs twice.")
        presence, anything = np.full(classes, np.nan), np.nan
        for column, label in labels.items():
            value = _probability(row[column], f"{where}, column {column}")
            if label is None:
                anything = value
            elif value < presence[label] or np.isnan(presence[label]):
                # A class that its name and its id both are columns of must pass by either.
                presence[label] = value
        self.presence[name], self.anything[name] = presence, anything

    def check_names(self, names: Sequence[str], step: str) -> None:
        """Raises: UserError beginning with `step`, where images of these file names have no row."""
        missing = [name for name in names if self.row(name) is None]
        if missing:
            shown = f"{', '.join(missing[:10])}{', …' if len(missing) > 10 else ''}"
            raise UserError(
                f"{step}: {self.path} has no row for {shown} ({len(missing)} of {len(names)} images); "
                "give each image its probabilities."
            )

    def row(self, name: str) -> str | None:
        """How the file calls the image of that file name; None where it has no row."""
        bare = os.path.splitext(name)[0]
        return name if name in self.presence else bare if bare in self.presence else None


def _probability(text: str, where: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = np.nan
    if not 0 <= value <= 1:
        raise UserError(f"{where}: {text!r} is no probability from 0 to 1.")
    return value


def write_gate_file(
    path: Path, rows: Iterable[tuple[str, np.ndarray]], class_names: Sequence[str], category_ids: Sequence[int], flag: str
) -> None:
    """Write (image's file name, presence (classes,)) so that a gate which reads the file sees the same numbers.

    A column is named as its class, or by the category id where the name could be mistaken. flag: for the message.

    Raises:
        UserError: the file cannot be written, or neither name nor id tells a class.
    """
    columns = [
        str(category_id) if key in (ANY, IMAGE) else key
        for key, category_id in zip(class_keys(class_names, category_ids), category_ids)
    ]
    for label, column in enumerate(columns):
        if column in (None, ANY, IMAGE) or label_of(column, class_names, category_ids, flag) != label:
            raise UserError(f"{flag}: no column can mean the class {class_names[label]!r}; give it a name of its own.")

    def write(aside: Path) -> None:
        with open(aside, "w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow([IMAGE, *columns])
            # All digits: a threshold that a float32 just reaches, it must reach from the file, too.
            writer.writerows([name, *map(repr, np.asarray(presence, np.float64).tolist())] for name, presence in rows)

    write_atomic(path, write, flag)
