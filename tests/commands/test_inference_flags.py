"""Metrics, steps, views and members from the command line and the configuration, as their user sets them."""

import json
from pathlib import Path

import numpy as np
import pytest

STEPS = """
HybridTaskCascade: {mask_threshold: 0.4}
PostProcess:
  - ScoreThreshold: {score: {default: 0.05, defect_1: 0.1}}
  - MinArea: {area: 4}
  - TopK: {k: 3}
"""


@pytest.fixture
def evaluated(tools, config: str, trained: Path, tmp_path: Path):
    """(overrides, further flags) -> what eval.py has written."""

    def run(*overrides: str, flags: tuple[str, ...] = ()) -> dict:
        given = ["-c", config, *flags, "-o", f"weights={trained}/best_model", f"save_dir={tmp_path}", *overrides]
        assert tools["eval"](given) == 0
        return json.loads((tmp_path / "tiny" / "eval.json").read_text())

    return run


def test_metrics_by_flag_and_by_configuration(evaluated) -> None:
    plain = evaluated()
    several = evaluated(flags=("--metric", "IMaterialistMAP", "SeverstalDice", "COCO"))
    numbers = ["IMaterialistMAP", "SeverstalDice", "bbox", "segm"]
    assert list(several)[3:] == [*numbers, "named", "empty_submission", "origin", "evaluator"]
    assert several["evaluator"].startswith("hotcoco ")
    assert list(several["named"]["segm"])[:3] == ["AP", "AP50", "AP75"]
    assert list(several["named"]["segm"].values()) == several["segm"]
    assert several["named"]["SeverstalDice"]["all"] == several["SeverstalDice"][0]
    assert [several[kind] for kind in ("bbox", "segm")] == [plain[kind] for kind in ("bbox", "segm")]
    assert evaluated("metric=[SeverstalDice]")["SeverstalDice"] == several["SeverstalDice"]
    # Whoever predicts nothing is right wherever there is nothing.
    nothing = evaluated("metric=SeverstalDice", "PostProcess=[{DropClasses: {classes: [1, 2, 3, 4]}}]")
    assert nothing["SeverstalDice"][0] > several["SeverstalDice"][0]
    assert several["empty_submission"]["SeverstalDice"] == nothing["SeverstalDice"][0]


def test_options_of_a_metric_are_the_section_of_its_name(evaluated) -> None:
    # At one pixel whatever is there is right.
    fine, coarse = evaluated("metric=IMaterialistMAP"), evaluated("metric=IMaterialistMAP", "IMaterialistMAP.size=1")
    assert fine["IMaterialistMAP"] != coarse["IMaterialistMAP"]


def test_steps_of_a_file_lie_over_the_configuration_and_under_overrides(evaluated, tmp_path: Path) -> None:
    (tmp_path / "tuned.yml").write_text(STEPS)
    flags = ("--metric", "SeverstalDice", "--postprocess", str(tmp_path / "tuned.yml"))
    plain, tuned = evaluated(flags=flags[:2]), evaluated(flags=flags)
    assert plain["SeverstalDice"] != tuned["SeverstalDice"]
    assert (
        evaluated("PostProcess=null", "HybridTaskCascade.mask_threshold=0.5", flags=flags)["SeverstalDice"]
        == (plain["SeverstalDice"])
    )


def test_a_file_of_steps_that_is_not_there_is_no_configuration(tools, config: str, capsys) -> None:
    assert tools["eval"](["-c", config, "--postprocess", "output/nowhere/tuned.yml"]) == 1
    error = capsys.readouterr().err
    assert "--postprocess output/nowhere/tuned.yml does not exist; tools/tune.py writes such a file" in error
    assert "Nearest" not in error


def test_one_view_is_the_model_and_the_same_member_twice_is_the_member(evaluated, config: str, trained: Path) -> None:
    single = "EvalReader.batch_size=1"
    plain = evaluated(single)
    weights = f"{trained}/best_model"
    for override in (
        "TestTimeAugmentation={flips: [none]}",
        f"Ensemble=[{weights}, {weights}]",
        f"Ensemble=[{{weights: {weights}}}, {{weights: {weights}, config: {config}, weight: 2}}]",
    ):
        found = evaluated(single, override)
        for kind in ("bbox", "segm"):
            np.testing.assert_allclose(found[kind], plain[kind], atol=1e-6, err_msg=override)
    flipped = evaluated(single, "TestTimeAugmentation={flips: [none, horizontal]}")
    assert flipped["segm"] != plain["segm"]


