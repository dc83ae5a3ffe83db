"""SVG written by hand: elements with every text and attribute escaped, and numbers as short as they can be."""

from collections.abc import Sequence

from markupsafe import Markup, escape

Content = str | Markup


def element(name: str, *children: Content, **attributes: object) -> Markup:
    """<name a="…">…</name>. `class_` is class, other underscores are hyphens; attributes that are None are left out.

    Children that are no Markup are escaped, as are attributes.
    """
    kept = ((key.rstrip("_").replace("_", "-"), value) for key, value in attributes.items() if value is not None)
    written = "".join(f' {key}="{escape(_text(value))}"' for key, value in kept)
    inside = "".join(str(escape(child)) for child in children)
    return Markup(f"<{name}{written}>{inside}</{name}>" if inside or name == "text" else f"<{name}{written}/>")


def _text(value: object) -> str:
    return pixel(value) if isinstance(value, float) else str(value)


def pixel(value: float) -> str:
    """A coordinate with one decimal at most."""
    text = f"{value:.1f}"
    text = text.removesuffix(".0")
    return "0" if text == "-0" else text


def level(x1: float, x2: float, y: float, class_: str) -> Markup:
    """A line from left to right."""
    return element("path", d=f"M{pixel(x1)} {pixel(y)}H{pixel(x2)}", class_=class_)


def upright(x: float, y1: float, y2: float, class_: str) -> Markup:
    """A line from one height to another."""
    return element("path", d=f"M{pixel(x)} {pixel(y1)}V{pixel(y2)}", class_=class_)


def rectangle(x: float, y: float, width: float, height: float, *children: Content, **attributes: object) -> Markup:
    """A rectangle; a child may be its title."""
    return element("rect", *children, x=float(x), y=float(y), width=float(width), height=float(height), **attributes)


def polyline(points: Sequence[tuple[float, float] | None]) -> str:
    """Path data through points; None lifts the pen."""
    steps, down = [], False
    for point in points:
        if point is None:
            down = False
            continue
        steps.append(f"{'L' if down else 'M'}{pixel(point[0])} {pixel(point[1])}")
        down = True
    return "".join(steps)


def text(x: float, y: float, content: str, anchor: str = "start", class_: str | None = None, **attributes: object) -> Markup:
    """Text with its baseline at y; anchor: start, middle or end."""
    return element("text", content, x=float(x), y=float(y), text_anchor=anchor, class_=class_, **attributes)


def title(content: str) -> Markup:
    """What browsers show over an element on hover, and readers read."""
    return element("title", content)


def canvas(width: float, height: float, label: str, *children: Content, **attributes: object) -> Markup:
    """An inline picture of that many units, as wide as there is room; `label` is its alternative text.

    Grows with its container up to its own width, so that its letters stay as large as the page's. The style sheet keeps it from
    shrinking much below that on a small screen, where it is moved sideways.
    """
    style = f"--own:{pixel(width)}px;max-width:var(--own)"
    size = f"0 0 {pixel(width)} {pixel(height)}"
    # Readers do not look into an image, so that one with links is a group.
    role = "group" if any("<a " in child for child in children) else "img"
    return element("svg", *children, class_="chart", viewBox=size, role=role, aria_label=label, style=style, **attributes)
