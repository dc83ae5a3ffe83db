"""Settings to steps and back, stored candidates, and the file that is written."""

import shlex
from pathlib import Path

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from tuning_cases import Drawn, names_of

from ppdet_ext.errors import UserError
from ppdet_ext.evaluation import tuning_metric
from ppdet_ext.inference.candidate_file import load, quantised, restored, save
from ppdet_ext.structures.candidates import Candidates
from ppdet_ext.tuning.options import SearchBounds
from ppdet_ext.tuning.problem import Problem, pipeline_value
from ppdet_ext.tuning.report import command_line, format_ablation, tuned_yaml
from ppdet_ext.tuning.setting import Setting, Thresholds, from_steps, moved_steps
from ppdet_ext.tuning.tuner import tune_candidates

NAMES, IDS = names_of(3)
START = Thresholds(0.01, 0.5, 0.5, 0)


def test_steps_give_the_setting_again() -> None:
    setting = Setting((Thresholds(0.3, 0.45, 0.5, 20), Thresholds(0.3, 0.5, 0.55, 20), Thresholds(0.02, 0.45, 0.5, 0)))
    steps = setting.steps(NAMES, IDS)
    assert steps[0] == {"BoxNMS": {"iou": {"default": 0.45, "kind 1": 0.5}}}
    assert steps[3] == {"MinArea": {"area": {"default": 20, "kind 2": 0}}}
    others = [{"TopK": {"k": 3}}, {"SuppressOverlaps": {}}]
    assert from_steps(START, [steps[0], others[0], *steps[1:], others[1]], NAMES, IDS) == (setting, others)


def test_steps_add_to_what_the_model_does() -> None:
    setting, _ = from_steps(START, [{"BoxNMS": {"iou": 0.9}}, {"ScoreThreshold": {"score": {"kind 1": 0.2}}}], NAMES, IDS)
    assert setting.values("nms_iou") == [0.5] * 3
    assert setting.values("score") == [0.01, 0.2, 0.01]
    setting, _ = from_steps(START, [{"ScoreThreshold": {}}, {"MaskThreshold": {"threshold": 0.4}}], NAMES, IDS)
    assert setting.classes[0] == Thresholds(0.5, 0.5, 0.4, 0)
    with pytest.raises(UserError, match="there is no class"):
        from_steps(START, [{"MinArea": {"area": {"hat": 3}}}], NAMES, IDS)


def test_classes_that_no_key_means_are_told_by_a_list() -> None:
    names, ids = ["default", "5", "hat"], [5, 1, 9]
    setting = Setting((Thresholds(0.3, 0.5, 0.5, 7), Thresholds(0.2, 0.5, 0.5, 0), Thresholds(0.2, 0.5, 0.4, 0)))
    steps = setting.steps(names, ids)
    assert steps[1] == {"ScoreThreshold": {"score": [0.3, 0.2, 0.2]}}
    assert steps[2] == {"MaskThreshold": {"threshold": {"default": 0.5, "hat": 0.4}}}
    assert from_steps(START, steps, names, ids) == (setting, [])


CONFUSABLE = ["default", "0", "1", "2", "3", "hat", "Hat", "a: b", "null", "1.0"]


@settings(max_examples=200)
@given(st.data())
def test_whatever_the_classes_are_called_the_file_gives_the_setting_again(data) -> None:
    names = data.draw(st.lists(st.sampled_from(CONFUSABLE), min_size=1, max_size=6))
    ids = data.draw(st.permutations(range(len(names))))
    score, area = st.sampled_from([0.1, 0.3, 0.7]), st.sampled_from([0, 20, 55])
    classes = [Thresholds(data.draw(score), 0.5, 0.5, data.draw(area)) for _ in names]
    written = yaml.safe_load(yaml.safe_dump(Setting(tuple(classes)).steps(names, ids)))
    assert from_steps(START, written, names, ids) == (Setting(tuple(classes)), [])


def test_quantised_probabilities_are_close() -> None:
    _, found = Drawn(images=1, candidates=8).draw()
    back = restored(quantised(found[0]))
    assert np.abs(back.probs - found[0].probs).max() <= 0.5 / 255 + 1e-6
    assert back.scores.tobytes() == found[0].scores.tobytes()
    ends = Candidates(4, 4, found[0].boxes[:1], found[0].scores[:1], found[0].labels[:1], np.array([[[0.0, 1.0]]], np.float32))
    assert restored(quantised(ends)).probs.tolist() == [[[0.0, 1.0]]]


def test_a_model_without_masks_is_refused() -> None:
    with pytest.raises(UserError, match="no masks"):
        quantised(Candidates(4, 4, np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int64), None))


