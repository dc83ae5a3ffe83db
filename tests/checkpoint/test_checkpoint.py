"""Checkpoints: complete or not there, recognisable when torn, readable by plain ppdet."""

import json
import logging
import os
import resource
import shutil
from pathlib import Path

import numpy as np
import paddle
import pytest
from ppdet.utils.checkpoint import load_weight, save_model

from ppdet_ext.checkpoint import Position, find_checkpoint, load_checkpoint, newest_checkpoint, save_checkpoint
from ppdet_ext.checkpoint.trained import config_of_run
from ppdet_ext.errors import DivergenceError, UserError
from ppdet_ext.files.atomic import write_atomic
from ppdet_ext.weights.load import load_weights
from tests.support.engine_fakes import TinyModel, make_fingerprint

STATE = {"hook": {"best": 0.25}}


def fresh(width: int = 4, optimizer_name: str = "Momentum"):
    with paddle.utils.unique_name.guard():
        paddle.seed(5)
        model = TinyModel(width)
        schedule = paddle.optimizer.lr.PiecewiseDecay([1, 9], [0.1, 0.01, 0.001])
        return model, getattr(paddle.optimizer, optimizer_name)(schedule, parameters=model.parameters())


def trained(width: int = 4, optimizer_name: str = "Momentum"):
    """Model and optimizer after two steps."""
    model, optimizer = fresh(width, optimizer_name)
    np.random.seed(5)
    for _ in range(2):
        model({"image": paddle.rand([4, 3])})["loss"].backward()
        optimizer.step()
        optimizer.clear_grad()
        optimizer._learning_rate.step()
    return model, optimizer


def save(run: Path, position: Position, **kwargs) -> Path:
    folder = run / "checkpoints" / position.name
    save_checkpoint(folder, *trained(), position, STATE, make_fingerprint(), **kwargs)
    return folder


@pytest.fixture
def two(tmp_path: Path, monkeypatch) -> Path:
    """The folder of a run with checkpoints of epoch 0 and of two steps of epoch 1."""
    monkeypatch.setattr(logging.getLogger("ppdet_ext"), "propagate", True)
    save(tmp_path, Position(1, 0))
    save(tmp_path, Position(1, 2))
    return tmp_path


