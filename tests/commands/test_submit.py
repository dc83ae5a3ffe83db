"""tools/submit.py on a tiny HTC: killed and resumed, on one rank and two; formats; bad input."""

import csv
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import paddle
import pytest

from ppdet_ext.commands import submit
from ppdet_ext.commands.flags import submit_parser
from ppdet_ext.config.load import load_config
from ppdet_ext.data.datasets import FashionDataSet, ImageFolder, SteelDataSet
from ppdet_ext.host.build import build_model
from ppdet_ext.submission import predict

ROOT = Path(__file__).resolve().parents[2]
LAUNCHED = ["-m", "paddle.distributed.launch", "--nproc_per_node", "2"]
# Ends as by kill -9, in the midst of the line of the image after the first three.
KILLED = """
import os, signal, sys
sys.path.insert(0, sys.argv.pop(1))
sys.path.insert(0, sys.argv.pop(1))
import submit
from ppdet_ext.submission import journal
append, lines = journal.JournalWriter._append, []

def append_and_die(self, content):
    lines.append(content)
    if len(lines) == 5:
        self._stream.write(b'{"image":"torn')
        self._stream.flush()
        os.kill(os.getpid(), signal.SIGKILL)
    append(self, content)

journal.JournalWriter._append = append_and_die
submit.main()
"""
FLAGS = {"-c/--config": None, "-o/--opt": [], "--traceback": False, "--debug": False,
         "--infer_img": None, "--infer_dir": None, "--results": None,
         "--output": "output/submission.csv", "--draw_threshold": None, "--format": None, "--style": None,
         "--postprocess": None}  # fmt: skip


def test_flags_are_frozen() -> None:
    found = {"/".join(action.option_strings): action.default for action in submit_parser()._actions}
    assert {flag: default for flag, default in found.items() if "help" not in flag} == FLAGS


