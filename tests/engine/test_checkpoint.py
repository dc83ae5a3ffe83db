"""Checkpoints: atomic, recognisable when torn, readable by plain ppdet."""

import json
import logging
import os
from pathlib import Path

import numpy as np
import paddle
import pytest
from ppdet.utils.checkpoint import load_weight, save_model

from ppdet_ext.engine.checkpoint import (
    find_checkpoint,
    load_checkpoint,
    newest_checkpoint,
    save_checkpoint,
    write_atomic,
)
from ppdet_ext.engine.earlier_run import EarlierRun
from ppdet_ext.errors import UserError
from tests.engine.engine_fakes import TinyModel


def trained(width: int = 4, optimizer_name: str = "Momentum"):
    """Model and optimizer after two steps."""
    with paddle.utils.unique_name.guard():
        paddle.seed(5)
        np.random.seed(5)
        model = TinyModel(width)
        schedule = paddle.optimizer.lr.PiecewiseDecay([1, 9], [0.1, 0.01, 0.001])
        optimizer = getattr(paddle.optimizer, optimizer_name)(schedule, parameters=model.parameters())
        for _ in range(2):
            model({"image": paddle.rand([4, 3])})["loss"].backward()
            optimizer.step()
            optimizer.clear_grad()
            schedule.step()
    return model, optimizer


def fresh(width: int = 4, optimizer_name: str = "Momentum"):
    with paddle.utils.unique_name.guard():
        model = TinyModel(width)
        schedule = paddle.optimizer.lr.PiecewiseDecay([1, 9], [0.1, 0.01, 0.001])
        return model, getattr(paddle.optimizer, optimizer_name)(schedule, parameters=model.parameters())


@pytest.fixture
def two(tmp_path: Path) -> Path:
    """A folder with checkpoints '0' and '1'."""
    for epoch in (1, 2):
        save_checkpoint(tmp_path / str(epoch - 1), *trained(), epoch, {"hook": {"best": 0.25}})
    return tmp_path


def test_round_trip(two: Path) -> None:
    model, optimizer = fresh()
    checkpoint = find_checkpoint(str(two / "1"))
    assert (checkpoint.epoch, checkpoint.state) == (2, {"hook": {"best": 0.25}})
    load_checkpoint(checkpoint, model, optimizer)
    source, source_optimizer = trained()
    assert np.array_equal(model.first.weight.numpy(), source.first.weight.numpy())
    assert optimizer.get_lr() == source_optimizer.get_lr() == 0.01


@pytest.mark.parametrize("name", ["1", "1.pdparams", "1.pdopt"])
def test_suffix_does_not_matter(two: Path, name: str) -> None:
    assert find_checkpoint(str(two / name)).epoch == 2


def test_plain_ppdet_reads_ours(two: Path) -> None:
    with paddle.utils.unique_name.guard():
        model, optimizer = fresh()
        assert load_weight(model, str(two / "1"), optimizer) == 2
    assert np.array_equal(model.last.bias.numpy(), trained()[0].last.bias.numpy())
    assert optimizer.get_lr() == 0.01


def test_we_read_plain_ppdets(tmp_path: Path) -> None:
    model, optimizer = trained()
    save_model(model.state_dict(), optimizer, str(tmp_path), "3", 4)
    checkpoint = find_checkpoint(str(tmp_path / "3"))
    assert (checkpoint.epoch, checkpoint.state) == (4, {})
    other, other_optimizer = fresh()
    load_checkpoint(checkpoint, other, other_optimizer)
    assert other_optimizer.get_lr() == 0.01


