"""The sections of a report that are about single objects: sizes and places, scores, masks, pictures, faulty annotations."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Bin:
    """Truths of a range of some property: low < value <= high, in the first bin low too. recall: at the report's score, IoU .5.

    ap, ap50: over the classes that are there. What lies outside of the range counts neither way, as in COCO's size ranges.
    """

    low: float
    high: float
    instances: int
    recall: float | None
    ap: float | None
    ap50: float | None


@dataclass(frozen=True)
class Axis:
    """A property by its own quantiles. key: area, aspect, border, crowding. title, unit: for people. bins: rising."""

    key: str
    title: str
    unit: str
    bins: list[Bin]


@dataclass(frozen=True)
class Breakdown:
    """Where objects are missed. area: px of the masks (boxes without masks). aspect: longer side / shorter side of the box.
    border: px from the box to the nearest border. crowding: instances in the image.

    truths, misses: number of objects (and of those not found at the report's score) by the place of their box's centre: rows
    of a grid over the image from top to bottom, whatever the images' sizes.
    """

    axes: list[Axis]
    truths: list[list[int]]
    misses: list[list[int]]


@dataclass(frozen=True)
class CalibrationBin:
    """Detections of scores low <= score < high (the last: <= 1). confidence: mean score. accuracy: share of right ones."""

    low: float
    high: float
    count: int
    confidence: float | None
    accuracy: float | None


@dataclass(frozen=True)
class Calibration:
    """Whether scores are shares of right detections (COCO's matches at IoU .5; those in crowds and beyond 100 left out).

    ece: expected calibration error, sum of |accuracy - confidence| · count / all, over ten bins. worst: position of the bin,
    of ten or more detections, whose accuracy is furthest from its confidence. edges (n + 1), right (n),
    wrong (n): histogram of the scores. by_class: ECE by label, None without detections.
    """

    bins: list[CalibrationBin]
    ece: float | None
    worst: int | None
    edges: list[float]
    right: list[int]
    wrong: list[int]
    by_class: list[float | None]


@dataclass(frozen=True)
class Histogram:
    """edges (n + 1) and counts (n); what lies beyond the edges is in the first or last."""

    edges: list[float]
    counts: list[int]


@dataclass(frozen=True)
class QualityRow:
    """Of matched masks of a class, or of all (label None). matches: number. The rest are means, area_ratio a median."""

    label: int | None
    matches: int
    mean_iou: float | None
    mean_boundary_iou: float | None
    area_ratio: float | None


@dataclass(frozen=True)
class Quality:
    """How well masks that match (report's score, IoU .5) are drawn.

    iou: of matches. boundary_iou: IoU of boundaries 2 % of the image's diagonal wide (Cheng et al. 2021). area_ratio: found /
    annotated area. sampled: number of matches that boundary, holes and parts were measured on, evenly taken of `matches`.
    truth_holes, found_holes: holes in annotated and in predicted masks; truth_parts, found_parts: 8-connected parts likewise.
    shrunken, grown: share of matches whose predicted area is below 0.8, above 1.25 of the annotated.
    """

    matches: int
    sampled: int
    iou: Histogram
    boundary_iou: Histogram
    area_ratio: Histogram
    rows: list[QualityRow]
    truth_holes: int
    found_holes: int
    truth_parts: int
    found_parts: int
    shrunken: float | None
    grown: float | None


@dataclass(frozen=True)
class Shown:
    """An object of a picture. source: "truth" or "found". score: None of truths. box; mask: COCO RLE, None without masks.

    verdict: of found ones "tp", "fp" or "ignored" (in a crowd); of truths "tp" (found), "fn" or "crowd".
    iou: with what it matches, else the largest with anything; None for none.
    """

    source: str
    label: int
    score: float | None
    box: list[float]
    mask: dict[str, Any] | None
    verdict: str
    iou: float | None


@dataclass(frozen=True)
class Picture:
    """An image that some group shows. file: path on the machine that made the report; name: as annotations write it.

    objects: truths first, in the data set's order; then detections of at least the report's score, falling; then others
    that a group is about.
    """

    image: int
    name: str
    file: str
    height: int
    width: int
    f1: float | None
    tp: int
    fp: int
    fn: int
    objects: list[Shown]


@dataclass(frozen=True)
class Example:
    """A picture of a group. image: `Picture.image`. object: position in its `objects` that it is about, None for all of it."""

    image: int
    object: int | None
    text: str


@dataclass(frozen=True)
class Group:
    """Pictures of one kind. key: worst, best, false_positives, misses, confusion, errors, label_errors.

    label: of one class alone. detail: what tells groups of a key apart: of confusion "2>4" (label > label, or background), of
    errors and label_errors the kind's key.
    total: how many there are to choose from.
    """

    key: str
    detail: str
    label: int | None
    title: str
    total: int
    examples: list[Example]


@dataclass(frozen=True)
class Pictures:
    """images: each that is shown once. groups: what to show of them. Empty with --no-pictures."""

    images: list[Picture]
    groups: list[Group]


@dataclass(frozen=True)
class LabelError:
    """A likely fault of an annotation. kind: missing, wrong_class, badly_drawn, duplicate.

    image, name. label: of what is proposed (duplicate: of the truth to keep). truth_label, truth: class and position in the
    image's annotations of what is wrong, None of a missing one. other: position of the truth that it duplicates. score: of the
    detection, None for duplicates. iou: of the two. box: where to look.
    """

    kind: str
    image: int
    name: str
    label: int
    truth_label: int | None
    truth: int | None
    other: int | None
    score: float | None
    iou: float | None
    box: list[float]


@dataclass(frozen=True)
class LabelErrors:
    """counts: of each kind, of all that were found. entries: the likeliest 200 of each kind, falling. caution: a sentence.

    definitions: by kind, a sentence each.
    """

    counts: dict[str, int]
    definitions: dict[str, str]
    entries: list[LabelError]
    caution: str