def run(folder: Path, *command: str) -> tuple[int, str]:
    """Exit code and what was printed; one thread, for its number changes the last digits."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, *command], cwd=folder, env=environment, timeout=300, text=True, capture_output=True, check=False
    )
    return done.returncode, done.stdout + done.stderr


def test_killed_it_goes_on_to_the_same_file_on_any_number_of_ranks(config: str, eager: str, tmp_path: Path) -> None:
    def arguments(output: str) -> list[str]:
        chosen = ["--draw_threshold", "0.3", "--format", "imaterialist_2020", "--output", str(tmp_path / output)]
        return ["-c", config, *chosen, "-o", eager]

    tool = str(ROOT / "tools" / "submit.py")
    code, printed = run(tmp_path, tool, *arguments("whole.csv"))
    assert code == 0, printed
    whole = (tmp_path / "whole.csv").read_bytes()
    assert len(whole.splitlines()) > 8

    code, printed = run(tmp_path, "-c", KILLED, str(ROOT), str(ROOT / "tools"), *arguments("one.csv"))
    assert code == -signal.SIGKILL, printed
    assert not (tmp_path / "one.csv").exists()
    assert (tmp_path / "one.csv.progress" / "rank_0.jsonl").read_bytes().endswith(b'{"image":"torn')
    shutil.copytree(tmp_path / "one.csv.progress", tmp_path / "two.csv.progress")
    for output, ranks in (("one.csv", []), ("two.csv", LAUNCHED)):
        code, printed = run(tmp_path, *ranks, tool, *arguments(output))
        assert code == 0, printed
        assert "3 of 8 images are done" in printed
        assert (tmp_path / output).read_bytes() == whole
        assert not (tmp_path / f"{output}.progress").exists()


def test_style_is_another_name_and_the_threshold_depends_on_steps(arguments, tools, tmp_path, capfd) -> None:
    written = {}
    for flags in (["--style", "classid"], ["--format", "severstal_stage2"], ["--style", "imageid_classid"], []):
        assert tools["submit"]([*arguments, *flags]) == 0
        written[" ".join(flags)] = (tmp_path / "s.csv").read_text()
    assert written["--style classid"] == written["--format severstal_stage2"]
    assert written["--style imageid_classid"].startswith("ImageId_ClassId,EncodedPixels\nsheet_00000.jpg_1,")
    # As the annotations of the drawn sheets: a column with the class.
    assert written["--style classid"] == written[""]
    assert written[""].startswith("ImageId,EncodedPixels,ClassId\nsheet_00000.jpg,")
    with pytest.raises(SystemExit):
        tools["submit"]([*arguments, "--style", "classid", "--format", "severstal_stage2"])

    (tmp_path / "low.yml").write_text("PostProcess: [ScoreThreshold: {score: 0.3}]\n")
    unasked = [text for text in arguments if text not in ("--draw_threshold", "0.3")]
    assert tools["submit"]([*unasked, "--postprocess", str(tmp_path / "low.yml")]) == 0
    assert (tmp_path / "s.csv").read_text() == written[""]
    assert tools["submit"](unasked) == 0
    assert (tmp_path / "s.csv").read_text() != written[""]


def test_results_give_what_predicting_gives(config, eager, tools, tmp_path, arguments, workspace, capfd) -> None:
    sheets = str(workspace / "sheets" / "train_images")
    assert tools["infer"](["-c", config, "--save_results", "--output_dir", str(tmp_path / "r"), "-o", eager]) == 0
    for name in ("imaterialist_2019", "imaterialist_2020"):
        flags = ["--format", name, "--infer_dir", sheets]
        assert tools["submit"]([*arguments, *flags]) == 0
        predicted = (tmp_path / "s.csv").read_bytes()
        assert tools["submit"]([*arguments, *flags, "--results", str(tmp_path / "r")]) == 0
        assert (tmp_path / "s.csv").read_bytes() == predicted
    rows = list(csv.DictReader((tmp_path / "s.csv").open()))
    assert list(dict.fromkeys(row["ImageId"] for row in rows)) == [f"sheet_{i:05d}" for i in range(8)]
    assert {row["ClassId"] for row in rows} <= {"1", "2", "3", "4", "23"}
    assert re.search(rf"{len(rows)} rows, one for each instance found in 8 images: \d+ with a mask", capfd.readouterr().out)


def picture(path: Path) -> None:
    path.parent.mkdir(exist_ok=True)
    cv2.imwrite(str(path), np.zeros((64, 128, 3), np.uint8))


@pytest.mark.parametrize(("change", "message"), [
    (["--format", "severstal_stage3"], "no submission format 'severstal_stage3'. Did you mean 'severstal_stage"),
    (["--format", "{tmp}/wrong.yml"], "wrong.yml: unknown key 'colour'"),
    (["--infer_dir", "{tmp}/empty"], "empty: no picture there"),
    (["--infer_dir", "{tmp}/texts"], "texts: no picture there"),
    (["--infer_dir", "{tmp}/none"], "none: no such picture or folder"),
    (["--infer_dir", "{tmp}/cut"], "cut/b.png"),
    (["--infer_dir", "{tmp}/twice", "--format", "imaterialist_2020"], "two images of one name, 'a'"),
    (["--infer_dir", "{tmp}/latin"], r"'bad\udcff.png': the picture's name is not UTF-8"),
    (["--output", "{tmp}"], "is a folder; give the file to write"),
    (["--output", "{tmp}/texts/a.txt/s.csv"], "Choose another --output"),
    (["--output", "/proc/none/s.csv"], "Cannot write /proc/none/s.csv: none: No such file or directory. Choose another"),
    (["--draw_threshold", "1.5"], "--draw_threshold is 1.5"),
    (["-o", "HTCRoIHead.with_mask=false", "weights={tmp}/maskless"], "The model has no masks to submit"),
    (["-o", "TestDataset=null"], "Nothing to predict"),
    (["--results", "{tmp}/none"], "make it with infer.py --save_results"),
    (["--results", "{tmp}/results", "--infer_dir", "{tmp}/twice"], "not in {tmp}/twice (b.png); 1 have no results (a.png)"),
    (["--results", "{tmp}/results"], "mask.json, entry 0: image_id 9 is not one of the 2 images"),
])  # fmt: skip
def test_bad_input_is_one_message(arguments, config, tools, tmp_path, capfd, change, message) -> None:
    (tmp_path / "wrong.yml").write_text("colour: red\ncolumns: {}\n")
    (tmp_path / "empty").mkdir()
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "a.txt").write_text("no picture")
    for name in ("cut/a.png", "cut/b.png", "twice/a.png", "twice/a.jpg"):
        picture(tmp_path / name)
    (tmp_path / "cut/b.png").write_bytes((tmp_path / "cut/b.png").read_bytes()[:-30])
    (tmp_path / "latin").mkdir()
    os.link(tmp_path / "cut/a.png", os.fsencode(tmp_path / "latin") + b"/bad\xff.png")
    (tmp_path / "results").mkdir()
    names = [{"id": 1, "file_name": "a.jpg"}, {"id": 2, "file_name": "b.png"}]
    (tmp_path / "results" / "images.json").write_text(json.dumps(names))
    mask = {"size": [2, 2], "counts": [0, 4]}
    entry = {"image_id": 9, "category_id": 1, "score": 1, "segmentation": mask}
    (tmp_path / "results" / "mask.json").write_text(json.dumps([entry]))
    if "maskless" in str(change):
        model = build_model(load_config(config, ["HTCRoIHead.with_mask=false"]))
        paddle.save(model.state_dict(), str(tmp_path / "maskless.pdparams"))
    assert tools["submit"]([*arguments, *(text.format(tmp=tmp_path) for text in change)]) == 1
    error = capfd.readouterr().err
    assert error.startswith("error: ")
    assert message.format(tmp=tmp_path) in error
    assert "Traceback" not in error
    assert not (tmp_path / "s.csv").exists()
    # That there are no masks is seen in the first prediction only.
    assert "maskless" in str(change) or not list(tmp_path.glob("s.csv.progress/*"))


def test_two_at_once_are_refused(arguments, tools, tmp_path, monkeypatch, capfd) -> None:
    monkeypatch.setattr(predict, "PATIENCE_SECONDS", 0.0)
    (tmp_path / "s.csv.progress").mkdir()
    with predict.locked(tmp_path / "s.csv.progress"):
        assert tools["submit"](arguments) == 1
    error = capfd.readouterr().err
    assert f"Another process is predicting for {tmp_path}/s.csv.progress. Wait for it" in error
    assert "choose another --output" in error


@pytest.mark.parametrize(("sets", "name"), [
    ({"TestDataset": FashionDataSet()}, "imaterialist_2019"),
    ({"TestDataset": ImageFolder("x"), "EvalDataset": FashionDataSet()}, "imaterialist_2019"),
    ({"TestDataset": SteelDataSet(dataset_dir="none")}, "severstal_stage2"),
    ({}, "severstal_stage2"),
])  # fmt: skip
def test_the_format_not_asked_for_is_that_of_the_competition(sets: dict, name: str) -> None:
    assert submit.usual_format(sets) == name


LATE, EARLY = "ImageId,EncodedPixels,ClassId\n", "ImageId_ClassId,EncodedPixels\n"
ANNOTATIONS = "ImageId,ClassId,EncodedPixels\n"


@pytest.mark.parametrize(("files", "name"), [
    ({"train.csv": ANNOTATIONS}, "severstal_stage2"),
    ({"train.csv": EARLY}, "severstal_stage1"),
    ({"train.csv": ANNOTATIONS, "sample_submission.csv": EARLY}, "severstal_stage1"),
    ({"train.csv": EARLY, "sample_submission.csv": LATE}, "severstal_stage2"),
    ({"sample_submission.csv": "ImageId,EncodedPixels,ClassId,AttributesIds\n"}, "imaterialist_2020"),
    ({"sample_submission.csv": "id,mask\n"}, "severstal_stage2"),
])  # fmt: skip
def test_the_contests_own_sample_decides_the_format(files: dict[str, str], name: str, tmp_path) -> None:
    for file, text in files.items():
        (tmp_path / file).write_text(text)
    assert submit.usual_format({"EvalDataset": SteelDataSet(dataset_dir=str(tmp_path))}) == name


def test_columns_of_two_contests_are_told_apart_by_the_data_set(tmp_path) -> None:
    (tmp_path / "sample_submission.csv").write_text(LATE)
    assert submit.usual_format({"TestDataset": FashionDataSet(dataset_dir=str(tmp_path))}) == "imaterialist_2019"
    assert submit.usual_format({"TestDataset": SteelDataSet(dataset_dir=str(tmp_path))}) == "severstal_stage2"


def test_what_the_weights_scored_and_an_empty_submission_would(arguments, tools, eager, workspace, capfd, tmp_path) -> None:
    run, weights = f"save_dir={tmp_path}/out", str(tmp_path / "own.pdparams")
    shutil.copy(eager.removeprefix("weights="), weights)
    arguments = [*arguments[:-1], f"weights={weights}"]
    assert tools["submit"]([*arguments, run]) == 0
    assert "An empty submission" not in capfd.readouterr().out
    config = str(workspace / "tiny.yml")
    assert tools["eval"](["-c", config, "--metric", "SeverstalDice", "-o", arguments[-1], run]) == 0
    (said,) = (line for line in capfd.readouterr().out.splitlines() if "An empty submission scores" in line)
    last = json.loads((tmp_path / "out" / "tiny" / "eval.json").read_text())
    value, nothing = last["SeverstalDice"][0], last["empty_submission"]["SeverstalDice"]
    assert f"scores {nothing:.4f} by SeverstalDice; this one {value:.4f}, which is {value - nothing:+.4f}" in said
    assert tools["submit"]([*arguments, run]) == 0
    out = capfd.readouterr().out
    assert f"When this was evaluated ({tmp_path}/out/tiny/eval.json, {last['images']} images): An empty" in out
    assert said.split("INFO: ")[1].replace("this one", "what was evaluated") + "; it was of all scores, the submission" in out
    # Other steps.
    (tmp_path / "steps.yml").write_text("PostProcess: [TopK: {k: 1}]\n")
    assert tools["submit"]([*arguments[:-2], "--postprocess", str(tmp_path / "steps.yml"), *arguments[-2:], run]) == 0
    assert "An empty submission" not in capfd.readouterr().out
    # A file of before the content was noted.
    (tmp_path / "out" / "tiny" / "eval.json").write_text(json.dumps({key: last[key] for key in last if key != "origin"}))
    assert tools["submit"]([*arguments, run]) == 0
    assert "An empty submission" not in capfd.readouterr().out
    # The same path with another content.
    (tmp_path / "out" / "tiny" / "eval.json").write_text(json.dumps(last))
    paddle.save({name: -tensor if "bias" in name else tensor for name, tensor in paddle.load(weights).items()}, weights)
    assert tools["submit"]([*arguments, run]) == 0
    assert "An empty submission" not in capfd.readouterr().out


def test_results_tell_their_weights_and_old_ones_are_told(config, eager, tools, arguments, capfd, tmp_path) -> None:
    run, folder = f"save_dir={tmp_path}/out", tmp_path / "r"
    assert tools["eval"](["-c", config, "--metric", "SeverstalDice", "-o", eager, run]) == 0
    inferred, of = ["-c", config, "--output_dir", str(folder)], ["-o", eager, run]
    assert tools["infer"]([*inferred, "--save_results", *of]) == 0
    assert "an earlier run" not in capfd.readouterr().out
    submitted = [*arguments[:-2], "--results", str(folder)]
    assert tools["submit"]([*submitted, *of]) == 0
    out = capfd.readouterr().out
    assert f"The results in {folder} are of {eager.removeprefix('weights=')}" in out
    assert "An empty submission" in out
    # Of other steps than the evaluation's, whatever the command that submits says of steps.
    assert tools["infer"]([*inferred, "--save_results", *of, "PostProcess=[{TopK: {k: 1}}]"]) == 0
    assert tools["submit"]([*submitted, *of]) == 0
    assert "An empty submission" not in capfd.readouterr().out
    written = (folder / "mask.json").read_bytes()
    assert tools["infer"]([*inferred, "--num_images", "1", *of]) == 0
    assert f"bbox.json, mask.json, images.json in {folder}: of an earlier run" in capfd.readouterr().out
    assert (folder / "mask.json").read_bytes() == written
    # Results of before the weights were noted.
    (folder / "origin.json").unlink()
    assert tools["submit"]([*submitted, *of]) == 0
    assert "are of" not in capfd.readouterr().out
