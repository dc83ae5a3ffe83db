"""tools/average.py on a tiny HTC: epochs, folders and files, what it says, and that every tool takes what it writes."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from forked_runs import load_tool

from ppdet_ext.commands.flags import average_parser
from ppdet_ext.weights.files.paddle_file import read_data_file

FLAGS = {
    "-c/--config": None,
    "-o/--opt": [],
    "--traceback": False,
    "--debug": False,
    "": None,
    "--output": None,
    "--update_bn": 0,
}


@pytest.fixture(scope="module")
def tool():
    """main(argv) of the tool."""
    return load_tool("average")


def statistics(name: str) -> bool:
    return name.endswith(("._mean", "._variance"))


def test_flags_are_frozen() -> None:
    """A new flag is a promise for ever; settings belong into the configuration (-o)."""
    actions = [action for action in average_parser()._actions if action.dest != "help"]
    assert {"/".join(action.option_strings): action.default for action in actions} == FLAGS


def test_epochs_folders_and_files_mean_the_same(tool, trained: Path, config: str, tmp_path: Path, capfd) -> None:
    folders = [trained / "checkpoints" / f"epoch_{epoch}" for epoch in (0, 1)]
    ways = [["0", "1"], ["epoch_0", str(folders[1])], [str(folders[0] / "model.pdparams"), str(folders[1] / "model")]]
    written = [tmp_path / f"{number}.pdparams" for number in range(len(ways))]
    for way, file in zip(ways, written):
        assert tool(["-c", config, *way, "--output", str(file)]) == 0
    out = capfd.readouterr().out
    assert "--update_bn N measures them anew" in out
    one, two = (read_data_file(folder / "model.pdparams") for folder in folders)
    for file in written:
        mean = read_data_file(file)
        assert list(mean) == list(one)
        for name, value in mean.items():
            np.testing.assert_allclose(value, (one[name].astype(float) + two[name]) / 2, rtol=1e-6, err_msg=name)
            assert value.dtype == one[name].dtype
    assert f"the mean of 2 checkpoints, {len(one)} tensors" in out


def test_it_is_evaluated_like_any_weights(tool, tools, trained: Path, config: str, tmp_path: Path) -> None:
    assert tool(["-c", config, "0", "1"]) == 0
    # Other tests look what a training leaves in its folder.
    file = (trained / "averaged.pdparams").rename(tmp_path / "averaged.pdparams")
    assert tools["eval"](["-c", config, "-o", f"weights={file}", f"save_dir={tmp_path}"]) == 0
    assert json.loads((tmp_path / "tiny" / "eval.json").read_text())["weights"] == str(file)


def test_batch_norm_is_measured_anew_and_nothing_else(tool, trained: Path, config: str, tmp_path: Path, capfd) -> None:
    plain, updated = tmp_path / "plain.pdparams", tmp_path / "updated.pdparams"
    assert tool(["-c", config, "0", "1", "--output", str(plain)]) == 0
    assert tool(["-c", config, "0", "1", "--output", str(updated), "--update_bn", "2"]) == 0
    before, after = read_data_file(plain), read_data_file(updated)
    assert list(before) == list(after)
    for name, value in before.items():
        same = np.array_equal(value, after[name])
        assert same or statistics(name), name
    first = "backbone.conv1.conv1.norm._mean"
    assert not np.array_equal(before[first], after[first])
    capfd.readouterr()
    assert tool(["-c", config, "0", "1", "--output", str(updated), "--update_bn", "99"]) == 0
    assert "has 3 batches only" in capfd.readouterr().out
    options = ["-o", "HTCResNet.norm_eval=true"]
    assert tool(["-c", config, "0", "1", "--output", str(updated), "--update_bn", "2", *options]) == 0
    assert "--update_bn has nothing to do" in capfd.readouterr().out
    after = read_data_file(updated)
    assert all(np.array_equal(value, after[name]) for name, value in before.items())


@pytest.mark.parametrize(("arguments", "message"), [
    (["0"], "has nothing to be averaged with; give two or more"),
    (["0", "0"], "Checkpoints 0 and 0 are one file"),
    (["0", "{run}/checkpoints/epoch_0"], "are one file"),
    (["0", "7"], "There is no checkpoint {run}/checkpoints/epoch_7. There is: epoch_0, epoch_1."),
    (["0", "{run}/best_modle"], "Weights file {run}/best_modle.pdparams does not exist. There is: {run}/best_model.pdparams"),
    (["0", "1", "--output", "{tmp}/o.pth"], "o.pth must end in .pdparams"),
    (["0", "1", "--output", "{tmp}/file/o.pdparams"], "Cannot write {tmp}/file/o.pdparams"),
    (["0", "1", "--update_bn", "-1"], "--update_bn is -1; give a number of batches"),
    (["0", "1", "-o", "HTCRoIHead.fc_channels=24"], "roi_head.box_heads.0."),
    (["0", "{tmp}/evil.pdparams"], "{tmp}/evil.pdparams"),
])  # fmt: skip
def test_bad_input_is_one_message(arguments, message, tool, trained: Path, config: str, tmp_path: Path, capfd) -> None:
    (tmp_path / "file").write_text("in the way")
    (tmp_path / "evil.pdparams").write_bytes(b"cos\nsystem\n(S'touch hacked'\ntR.")
    places = {"run": trained, "tmp": tmp_path}
    output = [] if "--output" in arguments else ["--output", f"{tmp_path}/o.pdparams"]
    assert tool(["-c", config, *(text.format(**places) for text in arguments), *output]) == 1
    error = capfd.readouterr().err
    assert error.startswith("error: ")
    assert message.format(**places) in error
    assert "Traceback" not in error
    assert not list(tmp_path.glob("o.*"))
    assert not Path("hacked").exists()


def test_a_damaged_checkpoint_is_refused(tool, trained: Path, config: str, tmp_path: Path, capfd) -> None:
    broken = tmp_path / "epoch_1"
    shutil.copytree(trained / "checkpoints" / "epoch_1", broken)
    content = (broken / "model.pdparams").read_bytes()
    (broken / "model.pdparams").write_bytes(content[:-7])
    assert tool(["-c", config, "0", str(broken), "--output", str(tmp_path / "o.pdparams")]) == 1
    assert f"{broken}/model.pdparams is damaged" in capfd.readouterr().err


def test_help_says_where_checkpoints_stand() -> None:
    """After -o they are values of it."""
    (checkpoints,) = (action for action in average_parser()._actions if action.dest == "checkpoints")
    assert "before -o" in checkpoints.help
