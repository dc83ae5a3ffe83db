"""tools/kfold.py: killed three times it leaves the same bytes; what it writes works; what it refuses."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from same_run import differences

from ppdet_ext.commands.kfold_train import Fold
from ppdet_ext.commands.main import run
from ppdet_ext.config.load import load_config
from ppdet_ext.data.splits.selection import read_split_file

ROOT = Path(__file__).resolve().parents[2]
FLAGS = ["--folds", "2", "--metric", "MeanIoU", "--score_threshold", "0.001", "--min_instances", "1", "--output", "kf"]
# What is there when the first, second and third process are killed: in training, in another fold's, after a prediction.
MOMENTS = ("fold_0/checkpoints/epoch_0", "fold_1/checkpoints/epoch_0", "fold_0/tune/candidates_*.npz")


@pytest.fixture(scope="module")
def arguments(config: str) -> list[str]:
    return ["-c", config, *FLAGS]


@pytest.fixture(scope="module")
def folder(arguments: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working directory whose `kf` was written without a disturbance."""
    folder = tmp_path_factory.mktemp("kfold")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert run("kfold", arguments) == 0
    return folder


def killed_at(moment: str, arguments: list[str], folder: Path) -> None:
    """Start the command, and kill it without warning as soon as something is there."""
    words = [sys.executable, str(ROOT / "tools" / "kfold.py"), *arguments]
    with subprocess.Popen(words, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT) as process:
        deadline = time.monotonic() + 100
        while not list((folder / "kf").glob(moment)) and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.01)
        process.kill()
    assert process.returncode == -signal.SIGKILL


def test_killed_three_times_it_leaves_the_same_bytes(arguments: list[str], folder: Path, monkeypatch, capsys) -> None:
    undisturbed = folder / "kf"
    # In the same place, for the folds' file is named by its whole path.
    undisturbed.rename(folder / "reference")
    try:
        for moment in MOMENTS:
            killed_at(moment, arguments, folder)
        monkeypatch.chdir(folder)
        assert run("kfold", arguments) == 0
        out = capsys.readouterr().out
        assert out.count("is trained already") == 2
        assert out.count("not predicting again") == 1
        # One way to use it is said.
        assert out.count("Use it with -c kf/ensemble.yml") == 1
        assert "use it with --postprocess" not in out
        assert differences(folder / "reference", undisturbed) == []
    finally:
        if not undisturbed.exists():
            (folder / "reference").rename(undisturbed)


def test_every_image_is_held_out_once(folder: Path, workspace: Path) -> None:
    dealt = read_split_file(str(folder / "kf" / "folds.csv")).folds
    assert sorted(dealt) == (workspace / "sheets" / "train.txt").read_text().split()
    assert {number: list(dealt.values()).count(number) for number in (0, 1)} == {0: 3, 1: 3}
    for number in (0, 1):
        cfg = load_config(folder / "kf" / f"fold_{number}.yml")
        trained, held = ({record.name for record in cfg[key].records} for key in ("TrainDataset", "EvalDataset"))
        assert held == {name for name, fold in dealt.items() if fold == number}
        assert trained == dealt.keys() - held


