"""The search finds thresholds that are known to be best, never loses, and knows what does not hold up."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from tuning_cases import Drawn, names_of

from ppdet_ext.evaluation import tuning_metric
from ppdet_ext.inference.candidate_file import quantised
from ppdet_ext.structures import Record, Rle
from ppdet_ext.structures.candidates import Candidates
from ppdet_ext.tuning.cross_validation import assign_folds, cross_validate
from ppdet_ext.tuning.options import SearchBounds
from ppdet_ext.tuning.problem import Problem
from ppdet_ext.tuning.report import format_ablation
from ppdet_ext.tuning.search import Search
from ppdet_ext.tuning.setting import Setting, Thresholds
from ppdet_ext.tuning.tuner import tune_candidates

START = Thresholds(0.01, 0.5, 0.5, 0)
CLEAN = Drawn(images=10, copies=0, shake=0)


def problem_of(
    drawn: tuple[list[Record], list[Candidates]], metric: str, classes: int = 3, start: Thresholds = START
) -> Problem:
    records, found = drawn
    names, ids = names_of(classes)
    return Problem(
        lambda: tuning_metric(metric), records, names, ids, [quantised(one) for one in found], Setting.uniform(classes, start)
    )


def search_of(problem: Problem, bounds: SearchBounds = SearchBounds()) -> Search:  # noqa: B008 (frozen)
    return Search(problem.scorer(), bounds)


@pytest.mark.parametrize("metric", ["SeverstalDice", "IMaterialistMAP", "MeanIoU"])
def test_score_threshold_between_wrong_and_right(metric: str) -> None:
    drawn = replace(CLEAN, right=(0.65, 1.0), wrong=(0.01, 0.4)).draw()
    stages = search_of(problem_of(drawn, metric)).global_stages(Setting.uniform(3, START))
    assert stages[1].title == "score threshold"
    assert 0.4 < stages[1].setting.common("score") < 0.65
    assert stages[1].value > stages[0].value + 0.1
    assert stages[-1].value > 0.95


def test_score_threshold_lies_in_the_middle_of_what_is_best() -> None:
    drawn = replace(CLEAN, right=(0.8, 1.0), wrong=(0.01, 0.2)).draw()
    stages = search_of(problem_of(drawn, "SeverstalDice")).global_stages(Setting.uniform(3, START))
    assert stages[1].setting.common("score") == pytest.approx(0.5, abs=0.06)


def test_mask_threshold_of_masks_that_are_too_fat() -> None:
    drawn = replace(CLEAN, right=(0.7, 1), wrong=(0.01, 0.3), outline=0.62).draw()
    stages = search_of(problem_of(drawn, "SeverstalDice")).global_stages(Setting.uniform(3, START))
    assert stages[-1].setting.common("mask_threshold") == pytest.approx(0.62, abs=0.04)
    assert stages[3].value > stages[2].value + 0.02


def test_nms_of_boxes_that_come_twice() -> None:
    drawn = replace(CLEAN, copies=1, shake=0.06, instances=2, right=(0.7, 1), wrong=(0.01, 0.3)).draw()
    start = START._replace(nms_iou=0.95)
    stages = search_of(problem_of(drawn, "IMaterialistMAP", start=start)).global_stages(Setting.uniform(3, start))
    assert stages[-1].setting.common("nms_iou") < 0.85
    assert stages[2].value > stages[1].value + 0.05


def test_least_area_above_specks() -> None:
    records, found = replace(CLEAN, right=(0.5, 1), wrong=(0.5, 1)).draw()
    for one in found:
        area = (one.boxes[:, 2:] - one.boxes[:, :2]).prod(axis=1)
        one.boxes[area < 900, 2:] = one.boxes[area < 900, :2] + 5
    records = [_without_small(record, 900) for record in records]
    found = [one.select(~_lone(one, record)) for one, record in zip(found, records)]
    search = search_of(problem_of((records, found), "IMaterialistMAP"))
    stages = search.global_stages(Setting.uniform(3, START))
    assert 10 <= stages[4].setting.common("area") <= 900
    assert stages[4].value > stages[3].value + 0.1


def _without_small(record: Record, area: float) -> Record:
    kept = (record.boxes[:, 2:] - record.boxes[:, :2]).prod(axis=1) >= area
    masks = [mask for mask, one in zip(record.masks, kept) if one]
    return replace(record, boxes=record.boxes[kept], labels=record.labels[kept], masks=masks, crowd=record.crowd[kept])


def _lone(found: Candidates, record: Record) -> np.ndarray:
    """Large candidates that no object explains."""
    true = {tuple(box) for box in record.boxes.round(2).tolist()}
    large = (found.boxes[:, 2:] - found.boxes[:, :2]).prod(axis=1) > 100
    return np.array([big and tuple(box) not in true for big, box in zip(large, found.boxes.round(2).tolist())], bool)


@pytest.mark.parametrize("metric", ["SeverstalDice", "IMaterialistMAP", "MeanIoU", "COCO"])
@pytest.mark.parametrize("seed", [0, 1])
def test_the_ladder_never_goes_down(metric: str, seed: int) -> None:
    problem = problem_of(Drawn(images=6, outline=0.45).draw(seed), metric)
    search = search_of(problem, SearchBounds(min_instances=1))
    stages = search.global_stages(problem.start)
    stages.append(search.per_class(stages[-1].setting))
    values = [stage.value for stage in stages]
    assert values == sorted(values)
    assert values[-1] > values[0]
    for stage in stages:
        assert problem.value(stage.setting) == pytest.approx(stage.value, abs=1e-12)


def _scores_by_class(drawn: tuple[list[Record], list[Candidates]], divide: Sequence[float]) -> tuple:
    records, found = drawn
    for one in found:
        one.scores[:] = one.scores / np.array(divide)[one.labels]
    return records, [one.select(np.argsort(-one.scores, kind="stable")) for one in found]


def test_classes_with_other_scores_get_thresholds_of_their_own() -> None:
    drawn = replace(CLEAN, images=14, right=(0.65, 1.0), wrong=(0.05, 0.4))
    problem = problem_of(_scores_by_class(drawn.draw(), [1, 1, 4]), "IMaterialistMAP")
    tuned, _ = tune_candidates(problem, SearchBounds(), folds=3)
    own = tuned.chosen.setting
    assert tuned.chosen.title == "per class"
    assert 0.1 <= own.classes[2].score < 0.65 / 4
    assert 0.4 < own.classes[0].score < 0.65
    assert tuned.cross.per_class_value > tuned.cross.global_value + 0.05
    assert tuned.warnings == []
    assert tuned.after == pytest.approx(tuned.chosen.value, abs=1e-12)


def test_rare_classes_keep_the_global_thresholds() -> None:
    problem = problem_of(_scores_by_class(replace(CLEAN, right=(0.65, 1)).draw(), [1, 1, 4]), "IMaterialistMAP")
    search = search_of(problem, SearchBounds(min_instances=10_000))
    assert search.per_class(problem.start).setting == problem.start


def _lottery(images: int = 20, classes: int = 12) -> tuple[list[Record], list[Candidates]]:
    """One candidate an image and class, in half of the images right, whatever its score: any threshold is luck."""
    rng = np.random.default_rng(1)
    right = np.array([rng.permutation(images) < images // 2 for _ in range(classes)])
    records, found = [], []
    for image in range(images):
        boxes = np.tile(np.array([[4, 4, 20, 20]], np.float32), (classes, 1))
        mask = Rle.from_bitmap(np.pad(np.ones((16, 16), bool), ((4, 12), (4, 12))))
        true = np.flatnonzero(right[:, image])
        records.append(
            Record(image, "", f"{image}.jpg", 32, 32, boxes[true], true, [mask] * len(true), np.zeros(len(true), bool))
        )
        scores = -np.sort(-rng.uniform(0.1, 1, classes)).astype(np.float32)
        labels = rng.permutation(classes)
        found.append(Candidates(32, 32, boxes, scores, labels, np.ones((classes, 28, 28), np.float32)))
    return records, found


def test_luck_does_not_hold_up_on_other_folds() -> None:
    problem = problem_of(_lottery(), "SeverstalDice", classes=12)
    tuned, scorer = tune_candidates(problem, SearchBounds(min_instances=1), folds=5)
    assert tuned.stages[-1].value > tuned.common.value + 0.02
    assert tuned.cross.per_class_value < tuned.cross.global_value
    assert tuned.chosen == tuned.common
    assert any("--keep_per_class" in warning for warning in tuned.warnings)
    forced, _ = tune_candidates(problem, SearchBounds(min_instances=1), folds=5, keep_per_class=True)
    assert forced.chosen.title == "per class"
    assert forced.chosen.value == scorer.value(forced.stages[-1].setting)


def test_held_out_images_are_scored_with_thresholds_found_without_them() -> None:
    problem = problem_of(Drawn(images=6).draw(2), "SeverstalDice")
    scorer = search_of(problem).scorer
    folds = np.array([0, 0, 0, 1, 1, 1])
    cross = cross_validate(scorer, problem.start, SearchBounds(), folds)
    settings = [
        Search(scorer, SearchBounds(), images).global_stages(problem.start)[-1].setting for images in ([3, 4, 5], [0, 1, 2])
    ]
    expected = (scorer.value(settings[0], [0, 1, 2]) + scorer.value(settings[1], [3, 4, 5])) / 2
    assert cross.global_value == pytest.approx(expected, abs=1e-12)


def test_folds_do_not_depend_on_order() -> None:
    records, _ = Drawn(images=20).draw(0)
    folds = assign_folds(records, 4)
    assert np.bincount(folds).tolist() == [5, 5, 5, 5]
    again = assign_folds(records[::-1], 4)[::-1]
    assert folds.tolist() == again.tolist()


def test_folds_keep_the_same_picture_together() -> None:
    records, _ = Drawn(images=20).draw(0)
    groups = np.arange(20)
    groups[[3, 11, 12]] = 3
    groups[[0, 19]] = 40
    folds = assign_folds(records, 4, groups)
    assert len(set(folds[[3, 11, 12]])) == len(set(folds[[0, 19]])) == 1
    assert set(folds.tolist()) == {0, 1, 2, 3}
    # Without groups the same images are in different folds: that is what is prevented.
    apart = assign_folds(records, 4)
    assert len(set(apart[[3, 11, 12]])) > 1
    assert assign_folds(records, 4, np.arange(20)).tolist() == apart.tolist()
    assert assign_folds(records[::-1], 4, groups[::-1])[::-1].tolist() == folds.tolist()


def test_copies_are_one_image_for_the_check() -> None:
    problem = problem_of(Drawn(images=4).draw(2), "SeverstalDice")
    tuned, _ = tune_candidates(problem, SearchBounds(), folds=4, groups=np.array([0, 0, 1, 1]))
    assert tuned.cross.folds == 2
    tuned, _ = tune_candidates(problem, SearchBounds(), folds=4, groups=np.zeros(4, np.int64))
    assert tuned.cross is None


def test_global_thresholds_that_lose_say_what_to_do() -> None:
    problem = problem_of(_lottery(classes=3), "SeverstalDice", classes=3)
    tuned, _ = tune_candidates(problem, SearchBounds(), folds=5)
    assert tuned.common.value > tuned.stages[0].value
    assert tuned.cross.global_value <= tuned.stages[0].value
    text = next(warning for warning in tuned.warnings if warning.startswith("Even the global thresholds"))
    for advice in ("Do not use the file", "tools/split.py --holdout", "without --postprocess"):
        assert advice in text
    assert not tuned.usable
    # Thresholds that hold up on other images, and such that nobody has checked, may be used.
    alone, _ = tune_candidates(problem, SearchBounds(), folds=0)
    assert alone.usable


def test_everything_filtered_is_said() -> None:
    records, found = replace(CLEAN, instances=0.3, candidates=6).draw(3)
    records = [replace(r, boxes=r.boxes[:0], labels=r.labels[:0], masks=[], crowd=r.crowd[:0]) for r in records[:-1]] + records[
        -1:
    ]
    found = [replace(one, probs=np.full_like(one.probs, 0.9)) for one in found]
    tuned, _ = tune_candidates(problem_of((records, found), "SeverstalDice"), SearchBounds(), folds=0)
    assert tuned.kept == 0
    assert any("leave nothing" in warning and "Do not use the file" in warning for warning in tuned.warnings)
    assert not tuned.usable


def test_processes_find_the_same() -> None:
    problem = problem_of(Drawn(images=8).draw(4), "SeverstalDice")
    alone, _ = tune_candidates(problem, SearchBounds(min_instances=1), folds=3)
    several, _ = tune_candidates(problem, SearchBounds(min_instances=1), folds=3, workers=2)
    assert several.cross == alone.cross
    assert several.chosen == alone.chosen


def test_an_empty_submission_is_shown_where_it_scores() -> None:
    drawn = Drawn(images=6).draw(2)
    tuned, scorer = tune_candidates(problem_of(drawn, "SeverstalDice"), SearchBounds(), folds=0)
    nothing = scorer.value(Setting.uniform(3, Thresholds(2.0, 0.5, 0.5, 0)))
    assert 0 < tuned.nothing == nothing < tuned.after
    assert f"An empty submission scores {nothing:.4f} by SeverstalDice" in format_ablation("SeverstalDice", tuned)
    tuned, _ = tune_candidates(problem_of(drawn, "MeanIoU"), SearchBounds(), folds=0)
    assert "empty submission" not in format_ablation("MeanIoU", tuned)
