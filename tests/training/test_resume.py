"""Resuming under changed circumstances, what is kept and what is moved aside."""

import json
import logging
import os
import shutil
import signal
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from ppdet_ext.checkpoint import Position, newest_checkpoint
from ppdet_ext.checkpoint.compatibility import CHANGES, dataset_fingerprint, demand_allowed, differences, moved_position
from ppdet_ext.config.files import Tagged
from ppdet_ext.distributed import interrupt
from ppdet_ext.distributed.interrupt import Stop
from ppdet_ext.errors import UserError
from ppdet_ext.training.hooks import Hook
from ppdet_ext.training.state import TrainState
from tests.support.engine_fakes import TinyLoader, TinyModel, make_fingerprint, run_tiny


def names(run: Path) -> set[str]:
    return {path.name for path in (run / "checkpoints").iterdir()}


@pytest.fixture(autouse=True)
def _propagate(monkeypatch) -> None:
    monkeypatch.setattr(logging.getLogger("ppdet_ext"), "propagate", True)


CASES = [
    ({"world_size": 2}, "world_size", "number of ranks: 1 -> 2"),
    ({"batch_size": 4}, "batch_size", "TrainReader.batch_size: 5 -> 4"),
    ({"accumulation": 2}, "batch_size", "gradient_accumulation_steps: 1 -> 2"),
    ({"seed": 9}, "seed", "seed: 3 -> 9"),
    ({"images": 16, "dataset": "e"}, "dataset", "training images: 15 -> 16"),
    ({"dataset": "e"}, "dataset", "training data: d… -> e… (other names, sizes or annotations)"),
    ({"config": {"a": 2}}, "config", "a: 1 -> 2"),
    ({"config": {}}, "config", "a: 1 -> absent"),
    ({"config": {"a": 1, "b.c": "x"}}, "config", "b.c: absent -> x"),
]


@pytest.mark.parametrize(("changed", "kind", "line"), CASES)
def test_each_change_is_named_and_refused_unless_allowed(changed: dict, kind: str, line: str) -> None:
    found = differences(make_fingerprint(), make_fingerprint(**changed))
    assert found == {kind: [line]}
    with pytest.raises(UserError) as caught:
        demand_allowed(found, [other for other in CHANGES if other != kind], "run/epoch_3")
    for part in ("run/epoch_3", f"{kind}: {line}", f"--allow_change {kind}", CHANGES[kind]):
        assert part in str(caught.value)
    demand_allowed(found, [kind], "run/epoch_3")


def test_nothing_changed() -> None:
    free = {"epoch": 3, "worker_num": 2, "save_dir": "x", "TrainDataset.dataset_dir": "here", "TestDataset.images": "a"}
    other = {"epoch": 4, "worker_num": 0, "save_dir": "y", "TrainDataset.dataset_dir": "there", "snapshot_iter": 5}
    assert differences(make_fingerprint(config=free), make_fingerprint(config=other)) == {}


@pytest.mark.parametrize(("changed", "position"), [
    ({"world_size": 2}, (1, 50)),
    ({"world_size": 3}, (1, 33)),
    ({"batch_size": 10, "accumulation": 2}, (1, 25)),
    ({"batch_size": 1}, (1, 300)),
    ({"seed": 1}, (1, 0)),
    ({"dataset": "e"}, (1, 0)),
    ({"config": {}}, (1, 100)),
])  # fmt: skip
def test_no_image_is_left_out_where_a_changed_run_goes_on(changed: dict, position: tuple[int, int]) -> None:
    old, new = make_fingerprint(), make_fingerprint(**changed)
    moved = moved_position(Position(1, 100), old, new, list(differences(old, new)), 300)
    assert moved == position
    if "seed" not in changed and "dataset" not in changed:
        assert moved.step * new.total_batch <= 100 * old.total_batch


def test_fingerprint_of_a_configuration(tmp_path: Path) -> None:
    from ppdet_ext.checkpoint import fingerprint_of

    tree = {"TrainReader": {"batch_size": 2}, "gradient_accumulation_steps": 3, "seed": 1, "A": Tagged("B", {"c": [1, None]})}
    found = fingerprint_of(tree, None, 4, True, "text", {})
    assert found.total_batch == 24
    assert found.config["A.class"] == "B"
    assert found.config["--amp"] is True
    assert (found.config["A.c.0"], found.config["A.c.1"]) == (1, None)
    assert json.loads(json.dumps(found.as_dict())) == found.as_dict()


