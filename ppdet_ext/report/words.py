"""The report in a few sentences."""

from __future__ import annotations

from ppdet_ext.errors import counted

from .classes import Rates, mean_rates
from .label_errors import TITLES
from .schema import ClassRow, Competition, Errors, Head, Report, Sentence
from .schema_objects import Calibration, LabelErrors
from .tables import Tables

USUAL = 0.5  # the score that pictures are drawn from where nothing else is said
FAIR = 0.05  # between a score and the share of right ones
LEARNT = 0.02  # AP50 below which sentences about classes, errors and scores would praise or blame chance
KINDS = {"segm": "mask", "bbox": "box"}


def words(tables: Tables, report: Report) -> list[Sentence]:
    """One sentence each about classes, errors, the score to cut at, calibration, likely faults, each competition and run.

    Of a model that has learnt next to nothing that alone is said, beside the competitions' values and the other runs'.
    """
    head, rows, errors = report.head, report.classes, report.errors
    others = [Sentence("competition", _competition(one)) for one in report.competition]
    others += [Sentence("compare", run.verdict) for run in (report.compare.runs if report.compare else [])]
    if head.detections and errors.ap50 is not None and errors.ap50 < LEARNT:
        text = f"The model has learnt next to nothing: its {KINDS[head.primary]} AP50 is {errors.ap50:.3f}. Train longer."
        return [Sentence("classes", text), *others]
    made = [
        Sentence("classes", _classes(head, rows)),
        Sentence("errors", _errors(head, rows, errors)),
        Sentence("curves", _score(head, mean_rates(tables, USUAL))),
        Sentence("calibration", _calibration(report.calibration)),
        Sentence("label_errors", _faults(report.label_errors)),
        *others,
    ]
    return [one for one in made if one.text]


def _classes(head: Head, rows: list[ClassRow]) -> str:
    kind = head.primary
    there = [(row.numbers[kind].ap or 0.0, row) for row in rows if row.numbers[kind].ap is not None]
    if not there:
        return "Nothing is annotated, so there is no AP."
    if not head.detections:
        return f"Nothing was found, so {KINDS[kind]} AP is 0."
    if len(there) == 1:
        ap, row = there[0]
        return f"{row.name}: {KINDS[kind]} AP {ap:.3f} over {counted(row.instances, 'objects')}."
    ap, row = min(there, key=lambda one: (one[0], one[1].label))
    mean = sum(value for value, _ in there) / len(there)
    text = f"The weakest class is {row.name}: {KINDS[kind]} AP {ap:.3f}, the mean of {len(there)} classes is {mean:.3f}"
    return f"{text}; it has {counted(row.instances, 'objects')} in {counted(row.images, 'images')}."


def _errors(head: Head, rows: list[ClassRow], errors: Errors) -> str:
    """The costliest kind of error that occurs at the score, and how much is missed there: the two are seldom the same."""
    gains = [(kind.delta_ap50, kind) for kind in errors.kinds if kind.delta_ap50 is not None]
    if errors.ap50 is None or not gains:
        return ""
    # What occurs below the score alone is nothing that a user of the score meets.
    gain, kind = max(((gain, kind) for gain, kind in gains if kind.count), key=lambda one: one[0], default=(0.0, None))
    if kind is None or gain <= 0:
        text = f"AP50 is {errors.ap50:.3f}, and no kind of error that occurs at the score below costs any of it alone."
    else:
        text = f"What costs most is “{kind.title}”: without it AP50 would be {errors.ap50 + gain:.3f} in place of "
        text += f"{errors.ap50:.3f} ({counted(kind.count, 'cases')} at the score below)."
    return f"{text}{_missed(head, rows)}"


def _missed(head: Head, rows: list[ClassRow]) -> str:
    """' At the score of …, 25 of 79 objects are missed, 10 of them scratches.', or '' where none is."""
    missed = sum(row.numbers[head.primary].fn for row in rows)
    if not missed:
        return ""
    text = f" At the score of {_shown(head.score)}, {missed} of {counted(head.instances, 'objects')} "
    text += "is missed" if missed == 1 else "are missed"
    most = max(rows, key=lambda row: row.numbers[head.primary].fn)
    own = most.numbers[head.primary].fn
    if len([row for row in rows if row.instances]) == 1:
        return f"{text}."
    return f"{text}, {own} of them {most.name}." if own < missed else f"{text}, all of {most.name}."


def _score(head: Head, usual: Rates) -> str:
    if head.f1 is None:
        return ""
    if not head.f1 or head.precision is None or head.recall is None:
        return f"At the score of {_shown(head.score)} no detection is right: no score is better than another."
    why = "The best F1 is at" if head.score_from == "best F1" else "You asked for"
    text = f"{why} a score of {_shown(head.score)}: {head.f1:.3f}, with {head.precision:.0%} of the detections right and "
    text += f"{head.recall:.0%} of the objects found"
    if usual.f1 is None or abs(head.score - USUAL) < 0.005:
        return f"{text}."
    return f"{text}; at {USUAL} F1 is {usual.f1:.3f}."


def _shown(score: float) -> str:
    return f"{score:.2f}" if score >= 0.01 or not score else f"{score:.2g}"


def _calibration(calibration: Calibration) -> str:
    if calibration.worst is None:
        return "Too little was found to tell whether scores can be trusted."
    worst = calibration.bins[calibration.worst]
    if worst.accuracy is None or worst.confidence is None:
        return ""
    if abs(worst.accuracy - worst.confidence) < FAIR:
        return f"Scores are what they say: in no tenth of them is the share of right ones further than {FAIR} from the score."
    fault = "low" if worst.accuracy > worst.confidence else "high"
    text = f"Scores from {worst.low:.1f} to {worst.high:.1f} are least to be trusted. They are too {fault}: "
    text += f"{worst.confidence:.2f} on average, while "
    return f"{text}{worst.accuracy:.0%} of these {counted(worst.count, 'detections')} are right."


def _faults(faults: LabelErrors) -> str:
    total = sum(faults.counts.values())
    if not total:
        return "No annotation looks faulty."
    parts = ", ".join(f"{number} “{TITLES[kind].lower()}”" for kind, number in faults.counts.items() if number)
    return f"{counted(total, 'annotations')} to look at, which may be faulty: {parts}."


def _competition(one: Competition) -> str:
    text = f"{one.metric} is {one.value:.4f}; an empty submission has {one.nothing:.4f}"
    worst = max(one.losses, key=lambda loss: loss.lost)
    if not worst.lost:
        return f"{text}."
    return f"{text}. What costs most of it, {worst.lost:.4f}, is “{worst.title[0].lower()}{worst.title[1:]}”."
