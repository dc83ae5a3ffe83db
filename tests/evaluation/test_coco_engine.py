"""hotcoco against pycocotools, bit by bit; what is checked before either; and which of them is taken."""

import copy
import importlib.metadata
import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from ppdet_ext.data.datasets import CocoJsonDataSet
from ppdet_ext.errors import UserError
from ppdet_ext.evaluation import CocoMetric, evaluate_coco
from ppdet_ext.evaluation.coco_data import ground_truth, predicted
from ppdet_ext.evaluation.coco_engine import CocoScores, choose_evaluator, that_count
from ppdet_ext.evaluation.run import metrics_of
from ppdet_ext.host import Config
from ppdet_ext.structures import Detections, Record, Rle

ENGINES = ("pycocotools", "hotcoco")
SIZE = 60, 90
IDS = [40, 7, 12]
# COCO's limits of small and medium are 32² and 96² px; areas are annotated here, so that tiny masks fall into all ranges.
AREAS = (10.0, 1024.0, 5000.0, 9216.0, 20000.0)


def shapes(rng: np.random.Generator, n: int) -> list[Rle]:
    """On a coarse grid, so that many IoUs are equal, and lie on thresholds; without a corner, so that boxes differ."""
    corners = rng.integers(0, 5, (n, 2)) * 10
    sides = rng.integers(1, 5, (n, 2)) * 5
    notch = Rle.full(2, 3)
    return [
        Rle.full(int(h), int(w)).subtract(notch.place(0, 0, int(h), int(w))).place(int(y), int(x), *SIZE)
        for (y, x), (h, w) in zip(corners, sides)
    ]


def boxes_of(masks: list[Rle]) -> np.ndarray:
    return np.array([mask.box for mask in masks], np.float32).reshape(-1, 4)


def random_set(seed: int, images: int) -> tuple[list[Record], dict[int, Detections]]:
    """Ties in score, crowds, images without annotations or detections; ids are not in order."""
    rng = np.random.default_rng(seed)
    records, found = [], {}
    for im_id in rng.permutation(1000)[:images].tolist():
        masks = shapes(rng, int(rng.integers(0, 9)))
        n = len(masks)
        record = Record(im_id, "", f"{im_id}.jpg", *SIZE, boxes_of(masks), rng.integers(0, 3, n), masks, rng.random(n) < 0.25)
        record.areas = rng.choice(AREAS, n) if rng.random() < 0.8 else None
        records.append(record)
        if rng.random() < 0.8:
            near = [masks[i] for i in rng.integers(0, n, int(rng.integers(0, 8)))] if n else []
            own = [*near, *shapes(rng, int(rng.integers(0, 5)))]
            scores = rng.integers(0, 4, len(own)) / 4
            found[im_id] = Detections(*SIZE, boxes_of(own), scores, rng.integers(0, 3, len(own)), own)
    return records, found


def both(records: list[Record], found: dict[int, Detections], ids: list[int]) -> dict[str, list[CocoScores]]:
    """Scores of both engines, by what is compared."""
    truth = ground_truth(records, ids, with_masks=True)
    return {
        kind: [choose_evaluator(name)(truth, predicted(ids, found, kind), kind) for name in ENGINES]
        for kind in ("bbox", "segm")
    }


def demand_equal_bits(scores: dict[str, list[CocoScores]]) -> None:
    for expected, own in scores.values():
        assert (expected.engine.split()[0], own.engine.split()[0]) == ENGINES
        for name in ("precision", "recall", "scores", "stats"):
            assert getattr(own, name).tobytes() == getattr(expected, name).tobytes(), name
        assert own.table == expected.table


@settings(max_examples=30)
@given(seed=st.integers(0, 2**32 - 1), images=st.integers(1, 12))
def test_equal_to_the_last_bit(seed: int, images: int) -> None:
    demand_equal_bits(both(*random_set(seed, images), IDS))


def test_equal_where_a_hundred_detections_count_and_more_are_given() -> None:
    rng = np.random.default_rng(0)
    masks = shapes(rng, 150)
    record = Record(1, "", "a.jpg", *SIZE, boxes_of(masks), np.zeros(150, int), masks, rng.random(150) < 0.1)
    found = {1: Detections(*SIZE, boxes_of(masks), rng.integers(0, 9, 150) / 9, np.zeros(150, int), masks)}
    scores = both([record], found, IDS)
    demand_equal_bits(scores)
    truth, results = ground_truth([record], IDS, with_masks=True), predicted(IDS, found, "segm")
    fewer = that_count(results)
    assert (len(fewer), len(results)) == (100, 150)
    assert choose_evaluator()(truth, fewer, "segm").precision.tobytes() == scores["segm"][0].precision.tobytes()
    assert 0 < scores["segm"][1].stats[0] < 1