def test_the_ensembles_file_is_a_configuration(folder: Path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(folder)
    sections = yaml.safe_load((folder / "kf" / "ensemble.yml").read_text())
    assert sections["Ensemble"] == ["kf/fold_0/model_final", "kf/fold_1/model_final"]
    assert run("eval", ["-c", "kf/ensemble.yml", "--output_eval", "evaluated", "--metric", "MeanIoU"]) == 0
    value = json.loads((folder / "evaluated" / "eval.json").read_text())["MeanIoU"][0]
    report = (folder / "kf" / "report.md").read_text()
    assert f"| MeanIoU | {value:.4f} |" in report
    assert "| all, out of fold | 6 |" in report


def test_another_number_of_folds_wants_another_folder(arguments: list[str], folder: Path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(folder)
    before = (folder / "kf" / "folds.csv").read_bytes()
    assert run("kfold", [*arguments, "--folds", "3"]) == 1
    assert "Choose another --output" in capsys.readouterr().err
    assert (folder / "kf" / "folds.csv").read_bytes() == before


@pytest.mark.parametrize(
    ("ended", "code", "message"),
    [(1, 1, "ended with exit code 1, see above"), (-9, 1, "was killed by signal 9"), (3, 3, "diverged, see above")],
)
def test_a_training_that_fails_is_named(
    ended: int, code: int, message: str, arguments: list[str], tmp_path: Path, monkeypatch, capsys
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("ppdet_ext.commands.kfold_train.run_child", lambda *_: ended)
    assert run("kfold", arguments) == code
    assert f"The training of fold 0 {message}. The same command goes on from there." in capsys.readouterr().err
    assert not (tmp_path / "kf" / "trained_0.json").exists()


def test_several_ranks_are_started_by_the_launcher(arguments: list[str], tmp_path: Path, monkeypatch, capsys) -> None:
    started = []

    def run_child(words: list[str], parent_killed: int) -> int:
        started.append((words, parent_killed))
        return 1

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("ppdet_ext.commands.kfold_train.run_child", run_child)
    assert run("kfold", [*arguments, "--launch", "python -m paddle.distributed.launch --gpus 0,1", "--eval"]) == 1
    ((words, parent_killed),) = started
    assert words[:5] == ["python", "-m", "paddle.distributed.launch", "--gpus", "0,1"]
    assert words[5:] == [str(ROOT / "tools" / "train.py"), "-c", "kf/fold_0.yml", "-r", "auto", "--eval"]
    assert parent_killed == signal.SIGTERM


def test_some_folds_only_are_trained_and_make_no_ensemble(arguments: list[str], tmp_path: Path, monkeypatch) -> None:
    numbers = []

    def trained(part: Fold, *_: object) -> Path:
        numbers.append(part.number)
        return tmp_path

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("ppdet_ext.commands.kfold.trained", trained)
    assert run("kfold", [*arguments, "--only", "1"]) == 0
    assert numbers == [1]
    assert (tmp_path / "kf" / "fold_1.yml").is_file()
    assert not (tmp_path / "kf" / "ensemble.yml").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--folds", "1"], "--folds is 1; at least 2 are needed"),
        (["--only", "0", "2"], "--only 2: there is no such fold; 2 folds count from 0 to 1"),
        (["--folds", "9"], "--folds 9: TrainDataset has 6 images, and copies of a file share a fold: they fill 6. Take fewer"),
        (["-o", "Ensemble=[a, b]"], "The configuration has an Ensemble"),
        (["-o", "TrainDataset=null"], "has no TrainDataset"),
        (["--metric", "MeanIuO"], "Did you mean 'MeanIoU'?"),
    ],
)
def test_bad_input(words: list[str], message: str, arguments: list[str], tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("ppdet_ext.commands.kfold_train.run_child", lambda *_: pytest.fail("trained"))
    assert run("kfold", [*arguments, *words]) == 1
    assert message in capsys.readouterr().err


def test_a_split_file_of_fewer_folds_says_how_many(workspace: Path, arguments, tmp_path: Path, monkeypatch, capsys) -> None:
    names = (workspace / "sheets" / "train.txt").read_text().split()
    rows = [f"{name},{place % 2}" for place, name in enumerate(names)]
    (tmp_path / "two.csv").write_text("\n".join(["ImageId,fold", *rows, ""]))
    monkeypatch.chdir(tmp_path)
    assert run("kfold", [*arguments, "--folds", "3", "-o", f"TrainDataset.split={tmp_path}/two.csv"]) == 1
    assert f"--folds 3: split file {tmp_path}/two.csv has 2 folds; take --folds 2" in capsys.readouterr().err


def test_pictures_alone_have_no_folds(workspace: Path, tmp_path: Path, monkeypatch, capsys) -> None:
    other = tmp_path / "plain.yml"
    other.write_text(
        f"_BASE_: [{workspace / 'tiny.yml'}]\nTrainDataset: !ImageFolder {{images: {workspace}/sheets/train_images}}\n"
    )
    monkeypatch.chdir(tmp_path)
    assert run("kfold", ["-c", str(other), *FLAGS]) == 1
    assert "TrainDataset is a ImageFolder, whose images cannot be dealt out" in capsys.readouterr().err
