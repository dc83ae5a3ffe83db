"""The package that computes COCO's numbers: hotcoco where it is installed, else pycocotools. Both give the same bits."""

import contextlib
import importlib.metadata
import importlib.util
import io
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from ppdet_ext.errors import UserError, nearest

AUTO, HOTCOCO, PYCOCOTOOLS = "auto", "hotcoco", "pycocotools"
EVALUATORS = (AUTO, HOTCOCO, PYCOCOTOOLS)
# Releases of hotcoco that have been compared with pycocotools, number by number.
_COMPARED = (1, 3), (2,)

# Detections of a class in an image that count, the last of pycocotools' maxDets.
COUNTED = 100

Truth = dict[str, list[dict[str, Any]]]
Results = list[dict[str, Any]]


@dataclass(frozen=True, eq=False)
class CocoScores:
    """COCO's numbers of boxes or of masks. Arrays are float64 and -1 where nothing is annotated.

    precision and scores: (10 IoU thresholds, 101 recalls, classes by rising id, 4 size ranges, 3 detection limits);
    recall: the same without the second; stats: the 12 numbers; table: these as pycocotools prints them;
    engine: package and version that computed them.
    """

    precision: np.ndarray
    recall: np.ndarray
    scores: np.ndarray
    engine: str
    stats: np.ndarray = field(init=False)
    table: str = field(init=False)

    def __post_init__(self) -> None:
        # pycocotools' own summary, whatever computed the arrays: the same means and the same text.
        printer = COCOeval(iouType="bbox")
        printer.eval = {"precision": self.precision, "recall": self.recall, "scores": self.scores}
        with contextlib.redirect_stdout(io.StringIO()) as text:
            printer.summarize()
        object.__setattr__(self, "stats", printer.stats)
        object.__setattr__(self, "table", text.getvalue().rstrip())


class Evaluator(Protocol):
    """Computes COCO's numbers of data that has been checked (`coco_inputs`) and of which what does not count is left out."""

    @property
    def title(self) -> str:
        """Package and version."""

    def __call__(self, truth: Truth, results: Results, iou_type: str) -> CocoScores:
        """Scores of results against the truth.

        Args:
            truth: images (id, height, width), categories (id, name) and annotations (id from 1, image_id, category_id, bbox,
                area, iscrowd; for masks segmentation, as compressed run lengths).
            results: image_id, category_id, score, area, and either bbox or segmentation. Neither is changed.
            iou_type: "bbox" or "segm".
        """


def that_count(results: Results) -> Results:
    """The best 100 of each class in an image, of equal scores the first: pycocotools looks at no others.

    Without the rest, memory grows with the objects of an image, and not with their number times that of its detections.
    """
    counts = Counter((one["image_id"], one["category_id"]) for one in results)
    rows: dict[tuple[int, int], list[int]] = {key: [] for key, count in counts.items() if count > COUNTED}
    for row, one in enumerate(results if rows else ()):
        rows.get((one["image_id"], one["category_id"]), []).append(row)
    out: set[int] = set()
    for own in rows.values():
        order = np.argsort([-results[row]["score"] for row in own], kind="stable")
        out.update(own[i] for i in order[COUNTED:])
    return [one for row, one in enumerate(results) if row not in out] if out else results


class _Pycocotools:
    """The reference: COCOeval of pycocotools."""

    title = f"{PYCOCOTOOLS} {importlib.metadata.version(PYCOCOTOOLS)}"

    def __call__(self, truth: Truth, results: Results, iou_type: str) -> CocoScores:
        # pycocotools writes into what it is given, and takes id 0 for "not matched".
        annotated = [dict(one) for one in truth["annotations"]]
        found = [one | {"id": i} for i, one in enumerate(results, 1)]
        with contextlib.redirect_stdout(io.StringIO()):
            sets = [_data_set(truth, annotations) for annotations in (annotated, found)]
            evaluation = COCOeval(*sets, iou_type)
            evaluation.evaluate()
            evaluation.accumulate()
        arrays = evaluation.eval
        return CocoScores(arrays["precision"], arrays["recall"], arrays["scores"], self.title)


def _data_set(truth: Truth, annotations: list[dict[str, Any]]) -> COCO:
    coco = COCO()
    coco.dataset = {**truth, "annotations": annotations}
    coco.createIndex()
    return coco


class _Hotcoco:
    """hotcoco (MIT), which follows pycocotools to the last bit, some thirty times as fast, on all cores."""

    def __init__(self) -> None:
        self.title = f"{HOTCOCO} {importlib.metadata.version(HOTCOCO)}"

    def __call__(self, truth: Truth, results: Results, iou_type: str) -> CocoScores:
        import hotcoco

        annotated = hotcoco.COCO(truth)
        evaluation = hotcoco.COCOeval(annotated, annotated.loadRes(results), iou_type)
        evaluation.evaluate()
        evaluation.accumulate()
        arrays = evaluation.eval or {}
        return CocoScores(arrays["precision"], arrays["recall"], arrays["scores"], self.title)


def choose_evaluator(name: str = AUTO) -> Evaluator:
    """The engine of that name; of `auto` hotcoco where a compared release is installed, else pycocotools.

    Raises: UserError for another name, or hotcoco that is not installed.
    """
    if name not in EVALUATORS:
        raise UserError(f"evaluator: there is no {name!r}.{nearest(name, EVALUATORS)} There are {', '.join(EVALUATORS)}.")
    if name == PYCOCOTOOLS or (name == AUTO and not _is_compared(HOTCOCO)):
        return _Pycocotools()
    if importlib.util.find_spec(HOTCOCO) is None:
        raise UserError("evaluator: hotcoco is not installed: pip install 'hotcoco>=1.3,<2', or take evaluator: auto.")
    return _Hotcoco()


def _is_compared(package: str) -> bool:
    """Whether a release of it is installed that is known to give pycocotools' numbers."""
    try:
        release = importlib.metadata.version(package).split(".")
    except importlib.metadata.PackageNotFoundError:
        return False
    first, end = _COMPARED
    return first <= tuple(int(part) for part in release[:2] if part.isdigit()) < end
