"""What a report says, a frozen dataclass for each section; `report.json` is `dataclasses.asdict` of `Report`.

Everywhere: `label` is the class, contiguous from 0, as in `Head.class_names`. Kinds of IoU are "segm" (masks) and "bbox".
Boxes are [x1, y1, x2, y2] in pixels of the original image, masks COCO's {"size": [h, w], "counts": text}. A number that does
not exist (nothing annotated, nothing found) is None, where pycocotools has -1. Shares are between 0 and 1.
"""

from __future__ import annotations

from dataclasses import dataclass

from .schema_objects import Breakdown, Calibration, LabelErrors, Pictures, Quality

VERSION = 1
BACKGROUND = "background"


@dataclass(frozen=True)
class Head:
    """What was evaluated, and what the numbers mean.

    title: name of the run. made: time, ISO 8601 with zone. config: file. data: name and files of the data set. fingerprint: of
    the records, 16 hexadecimal digits. weights: file; where predictions came from files what these name, or "".
    predictions: where they are from.
    engine, engine_version: what computed COCO's numbers. protocol: a sentence that says how. class_names: by label.
    primary: "segm" where there are masks, else "bbox": what matches, errors, calibration and pictures are of.
    score: the threshold that counts and pictures are at; score_from: "best F1" or "asked". iou: from which objects match.
    f1, precision, recall: at that score, over all classes. numbers: COCO's twelve by kind and name, {"segm": {"AP": …}}.
    images, empty_images (without an annotated object), instances (without crowds), crowds, detections.
    not_counted: detections beyond the best 100 of a class in an image, which COCO's AP leaves out.
    seconds: of the analysis, without predicting. notes: what the reader should know, such as that images were trained on.
    trained_on: part, fold and split file that the configuration trains on, "" where it names none; where predictions
    came from files, those of the run that their weights lie in, or that it is not known, and why.
    """

    title: str
    made: str
    config: str
    data: str
    fingerprint: str
    weights: str
    predictions: str
    engine: str
    engine_version: str
    protocol: str
    class_names: list[str]
    primary: str
    score: float
    score_from: str
    iou: float
    f1: float | None
    precision: float | None
    recall: float | None
    numbers: dict[str, dict[str, float | None]]
    images: int
    empty_images: int
    instances: int
    crowds: int
    detections: int
    not_counted: int
    seconds: float
    notes: list[str]
    trained_on: str = ""


@dataclass(frozen=True)
class Sentence:
    """One line of the report in words. section: the field of `Report` that it is about. text: plain, for people."""

    section: str
    text: str


@dataclass(frozen=True)
class Evaluation:
    """COCO's or another metric's numbers after an epoch. epoch: from 0. numbers: {"segm": {"AP": …}, "SeverstalDice": …}."""

    epoch: int
    numbers: dict[str, dict[str, float | None]]


@dataclass(frozen=True)
class RunCurves:
    """A training, from `metrics.jsonl`; at most 500 points a curve.

    name: of the run. epochs: of each point, with fractions. losses: by name, "loss" is the sum; None where a step had none.
    learning_rate: of each point. best_epoch: of the best evaluation by `best_metric` ("mask AP"), None without one.
    """

    name: str
    epochs: list[float]
    losses: dict[str, list[float | None]]
    learning_rate: list[float | None]
    evaluations: list[Evaluation]
    best_epoch: int | None
    best_metric: str | None


@dataclass(frozen=True)
class ClassNumbers:
    """Of one class and kind of IoU. ap, ap50, ap75, ar (AR at 100 detections): COCO's, of all sizes.

    best_f1, with its threshold, precision and recall; matches are COCO's at IoU .5.
    tp, fp, fn: at the report's score; mean_iou: of those tp. dice: 2·shared / (annotated + found) pixels, summed over images.
    """

    ap: float | None
    ap50: float | None
    ap75: float | None
    ar: float | None
    best_f1: float | None
    threshold: float | None
    precision: float | None
    recall: float | None
    tp: int
    fp: int
    fn: int
    mean_iou: float | None
    dice: float | None


@dataclass(frozen=True)
class ClassRow:
    """A class: its annotated instances (no crowds), images that have some, detections, and numbers by kind of IoU."""

    label: int
    name: str
    instances: int
    images: int
    detections: int
    numbers: dict[str, ClassNumbers]


