"""What follows: annotations to look at again, a competition's score, and other runs beside this one."""

from typing import Any

from markupsafe import Markup

from ppdet_ext.pages import Column, Row, table
from ppdet_ext.pages.charts import Bar, Interval, Part, bars, intervals
from ppdet_ext.pages.formats import count, fixed, signed
from ppdet_ext.report.schema import ComparedRun, Comparison, Competition, Report

from .pictures import Album
from .summary import KINDS, NUMBERS

FAULTS = {
    "missing": "Missing annotation",
    "wrong_class": "Wrong class",
    "badly_drawn": "Badly drawn",
    "duplicate": "Annotated twice",
}
MOST_ROWS = 200
MOST_CLASSES = 30
LOSSES = {"false_positive": "var(--fp)", "false_positives": "var(--fp)", "missed": "var(--fn)", "misses": "var(--fn)"}


def label_error_section(report: Report, album: Album) -> dict[str, Any]:
    """Counts, definitions and a table of the likeliest faults."""
    found = report.label_errors
    tiles = [(title, count(found.counts.get(key, 0)), found.definitions.get(key, "")) for key, title in FAULTS.items()]
    return {
        "tiles": tiles,
        "total": sum(found.counts.values()),
        "table": _faults(report, album) if found.entries else None,
        "more": max(sum(found.counts.values()) - min(len(found.entries), MOST_ROWS), 0),
        "definitions": [(FAULTS.get(key, key), text) for key, text in found.definitions.items()],
        "caution": found.caution,
    }


def _faults(report: Report, album: Album) -> Markup:
    names = report.head.class_names
    columns = [
        Column("Image"),
        Column("Fault"),
        Column("Annotated"),
        Column("Proposed"),
        Column("Score"),
        Column("IoU"),
        Column("Box"),
    ]
    rows = []
    # The same number of each kind, so that a common one does not crowd out the others.
    kept = [
        one
        for kind in FAULTS
        for one in [entry for entry in report.label_errors.entries if entry.kind == kind][: MOST_ROWS // len(FAULTS)]
    ]
    for one in kept:
        annotated = "–" if one.truth_label is None else names[one.truth_label]
        box = ", ".join(f"{value:.0f}" for value in one.box)
        score, iou = (float("nan") if value is None else value for value in (one.score, one.iou))
        target = album.link("", "", [one.image])
        name = Markup('<a href="{}">{}</a>').format(target, one.name) if target else one.name
        rows.append(Row([name, FAULTS.get(one.kind, one.kind), annotated, names[one.label], score, iou, box]))
    return table(columns, rows, "The likeliest of each kind")


def competition_sections(report: Report) -> list[dict[str, Any]]:
    """A part for each metric of a competition."""
    return [_competition(report, one) for one in report.competition]


def _competition(report: Report, one: Competition) -> dict[str, Any]:
    names = report.head.class_names
    losses = [
        Bar(loss.title, [Part(loss.lost, LOSSES.get(loss.key, "var(--unsure)"))], f"{fixed(loss.lost)} · {count(loss.count)}")
        for loss in one.losses
    ]
    known = [(label, value) for label, value in enumerate(one.by_class) if value is not None]
    lowest = sorted(known, key=lambda pair: pair[1])[:MOST_CLASSES]
    classes = [Bar(names[label], [Part(value)], fixed(value)) for label, value in lowest]
    return {
        "metric": one.metric,
        "tiles": [
            ("all detections", fixed(one.value), "as eval gives it"),
            (f"score ≥ {fixed(report.head.score, 2)}", fixed(one.at_score), "this report's threshold"),
            ("nothing at all", fixed(one.nothing), "an empty submission"),
        ],
        "losses": bars(f"What {one.metric} lacks to 1", losses, name_columns=48) if losses else None,
        "classes": bars(f"{one.metric} by class", classes, highest=1.0) if len(classes) > 1 else None,
        "classes_left": max(len(known) - MOST_CLASSES, 0),
        "advice": one.advice,
    }


def compare_section(report: Report) -> dict[str, Any] | None:
    """Other runs' numbers beside this one's, and the range of each difference; None without other runs."""
    if report.compare is None or not report.compare.runs:
        return None
    runs = [
        {
            "name": run.name,
            "verdict": run.verdict,
            "chart": _differences(report, run),
            "left": max(len(_known(run)) - MOST_CLASSES, 0),
        }
        for run in report.compare.runs
    ]
    return {
        "runs": runs,
        "table": _table(report, report.compare),
        "compare": report.compare,
        "kind": KINDS[report.compare.kind],
    }


def _known(run: ComparedRun) -> list[Interval]:
    return [Interval("", row.difference, row.low or 0.0, row.high or 0.0) for row in run.rows if row.difference is not None]


def _differences(report: Report, run: ComparedRun) -> Markup | None:
    """All classes first, then those that differ most."""
    names = report.head.class_names
    rows = [row for row in run.rows if row.difference is not None]
    rows = sorted(rows, key=lambda row: (row.label is not None, -abs(row.difference or 0.0)))[: MOST_CLASSES + 1]
    shown = []
    for row in rows:
        name = "all classes" if row.label is None else names[row.label]
        value = row.difference or 0.0
        low, high = (value if bound is None else bound for bound in (row.low, row.high))
        unsure = " (no interval)" if row.low is None else f", 95 % interval {signed(low)} to {signed(high)}"
        shown.append(Interval(name, value, low, high, f"{name}: {fixed(row.value)}, {signed(value)}{unsure}"))
    return intervals(f"Difference of AP, {run.name} minus {report.head.title}", shown) if shown else None


def _table(report: Report, compare: Comparison) -> Markup:
    own = report.head.numbers.get(compare.kind, {})
    columns = [Column("Number"), Column(report.head.title), *(Column(run.name) for run in compare.runs)]
    rows = [
        Row([text, own.get(name), *(run.numbers.get(compare.kind, {}).get(name) for run in compare.runs)])
        for name, text in NUMBERS.items()
    ]
    return table(columns, rows, f"COCO's numbers of {KINDS[compare.kind]}s", sortable=False)