def test_infer_uses_views_and_steps(tools, config: str, trained: Path, workspace: Path, tmp_path: Path) -> None:
    def results(*overrides: str) -> list[dict]:
        given = ["-c", config, "--output_dir", str(tmp_path / "drawn"), "--save_results"]
        assert tools["infer"]([*given, "-o", f"weights={trained}/best_model", *overrides]) == 0
        return json.loads((tmp_path / "drawn" / "mask.json").read_text())

    views = results("TestTimeAugmentation={flips: [none, vertical]}", "PostProcess=[{TopK: {k: 2}}]")
    images = len(list((workspace / "sheets" / "train_images").iterdir()))
    assert len(views) == 2 * images
    assert results("PostProcess=[{ScoreThreshold: {score: 1.0}}]") == []


def test_training_keeps_the_best_by_the_first_metric(tools, config: str, tmp_path: Path, capsys) -> None:
    run = ["-c", config, "--eval", "-r", "auto", "-o", f"save_dir={tmp_path}"]
    assert tools["train"]([*run, "epoch=1", "metric=[SeverstalDice, COCO]", "PostProcess=[{ScoreThreshold: {score: 1}}]"]) == 0
    out = capsys.readouterr().out
    assert "Best SeverstalDice so far" in out
    # Nothing scores 1, so this is an empty submission.
    assert "which is +0.0000: submitting nothing would be as good" in out
    lines = [json.loads(line) for line in (tmp_path / "tiny" / "metrics.jsonl").read_text().splitlines()]
    assert list(lines[-1])[-4:] == ["SeverstalDice", "bbox", "segm", "named"]
    assert lines[-1]["named"]["segm"]["AP"] == lines[-1]["segm"][0]
    # The steps are those of eval.py: nothing scores 1.
    assert lines[-1]["segm"][0] == 0
    # Another metric is another scale, on which the best so far means nothing; it changes no step either.
    assert tools["train"]([*run, "epoch=2", "metric=COCO"]) == 0
    out = capsys.readouterr().out
    assert "The best so far was chosen by SeverstalDice, from now on by mask AP" in out
    assert "Best mask AP so far: 0.0" in out
    assert "(epoch_1)" in out.splitlines()[-1] or "(epoch_1)" in out


@pytest.mark.parametrize(("tool", "overrides", "message"), [
    ("eval", ["metric=IMaterialistMAP", "IMaterialistMAP.match=klass"], "match: 'klass' is not one of"),
    ("eval", ["metric=IMaterialistMAP", "IMaterialistMAP.match=classid"], "none"),
    ("train", ["metric=IMaterialistMAP", "IMaterialistMAP.match=classid"], "none"),
    ("eval", ["EvalDataset.anno_path=null"], "set its anno_path"),
    ("train", ["EvalDataset.anno_path=null"], "set its anno_path"),
    ("eval", ["PostProcess=[{ClassifierGate: {file: GATE}}]"], "has no row for"),
    ("train", ["PostProcess=[{ClassifierGate: {file: GATE}}]"], "has no row for"),
])  # fmt: skip
def test_what_cannot_be_evaluated_is_said_before_the_work(
    tool: str, overrides: list, message: str, tools, config: str, trained: Path, tmp_path: Path, capsys
) -> None:
    (tmp_path / "gate.csv").write_text("ImageId,any\nother.jpg,1\n")
    given = [override.replace("GATE", str(tmp_path / "gate.csv")) for override in overrides]
    run = ["-c", config, *(["--eval"] if tool == "train" else []), "-o", f"save_dir={tmp_path}", *given]
    assert tools[tool]([*run, f"weights={trained}/best_model"]) == 1
    out, error = capsys.readouterr()
    assert message in error
    assert "Eval: [" not in out
    assert "Epoch: [" not in out


