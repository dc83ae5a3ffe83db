"""Classes: the table that is sorted, and their curves."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from markupsafe import Markup

from ppdet_ext.pages import Column, Row, table
from ppdet_ext.pages.charts import Axis, Bar, Mark, Part, Point, Series, bars, lines, scatter
from ppdet_ext.pages.colours import class_colour
from ppdet_ext.pages.formats import count, fixed, known
from ppdet_ext.report.schema import ClassRow, Curve, Report

from .pictures import Album
from .summary import KINDS, score_text

NAMED, CONTEXT = 8, 60  # lines that are named, and those that are drawn faintly behind them
FEW = 24  # classes whose bars are drawn one by one
Points = Callable[[Curve], Sequence["float | None"]]
RECALLS = [i / 100 for i in range(101)]


def class_anchor(label: int) -> str:
    """Where links to a class lead: its row."""
    return f"class-{label}"


def class_section(report: Report, album: Album) -> dict[str, Any] | None:
    """The table, bars of AP for few classes, AP against instances for many; None where there are no classes."""
    if not report.classes:
        return None
    ranked = sorted(report.classes, key=lambda row: -(_ap(row, report.head.primary) or 0.0))
    seen = [row for row in ranked if known(_ap(row, report.head.primary))]
    return {
        "table": _table(report, album),
        "bars": _bars(report, seen) if 1 < len(seen) <= FEW else None,
        "scatter": _scatter(report, seen) if len(seen) >= 6 else None,
        "unseen": sum(not row.instances for row in report.classes),
    }


def _ap(row: ClassRow, kind: str) -> float | None:
    return row.numbers[kind].ap if kind in row.numbers else None


def _table(report: Report, album: Album) -> Markup:
    head = report.head
    other = "bbox" if head.primary == "segm" and "bbox" in head.numbers else None
    at = "at IoU .50"
    columns = [
        Column("Class"),
        Column("Instances", "annotated, without crowds", count),
        Column("Images", "that have some", count),
        Column("Detections", "of any score", count),
        Column("AP", f"{KINDS[head.primary]} AP, mean of IoU .50 to .95", bar=True),
        Column("AP50", "AP at IoU .50", bar=True),
        Column("AP75", "AP at IoU .75", bar=True),
        Column("AR", "AR with 100 detections"),
        *([Column("box AP", "AP of boxes", bar=True)] if other else []),
        Column("best F1", f"over all scores, {at}"),
        Column("its score", "the threshold of the best F1", score_text),
        Column("precision", f"at that score, {at}"),
        Column("recall", f"at that score, {at}"),
        Column("mean IoU", f"of the matches at score {fixed(head.score, 2)}"),
        Column("Dice", f"of all pixels at score {fixed(head.score, 2)}"),
    ]
    rows = []
    for row in report.classes:
        one = row.numbers.get(head.primary)
        target = album.class_link(row.label)
        name = Markup('<a href="{}">{}</a>').format(target, row.name) if target else row.name
        first = Markup('<span class="swatch" style="background:{}"></span>{}').format(class_colour(row.label), name)
        scores = [one.ap, one.ap50, one.ap75, one.ar] if one else [None] * 4
        rest = [one.best_f1, one.threshold, one.precision, one.recall, one.mean_iou, one.dice] if one else [None] * 6
        counts = [float(row.instances), float(row.images), float(row.detections)]
        boxes = [_ap(row, other)] if other else []
        rows.append(Row([first, *counts, *scores, *boxes, *rest], class_anchor(row.label), dim=not row.instances))
    return table(columns, rows, "Click a heading to sort")


def _bars(report: Report, rows: Sequence[ClassRow]) -> Markup:
    kind = report.head.primary
    drawn = []
    for row in rows:
        numbers = row.numbers[kind]
        ap, ap50 = numbers.ap or 0.0, numbers.ap50 or 0.0
        parts = [
            Part(ap, class_colour(row.label), f"{row.name}: AP {fixed(ap)}"),
            Part(max(ap50 - ap, 0.0), "var(--line)", f"{row.name}: AP50 {fixed(ap50)}"),
        ]
        drawn.append(Bar(row.name, parts, f"{fixed(ap)} · {fixed(ap50)}", f"#{class_anchor(row.label)}"))
    return bars("AP and AP50 by class", drawn, highest=1.0)


def _scatter(report: Report, rows: Sequence[ClassRow]) -> Markup:
    most = max(row.instances for row in rows)
    x = Axis("annotated instances", (1.0, max(float(most), 10.0)), count, log=True)
    points = [
        Point(
            float(row.instances),
            _ap(row, report.head.primary) or 0.0,
            f"{row.name}: {count(row.instances)} instances, AP {fixed(_ap(row, report.head.primary))}",
            class_colour(row.label),
            f"#{class_anchor(row.label)}",
        )
        for row in rows
    ]
    return scatter("AP against the number of instances, by class", points, x, Axis("AP", (0.0, 1.0)), height=240)


class CurveSet(NamedTuple):
    """The charts of one kind of IoU."""

    kind: str
    title: str
    recall: Markup | None
    ious: Markup | None
    scores: Markup | None
    f1: Markup | None
    left_out: int


def curve_section(report: Report) -> list[CurveSet]:
    """Charts of each kind, that of masks first; empty where nothing is annotated."""
    found = []
    for kind in sorted({curve.kind for curve in report.curves.curves}, key=lambda kind: kind != report.head.primary):
        curves = [curve for curve in report.curves.curves if curve.kind == kind and curve.precision50]
        if curves:
            found.append(_curve_set(report, kind, curves))
    return found


def _curve_set(report: Report, kind: str, curves: Sequence[Curve]) -> CurveSet:
    whole = next((curve for curve in curves if curve.label is None), None)
    instances = {row.label: row.instances for row in report.classes}
    classes = sorted((curve for curve in curves if curve.label is not None), key=lambda one: -instances.get(one.label or 0, 0))
    title = {"segm": "Masks", "bbox": "Boxes"}[kind]
    scores = report.curves.scores
    right = any(_reached(one.precision50) for one in classes)
    over_recall = _by_class(report, whole, classes, RECALLS, lambda one: _reached(one.precision50))
    label = f"Precision over recall at IoU .50, {title.lower()}"
    recall = lines(label, over_recall, Axis("recall"), Axis("precision")) if right else None
    f1 = None
    if right and len(classes) > 1:
        series = _by_class(report, None, classes, scores, lambda one: one.f1)
        f1 = lines(
            f"F1 over the score, by class, {title.lower()}", series, Axis("score"), Axis("F1"), verticals=[_score(report)]
        )
    at_ious, at_scores = (_ious(whole, title), _scores(report, whole, title)) if whole and right else (None, None)
    return CurveSet(kind, title, recall, at_ious, at_scores, f1, max(len(classes) - NAMED, 0))


def _by_class(
    report: Report,
    whole: Curve | None,
    classes: Sequence[Curve],
    x: Sequence[float],
    points: Points,
) -> list[Series]:
    """All classes in the text's colour, the commonest in their own, further ones faint."""
    names = report.head.class_names
    series = []
    for i, curve in enumerate(classes[: NAMED + CONTEXT]):
        label = curve.label or 0
        series.append(Series(names[label], x, points(curve), class_colour(label), faint=i >= NAMED))
    if whole and len(classes) != 1:
        series.append(Series("mean of classes", x, points(whole), "var(--ink)"))
    return series


