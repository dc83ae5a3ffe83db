"""Which detections of a picture are right, in a form of which any score can be asked afterwards."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ppdet_ext.structures import Detections, Record

# Of a detection: nothing of its class is there; it is right; it lies on a crowd, which counts nowhere.
WRONG, RIGHT, IGNORED = 0, 1, 2


@dataclass(frozen=True)
class Match:
    """Of one picture.

    hit: (n,) uint8 of the detections: `WRONG`, `RIGHT` or `IGNORED`.
    truth: (n,) int64, the annotation that each stands for; -1 for none.
    iou: (n,) float32, with that annotation, or else the highest with any.
    found: (m,) float32 of the annotations: the score of the detection that stands for it; -1 for none.

    A detection is matched without regard to those of lower score, so at a threshold t the right ones are those with
    score >= t, and annotations are found where `found` >= t: no other matching is needed.
    """

    hit: np.ndarray
    truth: np.ndarray
    iou: np.ndarray
    found: np.ndarray


def match_picture(record: Record, found: Detections) -> Match:
    """Match as the report does and COCOeval: by falling score, within a class, at IoU .5; masks, or boxes without them."""
    # It imports paddle, which is there where annotations are read, but not beside an exported model.
    from ppdet_ext.evaluation.coco_mask_ap import UNMATCHED
    from ppdet_ext.report.matching import match_image, verdicts

    matches = match_image(record, found)
    truth = np.full(len(found), -1, np.int64)
    truth[matches.order] = matches.taken[0]
    # What is beyond the best hundred of a class counts as little as what lies on a crowd.
    hit = np.where(truth >= 0, RIGHT, np.where(truth == UNMATCHED, WRONG, IGNORED)).astype(np.uint8)
    right = np.flatnonzero(truth >= 0)
    scores = np.full(len(record.labels), -1, np.float32)
    scores[truth[right]] = found.scores[right]
    iou = np.array(verdicts(record, found, 0.0, matches).iou, np.float32)
    return Match(hit, np.where(truth >= 0, truth, -1), iou, scores)