def test_training_on_evaluated_images_is_said(tools, config: str, tmp_path: Path, capsys) -> None:
    run = ["-c", config, "--eval", "-o", f"save_dir={tmp_path}", "epoch=1", "EvalDataset.split=train.txt"]
    assert tools["train"](run) == 0
    assert "6 of the 6 evaluated images are trained on" in capsys.readouterr().out


def test_members_with_other_names_of_classes_are_said(evaluated, config: str, trained: Path, tmp_path: Path, capsys) -> None:
    other = tmp_path / "other.yml"
    other.write_text(f"_BASE_: [{config}]\nEvalDataset: !SteelDataSet {{class_names: [hat, shoe, bag, tie]}}\n")
    evaluated(f"Ensemble=[{{weights: {trained}/best_model, config: {other}}}]")
    assert "calls class 0 'hat', the configuration 'defect_1'" in capsys.readouterr().out


@pytest.mark.parametrize(("override", "message"), [
    ("metric=Dice", "there is no metric 'Dice'. There are "),
    ("metric=SeverstalDise", "Did you mean 'SeverstalDice'?"),
    ("metric=3", "metric is 3; expected str or a list"),
    ("IMaterialistMAP.macth=classid", "Did you mean 'match'?"),
    ("PostProcess=[{ScoreTreshold: {}}]", "step 'ScoreTreshold' is not registered. Did you mean 'ScoreThreshold'?"),
    ("PostProcess=[{ScoreThreshold: {scores: 0.5}}]", "Did you mean 'score'?"),
    ("PostProcess=[{ScoreThreshold: {score: {defekt_1: 0.5}}}]", "there is no class 'defekt_1'. Did you mean 'defect_1'?"),
    ("PostProcess=0.5", "expected a list of '- Name: {…}'"),
    ("PostProcess=[{FillHoles: {}}, {MaskThreshold: {threshold: 0.3}}]", "put it before FillHoles"),
    ("TestTimeAugmentation={flip: [none]}", "Did you mean 'flips'?"),
    ("TestTimeAugmentation={flips: [sideways]}", "expected a list of none, horizontal, vertical, both"),
    ("TestTimeAugmentation={resizes: [{ResizeFixd: {}}]}", "Did you mean 'ResizeFixed'?"),
    ("TestTimeAugmentation=[horizontal]", "expected keys resizes, flips"),
    ("Ensemble=[{weight: 2}]", "expected a path, or {weights: path, config: path}"),
    ("Ensemble=[{weights: a, wieght: 2}]", "Did you mean 'weight'?"),
    ("Ensemble=[{weights: a, weight: 0}]", "expected a number above 0"),
    ("Ensemble=some/path", "expected a list of weights"),
    ("Ensemble=[nowhere/model]", "nowhere/model"),
    ("Ensemble=[{weights: nowhere, config: nowhere.yml}]", "Config file nowhere.yml does not exist"),
])  # fmt: skip
def test_what_is_wrong_is_named(override: str, message: str, tools, config: str, trained: Path, capsys) -> None:
    assert tools["eval"](["-c", config, "-o", f"weights={trained}/best_model", override]) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert message in error


def test_thresholds_of_the_configuration_hold_for_members_of_others(
    evaluated, config: str, trained: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other.yml"
    other.write_text(f"_BASE_: [{config}]\nHTCRoIHead: {{score_threshold: 0.9, max_detections: 1}}\n")
    found = evaluated("EvalReader.batch_size=1", f"Ensemble=[{{weights: {trained}/best_model, config: {other}}}]")
    plain = evaluated("EvalReader.batch_size=1")
    np.testing.assert_allclose(found["segm"], plain["segm"], atol=1e-6)


def test_a_member_of_another_number_of_classes_is_refused(tools, config: str, trained: Path, tmp_path: Path, capsys) -> None:
    other = tmp_path / "other.yml"
    other.write_text(f"_BASE_: [{config}]\nnum_classes: 3\nTrainDataset: null\nEvalDataset: null\nTestDataset: null\n")
    entry = f"Ensemble=[{trained}/best_model, {{weights: {trained}/best_model, config: {other}}}]"
    assert tools["eval"](["-c", config, "-o", entry]) == 1
    assert "has 3 classes, the configuration 4" in capsys.readouterr().err
