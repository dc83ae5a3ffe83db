"""One column of a submission: its text with fields in braces, filled and read back."""

import re
import string
from collections.abc import Mapping

from ppdet_ext.errors import UserError

# What a field's text looks like, for reading it back.
FIELDS = {
    "name": r".+",
    "rle": r"[0-9 ]*",
    "class_id": r"-?[0-9]+",
    "score": r"[0-9.]+",
    "attributes": r"[0-9,]*",
}


class Column:
    """A column such as "{name}_{class_id}".

    Args:
        header: its name.
        text: literal text and fields; there are those of `FIELDS`.

    Raises:
        UserError: unknown field, a field twice, or two fields with nothing between them.
    """

    def __init__(self, header: str, text: str) -> None:
        self.header, self.text = header, text
        try:
            parts = list(string.Formatter().parse(text))
        except ValueError as error:
            raise UserError(f"columns.{header}: {text!r} is no text with fields in braces: {error}") from None
        self.fields = [field for _, field, _, _ in parts if field is not None]
        self._check([(literal, field, spec or conversion) for literal, field, spec, conversion in parts])
        pieces = [
            re.escape(literal) + (f"(?P<{field}>{FIELDS[field]})" if field is not None else "")
            for literal, field, _, _ in parts
        ]
        self._pattern = re.compile("".join(pieces), re.DOTALL)

    def _check(self, parts: list[tuple[str, str | None, str | None]]) -> None:
        for position, (literal, field, extra) in enumerate(parts):
            if field is None:
                continue
            if field not in FIELDS or extra:
                known = ", ".join(f"{{{name}}}" for name in FIELDS)
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
