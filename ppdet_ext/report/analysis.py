"""From annotations and detections to a `Report`."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from ppdet_ext.errors import UserError
from ppdet_ext.evaluation.coco_mask_ap import MOST
from ppdet_ext.evaluation.coco_metric import NUMBER_NAMES, CocoMetric
from ppdet_ext.evaluation.metric import Metric
from ppdet_ext.structures import Detections, Record

from .breakdown import breakdown
from .calibration import calibration
from .classes import class_rows, curves, mean_rates, overall_best
from .compare import compare
from .competition import competitions
from .confusion import confusion
from .errors import error_kinds
from .label_errors import candidates, label_errors
from .mask_errors import mask_kinds
from .pairs import MASKS
from .pictures import choose_pictures
from .precision import class_precisions, number
from .quality import quality
from .results import Truth
from .schema import VERSION, Comparison, Errors, Head, Report, RunCurves
from .tables import IOU, Tables, tables_of
from .words import words

EXAMPLES = 12
Numbers = dict[str, dict[str, float | None]]


@dataclass(frozen=True)
class Origin:
    """Where everything is from, for the report's head; see `Head` for each."""

    title: str = "report"
    made: str = ""
    config: str = ""
    data: str = ""
    weights: str = ""
    predictions: str = ""
    notes: list[str] = field(default_factory=list)
    trained_on: str = ""


def analyse(
    truth: Truth,
    detections: Mapping[int, Detections],
    *,
    origin: Origin | None = None,
    score: float | None = None,
    examples: int = EXAMPLES,
    metrics: Sequence[Metric] = (),
    runs: Sequence[RunCurves] = (),
    others: Mapping[str, Mapping[int, Detections]] | None = None,
    evaluator: str = "auto",
) -> Report:
    """All that a report says of the detections by image id.

    Args:
        truth: of all images; those without an entry in `detections` count as images in which nothing was found.
        detections: by image id.
        origin: for the head.
        score: threshold of counts and pictures; None: that of the best F1 over all classes, or .5 where nothing right is found.
        examples: pictures of a group; 0: none.
        metrics: configured ones; those of competitions get a section.
        runs: curves of trainings, the report's own first.
        others: detections of other runs by name, to compare with.
        evaluator: what computes COCO's numbers, see `CocoMetric`.

    Raises:
        UserError: detections that do not fit the data set, a score that is none.
    """
    if score is not None and not 0 <= score <= 1:
        raise UserError(f"--score is {score:g}; scores are numbers from 0 to 1.")
    began = time.perf_counter()
    numbers, engine = coco_numbers(truth, detections, evaluator)
    tables = tables_of(truth.records, detections, truth.class_names)
    best = overall_best(tables).threshold if score is None else score
    cut, why = 0.5 if best is None else best, "best F1" if score is None else "asked"
    head = _head(truth, tables, origin or Origin(), numbers, engine, cut, why)
    compared = _compared(truth, tables, others or {}, evaluator)
    made = _without_words(tables, head, examples, metrics, runs, compared)
    seconds = round(time.perf_counter() - began, 3)
    return replace(made, head=replace(head, seconds=seconds), words=words(tables, made))


def _without_words(
    tables: Tables,
    head: Head,
    examples: int,
    metrics: Sequence[Metric],
    runs: Sequence[RunCurves],
    compared: Comparison | None,
) -> Report:
    score = head.score
    precisions = {kind: class_precisions(tables, kind) for kind in tables.kinds}
    confused, faults = confusion(tables, score), candidates(tables)
    ap50, kinds = error_kinds(tables, score)
    return Report(
        version=VERSION,
        head=head,
        words=[],
        runs=list(runs),
        classes=class_rows(tables, precisions, score),
        curves=curves(tables, precisions),
        confusion=confused,
        errors=Errors(tables.primary, ap50, kinds, mask_kinds(tables, score)),
        breakdown=breakdown(tables, score),
        calibration=calibration(tables),
        quality=quality(tables, score),
        pictures=choose_pictures(tables, score, examples, confused, faults),
        label_errors=label_errors(tables, faults),
        competition=competitions(tables, metrics, score),
        compare=compared,
    )


def coco_numbers(truth: Truth, detections: Mapping[int, Detections], evaluator: str = "auto") -> tuple[Numbers, str]:
    """(COCO's twelve by kind and name, package and version that computed them). Raises: UserError, see `CocoMetric.update`."""
    metric = CocoMetric(evaluator=evaluator)
    metric.start(truth.records, truth.class_names, truth.category_ids)
    for im_id, own in detections.items():
        metric.update(im_id, own)
    values = metric.compute()
    named = {kind: dict(zip(NUMBER_NAMES, map(number, values[kind]))) for kind in values}
    return dict(sorted(named.items(), reverse=True)), metric.engine


def _compared(
    truth: Truth, tables: Tables, others: Mapping[str, Mapping[int, Detections]], evaluator: str
) -> Comparison | None:
    if not others:
        return None
    made = {}
    for name, detections in others.items():
        own = tables_of(truth.records, detections, truth.class_names)
        if own.primary != tables.primary and tables.primary == MASKS:
            raise UserError(f"--compare {name}: it has boxes alone, and the report is of masks.")
        made[name] = own, coco_numbers(truth, detections, evaluator)[0]
    return compare(tables, made)


def _head(truth: Truth, tables: Tables, origin: Origin, numbers: Numbers, engine: str, score: float, why: str) -> Head:
    """All but the seconds that the analysis takes, which nobody knows before its end."""
    at_score = mean_rates(tables, score)
    instances = int(tables.instances().sum())
    package, _, version = engine.partition(" ")
    objects = [int((~record.crowd).sum()) for record in tables.records]
    return Head(
        title=origin.title, made=origin.made, config=origin.config, data=origin.data,
        fingerprint=fingerprint(tables.records), weights=origin.weights, predictions=origin.predictions,
        engine=package, engine_version=version,
        protocol=f"COCO’s protocol: at most {MOST} detections of a class in an image count, crowds count nowhere; computed by "
        f"{engine}, whose numbers are pycocotools’ own.",
        class_names=list(truth.class_names), primary=tables.primary, score=score, score_from=why, iou=IOU,
        f1=at_score.f1, precision=at_score.precision, recall=at_score.recall, numbers=numbers,
        images=len(tables.records), empty_images=objects.count(0), instances=instances,
        crowds=int(tables.truths.crowd.sum()), detections=len(tables.found.score),
        not_counted=int((~tables.matched.counted).sum()), seconds=0.0,
        notes=list(origin.notes), trained_on=origin.trained_on,
    )  # fmt: skip


def fingerprint(records: Sequence[Record]) -> str:
    """16 hexadecimal digits of names, sizes, classes and masks (boxes without masks), in the order given."""
    content = hashlib.sha256()
    for record in records:
        content.update(f"{record.im_id} {record.name} {record.height} {record.width} ".encode(errors="surrogateescape"))
        content.update(record.labels.astype("<i8").tobytes() + record.crowd.tobytes() + record.boxes.astype("<f4").tobytes())
        content.update(b" ".join(mask.counts for mask in record.masks))
    return content.hexdigest()[:16]
