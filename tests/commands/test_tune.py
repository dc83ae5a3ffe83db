"""tools/tune.py on a model of two epochs: what it writes, evaluation with it, a second run, bad input."""

import json
import shutil
from pathlib import Path

import pytest
import yaml
from forked_runs import load_tool

FLAGS = ["--metric", "MeanIoU", "--score_threshold", "0.001", "--folds", "2", "--min_instances", "1"]


def main(argv: list[str]) -> int:
    return load_tool("tune")(argv)


@pytest.fixture(scope="module")
def model(trained: Path, config: str) -> list[str]:
    return ["-c", config, "-o", f"weights={trained / 'model_final'}"]


@pytest.fixture(scope="module")
def tuned(model: list[str], trained: Path) -> Path:
    assert main([*model, *FLAGS]) == 0
    return trained / "tuned.yml"


def test_evaluation_with_the_file_gives_its_number(tuned: Path, model: list[str], tools, trained: Path) -> None:
    text = tuned.read_text()
    said = float(text.split("MeanIoU on ")[1].split(" images, ")[1].split()[0])
    assert tools["eval"]([*model, "--metric", "MeanIoU", "--postprocess", str(tuned)]) == 0
    evaluated = json.loads((trained / "eval.json").read_text())["MeanIoU"][0]
    assert evaluated == pytest.approx(said, abs=2e-3)  # masks are stored to 1/255
    assert tools["eval"]([*model, "--metric", "MeanIoU"]) == 0
    assert json.loads((trained / "eval.json").read_text())["MeanIoU"][0] < evaluated


def test_the_file_holds_sections_and_no_paths(tuned: Path) -> None:
    sections = yaml.safe_load(tuned.read_text())
    assert sections["HTCRoIHead"] == {"score_threshold": 0.001, "nms_iou": 0.65, "max_detections": 100}
    assert [next(iter(step)) for step in sections["PostProcess"]] == ["BoxNMS", "ScoreThreshold", "MaskThreshold", "MinArea"]
    comments = [line for line in tuned.read_text().splitlines() if line.startswith("#")]
    assert "-o weights=model_final --metric MeanIoU" in comments[1]
    assert not any(" /" in line or "=/" in line for line in comments)


def test_second_run_does_not_predict_again(tuned: Path, model: list[str], capsys, monkeypatch) -> None:
    before = tuned.read_bytes()

    def fail(*args: object) -> None:
        raise AssertionError("predicted again")

    monkeypatch.setattr("ppdet_ext.inference.candidate_store._predicted", fail)
    assert main([*model, *FLAGS]) == 0
    assert "not predicting again" in capsys.readouterr().out
    assert tuned.read_bytes() == before
    with pytest.raises(AssertionError, match="predicted again"):
        main([*model, *FLAGS, "--nms_iou", "0.6"])


def test_damaged_candidates_are_predicted_again(tuned: Path, model: list[str], trained: Path, capsys) -> None:
    for file in (trained / "tune").glob("candidates_*.npz"):
        file.write_bytes(file.read_bytes()[:100])
    assert main([*model, *FLAGS]) == 0
    assert "predicting again" in capsys.readouterr().out


def test_steps_of_the_configuration_stay_after_the_tuned_ones(model: list[str], tuned: Path, tmp_path: Path, capsys) -> None:
    steps = "PostProcess=[ScoreThreshold: {score: 0.2}, SuppressOverlaps: {}, TopK: {k: 3}]"
    target = tmp_path / "more" / "kept.yml"
    assert main([*model, steps, *FLAGS, "--output", str(target), "--plot", str(tmp_path / "curves.png")]) == 0
    names = [next(iter(step)) for step in yaml.safe_load(target.read_text())["PostProcess"]]
    assert names == ["BoxNMS", "ScoreThreshold", "MaskThreshold", "MinArea", "SuppressOverlaps", "TopK"]
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")
    out = capsys.readouterr().out
    assert "configuration without SuppressOverlaps and TopK, scores from 0.2" in out
    assert "cross-validated over 2 folds without SuppressOverlaps and TopK: " in out
    assert "the search applies it before" not in out
    assert "settings in" in out


