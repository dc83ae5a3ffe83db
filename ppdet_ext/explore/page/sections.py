"""Charts and tables of the sections."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from markupsafe import Markup

from ppdet_ext.errors import counted
from ppdet_ext.explore.schema import Distribution, Exploration, PartFacts
from ppdet_ext.pages import Column, Row, anchor, table
from ppdet_ext.pages.charts import Bar, Group, Part, bars, heat_map, histogram, matrix, svg
from ppdet_ext.pages.colours import class_colour
from ppdet_ext.pages.formats import count, fixed, percent, short

MOST_BARS = 40
MOST_ROWS, MOST_SIZES = 60, 12
MOST_EMPTY = 3  # classes without an object that have rows of their own
PARTS = {"train": "var(--accent)", "eval": "var(--unsure)", "test": "var(--other)"}


def tiles(facts: Exploration) -> list[tuple[str, str, str]]:
    """(name, value, note) of the head."""
    head = facts.head
    found = [("images", count(head.images), ", ".join(f"{part.name} {count(part.images)}" for part in head.parts))]
    empty = sum(part.empty for part in head.parts if part.annotated)
    found.append(("objects", count(head.objects), f"{counted(empty, 'images')} without any"))
    found.append(("classes", count(len(head.class_names)), ""))
    if areas := [one for one in facts.distributions if one.key == "area"]:
        low, middle, high = (count(value) for value in (areas[0].low, areas[0].median, areas[0].high))
        found.append(("median area", f"{middle} px²", f"90 % have {low} to {high}"))
    if facts.sizes:
        first, more = facts.sizes[0], len(facts.sizes) - 1
        # Two numbers are wider than one: they are written smaller, and break after the sign where a tile is narrow.
        size = Markup('<span class="pair">{}×\u200b{}</span>').format(first.width, first.height)
        others = f"and {counted(more, 'other sizes')}" if more else "all of them"
        found.append(("image", size, others))
    grave = sum(one.grave for one in facts.advice)
    found.append(("to mend", count(grave), f"{count(len(facts.advice) - grave)} to think about"))
    return found


def class_section(facts: Exploration) -> dict[str, Any]:
    """The table of classes, and bars of objects by part. Many classes without an object are no rows, but named in one line."""
    parts = facts.head.parts
    rows = []
    empty = [one.name for one in facts.classes if not one.objects]
    folded = empty if MOST_EMPTY < len(empty) < len(facts.classes) else []
    shown = [one for one in facts.classes if one.objects or not folded]
    for one in shown:
        numbers = [value for part in one.parts for value in (part.objects, part.images, part.area_share)]
        own = [one.area, one.area_low, one.area_high, one.aspect, one.fill, one.weight]
        rows.append(
            Row(
                [_named(one.label, one.name), one.objects, *numbers, *own],
                anchor("class", one.label, one.name),
                not one.objects,
            )
        )
    ordered = sorted(shown, key=lambda one: -one.objects)[:MOST_BARS]
    drawn = [
        Bar(one.name, [Part(own.objects, PARTS[part.name], f"{one.name}, {part.name}: {count(own.objects)}")
                       for part, own in zip(parts, one.parts)], count(one.objects))
        for one in ordered
    ]  # fmt: skip
    return {
        "table": table(_class_columns(parts), rows, "Classes"),
        "bars": bars("Objects by class", drawn) if facts.head.objects else None,
        "legend": [(part.name, PARTS[part.name]) for part in parts],
        "left": max(len(shown) - MOST_BARS, 0),
        "empty": folded,
    }


def _class_columns(parts: Sequence[PartFacts]) -> list[Column]:
    columns = [Column("class"), Column("objects", "all parts together", count)]
    for part in parts:
        columns += [
            Column(part.name, f"objects in {part.name}", count),
            Column("images", f"images of {part.name} that show the class", count),
            Column("pixels", f"share of {part.name}'s pixels", _share),
        ]
    columns += [
        Column("median area", "pixels", count), Column("5 %", "of the objects are smaller, pixels", count),
        Column("95 %", "of the objects are smaller, pixels", count), Column("height : width", "of the box, median", _two),
        Column("fill", "share of its box that an object fills, median", _two),
        Column("weight", "inverse of the number of objects, 1 on average; for the class_weights of a segmentor's loss", _two),
    ]  # fmt: skip
    return columns


def _named(label: int, name: str) -> Markup:
    # A span that is closed: an empty element would take in what follows.
    return Markup('<span class="swatch" style="background:{}"></span>{}').format(class_colour(label), name)


def _share(value: float | None) -> str:
    return percent(value, 2)


def _two(value: float | None) -> str:
    return fixed(value, 2)


def histograms(facts: Exploration, of: str) -> list[dict[str, Any]]:
    """Charts of distributions of objects or images, each with title, legend and what lies in its middle.

    chart is None where all have one value.
    """
    found = []
    for one in facts.distributions:
        if one.of != of:
            continue
        low, middle, high = (_three(value) for value in (one.low, one.median, one.high))
        note = f"median {middle}, 90 % between {low} and {high} {one.unit}".rstrip()
        colours = [_colour(one, i) for i in range(len(one.layers))]
        groups = [Group(layer.name, layer.counts, colour) for layer, colour in zip(one.layers, colours)]
        drawn = None
        if len(one.edges) > 2:
            drawn = histogram(one.title, one.edges, groups, one.unit, y_label=of, text=_three, log=one.log)
        legend = [(layer.name, colour) for layer, colour in zip(one.layers, colours)] if len(one.layers) > 1 else []
        only = f"{middle} {one.unit}".rstrip()
        found.append({"title": one.title, "chart": drawn, "note": note, "legend": legend, "only": only})
    return found


def _three(value: float) -> str:
    return short(float(f"{value:.3g}"))


def _colour(one: Distribution, i: int) -> str:
    layer = one.layers[i]
    if layer.label is None:
        return "var(--accent)"
    return PARTS[layer.name] if one.of == "images" and layer.name in PARTS else class_colour(layer.label)


def place_section(facts: Exploration) -> dict[str, Any] | None:
    """Maps of centres: all objects, and each of the commonest classes."""
    if facts.places is None:
        return None
    aspect = facts.places.aspect
    names = facts.head.class_names
    width = min(700.0, 300 * aspect)

    def drawn(title: str, rows: list[list[int]], wide: float) -> Markup:
        return heat_map(title, rows, text=count, aspect=aspect, width=wide)

    small = min(340.0, 180 * aspect)
    own = [(names[label], drawn(names[label], rows, small)) for label, rows in zip(facts.places.labels, facts.places.by_class)]
    return {"all": drawn("Centres of all objects", facts.places.all, width), "classes": own if len(own) > 1 else []}


def together_section(facts: Exploration) -> Markup | None:
    """The matrix of classes that are seen in one image, as a share of the images of the row's class."""
    if facts.together is None:
        return None
    found = facts.together
    names = [facts.head.class_names[label] for label in found.labels]
    own = [max(found.images[i][i], 1) for i in range(len(names))]
    return matrix(
        "Images that show both classes", names, names, found.images,
        rows_are="of images with", columns_are="so many show", diagonal_good=True,
        strength=lambda i, j: found.images[i][j] / own[i],
        title=lambda i, j: f"{count(found.images[i][j])} of {count(own[i])} images with {names[i]} show {names[j]}",
    )  # fmt: skip


