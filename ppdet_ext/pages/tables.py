"""Tables: numbers under each other, sorted by a click or a key on a heading, and readable without the script."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from .charts import svg
from .formats import fixed, known

Value = float | str | Markup | None


@dataclass(frozen=True)
class Column:
    """A heading, what its values are (shown on hover), and how they are written.

    text: of a number. bar: numbers from 0 to 1 have a faint bar behind them. best: of a row of comparable columns.
    """

    name: str
    title: str = ""
    text: Callable[[float | None], str] = fixed
    bar: bool = False


@dataclass(frozen=True)
class Row:
    """A table's row. anchor: what links to it name; dim: of little weight, such as a class without truths."""

    values: Sequence[Value]
    anchor: str | None = None
    dim: bool = False


def table(columns: Sequence[Column], rows: Sequence[Row], caption: str, *, sortable: bool = True) -> Markup:
    """Columns of numbers are right-aligned; those that are None or NaN are a dash, and are sorted last."""
    numeric = [any(isinstance(row.values[j], (int, float)) for row in rows) for j in range(len(columns))]
    head = []
    for column, numbers in zip(columns, numeric):
        inside = svg.element("button", column.name, type="button") if sortable and len(rows) > 1 else column.name
        kind = "number" if numbers else None
        head.append(svg.element("th", inside, scope="col", class_=kind, title=column.title or None))
    body = [_row(row, columns, numeric) for row in rows]
    drawn = svg.element(
        "table",
        svg.element("caption", caption, class_="quiet"),
        svg.element("thead", svg.element("tr", *head)),
        svg.element("tbody", *body),
        class_="data sortable" if sortable else "data",
    )
    return svg.element("div", drawn, class_="scroll", tabindex="0", role="region", aria_label=caption)


def _row(row: Row, columns: Sequence[Column], numeric: Sequence[bool]) -> Markup:
    cells = []
    for j, (value, column, numbers) in enumerate(zip(row.values, columns, numeric)):
        if numbers:
            number = value if isinstance(value, (int, float)) and known(value) else None
            style = f"--v:{min(max(number, 0.0), 1.0):.3f}" if column.bar and number is not None else None
            kind = "number gauge" if style else "number"
            shown = {
                "data_v": "" if number is None else repr(float(number)),
                "class_": kind,
                "style": style,
            }
            cells.append(svg.element("td", column.text(number), **shown))
        else:
            content = "" if value is None else value if isinstance(value, Markup) else str(value)
            cells.append(svg.element("th" if j == 0 else "td", content, scope="row" if j == 0 else None))
    return svg.element("tr", *cells, id=row.anchor, class_="dim" if row.dim else None)