def test_stored_candidates_come_back(tmp_path: Path) -> None:
    _, found = Drawn(images=3, candidates=5).draw()
    found[1] = found[1].select(np.zeros(len(found[1]), bool))
    pairs = [(7 - place, quantised(one)) for place, one in enumerate(found)]
    save(tmp_path / "c.npz", pairs)
    again = load(tmp_path / "c.npz")
    assert [im_id for im_id, _ in again] == [7, 6, 5]
    for (_, before), (_, after) in zip(pairs, again):
        assert (before.height, before.width) == (after.height, after.width)
        for name in ("boxes", "scores", "labels", "probs"):
            assert getattr(before, name).tobytes() == getattr(after, name).tobytes()
            assert getattr(before, name).dtype == getattr(after, name).dtype
    assert load(tmp_path / "none.npz") is None
    content = (tmp_path / "c.npz").read_bytes()
    for damaged in (content[: len(content) // 2], b"", b"text"):
        (tmp_path / "d.npz").write_bytes(damaged)
        assert load(tmp_path / "d.npz") is None


def test_the_file_reproduces_the_number() -> None:
    records, found = Drawn(images=8).draw(3)
    found = [quantised(one) for one in found]
    problem = Problem(
        lambda: tuning_metric("IMaterialistMAP"), records, NAMES, IDS, found, Setting.uniform(3, START), [{"TopK": {"k": 4}}]
    )
    tuned, _ = tune_candidates(problem, SearchBounds(min_instances=1), folds=2, keep_per_class=True)
    head = {"score_threshold": 0.01, "nms_iou": 0.65, "max_detections": 100}
    averaged = {"TestTimeAugmentation": {"flips": ["none", "both"]}, "Ensemble": ["a", {"weights": "b", "config": "c d.yml"}]}
    sections = yaml.safe_load(
        tuned_yaml("IMaterialistMAP", tuned, problem, averaged | {"HTCRoIHead": head}, "python tools/tune.py")
    )
    assert sections["HTCRoIHead"] == head
    assert {key: sections[key] for key in averaged} == averaged
    assert [next(iter(step)) for step in sections["PostProcess"]][-1] == "TopK"
    value = pipeline_value(
        tuning_metric("IMaterialistMAP"), records, NAMES, IDS, [restored(one) for one in found], sections["PostProcess"], 0.5
    )
    assert value == tuned.after > tuned.before


def test_steps_that_spoil_the_search_are_said() -> None:
    records, found = Drawn(images=6, right=(0.6, 1), wrong=(0.01, 0.4)).draw(1)
    others = [{"DropClasses": {"classes": ["kind 0", "kind 1", "kind 2"]}}]
    start = Setting.uniform(3, START)
    problem = Problem(lambda: tuning_metric("MeanIoU"), records, NAMES, IDS, [quantised(one) for one in found], start, others)
    tuned, _ = tune_candidates(problem, SearchBounds(), folds=0)
    assert tuned.after == tuned.before == 0
    assert tuned.chosen.value > 0.3


ORDERED = [{"ScoreThreshold": {"score": 0.1}}, {"SuppressOverlaps": {"same_class": False}}, {"MinArea": {"area": 150}}]


def test_the_configuration_keeps_its_order() -> None:
    records, found = Drawn(images=8, instances=6).draw(4)
    found = [quantised(one) for one in found]
    setting, others = from_steps(START, ORDERED, NAMES, IDS)
    model = [{"BoxNMS": {"iou": 0.5}}, {"ScoreThreshold": {"score": 0.01}}]
    problem = Problem(
        lambda: tuning_metric("MeanIoU"), records, NAMES, IDS, found, setting, others, model_steps=model, configured=ORDERED
    )
    tuned, _ = tune_candidates(problem, SearchBounds(), folds=0)
    entries = [*model, *ORDERED]
    whole = [restored(one) for one in found]
    assert tuned.before == pipeline_value(tuning_metric("MeanIoU"), records, NAMES, IDS, whole, entries, 0.5)
    # The order matters here, and what the ablation begins with is another thing again, and says so.
    assert tuned.before != problem.value(setting)
    assert (
        format_ablation("MeanIoU", tuned).splitlines()[1].startswith("configuration without SuppressOverlaps, scores from 0.1")
    )
    moved = [warning for warning in tuned.warnings if "MinArea after SuppressOverlaps" in warning]
    assert len(moved) == 1
    assert f"# {moved[0]}" in tuned_yaml("MeanIoU", tuned, problem, {"HTCRoIHead": {}}, "").splitlines()


def test_steps_that_change_places() -> None:
    assert moved_steps(ORDERED[::-1]) == [("ScoreThreshold", ["SuppressOverlaps"])]
    assert moved_steps(Setting.uniform(3, START).steps(NAMES, IDS)) == []
    # A score threshold commutes with NMS and areas; NMS after the least area does not.
    kinds = ["ScoreThreshold", "MinArea", "ScoreThreshold", "BoxNMS"]
    assert moved_steps([{kind: {}} for kind in kinds]) == [("BoxNMS", ["MinArea"])]


def test_a_command_can_be_pasted() -> None:
    words = ["-c", "a b.yml", "-o", "Ensemble=[{weights: out/one, weight: 2}]", "weights=/home/me/my models/best", "x=$HOME"]
    line = command_line("tools/tune.py", words)
    assert shlex.split(line) == ["python", "tools/tune.py", *words[:4], "weights=best", "x=$HOME"]
    assert "'x=$HOME'" in line


def test_commands_lose_the_folders_of_the_machine() -> None:
    words = ["-c", "configs/htc/steel.yml", "-o", "weights=/home/me/out/best", "save_dir=out/x", "--output", "/tmp/tuned.yml"]
    assert command_line("tools/tune.py", words) == (
        "python tools/tune.py -c configs/htc/steel.yml -o weights=best save_dir=out/x --output tuned.yml"
    )