def test_a_changed_run_is_refused_whole_and_goes_on_when_allowed(tmp_path: Path, monkeypatch, caplog) -> None:
    run_tiny(tmp_path, epochs=2, snapshot_iter=2)
    before = (tmp_path / "metrics.jsonl").read_bytes()
    monkeypatch.setattr("tests.support.engine_fakes.make_fingerprint", lambda: make_fingerprint(seed=4))
    with pytest.raises(UserError, match=r"(?s)Cannot resume from .*epoch_1.*seed: 3 -> 4.*--allow_change seed"):
        run_tiny(tmp_path, epochs=3, resume="auto")
    assert (tmp_path / "metrics.jsonl").read_bytes() == before
    trainer = run_tiny(tmp_path, epochs=3, resume="auto", allow=("seed",))
    assert trainer.state.start.epoch == 2
    assert "Resuming with another seed: seed: 3 -> 4" in caplog.text
    # From here on it is the new run.
    run_tiny(tmp_path, epochs=4, resume="auto")


def test_schedule_follows_the_epoch_when_epochs_have_other_lengths(tmp_path: Path, monkeypatch) -> None:
    run_tiny(tmp_path, epochs=2, loader=TinyLoader(1), with_eval=False)
    monkeypatch.setattr("tests.support.engine_fakes.make_fingerprint", lambda: make_fingerprint(batch_size=1))
    trainer = run_tiny(tmp_path, epochs=3, loader=TinyLoader(5), resume="auto", allow=("batch_size",), with_eval=False)
    # Step 10 of the new run: beyond its last milestone, 7.
    assert trainer.state.learning_rate == 0.01


def test_the_last_ones_and_the_best_are_kept(tmp_path: Path) -> None:
    run_tiny(tmp_path, epochs=4, keep=1)
    best = json.loads((tmp_path / "checkpoints/epoch_3/state.json").read_text())["trainer"]["SaveCheckpoints"][
        "best_checkpoint"
    ]
    assert names(tmp_path) == {best, "epoch_3"}
    assert best != "epoch_3"  # else the test shows nothing


@pytest.mark.parametrize(("snapshot_epoch", "snapshot_iter", "expected"), [
    (1, 2, {"epoch_0_step_2", "epoch_0", "epoch_1_step_2", "epoch_1"}),
    (2, None, {"epoch_1"}),
    (2, 3, {"epoch_0_step_3", "epoch_1"}),  # the last step of an epoch that is no snapshot counts
    (2, 4, {"epoch_1"}),  # more steps than an epoch has, which is said
    (1, 1, {"epoch_0_step_1", "epoch_0_step_2", "epoch_0", "epoch_1_step_1", "epoch_1_step_2", "epoch_1"}),
])  # fmt: skip
def test_snapshots(tmp_path: Path, snapshot_epoch: int, snapshot_iter: int | None, expected: set[str], caplog) -> None:
    run_tiny(tmp_path, epochs=2, snapshot_epoch=snapshot_epoch, snapshot_iter=snapshot_iter, keep=99, with_eval=False)
    assert names(tmp_path) == expected
    assert ("snapshot_iter: 4 has no effect, an epoch has 3 steps" in caplog.text) == (snapshot_iter == 4)


def test_a_new_run_moves_the_earlier_one_aside(tmp_path: Path, caplog) -> None:
    run_tiny(tmp_path, epochs=2)
    final = (tmp_path / "model_final.pdparams").read_bytes()
    run_tiny(tmp_path, epochs=1)
    assert names(tmp_path) == {"epoch_0"}
    assert names(tmp_path / "earlier_1") == {"epoch_0", "epoch_1"}
    assert (tmp_path / "earlier_1" / "model_final.pdparams").read_bytes() == final
    assert len((tmp_path / "metrics.jsonl").read_text().splitlines()) < len(
        (tmp_path / "earlier_1" / "metrics.jsonl").read_text().splitlines()
    )
    assert "Moved what an earlier run left in" in caplog.text
    run_tiny(tmp_path, epochs=1)
    assert names(tmp_path / "earlier_2") == {"epoch_0"}
    assert newest_checkpoint(tmp_path / "earlier_1").position == (2, 0)


