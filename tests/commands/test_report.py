"""tools/report.py and what a training leaves at its end."""

import json
import re
from pathlib import Path

import pytest

from ppdet_ext import load_config, write_report
from ppdet_ext.checkpoint.archive import set_aside
from ppdet_ext.commands import report as command
from ppdet_ext.commands.main import run
from ppdet_ext.commands.report import Options, report_of_training
from ppdet_ext.commands.report_origin import JOINED
from ppdet_ext.data.loading.build import load_dataset
from ppdet_ext.errors import UserError
from ppdet_ext.report.json_file import read_report
from ppdet_ext.report.run_curves import best_numbers
from ppdet_ext.report.schema import Head
from ppdet_ext.training.evaluation import BestFound

FILES = {"report.html", "report.json", "report.csv", "label_errors.csv"}


@pytest.fixture(scope="module")
def made(config: str, eager: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a report on a model that sees objects everywhere."""
    folder = tmp_path_factory.mktemp("report")
    given = ["-o", eager, "metric=[COCO, SeverstalDice]", "HTCRoIHead.score_threshold=0.05"]
    assert run("report", ["-c", config, "--output", str(folder), *given]) == 0
    return folder


def test_a_report_has_its_files_and_every_section(made: Path) -> None:
    assert {path.name for path in made.iterdir()} >= FILES
    report = read_report(made / "report.json")
    assert report.head.images > 0
    assert report.head.detections > 0
    assert [one.metric for one in report.competition] == ["SeverstalDice"]
    assert report.head.primary == "segm"
    assert report.pictures.images
    assert (made / "report.html").read_text(encoding="utf-8").count("<section") > 5
    rows = (made / "report.csv").read_text(encoding="utf-8-sig").splitlines()
    assert len(rows) == 1 + len(report.classes)
    assert rows[0].startswith("label,class,instances,images,detections,mask_ap,mask_ap50")


def test_numbers_are_those_of_eval(made: Path, config: str, eager: str, tmp_path: Path) -> None:
    given = ["-o", eager, "metric=[COCO, SeverstalDice]", "HTCRoIHead.score_threshold=0.05"]
    assert run("eval", ["-c", config, "--output_eval", str(tmp_path), *given]) == 0
    theirs = json.loads((tmp_path / "eval.json").read_text())["named"]
    report = read_report(made / "report.json")
    for kind in ("segm", "bbox"):
        ours = {name: -1 if value is None else value for name, value in report.head.numbers[kind].items()}
        assert ours == theirs[kind]
    assert report.competition[0].value == pytest.approx(theirs["SeverstalDice"]["all"], abs=1e-12)


def test_results_in_files_give_the_same_report(made: Path, config: str, eager: str, tmp_path: Path) -> None:
    given = ["-o", eager, "HTCRoIHead.score_threshold=0.05"]
    assert run("eval", ["-c", config, "--save_prediction_only", "--output_eval", str(tmp_path), *given]) == 0
    found = write_report(config, results=tmp_path, output_dir=tmp_path / "report", pictures=0, compare=tmp_path)
    whole = read_report(made / "report.json")
    assert found is not None
    assert found.head.numbers == whole.head.numbers
    assert (found.confusion, found.errors) == (whole.confusion, whole.errors)
    assert (found.pictures.images, found.compare.runs[0].rows[0].difference) == ([], 0)


def test_a_training_ends_with_a_report_and_says_how_long_it_took(
    trained: Path, config: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    cfg = load_config(config, {"report": True, "save_dir": str(tmp_path)})
    monkeypatch.setattr(command, "best_weights", lambda folder: trained / "best_model.pdparams")
    said: list[str] = []
    monkeypatch.setattr(command.logger, "info", lambda text, *given: said.append(text % given))
    report_of_training(cfg, tmp_path / "run")
    assert re.match(r"Report in [\d.]+ s \([\d.]+ s of it for the predictions\): .*report.html", said[-1])
    assert {path.name for path in (tmp_path / "run").iterdir()} >= FILES
    report_of_training(cfg.replaced(report=False), tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_what_the_best_evaluation_found_is_not_predicted_again(
    trained: Path, config: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    cfg = load_config(config, {"report": True})
    dataset = load_dataset(cfg, "EvalDataset")
    best = BestFound()
    best.take(dataset, best_numbers(trained), {})
    # Worse ones, and those as good that come later, are not kept.
    best.take(dataset, best_numbers(trained), {1: None})
    asked = []
    monkeypatch.setattr(command, "report", lambda cfg, options, found: asked.append(found))
    report_of_training(cfg, trained, best)
    report_of_training(cfg, trained, BestFound())
    other = BestFound()
    other.take(dataset, {"segm": [0.123] * 12}, {})
    report_of_training(cfg, trained, other)
    assert asked == [(dataset, {}), None, None]


def test_what_goes_wrong_with_it_does_not_fail_the_training(
    trained: Path, config: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def fails(cfg: object, options: Options, found: object) -> None:
        raise UserError("the disk is full")

    said: list[str] = []
    monkeypatch.setattr(command, "report", fails)
    monkeypatch.setattr(command.logger, "warning", lambda text, *given: said.append(text % given))
    report_of_training(load_config(config, {"report": True}), trained)
    assert said[0].startswith("No report was written: the disk is full\nThe training is complete: ")
    assert f"tools/report.py --run {trained}" in said[0]


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--score", "1.5"], "--score is 1.5; scores are numbers from 0 to 1."),
        (["--pictures", "-1"], "--pictures is -1; give a number of pictures, or --no-pictures."),
        (["--results", "no/such"], "no/such: there is no such folder or file."),
        (["--compare", "no/such"], "no/such: there is no such folder or file."),
        (["--part", "test"], "TestDataset has none: set its anno_path, or take another --part."),
        (["--run", "."], "--run has its own configuration; leave -c out"),
    ],
)
def test_what_cannot_be_is_said(flags: list[str], said: str, config: str, eager: str, tmp_path: Path, capsys) -> None:
    assert run("report", ["-c", config, *flags, "--output", str(tmp_path / "out"), "-o", eager]) == 1
    assert said in capsys.readouterr().err


def test_the_report_of_an_earlier_run_goes_aside_with_it(tmp_path: Path) -> None:
    for name in ("best_model.pdparams", *FILES):
        (tmp_path / name).write_text("x")
    (tmp_path / "label_errors" / "cvat").mkdir(parents=True)
    aside = set_aside(tmp_path)
    assert aside is not None
    assert {path.name for path in aside.iterdir()} == {"best_model.pdparams", "label_errors", "checkpoints", *FILES}
    assert [path for path in tmp_path.iterdir() if path != aside] == []


def test_a_model_of_one_mask_a_class_is_measured_by_one_mask_a_class(config: str, workspace: Path, tmp_path: Path) -> None:
    semantic = tmp_path / "semantic.yml"
    semantic.write_text(
        f"_BASE_: [{config}]\narchitecture: SemanticSegmentor\nmetric: SeverstalDice\n"
        "SemanticSegmentor: {encoder: ResNetEncoder, decoder: FPNDecoder}\nResNetEncoder: {name: resnet18}\n"
    )
    dataset = load_dataset(load_config(str(semantic)), "EvalDataset")
    rows = [
        {"image_id": record.im_id, "category_id": dataset.category_ids[label], "score": 0.9, "segmentation": mask.to_coco(True)}
        for record in (one.joined_by_class() for one in dataset.records)
        for label, mask in zip(record.labels, record.masks)
    ]
    assert len(rows) < sum(len(record.labels) for record in dataset.records)
    (tmp_path / "mask.json").write_text(json.dumps(rows))
    given = {"results": tmp_path / "mask.json", "output_dir": tmp_path / "report", "pictures": 0}
    made = write_report(str(semantic), **given)
    assert made is not None
    assert (made.head.f1, made.head.instances, made.head.numbers["segm"]["AP"]) == (1, len(rows), 1)
    assert {row.numbers["segm"].dice for row in made.classes} <= {1, None}
    assert made.head.notes == [JOINED]
    # Taken apart, they are objects again, which the joined masks are not.
    apart = write_report(str(semantic), overrides={"PostProcess": [{"Components": {}}]}, **given)
    assert apart is not None
    assert apart.head.instances > len(rows)
    assert apart.head.f1 < 1
    assert apart.head.notes == []


def test_the_head_says_which_part_was_trained_on(made: Path, config: str, tmp_path: Path) -> None:
    assert read_report(made / "report.json").head.trained_on == "split train.txt"
    assert "split train.txt" in (made / "report.html").read_text(encoding="utf-8")
    assert read_report(made / "report.json").head.data.endswith(", split val.txt")
    folds = load_config(config, {"TrainDataset.split": None, "TrainDataset.fold": 1, "TrainDataset.part": "train"})
    assert folds.TrainDataset.chosen_in_words == "part train, fold 1 of 5 (from 0)"


def test_what_results_were_trained_on_is_told_as_far_as_they_say(trained: Path, config: str, tmp_path: Path) -> None:
    (tmp_path / "mask.json").write_text("[]")

    def head(weights: str = "", part: str = "eval") -> Head:
        if weights:
            (tmp_path / "origin.json").write_text(json.dumps({"weights": weights}))
        made = write_report(config, results=tmp_path, part=part, output_dir=tmp_path / "report", pictures=0)
        assert made is not None
        return made.head

    silent = head(part="train")
    assert (silent.weights, silent.trained_on) == ("", f"not known: {tmp_path} does not say")
    assert any("are in TrainDataset: if the results are of a model trained on it" in note for note in silent.notes)
    assert silent.trained_on in (tmp_path / "report" / "report.html").read_text(encoding="utf-8")
    assert head("elsewhere/best.pdparams").trained_on == f"not known: {tmp_path} says its weights alone"
    run = head(str(trained / "best_model.pdparams"), "train")
    assert (run.weights, run.trained_on) == (str(trained / "best_model.pdparams"), f"split train.txt, run {trained}")
    assert any("images were trained on" in note for note in run.notes)