@pytest.mark.parametrize("suffix", [".pdparams", ".pdopt", ".json"])
@pytest.mark.parametrize("damage", ["truncate", "flip", "remove"])
def test_torn_checkpoint_is_never_chosen_and_said(two: Path, suffix: str, damage: str, caplog, monkeypatch) -> None:
    monkeypatch.setattr(logging.getLogger("ppdet_ext"), "propagate", True)
    path = two / f"1{suffix}"
    content = bytearray(path.read_bytes())
    if damage == "remove":
        path.unlink()
    else:
        if damage == "flip":
            content[len(content) // 2] ^= 0x40 if suffix != ".json" else 0xFF
        path.write_bytes(content if damage == "flip" else content[: len(content) // 2])
    assert newest_checkpoint(two).epoch == 1
    if (damage, suffix) not in {("remove", ".json"), ("remove", ".pdopt")}:
        assert "Skipped" in caplog.text
        with pytest.raises(UserError):
            find_checkpoint(str(two / "1"))


def test_a_pair_from_two_moments_is_recognised(two: Path) -> None:
    model, _ = trained()
    model.first.weight.set_value(model.first.weight * 2)
    paddle.save(model.state_dict(), str(two / "1.pdparams"))
    with pytest.raises(UserError, match="truncated or of another moment"):
        find_checkpoint(str(two / "1"))


def test_nothing_to_resume_from(tmp_path: Path) -> None:
    assert newest_checkpoint(tmp_path) is None
    assert newest_checkpoint(tmp_path / "absent") is None
    (tmp_path / "environment.json").write_text("{}")
    assert newest_checkpoint(tmp_path) is None


def test_missing_optimizer_state_is_refused_with_the_way_out(two: Path) -> None:
    (two / "1.pdopt").unlink()
    with pytest.raises(UserError, match=r"1\.pdopt is missing.*-o pretrain_weights="):
        find_checkpoint(str(two / "1.pdparams"))


@pytest.mark.parametrize(
    ("width", "optimizer_name", "message"),
    [(6, "Momentum", "another architecture"), (4, "Adam", "does not belong to this model and optimizer")],
)
def test_checkpoint_of_another_model_or_optimizer_is_refused(two, width, optimizer_name, message) -> None:
    model, optimizer = fresh(width, optimizer_name)
    before = model.first.weight.numpy().copy()
    with pytest.raises(UserError, match=message):
        load_checkpoint(find_checkpoint(str(two / "1")), model, optimizer)
    assert np.array_equal(model.first.weight.numpy(), before)


def test_layer_names_that_moved_are_refused(two: Path) -> None:
    with paddle.utils.unique_name.guard():
        paddle.nn.Linear(1, 1)
        model = TinyModel()
        optimizer = paddle.optimizer.Momentum(0.1, parameters=model.parameters())
    with pytest.raises(UserError, match="does not belong"):
        load_checkpoint(find_checkpoint(str(two / "1")), model, optimizer)


def test_retired_checkpoints_are_not_chosen_but_their_weights_stay(two: Path) -> None:
    (two / "environment.json").write_text("{}")
    earlier = EarlierRun(two)
    assert newest_checkpoint(two).epoch == 2
    earlier.set_aside()
    save_checkpoint(two / "0", *trained(), 1, {})
    earlier.retire(two / "0", two / "metrics.jsonl")
    assert newest_checkpoint(two).stem == two / "0"
    assert (two / "1.pdparams").exists()
    assert (two / "environment.json").exists()


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
    manifest = json.loads((two / "0.json").read_text())
    assert manifest["epoch"] == 1
    for suffix, entry in manifest["files"].items():
        assert (two / f"0{suffix}").stat().st_size == entry["bytes"]
        assert len(entry["sha256"]) == 64


@pytest.fixture
def orphan(two: Path, caplog, monkeypatch) -> Path:
    """Stem of a checkpoint without manifest beside one that has one."""
    monkeypatch.setattr(logging.getLogger("ppdet_ext"), "propagate", True)
    (two / "1.json").unlink()
    return two / "1"


@pytest.mark.parametrize("optimizer_name", ["Momentum", "Adam", "AdamW"])
def test_pair_without_manifest_is_taken_and_that_is_said(orphan: Path, optimizer_name: str, caplog) -> None:
    model, optimizer = trained(optimizer_name=optimizer_name)
    save_model(model.state_dict(), optimizer, str(orphan.parent), "1", 2)
    assert find_checkpoint(str(orphan)).epoch == 2
    assert "has no manifest (1.json): the best AP so far is unknown" in caplog.text
    assert "interrupted save" not in caplog.text


@pytest.mark.parametrize("suffix", [".pdparams", ".pdopt"])
def test_torn_pair_without_manifest_is_refused(orphan: Path, suffix: str) -> None:
    path = orphan.with_suffix(suffix)
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(UserError, match="truncated or damaged"):
        find_checkpoint(str(orphan))


def test_pair_of_two_models_without_manifest_is_refused(orphan: Path) -> None:
    paddle.save(trained(width=6)[0].state_dict(), str(orphan.with_suffix(".pdparams")))
    with pytest.raises(UserError, match=r"1\.pdopt does not belong to 1\.pdparams"):
        find_checkpoint(str(orphan))


@pytest.mark.parametrize("sign", ["part", "date"])
def test_signs_of_an_interrupted_save_are_said(orphan: Path, sign: str, caplog) -> None:
    if sign == "part":
        (orphan.parent / ".1.pdopt.part").write_bytes(b"half")
    else:
        os.utime(orphan.with_suffix(".pdopt"), (1, 1))
    find_checkpoint(str(orphan))
    assert "may be from an interrupted save" in caplog.text
