"""The report in five sentences."""

from __future__ import annotations

from collections.abc import Sequence

from ppdet_ext.errors import counted

from .classes import Rates, mean_rates
from .label_errors import TITLES
from .schema import ClassRow, Competition, Errors, Head, Sentence
from .schema_objects import Calibration, LabelErrors
from .tables import Tables

USUAL = 0.5  # the score that pictures are drawn from where nothing else is said
FAIR = 0.05  # between a score and the share of right ones
KINDS = {"segm": "mask", "bbox": "box"}


def words(
    tables: Tables,
    head: Head,
    rows: list[ClassRow],
    errors: Errors,
    calibration: Calibration,
    faults: LabelErrors,
    competitions: Sequence[Competition] = (),
) -> list[Sentence]:
    """One sentence each about classes, errors, the score to cut at, calibration, likely faults, and each competition."""
    made = [
        Sentence("classes", _classes(head, rows)),
        Sentence("errors", _errors(errors)),
        Sentence("curves", _score(head, mean_rates(tables, USUAL))),
        Sentence("calibration", _calibration(calibration)),
        Sentence("label_errors", _faults(faults)),
        *(Sentence("competition", _competition(one)) for one in competitions),
    ]
    return [one for one in made if one.text]


def _classes(head: Head, rows: list[ClassRow]) -> str:
    kind = head.primary
    there = [(row.numbers[kind].ap or 0.0, row) for row in rows if row.numbers[kind].ap is not None]
    if not there:
        return "Nothing is annotated, so there is no AP."
    if len(there) == 1:
        ap, row = there[0]
        return f"{row.name}: {KINDS[kind]} AP {ap:.3f} over {counted(row.instances, 'objects')}."
    ap, row = min(there, key=lambda one: (one[0], one[1].label))
    mean = sum(value for value, _ in there) / len(there)
    text = f"The weakest class is {row.name}: {KINDS[kind]} AP {ap:.3f}, the mean of {len(there)} classes is {mean:.3f}"
    return f"{text}; it has {counted(row.instances, 'objects')} in {counted(row.images, 'images')}."


def _errors(errors: Errors) -> str:
    gains = [(kind.delta_ap50, kind) for kind in errors.kinds if kind.delta_ap50 is not None]
    if errors.ap50 is None or not gains:
        return ""
    gain, kind = max(gains, key=lambda one: one[0])
    if gain <= 0:
        return f"AP50 is {errors.ap50:.3f}, and no kind of error alone costs any of it."
    text = f"What costs most is “{kind.title}”: without it AP50 would be {errors.ap50 + gain:.3f} in place of {errors.ap50:.3f}"
    return f"{text} ({counted(kind.count, 'cases')} at the score below)."


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
    text = f"Scores from {worst.low:.1f} to {worst.high:.1f} are least to be trusted: {worst.confidence:.2f} on average, while "
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
