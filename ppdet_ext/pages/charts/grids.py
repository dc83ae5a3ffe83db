"""Grids of values: a heat map over a sheet, and a matrix whose cells can be links."""

from collections.abc import Callable, Sequence

from markupsafe import Markup

from ppdet_ext.pages.formats import clipped, count, short

from . import svg

LEGEND = 34


def heat_map(
    label: str,
    rows: Sequence[Sequence[float | None]],
    *,
    text: Callable[[float], str] = short,
    title: Callable[[int, int], str] | None = None,
    aspect: float | None = None,
    width: float = 540,
    low: float = 0.0,
    high: float | None = None,
) -> Markup:
    """Cells (h, w) from `low` (pale) to `high` (strong; None for the greatest value); cells that are None stay empty.

    text: of a value, for hovering and the legend. title: of row and column, before it. aspect: of the sheet, width over height.
    """
    across = max((len(row) for row in rows), default=0) or 1
    known = [value for row in rows for value in row if value is not None]
    top = max(known, default=0.0) if high is None else high
    side_x = width / across
    side_y = width / (aspect or across / max(len(rows), 1)) / max(len(rows), 1)
    parts = []
    for i, row in enumerate(rows):
        for j, value in enumerate(row):
            strength = 0.0 if value is None or top <= low else min(max((value - low) / (top - low), 0.0), 1.0)
            said = f"{title(i, j)}: " if title else ""
            hover = svg.title(said + ("nothing to count" if value is None else text(value)))
            opacity = f"{0.04 + 0.96 * strength:.3f}"
            kind = {"class_": "cell", "fill_opacity": opacity} if value is not None else {"class_": "hole"}
            parts.append(svg.rectangle(side_x * j, side_y * i, side_x, side_y, hover, **kind))
    bottom = side_y * len(rows)
    parts.append(svg.rectangle(0.5, 0.5, width - 1, max(bottom - 1, 1.0), class_="sheet"))
    for step in range(5):
        opacity = f"{0.04 + 0.96 * step / 4:.3f}"
        parts.append(svg.rectangle(60 + 24 * step, bottom + 12, 24, 10, class_="cell", fill_opacity=opacity))
    parts.append(svg.text(54, bottom + 21, text(low), "end", "tick"))
    parts.append(svg.text(186, bottom + 21, text(top), "start", "tick"))
    return svg.canvas(width, bottom + LEGEND, label, *parts)


def matrix(
    caption: str,
    row_names: Sequence[str],
    column_names: Sequence[str],
    values: Sequence[Sequence[float]],
    *,
    rows_are: str,
    columns_are: str,
    strength: Callable[[int, int], float],
    text: Callable[[float], str] = count,
    title: Callable[[int, int], str] | None = None,
    link: Callable[[int, int], str | None] | None = None,
    diagonal_good: bool = True,
) -> Markup:
    """A table of values with tinted cells: readable without colours, by keyboard, and printed.

    Args:
        strength: of row and column, 0–1, how much a cell is tinted. Cells of 0 are a dot.
        link: of row and column, where a cell leads; None for nowhere.
        diagonal_good: cells on the diagonal are tinted as right, others as wrong.
    """
    head = [svg.element("th", f"{rows_are} ↓ {columns_are} →", class_="corner", scope="col")]
    head += [svg.element("th", svg.element("span", clipped(name, 18)), scope="col", title=name) for name in column_names]
    lines = [svg.element("tr", *head)]
    for i, name in enumerate(row_names):
        cells = [svg.element("th", clipped(name, 22), scope="row", title=name)]
        for j, value in enumerate(values[i]):
            said = title(i, j) if title else f"{name} → {column_names[j]}: {text(value)}"
            target = link(i, j) if link and value else None
            inside = text(value) if value else "·"
            kind = "right" if diagonal_good and i == j else "wrong"
            shown = svg.element("a", inside, href=target) if target else inside
            style = f"--v:{min(max(strength(i, j), 0.0), 1.0):.3f}" if value else None
            cells.append(svg.element("td", shown, title=said, class_=kind if value else "none", style=style))
        lines.append(svg.element("tr", *cells))
    body = svg.element("table", svg.element("caption", caption, class_="quiet"), *lines, class_="matrix")
    return svg.element("div", body, class_="scroll", tabindex="0", role="region", aria_label=caption)
