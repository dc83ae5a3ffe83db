"""Thresholds of probability maps: the fast scorer is the pipeline, gates come first, soft gates and cores are searched."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from tuning_cases import Drawn, draw_maps, names_of

from ppdet_ext.evaluation import tuning_metric
from ppdet_ext.inference.candidate_file import quantised
from ppdet_ext.structures import TestSettings
from ppdet_ext.tuning.options import SearchBounds
from ppdet_ext.tuning.problem import Problem
from ppdet_ext.tuning.report import format_ablation
from ppdet_ext.tuning.run import make_problem
from ppdet_ext.tuning.search import Search
from ppdet_ext.tuning.setting import Searched, Setting, Thresholds, from_steps, moved_steps
from ppdet_ext.tuning.tuner import tune_candidates

NAMES, IDS = names_of(3)
DRAWN = Drawn(images=8, instances=2, candidates=4)
CONFIGURED = TestSettings(score_threshold=0.0)


def problem_of(steps: list, metric: str = "SeverstalDice", drawn: Drawn = DRAWN, seed: int = 0) -> Problem:
    records, found = draw_maps(drawn, seed)
    dataset = SimpleNamespace(annotated=True, records=records, class_names=NAMES, category_ids=IDS)
    dataset.num_classes = 3

    def make_metric():
        made = tuning_metric(metric)
        made.start_on = lambda data: made.start(data.records, data.class_names, data.category_ids)
        return made

    return make_problem(dataset, make_metric, CONFIGURED, CONFIGURED, steps, lambda: [quantised(one) for one in found])


def random_setting(rng: np.random.Generator, searched: Searched) -> Setting:
    fields = {
        "score": round(rng.uniform(0, 0.9), 2),
        "mask_threshold": float(rng.choice([0.3, 0.45, 0.5])),
        "area": int(rng.choice([0, 30, 200, 600])),
        "c_factor": float(rng.choice([1, 2.5, 5])),
        "core": float(rng.choice([0.4, 0.6, 0.8])),
    }
    whole = Thresholds(0.0, 1.0, 0.5, 0)
    own = {name: value for name, value in fields.items() if name in searched.fields}
    return Setting(tuple(whole._replace(**own) for _ in range(3)))


STEPS = {
    "plain": [],
    "gated": [{"LikeliestClass": {}}, {"MinArea": {"area": 3}}, {"ClassifierGate": {"threshold": 0.5}}],
    "soft": [{"SoftGate": {"area": 100, "c_factor": 3}}],
    "core": [{"CoreExtent": {"core": 0.6, "extent": 0.3}}, {"SoftGate": {"area": 50}}],
}


@pytest.mark.parametrize("metric", ["SeverstalDice", "IMaterialistMAP", "MeanIoU"])
@pytest.mark.parametrize("steps", STEPS)
def test_scorer_equals_steps_and_metric(steps: str, metric: str) -> None:
    problem = problem_of(STEPS[steps], metric)
    scorer, rng = problem.scorer(), np.random.default_rng(1)
    for _ in range(5):
        setting = random_setting(rng, problem.searched)
        assert scorer.value(setting) == pytest.approx(problem.value(setting), abs=1e-12)
    assert scorer.value(problem.start) == pytest.approx(problem.value(problem.start), abs=1e-12)


def test_what_is_searched_and_written() -> None:
    kinds = {name: [next(iter(entry)) for entry in problem_of(steps).entries(Setting.uniform(3, Thresholds(0.1, 1, 0.5, 7)))]
             for name, steps in STEPS.items()}  # fmt: skip
    assert kinds["plain"] == ["ScoreThreshold", "MaskThreshold", "MinArea"]
    assert kinds["gated"] == ["LikeliestClass", "ClassifierGate", "ScoreThreshold", "MaskThreshold", "MinArea"]
    assert kinds["soft"] == ["ScoreThreshold", "MaskThreshold", "SoftGate"]
    assert kinds["core"] == ["ScoreThreshold", "CoreExtent", "SoftGate"]
    assert Searched.of(STEPS["soft"], maps=False).kinds == ("BoxNMS", "ScoreThreshold", "MaskThreshold", "SoftGate")
    assert moved_steps(STEPS["gated"]) == []


@pytest.mark.parametrize("steps", STEPS)
def test_steps_give_the_setting_again(steps: str) -> None:
    problem, rng = problem_of(STEPS[steps]), np.random.default_rng(2)
    for _ in range(10):
        setting = random_setting(rng, problem.searched)
        again, _ = from_steps(Thresholds(0.0, 1.0, 0.5, 0), problem.entries(setting), NAMES, IDS)
        assert [own.cut for own in again.classes] == [own.cut for own in setting.classes]
        assert again.values("area") == setting.values("area")
        assert again.values("c_factor") == setting.values("c_factor")


def test_a_gates_file_is_kept(tmp_path) -> None:
    file = tmp_path / "gate.csv"
    records, _ = draw_maps(DRAWN)
    rows = [f"{record.name},{0.1 * (record.im_id % 10)},0.9,0.4" for record in records]
    file.write_text("\n".join(["ImageId,kind 0,kind 1,kind 2", *rows]) + "\n")
    problem = problem_of([{"SoftGate": {"area": 200, "c_factor": 4, "file": str(file)}}])
    assert problem.entries(problem.start)[-1] == {"SoftGate": {"area": 200, "c_factor": 4.0, "file": str(file)}}
    assert problem.scorer().value(problem.start) == pytest.approx(problem.value(problem.start), abs=1e-12)


def test_the_search_gains_and_says_what_it_searched() -> None:
    problem = problem_of(STEPS["soft"], drawn=replace(DRAWN, right=(0.7, 1), wrong=(0.2, 0.6)))
    tuned, _ = tune_candidates(problem, SearchBounds(min_instances=1), folds=2)
    titles = [stage.title for stage in tuned.stages]
    assert titles[1:-2] == ["score threshold", "mask threshold", "min area", "c factor"]
    values = [stage.value for stage in tuned.stages]
    assert values == sorted(values)
    assert values[-1] > values[0] + 0.02
    assert tuned.after == pytest.approx(tuned.chosen.value, abs=1e-12)
    text = format_ablation("SeverstalDice", tuned)
    assert "NMS" not in text
    assert "c factor" in text


def test_thresholds_are_found_behind_the_gate() -> None:
    """Where the gate has dropped what is wrong, no score threshold is needed for that."""
    drawn = replace(DRAWN, right=(0.3, 0.6), wrong=(0.7, 1.0), candidates=5)
    records, found = draw_maps(drawn)
    there = [np.isin(np.arange(3), record.labels).astype(np.float32) for record in records]
    found = [quantised(replace(one, presence=own)) for one, own in zip(found, there)]
    bare = replace(problem_of([], drawn=drawn), candidates=found)
    gated = replace(bare, first=[{"ClassifierGate": {"threshold": 0.5}}])
    values = [Search(one.scorer(), SearchBounds()).global_stages(one.start)[-1].value for one in (bare, gated)]
    assert values[1] > values[0] + 0.02
    assert gated.scorer().kept(gated.start) < bare.scorer().kept(bare.start)


def test_processes_find_the_same() -> None:
    problem = problem_of(STEPS["core"])
    scorer = problem.scorer(2)
    many = [Setting.uniform(3, Thresholds(0.1, 1, t, 10, 2.0, 0.7)) for t in (0.3, 0.4, 0.5)]
    alone = [problem.scorer().value(setting) for setting in many]
    assert [scorer.value(setting) for setting in many] == alone
