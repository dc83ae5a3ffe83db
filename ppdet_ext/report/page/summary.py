"""The page's beginning: what was evaluated, the figures at a glance, and how training went."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from markupsafe import Markup

from ppdet_ext.errors import counted
from ppdet_ext.pages import Column, Row, table
from ppdet_ext.pages.charts import Axis, Series, lines, range_of
from ppdet_ext.pages.formats import UNKNOWN, count, duration, fixed, short
from ppdet_ext.report.schema import Report, RunCurves

KINDS = {"segm": "mask", "bbox": "box"}
NUMBERS = {
    "AP": "AP, mean of IoU .50 to .95",
    "AP50": "AP at IoU .50",
    "AP75": "AP at IoU .75",
    "AP_small": "AP of small objects, below 32² px",
    "AP_medium": "AP of medium objects, 32² to 96² px",
    "AP_large": "AP of large objects, above 96² px",
    "AR_1": "AR with 1 detection in an image",
    "AR_10": "AR with 10 detections",
    "AR_100": "AR with 100 detections",
    "AR_small": "AR of small objects",
    "AR_medium": "AR of medium objects",
    "AR_large": "AR of large objects",
}
# Okabe and Ito's, those first that differ most.
SERIES = ("var(--accent)", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8a909a")


class Tile(NamedTuple):
    """A figure at a glance."""

    name: str
    value: str
    note: str
    title: str


def head_section(report: Report) -> dict[str, Any]:
    """Tiles, facts and the table of COCO's numbers."""
    return {"tiles": _tiles(report), "facts": _facts(report), "numbers": _numbers(report)}


def _tiles(report: Report) -> list[Tile]:
    head = report.head
    kind = KINDS[head.primary]
    own, box = head.numbers.get(head.primary, {}), head.numbers.get("bbox", {})
    tiles = [
        Tile(f"{kind} AP", fixed(own.get("AP")), "mean of IoU .50 to .95", NUMBERS["AP"]),
        Tile(f"{kind} AP50", fixed(own.get("AP50")), "IoU .50", NUMBERS["AP50"]),
        Tile(f"{kind} AP75", fixed(own.get("AP75")), "IoU .75", NUMBERS["AP75"]),
    ]
    if head.primary != "bbox" and box:
        tiles.append(Tile("box AP", fixed(box.get("AP")), "mean of IoU .50 to .95", NUMBERS["AP"]))
    tiles.append(Tile(f"{kind} AR", fixed(own.get("AR_100")), "100 detections", NUMBERS["AR_100"]))
    tiles += [Tile(one.metric, fixed(one.value), "the competition's metric", "") for one in report.competition]
    chosen = "best threshold" if head.score_from == "best F1" else "threshold asked for"
    tiles.append(Tile("F1", fixed(head.f1), f"score ≥ {fixed(head.score, 2)}, {chosen}", "of all classes, matches at IoU .50"))
    return tiles


def _facts(report: Report) -> list[tuple[str, str]]:
    head = report.head
    crowds = f", beside {counted(head.crowds, 'crowds')}" if head.crowds else ""
    facts = [
        ("Made", head.made),
        ("Configuration", head.config),
        ("Data", f"{head.data} (fingerprint {head.fingerprint})"),
        ("Trained on", head.trained_on),
        ("Weights", head.weights),
        ("Predictions", head.predictions),
        ("Images", f"{count(head.images)}, {count(head.empty_images)} of them without objects"),
        ("Annotated objects", f"{count(head.instances)}{_of_classes(report)}{crowds}"),
        ("Detections", f"{count(head.detections)}" + _beyond(head.not_counted)),
        ("Computed with", f"{head.engine} {head.engine_version}, in {duration(head.seconds)} without predicting"),
    ]
    return [(name, text) for name, text in facts if text]


def _of_classes(report: Report) -> str:
    """Of how many classes there are objects, and of how many there could be."""
    there, every = sum(1 for row in report.classes if row.instances), len(report.head.class_names)
    return f" of {counted(every, 'classes')}" if there == every else f", of {count(there)} of the {counted(every, 'classes')}"


def _beyond(number: int) -> str:
    return f", of which AP leaves out {count(number)} beyond the best 100 of a class in an image" if number else ""


def _numbers(report: Report) -> Markup:
    kinds = [kind for kind in ("segm", "bbox") if kind in report.head.numbers]
    columns = [Column("Number"), *(Column(KINDS[kind]) for kind in kinds)]
    rows = [Row([text, *(report.head.numbers[kind].get(name) for kind in kinds)]) for name, text in NUMBERS.items()]
    return table(columns, rows, "COCO's numbers; a dash where nothing of that size is annotated", sortable=False)