def test_equal_on_real_annotations(shared: Path) -> None:
    dataset = CocoJsonDataSet(str(shared / "data/coco_mini"), on_error="skip")
    dataset.load()
    rng, found = np.random.default_rng(1), {}
    for record in dataset.records:
        shrunk = [
            mask.resize(int(mask.size[0] * 0.98), int(mask.size[1] * 0.97)).place(0, 0, *mask.size) for mask in record.masks
        ]
        labels = np.where(rng.random(len(shrunk)) < 0.1, rng.integers(0, 80, len(shrunk)), record.labels)
        scores = rng.integers(0, 100, len(shrunk)) / 100
        found[record.im_id] = Detections(record.height, record.width, boxes_of(shrunk), scores, labels, shrunk)
    scores = both(dataset.records, found, dataset.category_ids)
    demand_equal_bits(scores)
    assert scores["segm"][1].stats[0] > 0.1


def files(seed: int = 3) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Annotations and results as JSON has them, complete as pycocotools wants them."""
    records, found = random_set(seed, 8)
    truth = ground_truth(records, IDS, with_masks=True)
    results = [box | mask for box, mask in zip(predicted(IDS, found, "bbox"), predicted(IDS, found, "segm"))]
    for one in [*truth["annotations"], *results]:
        one["segmentation"]["counts"] = one["segmentation"]["counts"].decode()
        one["area"] = Rle.from_coco(one["segmentation"]).area
    return {"info": {}, **truth}, results


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("kind", ["bbox", "segm"])
def test_files_are_scored_as_pycocotools_scores_them(engine: str, kind: str) -> None:
    truth, results = files()
    reference = COCO()
    reference.dataset = copy.deepcopy(truth)
    reference.createIndex()
    if kind == "segm":
        results = [{key: value for key, value in one.items() if key != "bbox"} for one in results]
    expected = COCOeval(reference, reference.loadRes(copy.deepcopy(results)), kind)
    for step in (expected.evaluate, expected.accumulate, expected.summarize):
        step()
    before = copy.deepcopy((truth, results))
    scores = evaluate_coco(truth, results, kind, engine)
    assert (truth, results) == before
    assert scores.precision.tobytes() == expected.eval["precision"].tobytes()
    assert scores.stats.tolist() == expected.stats.tolist()


@pytest.mark.parametrize("engine", ENGINES)
def test_what_programs_leave_out_is_filled_in(engine: str) -> None:
    truth, results = files()
    for one in truth["annotations"]:
        one["iscrowd"] = 0
    whole = evaluate_coco(truth, results, "segm", engine)
    del truth["info"]
    for one in truth["annotations"]:
        del one["iscrowd"], one["area"], one["bbox"], one["id"]
    for one in results:
        # As lists of counts, which pycocotools does not take of results.
        mask = Rle.from_coco(one["segmentation"])
        one["segmentation"]["counts"] = np.diff([0, *mask._edges(), mask.height * mask.width]).tolist()
        del one["area"], one["bbox"]
    bare = evaluate_coco(truth, results, "segm", engine)
    assert bare.precision.tobytes() == whole.precision.tobytes()


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("kind", ["bbox", "segm"])
def test_nothing_found_is_zero(engine: str, kind: str) -> None:
    truth, _ = files()
    assert max(evaluate_coco(truth, [], kind, engine).stats) == 0


FAULTS = {
    "result 2: image id 5555 is not among the 8 images": {"image_id": 5555},
    "result 2: image id None": {"image_id": None},
    "result 2: the score is nan": {"score": float("nan")},
    "result 2: the score is '0.5'": {"score": "0.5"},
    "result 2: there is no segmentation": {"segmentation": None},
    "result 2: a mask of 5x5 pixels in an image of 60x90": {"segmentation": {"size": [5, 5], "counts": [25]}},
    "result 2: not a COCO RLE": {"segmentation": {"size": [60, 90], "counts": "\x7f\x7f"}},
}


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("said", FAULTS)
def test_rows_that_cannot_be_are_named_before_an_engine_sees_them(engine: str, said: str) -> None:
    truth, results = files()
    results[1] |= FAULTS[said]
    with pytest.raises(UserError, match=f"^{said}"):
        evaluate_coco(truth, results, "segm", engine)


def test_annotations_that_cannot_be_are_named() -> None:
    truth, results = files()
    with pytest.raises(UserError, match="no list 'categories'"):
        evaluate_coco({key: truth[key] for key in ("images", "annotations")}, results)
    truth["annotations"][2]["image_id"] = 5555
    with pytest.raises(UserError, match=r"^annotation 3: image id 5555"):
        evaluate_coco(truth, results)
    with pytest.raises(UserError, match="bbox or segm, not 'mask'"):
        evaluate_coco(truth, results, "mask")


@pytest.mark.parametrize(("what", "row"), [("scores", 2), ("boxes", 1)])
def test_predictions_that_are_not_finite_are_refused(what: str, row: int) -> None:
    masks = shapes(np.random.default_rng(0), 3)
    metric = CocoMetric([Record(1, "", "a.jpg", *SIZE)], ["pit", "dent", "dot"], IDS)
    own = Detections(*SIZE, boxes_of(masks), np.ones(3), np.zeros(3, int), masks)
    getattr(own, what)[row] = np.nan
    with pytest.raises(UserError, match=rf"^a.jpg: {what} of prediction {row + 1} are not finite"):
        metric.update(1, own)


def test_the_key_chooses_and_the_table_says_which() -> None:
    for name in ENGINES:
        (metric,) = metrics_of(Config({"metric": "COCO", "evaluator": name}, {}, "own"))
        metric.start([Record(1, "", "a.jpg", *SIZE)], ["pit"], [1])
        metric.compute()
        assert metric.engine == f"{name} {importlib.metadata.version(name)}"
        assert metric.summary.endswith(f"COCO's numbers were computed by {metric.engine}")


def test_auto_takes_what_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    assert choose_evaluator().title.startswith("hotcoco")
    with pytest.raises(UserError, match=r"there is no 'hotcoc'\. Did you mean 'hotcoco'\?"):
        choose_evaluator("hotcoc")
    known = importlib.metadata.version
    # A release that nobody has compared is taken where it is asked for, but not by itself.
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "2.0.0" if name == "hotcoco" else known(name))
    assert choose_evaluator().title.startswith("pycocotools")
    assert choose_evaluator("hotcoco").title == "hotcoco 2.0.0"

    def missing(name: str) -> str:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", lambda name: missing(name) if name == "hotcoco" else known(name))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert choose_evaluator().title.startswith("pycocotools")
    with pytest.raises(UserError, match="hotcoco is not installed: pip install"):
        choose_evaluator("hotcoco")


def peak_mebibytes(work: Any) -> float:
    """What the process's memory rises by at most while `work` runs."""
    reset, status = Path("/proc/self/clear_refs"), Path("/proc/self/status")
    try:
        reset.write_text("5")
    except OSError:
        pytest.skip("the system does not let a process reset its peak of memory")
    facts = dict(line.split(":") for line in status.read_text().splitlines())
    work()
    peak = dict(line.split(":") for line in status.read_text().splitlines())["VmHWM"]
    return (int(peak.split()[0]) - int(facts["VmRSS"].split()[0])) / 1024


def test_thousands_of_objects_in_a_picture_take_little_memory() -> None:
    def crowded(count: int) -> CocoMetric:
        masks = [Rle.full(20, 20).place(25 * (n // 100), 25 * (n % 100), 2600, 2600) for n in range(count)]
        boxes, labels = boxes_of(masks), np.zeros(count, int)
        metric = CocoMetric([Record(1, "", "a.jpg", 2600, 2600, boxes, labels, masks, np.zeros(count, bool))], ["cell"], [1])
        metric.update(1, Detections(2600, 2600, boxes, np.linspace(1, 0.1, count), labels, masks))
        return metric

    crowded(10).compute()
    few, many = crowded(2000), crowded(4000)
    small, large = peak_mebibytes(few.compute), peak_mebibytes(many.compute)
    # The overlaps of 4,000 with 4,000 alone would be 122 MiB.
    assert small < 30
    assert large < 60
    assert few.compute()["segm"][8] == 100 / 2000