def _reached(precision: Sequence[float]) -> Sequence[float]:
    """Precision up to the last recall that is reached: beyond it COCO has zeros."""
    last = max((i for i, value in enumerate(precision) if value > 0), default=-1)
    return precision[: last + 1]


def _score(report: Report) -> tuple[float, str]:
    return report.head.score, f"{fixed(report.head.score, 2)} ({report.head.score_from})"


def _ious(whole: Curve, title: str) -> Markup:
    series = [
        Series("IoU .50", RECALLS, _reached(whole.precision50), "var(--accent)"),
        Series("IoU .75", RECALLS, _reached(whole.precision75), "#d55e00"),
        Series("mean .50 – .95", RECALLS, _reached(whole.precision_mean), "#009e73"),
    ]
    return lines(f"Precision over recall by IoU, {title.lower()}", series, Axis("recall"), Axis("precision"))


def _scores(report: Report, whole: Curve, title: str) -> Markup:
    scores = report.curves.scores
    series = [
        Series("precision", scores, whole.precision, "#d55e00"),
        Series("recall", scores, whole.recall, "#009e73"),
        Series("F1", scores, whole.f1, "var(--accent)"),
    ]
    best = [(f1, score) for f1, score in zip(whole.f1, scores) if f1 is not None]
    marks = []
    if best:
        top = max(best, key=lambda pair: pair[0])
        marks.append(Mark(top[1], top[0], f"best F1 {fixed(top[0])}", "var(--accent)"))
    label = f"Precision, recall and F1 over the score, {title.lower()}"
    return lines(label, series, Axis("score"), Axis("rate"), marks=marks, verticals=[_score(report)])