def damage(path: Path, how: str) -> None:
    content = bytearray(path.read_bytes())
    if how == "remove":
        path.unlink()
    elif how == "flip":
        content[len(content) // 2] ^= 0x40
        path.write_bytes(content)
    else:
        path.write_bytes(content[: len(content) // 2])


@pytest.mark.parametrize(
    ("position", "name"),
    [
        ((0, 0), "epoch_0_step_0"),
        ((1, 0), "epoch_0"),
        ((4, 0), "epoch_3"),
        ((0, 1), "epoch_0_step_1"),
        ((3, 120), "epoch_3_step_120"),
    ],
)
def test_positions_have_names(position: tuple[int, int], name: str) -> None:
    assert Position(*position).name == name
    assert Position.parse(name) == position


@pytest.mark.parametrize("name", ["epoch", "epoch_", "epoch_1_step", ".epoch_1.part", "epoch_1.old", "xepoch_1"])
def test_other_names_are_no_positions(name: str) -> None:
    assert Position.parse(name) is None


def test_round_trip(two: Path) -> None:
    model, optimizer = fresh()
    checkpoint = find_checkpoint("auto", two)
    assert (checkpoint.position, checkpoint.state) == (Position(1, 2), STATE)
    assert checkpoint.fingerprint == make_fingerprint().as_dict()
    load_checkpoint(checkpoint, model, optimizer)
    source, source_optimizer = trained()
    assert np.array_equal(model.first.weight.numpy(), source.first.weight.numpy())
    assert optimizer.get_lr() == source_optimizer.get_lr() == 0.01


@pytest.mark.parametrize("wanted", [
    "0", "epoch_0", "=best_model", "best_model", "best_model.pdparams", "checkpoints/epoch_0", "checkpoints/epoch_0/",
    "checkpoints/epoch_0/model", "checkpoints/epoch_0/model.pdparams", "checkpoints/epoch_0/model.pdopt"])  # fmt: skip
def test_ways_to_name_a_checkpoint(two: Path, wanted: str) -> None:
    # The weights of the two would be the same.
    model = paddle.load(str(two / "checkpoints/epoch_0/model.pdparams"))
    model["last.bias"] = model["last.bias"] + 1
    shutil.rmtree(two / "checkpoints/epoch_0")
    other, optimizer = trained()
    other.set_state_dict(model)
    save_checkpoint(two / "checkpoints/epoch_0", other, optimizer, Position(1, 0), STATE, make_fingerprint())
    shutil.copyfile(two / "checkpoints/epoch_0/model.pdparams", two / "best_model.pdparams")
    path = wanted.strip("=") if wanted in ("0", "epoch_0", "=best_model") else str(two / wanted)
    assert find_checkpoint(path, two).position == Position(1, 0)


def test_a_run_s_folder_means_its_newest(two: Path, tmp_path_factory) -> None:
    assert find_checkpoint(str(two), tmp_path_factory.mktemp("other")).position == Position(1, 2)


@pytest.mark.parametrize(("wanted", "message"), [
    ("7", r"There is no checkpoint .*epoch_7\. There is: epoch_0, epoch_1_step_2\."),
    ("{run}/nowhere/model", "does not exist"),
    ("{run}/empty", r"empty is neither a checkpoint .* nor a run"),
    ("", r"-r '': it takes 'auto', an epoch's number, or the path"),
    ("²", r"-r '²': it takes .* Checkpoints of this run: epoch_1_step_2, epoch_0\."),
    ("atuo", r"-r 'atuo': it takes 'auto'"),
])  # fmt: skip
def test_what_is_not_there_is_said(two: Path, wanted: str, message: str) -> None:
    (two / "empty").mkdir()
    with pytest.raises(UserError, match=message):
        find_checkpoint(wanted.format(run=two), two)


def test_a_renamed_checkpoint_is_refused(two: Path) -> None:
    (two / "checkpoints/epoch_0").rename(two / "checkpoints/epoch_5")
    assert find_checkpoint("auto", two).position == Position(1, 2)
    with pytest.raises(UserError, match=r"epoch_5 is one of epoch_0; give it that name again"):
        find_checkpoint("5", two)


def test_nothing_to_resume_from(tmp_path: Path) -> None:
    assert newest_checkpoint(tmp_path) is None
    assert newest_checkpoint(tmp_path / "absent") is None
    (tmp_path / "checkpoints" / ".epoch_0.part").mkdir(parents=True)
    assert newest_checkpoint(tmp_path) is None


@pytest.mark.parametrize("file", ["model.pdparams", "model.pdopt", "state.json", "config.yml", "manifest.json"])
@pytest.mark.parametrize("how", ["truncate", "flip", "remove"])
def test_torn_checkpoint_is_never_chosen_and_said(two: Path, file: str, how: str, caplog) -> None:
    torn = two / "checkpoints" / "epoch_1_step_2"
    if file == "config.yml":
        (torn / file).write_text("a: 1\n")  # the tiny run has none
        (torn / "manifest.json").unlink()
        save(two, Position(1, 2))
        (torn / file).write_text("a: 2\n")
    else:
        damage(torn / file, how)
    assert newest_checkpoint(two).position == Position(1, 0)
    assert "Skipped a checkpoint: " in caplog.text
    assert "epoch_1_step_2" in caplog.text
    for wanted in (torn, torn / "model"):
        with pytest.raises(UserError, match=r"damaged|not complete|does not exist"):
            find_checkpoint(str(wanted), two)


def test_no_run_starts_anew_over_checkpoints_that_are_all_damaged(two: Path) -> None:
    for folder in (two / "checkpoints").iterdir():
        damage(folder / "model.pdopt", "truncate")
    with pytest.raises(UserError, match=r"All 2 checkpoints in .* are damaged.*leave -r out"):
        find_checkpoint("auto", two)


def test_manifest_of_strange_content_is_no_crash(two: Path) -> None:
    path = two / "checkpoints" / "epoch_1_step_2" / "manifest.json"
    short = '{"format": 1, "files": {"model.pdparams": 3}}'
    for content in ("null", "[]", '{"format": 1}', '{"format": 1, "files": []}', '{"format": 2}', "\x00", short):
        path.write_text(content)
        assert newest_checkpoint(two).position == Position(1, 0)


def test_weights_of_a_damaged_checkpoint_are_not_evaluated(two: Path) -> None:
    model = fresh()[0]
    weights = two / "checkpoints" / "epoch_0" / "model.pdparams"
    load_weights(model, weights.parent)
    content = bytearray(weights.read_bytes())
    content[content.index(trained()[0].last.bias.numpy().tobytes())] ^= 1
    weights.write_bytes(content)
    with pytest.raises(UserError, match=r"model\.pdparams is damaged"):
        load_weights(model, weights.parent)


def test_plain_ppdet_reads_ours(two: Path) -> None:
    model, optimizer = fresh()
    assert load_weight(model, str(two / "checkpoints" / "epoch_0" / "model"), optimizer) == 1
    assert np.array_equal(model.last.bias.numpy(), trained()[0].last.bias.numpy())
    assert optimizer.get_lr() == 0.01


def test_missing_optimizer_state_is_refused_with_the_way_out(two: Path) -> None:
    shutil.copyfile(two / "checkpoints/epoch_0/model.pdparams", two / "weights.pdparams")
    damage(two / "weights.pdparams", "truncate")
    with pytest.raises(UserError, match=r"weights\.pdopt is missing.*epoch_1_step_2, epoch_0.*-o pretrain_weights="):
        find_checkpoint(str(two / "weights"), two)


@pytest.mark.parametrize(
    ("width", "optimizer_name", "message"),
    [(6, "Momentum", "another architecture"), (4, "Adam", "does not belong to this model and optimizer")],
)
def test_checkpoint_of_another_model_or_optimizer_is_refused(two, width, optimizer_name, message) -> None:
    model, optimizer = fresh(width, optimizer_name)
    before = model.first.weight.numpy().copy()
    with pytest.raises(UserError, match=message):
        load_checkpoint(newest_checkpoint(two), model, optimizer)
    assert np.array_equal(model.first.weight.numpy(), before)


def test_layer_names_that_moved_are_refused(two: Path) -> None:
    with paddle.utils.unique_name.guard():
        paddle.nn.Linear(1, 1)
        model = TinyModel()
        optimizer = paddle.optimizer.Momentum(0.1, parameters=model.parameters())
    with pytest.raises(UserError, match="does not belong"):
        load_checkpoint(newest_checkpoint(two), model, optimizer)


def test_weights_that_are_not_finite_are_not_saved(two: Path) -> None:
    model, optimizer = trained()
    model.norm._variance.set_value(paddle.full([4], float("nan")))
    with pytest.raises(DivergenceError, match=r"norm\._variance is NaN or infinite; no checkpoint was written"):
        save_checkpoint(two / "checkpoints" / "epoch_1", model, optimizer, Position(2, 0), {}, make_fingerprint())
    assert {path.name for path in (two / "checkpoints").iterdir()} == {"epoch_0", "epoch_1_step_2"}


def test_large_finite_weights_are_saved(tmp_path: Path) -> None:
    model, optimizer = trained()
    model.first.weight.set_value(paddle.full([3, 4], 3e38))
    save_checkpoint(tmp_path / "checkpoints" / "epoch_0", model, optimizer, Position(1, 0), {}, make_fingerprint())
    assert newest_checkpoint(tmp_path).position == Position(1, 0)


@pytest.mark.parametrize("limit", [10, 700])
def test_a_full_disk_leaves_the_others_and_says_what_happened(two: Path, limit: int) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    try:
        message = r"Cannot write .*epoch_1: .*File too large; .*MB are free.*Untouched: epoch_0, epoch_1_step_2"
        with pytest.raises(UserError, match=message):
            save(two, Position(2, 0))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert sorted(path.name for path in (two / "checkpoints").iterdir()) == ["epoch_0", "epoch_1_step_2"]
    assert newest_checkpoint(two).position == Position(1, 2)


def test_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    write_atomic(path, lambda aside: aside.write_text("old"))

    def fail(aside: Path) -> None:
        aside.write_text("half")
        raise OSError(28, "No space left on device")

    with pytest.raises(UserError, match=r"Cannot write .*a\.txt: No space left on device"):
        write_atomic(path, fail)
    assert path.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.txt"]


def test_folder_that_is_a_file_is_a_user_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="Cannot write"):
        write_atomic(tmp_path / "file" / "run" / "config.yml", lambda aside: aside.write_text(""))


def test_manifest_says_what_it_covers(two: Path) -> None:
    folder = two / "checkpoints" / "epoch_0"
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["world_size"] == 1
    assert len(manifest["config_sha256"]) == 64
    assert {*manifest["files"], "manifest.json"} == {path.name for path in folder.iterdir()}
    for name, entry in manifest["files"].items():
        assert (folder / name).stat().st_size == entry["bytes"]
        assert len(entry["sha256"]) == 64


@pytest.fixture
def pair(tmp_path: Path, monkeypatch) -> Path:
    """Stem of a checkpoint as plain ppdet writes it."""
    monkeypatch.setattr(logging.getLogger("ppdet_ext"), "propagate", True)
    model, optimizer = trained()
    save_model(model.state_dict(), optimizer, str(tmp_path), "3", 4)
    return tmp_path / "3"


@pytest.mark.parametrize("suffix", ["", ".pdparams", ".pdopt"])
@pytest.mark.parametrize("optimizer_name", ["Momentum", "Adam", "AdamW"])
def test_we_read_plain_ppdets_and_say_what_is_unknown(pair: Path, suffix: str, optimizer_name: str, caplog) -> None:
    model, optimizer = trained(optimizer_name=optimizer_name)
    save_model(model.state_dict(), optimizer, str(pair.parent), "3", 4)
    checkpoint = find_checkpoint(f"{pair}{suffix}", pair.parent)
    assert (checkpoint.position, checkpoint.state, checkpoint.fingerprint) == (Position(4, 0), {}, None)
    assert "no manifest vouches for it, the best AP so far is unknown" in caplog.text
    assert "interrupted save" not in caplog.text
    other, other_optimizer = fresh(optimizer_name=optimizer_name)
    load_checkpoint(checkpoint, other, other_optimizer)
    assert other_optimizer.get_lr() == 0.01


@pytest.mark.parametrize("suffix", [".pdparams", ".pdopt"])
def test_torn_pair_is_refused(pair: Path, suffix: str) -> None:
    path = pair.with_suffix(suffix)
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(UserError, match="truncated or damaged"):
        find_checkpoint(str(pair), pair.parent)


def test_pair_of_two_models_is_refused(pair: Path) -> None:
    paddle.save(trained(width=6)[0].state_dict(), str(pair.with_suffix(".pdparams")))
    with pytest.raises(UserError, match=r"3\.pdopt does not belong to 3\.pdparams"):
        find_checkpoint(str(pair), pair.parent)


def test_a_pair_s_older_half_is_said(pair: Path, caplog) -> None:
    os.utime(pair.with_suffix(".pdopt"), (1, 1))
    find_checkpoint(str(pair), pair.parent)
    assert "may be from an interrupted save" in caplog.text


def test_a_run_that_does_not_exist_gets_the_nearest_name(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "config.yml").write_text("epoch: 1\n")
    with pytest.raises(UserError, match=r"no run in .*mien: it does not exist\. Did you mean '.*mine'\?"):
        config_of_run(tmp_path / "mien")
    with pytest.raises(UserError, match="is no folder of a run"):
        config_of_run(tmp_path)