def test_a_run_that_saved_nothing_is_replaced_without_a_word(tmp_path: Path, caplog) -> None:
    (tmp_path / "metrics.jsonl").write_text('{"kind": "train", "epoch": 0, "step": 0}\n')
    run_tiny(tmp_path, epochs=1)
    assert not (tmp_path / "earlier_1").exists()
    assert "Moved" not in caplog.text


def test_resuming_another_runs_checkpoint_leaves_that_run_alone(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    run_tiny(one, epochs=2)
    run_tiny(two, epochs=1)
    before = {path: path.read_bytes() for path in one.rglob("*") if path.is_file()}
    run_tiny(two, epochs=3, resume=str(one))
    assert {path: path.read_bytes() for path in one.rglob("*") if path.is_file()} == before
    assert names(two) == {"epoch_2"}
    assert names(two / "earlier_1") == {"epoch_0"}


def test_exports_lost_between_two_writes_are_restored(tmp_path: Path) -> None:
    run_tiny(tmp_path, epochs=3)
    wanted = {name: (tmp_path / name).read_bytes() for name in ("best_model.pdparams", "model_final.pdparams")}
    (tmp_path / "model_final.pdparams").unlink()
    (tmp_path / "best_model.pdparams").write_bytes(b"of another moment")
    trainer = run_tiny(tmp_path, epochs=3, resume="auto")
    trainer.hooks[-1].before_train(trainer.state)
    assert {name: (tmp_path / name).read_bytes() for name in wanted} == wanted


def test_what_a_cut_off_save_left_is_removed_and_said(tmp_path: Path, caplog) -> None:
    run_tiny(tmp_path, epochs=1)
    shutil.copytree(tmp_path / "checkpoints/epoch_0", tmp_path / "checkpoints/.epoch_1.part")
    run_tiny(tmp_path, epochs=2, resume="auto")
    assert names(tmp_path) == {"epoch_0", "epoch_1"}
    assert "Removed what a save that was cut off left" in caplog.text
    assert ".epoch_1.part" in caplog.text


def stop_at(run: Path, epoch: int, step: int, **kwargs) -> None:
    class StopAt(Hook):
        def after_step(self, state: TrainState) -> None:
            if (state.epoch, state.step) == (epoch, step):
                os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(Stop):
        run_tiny(run, extra=(StopAt(),), **kwargs)


@pytest.mark.parametrize(("batches", "accumulation"), [(5, 2), (3, 8)])
def test_the_end_of_an_epoch_that_accumulation_does_not_divide(tmp_path: Path, batches: int, accumulation: int) -> None:
    kwargs = {"loader": TinyLoader(batches), "accumulation": accumulation, "epochs": 2}
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    run_tiny(whole, **kwargs)
    last = -(-batches // accumulation) - 1
    stop_at(parts, 0, last, **kwargs)
    assert newest_checkpoint(parts).position == (0, last + 1)
    run_tiny(parts, resume="auto", **kwargs)
    assert (whole / "model_final.pdparams").read_bytes() == (parts / "model_final.pdparams").read_bytes()
    assert (whole / "metrics.jsonl").read_bytes() == (parts / "metrics.jsonl").read_bytes()


@pytest.mark.parametrize("way", ["absolute", "linked", "relative"])
def test_a_runs_own_checkpoint_by_any_path(tmp_path: Path, monkeypatch, way: str) -> None:
    monkeypatch.chdir(tmp_path)
    run = Path("out")
    run_tiny(run, epochs=3)
    (tmp_path / "link").symlink_to(run)
    start = {"absolute": tmp_path / "out", "linked": tmp_path / "link", "relative": run}[way]
    trainer = run_tiny(run, epochs=3, resume=str(start / "checkpoints" / "epoch_0"))
    assert trainer.state.start.epoch == 1
    assert names(run) == {"epoch_0", "epoch_1", "epoch_2"}
    assert names(run / "earlier_1") == {"epoch_1", "epoch_2"}


def test_a_checkpoint_that_does_not_load_moves_nothing(tmp_path: Path, monkeypatch) -> None:
    run_tiny(tmp_path, epochs=3)
    monkeypatch.setattr("tests.support.engine_fakes.TinyModel", lambda: TinyModel(6))
    with pytest.raises(UserError, match="another architecture"):
        run_tiny(tmp_path, epochs=3, resume="0")
    assert names(tmp_path) == {"epoch_0", "epoch_1", "epoch_2"}
    assert (tmp_path / "model_final.pdparams").exists()


def test_a_run_moved_back_is_what_is_resumed_from_then_on(tmp_path: Path, monkeypatch) -> None:
    stop_at(tmp_path, 1, 1, epochs=3)
    best = (tmp_path / "best_model.pdparams").read_bytes()
    assert newest_checkpoint(tmp_path).position == (1, 2)
    monkeypatch.setattr("tests.support.engine_fakes.make_fingerprint", lambda: make_fingerprint(seed=4))
    stop_at(tmp_path, 1, 0, epochs=3, resume="auto", allow=("seed",))
    # Neither the old epoch_1_step_2 nor the old epoch_0 is in the way, and the flag is not needed any more.
    assert newest_checkpoint(tmp_path).position == (1, 1)
    assert names(tmp_path) == {"epoch_0", "epoch_1_step_1"}
    assert (tmp_path / "best_model.pdparams").read_bytes() != b""
    trainer = run_tiny(tmp_path, epochs=3, resume="auto")
    assert trainer.state.start == (1, 1)
    aside = {path.name for path in tmp_path.glob("earlier_*/checkpoints/*")}
    assert aside == {"epoch_0", "epoch_1_step_2"}
    assert best in [path.read_bytes() for path in tmp_path.glob("earlier_*/**/*.pdparams")]


def test_a_stop_before_the_first_step_of_a_resumed_run_saves_nothing(tmp_path: Path) -> None:
    run_tiny(tmp_path, epochs=2)

    class StopFirst(Hook):
        def before_train(self, state: TrainState) -> None:
            os.kill(os.getpid(), signal.SIGTERM)

    def stopped() -> None:
        with interrupt.deferred():
            run_tiny(tmp_path, epochs=4, resume="auto", extra=(StopFirst(),))

    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with pytest.raises(Stop):
        stopped()
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_a_save_cut_off_while_it_replaced_a_checkpoint_gives_it_back(tmp_path: Path) -> None:
    run_tiny(tmp_path, epochs=1)
    folder = tmp_path / "checkpoints"
    (folder / "epoch_0").rename(folder / ".epoch_0.old")
    (folder / ".epoch_0.part").mkdir()
    trainer = run_tiny(tmp_path, epochs=2, resume="auto")
    assert trainer.state.start.epoch == 1
    assert {path.name for path in folder.iterdir()} == {"epoch_0", "epoch_1"}


def test_fewer_epochs_than_are_trained_leave_the_final_weights_alone(tmp_path: Path) -> None:
    stop_at(tmp_path, 1, 1, epochs=3)
    trainer = run_tiny(tmp_path, epochs=1, resume="auto")
    trainer.hooks[-1].before_train(trainer.state)
    assert not (tmp_path / "model_final.pdparams").exists()


def test_another_runs_finished_checkpoint_is_refused_before_anything_is_moved(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    run_tiny(one, epochs=2)
    run_tiny(two, epochs=1)
    with pytest.raises(UserError, match=r"epoch_1 has all of the 2 epochs behind it; raise -o epoch="):
        run_tiny(two, epochs=2, resume=str(one))
    assert names(two) == {"epoch_0"}


def test_an_image_whose_name_is_no_text_has_a_fingerprint() -> None:
    def of(name: str) -> str:
        nothing = np.zeros(0)
        record = SimpleNamespace(name=name, height=1, width=1, labels=nothing, boxes=nothing, crowd=nothing, masks=[])
        return dataset_fingerprint(SimpleNamespace(class_names=["a"], records=[record]))

    assert len({of("\udce9.jpg"), of("\udcea.jpg"), of("e.jpg")}) == 3