def test_the_configuration_is_measured_as_eval_does(model: list[str], tools, trained: Path, tmp_path: Path, capsys) -> None:
    # The model knows little: at 0.5, its masks would change with the rounding of stored probabilities.
    first = "ScoreThreshold: {score: 0.01}, MaskThreshold: {threshold: 0.3}"
    steps = f"PostProcess=[{first}, SuppressOverlaps: {{same_class: false}}, MinArea: {{area: 600}}]"
    options = ["HTCRoIHead.nms_iou=0.65", "HTCRoIHead.max_detections=3", steps, "--metric", "MeanIoU"]
    target = tmp_path / "tuned.yml"
    assert main([*model, *options, *FLAGS[2:], "--max_detections", "1000", "--output", str(target)]) == 0
    out = capsys.readouterr().out
    assert "The configuration has MinArea after SuppressOverlaps; the search applies it before" in out
    said = float(target.read_text().split(" with the configuration's)")[0].rpartition("(")[2])
    assert f"{said:.4f} as configured" in out
    assert tools["eval"]([*model, *options]) == 0
    assert json.loads((trained / "eval.json").read_text())["MeanIoU"][0] == pytest.approx(said, abs=1e-3)
    assert said > 0


def never(*args: object) -> None:
    raise AssertionError("candidates were asked for")


def test_options_of_the_metric_count_and_are_no_warning(model: list[str], capsys, monkeypatch) -> None:
    monkeypatch.setattr("ppdet_ext.commands.tune.candidates_of", never)
    assert main([*model, "IMaterialistMAP.match=classid", "--metric", "IMaterialistMAP"]) == 1
    said = capsys.readouterr()
    assert "is not used" not in said.out
    assert "attributes" in said.err  # which sheets have none of


def test_copies_of_an_image_share_a_fold(model: list[str], workspace: Path, trained: Path, tmp_path: Path, capsys) -> None:
    shutil.copytree(workspace / "sheets", tmp_path / "sheets")
    pictures = tmp_path / "sheets" / "train_images"
    held = (tmp_path / "sheets" / "val.txt").read_text().split()
    shutil.copy(pictures / held[0], pictures / held[1])
    options = [f"EvalDataset.dataset_dir={tmp_path / 'sheets'}", *FLAGS, "--output", str(tmp_path / "tuned.yml")]
    assert main([*model, *options]) == 0
    assert f"1 of {len(held)} images are copies of others, byte by byte" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--metric", "SeverstalDise"], "Did you mean 'SeverstalDice'?"),
        (["--score_threshold", "1.5"], "--score_threshold is 1.5"),
        (["--nms_iou", "0"], "--nms_iou is 0"),
        (["--score_threshold", "0.999"], "found nothing of score 0.999 or more"),
        (["--folds", "-1"], "--folds is -1"),
        (["--folds", "1"], "--folds is 1; at least 2 are needed"),
        (["--min_gain", "nan"], "--min_gain is nan"),
        (["--min_gain", "-0.1"], "--min_gain is -0.1"),
        (["--min_gain", "inf"], "--min_gain is inf"),
        (["--min_instances", "-1"], "--min_instances is -1"),
        (["--output", "{tmp}"], "--output {tmp} is a folder"),
        (["--plot", "{tmp}/file/curves.png"], "Cannot write {tmp}/file/curves.png"),
        (["--plot", "{tmp}/one", "--output", "{tmp}/one"], "--plot and --output are the same file"),
        (["-o", "HTCRoIHead.with_mask=false"], "has no masks"),
        (["-o", "weights=null"], "No weights are configured"),
    ],
)
def test_bad_input(words: list[str], message: str, model: list[str], tmp_path: Path, capsys, monkeypatch) -> None:
    if "0.999" not in words and "weights=null" not in words:
        monkeypatch.setattr("ppdet_ext.commands.tune.candidates_of", never)
    (tmp_path / "file").write_text("")
    assert main([*model, *(word.format(tmp=tmp_path) for word in words)]) == 1
    assert message.format(tmp=tmp_path) in capsys.readouterr().err


def test_without_annotations(model: list[str], workspace: Path, tmp_path: Path, capsys) -> None:
    other = tmp_path / "plain.yml"
    other.write_text(
        f"_BASE_: [{workspace / 'tiny.yml'}]\nEvalDataset: !ImageFolder {{images: {workspace}/sheets/train_images}}\n"
    )
    assert main(["-c", str(other), *model[2:]]) == 1
    assert "no annotations" in capsys.readouterr().err