def size_table(facts: Exploration) -> Markup | None:
    """Sizes of images, the commonest first; None where there is one, which the head tells."""
    columns = [Column("width", "", count), Column("height", "", count), Column("images", "", count)]
    rows = [Row([one.width, one.height, one.images]) for one in facts.sizes[:MOST_SIZES]]
    more = f", the commonest {MOST_SIZES}" if len(facts.sizes) > MOST_SIZES else ""
    return table(columns, rows, f"Sizes of the images{more}") if len(rows) > 1 else None


def odd_table(facts: Exploration) -> Markup | None:
    """Images that stand out."""
    columns = [Column("image"), Column("part"), Column("what"), Column("value", "", short)]
    rows = [Row([one.name, one.part, one.what, one.value]) for one in facts.odd]
    return table(columns, rows, "Images that stand out") if rows else None


def leak_table(facts: Exploration) -> Markup | None:
    """Images that are one."""
    kinds = {"file": "the same file", "picture": "the same picture", "photograph": "copies of one photograph"}
    rows = [
        Row([", ".join(f"{name} ({part})" for part, name in leak.images[:6]), kinds[leak.kind]])
        for leak in facts.leaks.groups[:MOST_ROWS]
    ]
    return table([Column("images"), Column("why")], rows, "Images of several parts that are one") if rows else None


def problem_table(facts: Exploration) -> Markup | None:
    """Faults of the annotations, by kind."""
    columns = [Column("fault"), Column("part"), Column("how many", "", count), Column("for example"), Column("what to do")]
    rows = [
        Row([one.kind, one.part, one.count, svg.element("span", "; ".join(one.examples[:3]), class_="wrap"),
             svg.element("span", one.remedy, class_="wrap")])
        for one in facts.problems
    ]  # fmt: skip
    return table(columns, rows, "Faults of the annotations") if rows else None


def fit_section(facts: Exploration) -> dict[str, Any] | None:
    """Anchors and resizing against the objects."""
    if facts.anchors is None and not facts.resized:
        return None
    columns = [
        Column("reader"), Column("width", "px of the usual image then", count), Column("height", "px", count),
        Column("objects", "", count), Column("below 8 px", "root of the box's area, after resizing", count),
        Column("share", "", lambda value: percent(value, 1)), Column("without resizing", "", count),
    ]  # fmt: skip
    rows = [
        Row([one.reader, one.size[1], one.size[0], one.objects, one.small, one.small / max(one.objects, 1), one.before])
        for one in facts.resized
    ]
    made: dict[str, Any] = {
        "resized": table(columns, rows, "Objects once images are resized") if rows else None,
        "anchors": None,
    }
    if facts.anchors is not None:
        one = facts.anchors
        by_class = [(facts.head.class_names[k], share) for k, share in enumerate(one.by_class) if share is not None]
        worst = sorted(by_class, key=lambda pair: pair[1])[:MOST_BARS]
        made["anchors"] = one
        made["bars"] = bars(
            "Boxes met by an anchor, by class", [Bar(name, [Part(share)], percent(share)) for name, share in worst], highest=1.0
        )
    return made