def run_section(report: Report) -> dict[str, Any] | None:
    """Curves of the training, or of several; None without any."""
    runs = [run for run in report.runs if run.epochs or run.evaluations]
    if not runs:
        return None
    last = max([run.epochs[-1] for run in runs if run.epochs] + [one.epoch + 1.0 for run in runs for one in run.evaluations])
    epochs = Axis("epoch", (0.0, last or 1.0))
    losses, cut = _losses(runs, epochs)
    charts = {
        "losses": losses,
        "rates": _rates(runs, epochs),
        "scores": _scores(runs, epochs),
    }
    # Charts have the end of the first epoch at 1.
    best = [
        f"{run.name}: epoch {run.best_epoch + 1} by {run.best_metric} (checkpoint epoch_{run.best_epoch}, counted from 0)"
        for run in runs
        if run.best_epoch is not None
    ]
    return {"charts": charts, "best": "; ".join(best), "several": len(runs) > 1, "cut": cut}


def _chart(label: str, series: Sequence[Series], x: Axis, y_label: str, zero: bool, verticals: Any = ()) -> Markup | None:
    values = [value for one in series for value in one.y]
    if not any(value is not None for value in values):
        return None
    return lines(label, series, x, Axis(y_label, range_of(values, zero=zero), short), verticals=verticals)


def _losses(runs: Sequence[RunCurves], x: Axis) -> tuple[Markup | None, str]:
    """The chart, of several runs that of their sums alone, and a note where the first steps lie above it."""
    if len(runs) > 1:
        shown = [
            Series(run.name, run.epochs, run.losses.get("loss", []), SERIES[i % len(SERIES)]) for i, run in enumerate(runs)
        ]
    else:
        (run,) = runs
        names = sorted(run.losses, key=lambda name: (name != "loss", -_last(run.losses[name])))
        shown = [
            Series(name, run.epochs, run.losses[name], SERIES[i % len(SERIES)], faint=i >= len(SERIES))
            for i, name in enumerate(names)
        ]
    values = sorted(value for one in shown for value in one.y if value is not None)
    if not values:
        return None, ""
    # Untrained layers begin so high that nothing else could be seen.
    usual = 1.3 * max(
        sorted(known)[int(0.97 * (len(known) - 1))] for one in shown if (known := [v for v in one.y if v is not None])
    )
    cut = values[-1] > 2 * usual
    y = Axis("loss", range_of([min(value, usual) if cut else value for value in values], zero=True), short)
    note = f"The first steps lie above the chart, up to {short(values[-1])}." if cut else ""
    return lines("Losses over epochs", shown, x, y), note


def _last(values: Sequence[float | None]) -> float:
    return next((value for value in reversed(values) if value is not None), 0.0)


def _rates(runs: Sequence[RunCurves], x: Axis) -> Markup | None:
    rates = [Series(run.name, run.epochs, run.learning_rate, SERIES[i % len(SERIES)]) for i, run in enumerate(runs)]
    return _chart("Learning rate over epochs", rates, x, "learning rate", True)


def _scores(runs: Sequence[RunCurves], x: Axis) -> Markup | None:
    """What evaluations gave: of one run all that stand for a whole, of several the best metric's alone."""
    series: list[Series] = []
    verticals = []
    for run in runs:
        epochs = [one.epoch + 1.0 for one in run.evaluations]
        for kind, name in _score_names(run, several=len(runs) > 1):
            said = f"{KINDS[kind]} {name}" if kind in KINDS else kind if kind == name else f"{kind} {name}"
            values = [one.numbers.get(kind, {}).get(name) for one in run.evaluations]
            colour = SERIES[len(series) % len(SERIES)]
            series.append(
                Series(f"{run.name} {said}" if len(runs) > 1 else said, epochs, values, colour, dots=len(epochs) <= 30)
            )
        if run.best_epoch is not None and len(runs) == 1:
            verticals.append((run.best_epoch + 1.0, f"best: epoch {run.best_epoch + 1}"))
    return _chart("Evaluations over epochs", series, x, "value", True, verticals)


def _score_names(run: RunCurves, several: bool) -> list[tuple[str, str]]:
    names = {(kind, name): None for one in run.evaluations for kind, numbers in one.numbers.items() for name in numbers}
    wanted = ("AP",) if several else ("AP", "AP50", "AP75")
    kept = [(kind, name) for kind, name in names if kind not in KINDS or name in wanted]
    if several:
        kept = [(kind, name) for kind, name in kept if f"{KINDS.get(kind, kind)} {name}" == run.best_metric] or kept[:1]
    return kept[: len(SERIES)]


def score_text(value: float | None) -> str:
    """A threshold with two digits."""
    return UNKNOWN if value is None else fixed(value, 2)