@dataclass(frozen=True)
class Curve:
    """Of a class, or of all (label None), and a kind of IoU.

    precision50, precision75, precision_mean: interpolated precision at the 101 recalls 0, .01, … 1, at IoU .5, .75 and the mean
    of .5:.95; as COCOeval; the mean of classes for all. Empty where nothing is annotated.
    precision, recall, f1: at IoU .5 of detections of at least each of `Curves.scores`; None where nothing is found.
    """

    label: int | None
    kind: str
    precision50: list[float]
    precision75: list[float]
    precision_mean: list[float]
    precision: list[float | None]
    recall: list[float | None]
    f1: list[float | None]


@dataclass(frozen=True)
class Curves:
    """scores: thresholds 0, .01, … 1 of the curves over the score. curves: all classes first, then each that is there."""

    scores: list[float]
    curves: list[Curve]


@dataclass(frozen=True)
class ConfusionCell:
    """An entry beside the diagonal, with up to five images to look at. truth, found: labels; None is the background."""

    truth: int | None
    found: int | None
    count: int
    images: list[int]


@dataclass(frozen=True)
class Confusion:
    """Annotated (rows) against found (columns), the background last: its row are false positives, its column misses.

    Detections of at least the report's score, the surest first, take whatever free truth they overlap most, of any class, from
    IoU .5 on (of equals, their own class's). Crowds count nowhere. cells: the largest beside the diagonal, falling.
    """

    kind: str
    matrix: list[list[int]]
    cells: list[ConfusionCell]


@dataclass(frozen=True)
class ErrorKind:
    """One kind of error. key: see `Errors`. count: at the report's score; by_class: the same, by label, only those > 0.

    count_all: of all detections that COCO counts, whatever their score. delta_ap50: what AP50 (of all detections) would gain
    if these alone were mended; None for those that are not mended one by one. definition: a sentence.
    images: up to five to look at.
    """

    key: str
    title: str
    definition: str
    count: int
    count_all: int
    delta_ap50: float | None
    by_class: dict[str, int]
    images: list[int]


@dataclass(frozen=True)
class Errors:
    """Why AP50 is not 1. kinds: classification, localisation, both, duplicate, background, missed; each excludes the others.

    mask_kinds: of masks alone, and beside those: box_right_mask_wrong, merged, split. ap50: what the gains are from.
    """

    kind: str
    ap50: float | None
    kinds: list[ErrorKind]
    mask_kinds: list[ErrorKind]


@dataclass(frozen=True)
class Loss:
    """A part of what a competition's score lacks to 1. count: of (image, class) pairs. lost: points of the score."""

    key: str
    title: str
    count: int
    lost: float


@dataclass(frozen=True)
class Competition:
    """A competition's metric. value: of all detections, as eval gives it. at_score: of those of the report's score alone.

    nothing: of an empty submission. by_class: at_score by label; None where a class does not count. losses: of at_score;
    at_score + sum of lost = 1. advice: a sentence, or "".
    """

    metric: str
    value: float
    at_score: float
    nothing: float
    by_class: list[float | None]
    losses: list[Loss]
    advice: str


@dataclass(frozen=True)
class Difference:
    """Of AP between a run and the report's own. label: None is the mean of all classes. value: of this run's own AP.

    difference: this run minus the report's. low, high: 95 % interval of the bootstrap; None where it was not done.
    real: whether that interval leaves out 0.
    """

    label: int | None
    value: float | None
    difference: float | None
    low: float | None
    high: float | None
    real: bool


@dataclass(frozen=True)
class ComparedRun:
    """Another run on the same images. numbers: COCO's twelve, by kind. rows: all classes first. verdict: a sentence."""

    name: str
    numbers: dict[str, dict[str, float | None]]
    rows: list[Difference]
    verdict: str


@dataclass(frozen=True)
class Comparison:
    """Runs against the report's own by a paired bootstrap over images: both see the same images in each of `samples` draws."""

    kind: str
    samples: int
    seed: int
    runs: list[ComparedRun]


@dataclass(frozen=True)
class Report:
    """The sections in the order of the page. What does not apply is None or empty."""

    version: int
    head: Head
    words: list[Sentence]
    runs: list[RunCurves]
    classes: list[ClassRow]
    curves: Curves
    confusion: Confusion
    errors: Errors
    breakdown: Breakdown
    calibration: Calibration
    quality: Quality | None
    pictures: Pictures
    label_errors: LabelErrors
    competition: list[Competition]
    compare: Comparison | None
