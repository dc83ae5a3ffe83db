"""`Column`: what the cells of a CSV's column hold, as a text with fields in braces."""

from __future__ import annotations

import re
import string
from collections.abc import Mapping

from ppdet_ext.errors import UserError

# What a field's text looks like where it shares its column with others.
FIELDS = {
    "name": r".+",
    "rle": r"[0-9 ]*",
    "class_id": r"-?[0-9]+",
    "class_name": r".+",
    "class_attributes": r"[0-9]+(?:_[0-9]+)*",
    "height": r"[0-9]+",
    "width": r"[0-9]+",
    "score": r"[0-9.]+",
    "attributes": r"[0-9,]*",
    "predictions": r".*",
    "polygons": r".*",
    # Of names that stand in several columns.
    "name_1": r".+",
    "name_2": r".+",
    "name_3": r".+",
}
# What a cell holds masks as.
MASKS = ("rle", "predictions", "polygons")
PARTS = ("name_1", "name_2", "name_3")
CLASSES = ("class_id", "class_name", "class_attributes")


class Column:
    """A column such as "{name}_{class_id}".

    Args:
        header: its name.
        text: literal text and fields.
        known: what fields there may be, and what their texts look like.

    Raises:
        UserError: unknown field, a field twice, or two fields with nothing between them.
    """

    def __init__(self, header: str, text: str, known: Mapping[str, str]) -> None:
        self.header, self.text, self.known = header, text, known
        try:
            parts = list(string.Formatter().parse(text))
        except ValueError as error:
            raise UserError(f"columns.{header}: {text!r} is no text with fields in braces: {error}") from None
        self.fields = [field for _, field, _, _ in parts if field is not None]
        # The most frequent kind of column, whose cell is the field: there is nothing to be searched in long texts.
        self.bare = len(parts) == 1 and not parts[0][0] and bool(self.fields)
        self._check([(literal, field, spec or conversion) for literal, field, spec, conversion in parts])
        pieces = [
            re.escape(literal) + (f"(?P<{field}>{known[field]})" if field is not None else "") for literal, field, _, _ in parts
        ]
        self._pattern = re.compile("".join(pieces), re.DOTALL)

    def _check(self, parts: list[tuple[str, str | None, str | None]]) -> None:
        for position, (literal, name, extra) in enumerate(parts):
            if name is None:
                continue
            if name not in self.known or extra:
                known = ", ".join(f"{{{one}}}" for one in self.known)
                raise UserError(f"columns.{self.header}: unknown field in {self.text!r}. There are {known}.")
            if position and not literal:
                raise UserError(f"columns.{self.header}: {self.text!r} needs a separator between its fields.")
        if len(set(self.fields)) < len(self.fields):
            raise UserError(f"columns.{self.header}: {self.text!r} has a field twice.")

    def fill(self, values: Mapping[str, str]) -> str:
        """The cell for these values of the fields."""
        return self.text.format_map(values)

    def read(self, cell: str) -> dict[str, str] | None:
        """The fields' values in a cell, or None where it is not of this form."""
        match = self._pattern.fullmatch(cell)
        return None if match is None else match.groupdict()
