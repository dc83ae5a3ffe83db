"""Where objects are missed, whether scores can be trusted, and how well masks are drawn."""

import statistics
from typing import Any

from markupsafe import Markup

from ppdet_ext.pages import Column, Row, table
from ppdet_ext.pages.charts import Axis, Bar, Group, Part, Series, bars, heat_map, histogram, lines
from ppdet_ext.pages.colours import class_colour
from ppdet_ext.pages.formats import count, fixed, percent, short
from ppdet_ext.report.schema import Report
from ppdet_ext.report.schema_objects import Axis as Property
from ppdet_ext.report.schema_objects import Bin, Histogram

MOST_CLASSES = 20


def breakdown_section(report: Report) -> dict[str, Any] | None:
    """Recall by each property's quantiles, and a map of misses; None where nothing is annotated."""
    axes = [axis for axis in report.breakdown.axes if axis.bins]
    total = sum(map(sum, report.breakdown.truths))
    if not axes and not total:
        return None
    drawn = [(f"{axis.title}{f' ({axis.unit})' if axis.unit else ''}", _axis(axis)) for axis in axes]
    return {"axes": drawn, "map": _miss_map(report) if total else None, "truths": total}


def _axis(axis: Property) -> Markup:
    rows = []
    for one in axis.bins:
        parts = [Part(one.recall or 0.0, "var(--truth)", f"{_range(one)}: recall {fixed(one.recall)}")]
        rows.append(Bar(_range(one), parts, f"{fixed(one.recall, 2)} · AP {fixed(one.ap, 2)} · {count(one.instances)}"))
    return bars(f"Recall by {axis.title.lower()}", rows, highest=1.0)


def _range(one: Bin) -> str:
    return short(one.low) if one.low == one.high else f"{short(one.low)} – {short(one.high)}"


def _miss_map(report: Report) -> Markup:
    truths, misses = report.breakdown.truths, report.breakdown.misses
    shares = [[miss / truth if truth else None for truth, miss in zip(*both)] for both in zip(truths, misses)]
    across, down = max(len(row) for row in truths), len(truths)

    def said(i: int, j: int) -> str:
        return f"{count(misses[i][j])} of {count(truths[i][j])} missed"

    shapes = [picture.width / max(picture.height, 1) for picture in report.pictures.images]
    # Without pictures the grid's own shape tells.
    aspect = min(max(statistics.median(shapes) if shapes else across / down, 0.6), 8.0)
    return heat_map(
        "Share of misses over the image",
        shares,
        text=percent,
        title=said,
        aspect=aspect,
        high=1.0,
        width=min(700.0, 340 * aspect),
    )


def calibration_section(report: Report) -> dict[str, Any] | None:
    """The reliability diagram, the histogram of scores, and the classes that are worst calibrated; None without detections."""
    found = report.calibration
    known = [one for one in found.bins if one.count and one.confidence is not None and one.accuracy is not None]
    if not known:
        return None
    series = [
        Series("calibrated", [0.0, 1.0], [0.0, 1.0], "var(--muted)", dashed=True),
        Series("detections", [one.confidence or 0.0 for one in known], [one.accuracy for one in known], dots=True),
    ]
    diagram = lines("Share of right detections over their score", series, Axis("mean score"), Axis("share that is right"))
    groups = [Group("right", found.right, "var(--tp)"), Group("wrong", found.wrong, "var(--fp)")]
    at = [(report.head.score, f"{fixed(report.head.score, 2)}")]
    scores = histogram("Scores of right and wrong detections", found.edges, groups, "score", y_label="detections", verticals=at)
    worst = found.bins[found.worst] if found.worst is not None else None
    return {
        "diagram": diagram,
        "scores": scores,
        "ece": fixed(found.ece),
        "worst": f"{fixed(worst.low, 2)} to {fixed(worst.high, 2)}" if worst and worst.count else "",
        "classes": _class_errors(report),
        "classes_left": max(sum(value is not None for value in found.by_class) - MOST_CLASSES, 0),
    }


def _class_errors(report: Report) -> Markup | None:
    known = [(label, value) for label, value in enumerate(report.calibration.by_class) if value is not None]
    if len(known) < 2:
        return None
    names = report.head.class_names
    worst = sorted(known, key=lambda pair: -pair[1])[:MOST_CLASSES]
    rows = [Bar(names[label], [Part(value, class_colour(label))], fixed(value)) for label, value in worst]
    return bars("Calibration error by class", rows)


def quality_section(report: Report) -> dict[str, Any] | None:
    """Histograms of the matches' IoU, boundary IoU and area ratio, a table by class, holes and parts; None without matches."""
    quality = report.quality
    if quality is None or not quality.matches:
        return None
    names = report.head.class_names
    columns = [
        Column("Class"),
        Column("Matches", text=count),
        Column("mean IoU", bar=True),
        Column("mean boundary IoU", bar=True),
        Column("area ratio", "median of found / annotated area", lambda value: fixed(value, 2)),
    ]
    rows = [
        Row(
            [
                "all" if one.label is None else names[one.label],
                float(one.matches),
                one.mean_iou,
                one.mean_boundary_iou,
                one.area_ratio,
            ]
        )
        for one in quality.rows
    ]
    return {
        "iou": _histogram("IoU of matches", quality.iou, "IoU"),
        "boundary": _histogram("Boundary IoU of matches", quality.boundary_iou, "boundary IoU"),
        "ratio": _histogram("Area found / annotated", quality.area_ratio, "found / annotated area", one=True),
        "table": table(columns, rows, "Matched masks by class"),
        "quality": quality,
    }


def _histogram(label: str, counted: Histogram, x_label: str, one: bool = False) -> Markup | None:
    """one: with a line at 1, and edges as far apart as their ratios are."""
    if not sum(counted.counts):
        return None
    verticals = [(1.0, "equal")] if one else []
    log = one and counted.edges[0] > 0
    return histogram(
        label, counted.edges, [Group("matches", counted.counts)], x_label, y_label="matches", log=log, verticals=verticals
    )
