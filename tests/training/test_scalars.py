"""Curves for TensorBoard, Weights & Biases and MLflow: names, steps, runs that are resumed, packages that are missing."""

import sys
import types
from pathlib import Path
from typing import Any

import pytest

from ppdet_ext.checkpoint.folder import EVENTS
from ppdet_ext.errors import UserError
from ppdet_ext.files.event_file import event_files, read_events
from ppdet_ext.registry import KINDS
from ppdet_ext.training.hooks import Hook, MLflow, TensorBoard, WandB
from tests.support.engine_fakes import TinyLoader, run_tiny

STEPS = 5


class StopAfter(Hook):
    """Ends the run where a process is killed: what was written stays, the step is not saved."""

    def __init__(self, epoch: int, step: int) -> None:
        self.place = epoch, step

    def after_step(self, state: Any) -> None:
        if (state.epoch, state.step) == self.place:
            raise KeyboardInterrupt


class StopBeforeSaving(StopAfter):
    def after_epoch(self, state: Any) -> None:
        if state.epoch == self.place[0]:
            raise KeyboardInterrupt


def run(folder: Path, *hooks: Hook, resume: str | None = None, **kwargs: Any) -> None:
    run_tiny(folder, epochs=3, loader=TinyLoader(STEPS), extra=hooks, resume=resume, **kwargs)


def board(folder: Path) -> TensorBoard:
    return TensorBoard(folder / EVENTS, 2)


def curves(folder: Path) -> list[tuple[int, str, float]]:
    """Step, name and value of all that depends on no clock, in the order of the files."""
    events = [event for path in event_files(folder / EVENTS) for event in read_events(path)]
    return [(e.step, name, value) for e in events for name, value in e.values.items() if "images_per" not in name]


def test_names_and_steps(tmp_path: Path) -> None:
    run(tmp_path, board(tmp_path))
    found = curves(tmp_path)
    by_name: dict[str, list[int]] = {}
    for step, name, _ in found:
        by_name.setdefault(name, []).append(step)
    # Each second step and an epoch's last one; evaluations have the step before them.
    trained = [0, 2, 4, 5, 7, 9, 10, 12, 14]
    assert by_name == {
        **{f"train/{name}": trained for name in ("loss", "loss_fit", "loss_size", "learning_rate")},
        **{name: [4, 9, 14] for name in ("eval/bbox/value", "eval/segm/AP")},
    }
    assert {value for _, name, value in found if name == "eval/bbox/value"} == {0.5}


@pytest.mark.parametrize(
    ("stop", "snapshot_iter"),
    [
        (StopAfter(1, 3), None),
        (StopAfter(1, 3), 1),
        (StopAfter(0, 4), 1),
        (StopBeforeSaving(1, 9), None),
        (StopBeforeSaving(1, 9), 5),
    ],
    ids=["between", "steps saved", "at an end", "evaluated", "evaluated, steps saved"],
)
def test_a_resumed_run_goes_on_without_doubled_steps(stop: StopAfter, snapshot_iter: int | None, tmp_path: Path) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    run(whole, board(whole), snapshot_iter=snapshot_iter)
    with pytest.raises(KeyboardInterrupt):
        run(parts, board(parts), stop, snapshot_iter=snapshot_iter)
    assert 0 < len(curves(parts)) < len(curves(whole))
    run(parts, board(parts), resume="auto", snapshot_iter=snapshot_iter)
    assert curves(parts) == curves(whole)


def test_a_new_run_is_not_mixed_with_an_earlier_one(tmp_path: Path) -> None:
    for _ in range(2):
        run(tmp_path, board(tmp_path))
    assert curves(tmp_path) == curves(tmp_path / "earlier_1")
    assert len(event_files(tmp_path / EVENTS)) == 1
    # Of one that was killed before it had saved anything nothing is moved, for nothing of it will be used.
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "killed", board(tmp_path / "killed"), StopAfter(0, 3))
    run(tmp_path / "killed", board(tmp_path / "killed"))
    assert curves(tmp_path / "killed") == curves(tmp_path)


def test_a_folder_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / EVENTS).write_text("a file")
    with pytest.raises(UserError, match=r"Cannot write .*tensorboard: .*leave tensorboard out"):
        run(tmp_path, board(tmp_path))


class FakeWandB(types.SimpleNamespace):
    """Takes what wandb takes, and leaves out steps before the last, in a resumed run the last, too, as that does."""

    def __init__(self) -> None:
        super().__init__(runs={}, options=[])

    def init(self, id: str | None = None, **options: Any) -> Any:
        self.options.append({"id": id, **options})
        id = id or f"run{len(self.runs)}"
        history = self.runs.setdefault(id, [])
        first = history[-1][0] + 1 if history else 0

        def log(values: dict[str, float], step: int) -> None:
            if step >= max([first, *(done for done, _ in history)]):
                history.append((step, sorted(values)))

        return types.SimpleNamespace(id=id, log=log, finish=lambda: history.append((10**9, ["finished"])))


def test_wandb_goes_on_in_the_run_that_was_resumed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakeWandB()
    monkeypatch.setitem(sys.modules, "wandb", fake)
    assert KINDS["hook"]["WandB"] is WandB
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, WandB(project="steel", log_iter=2), StopAfter(1, 3))
    run(tmp_path, WandB(project="steel", log_iter=2), resume="auto")
    assert [one["id"] for one in fake.options] == [None, "run0"]
    assert fake.options[0] == {"id": None, "resume": "allow", "project": "steel"}
    steps = [step for step, names in fake.runs["run0"] if "train/loss" in names]
    assert steps == [0, 2, 4, 5, 7, 9, 10, 12, 14]
    assert fake.runs["run0"][-1] == (10**9, ["finished"])


class FakeMLflow(types.SimpleNamespace):
    """Keeps all that it is sent, as MLflow does."""

    def __init__(self) -> None:
        super().__init__(sent=[], started=[], ended=0, places=[])
        self.tracking = types.SimpleNamespace(MlflowClient=lambda: self)

    def set_tracking_uri(self, uri: str) -> None:
        self.places.append(uri)

    def set_experiment(self, name: str) -> None:
        self.places.append(name)

    def start_run(self, run_id: str | None, run_name: str | None) -> Any:
        self.started.append(run_id)
        return types.SimpleNamespace(info=types.SimpleNamespace(run_id=run_id or "a1"))

    def get_metric_history(self, run_id: str, name: str) -> list[Any]:
        return [types.SimpleNamespace(step=step) for sent, step in self.sent if sent == name]

    def log_metrics(self, values: dict[str, float], step: int) -> None:
        self.sent += [(name, step) for name in values]

    def end_run(self) -> None:
        self.ended += 1


def test_mlflow_gets_each_step_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakeMLflow()
    monkeypatch.setitem(sys.modules, "mlflow", fake)
    options = {"experiment": "steel", "tracking_uri": "http://host", "log_iter": 2}
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, MLflow(**options), StopAfter(1, 3))
    run(tmp_path, MLflow(**options), resume="auto")
    assert (fake.started, fake.places, fake.ended) == ([None, "a1"], ["http://host", "steel"] * 2, 1)
    assert [step for name, step in fake.sent if name == "train/loss"] == [0, 2, 4, 5, 7, 9, 10, 12, 14]
    assert [step for name, step in fake.sent if name == "eval/segm/AP"] == [4, 9, 14]


@pytest.mark.parametrize(("hook", "package"), [(WandB, "wandb"), (MLflow, "mlflow")])
def test_a_package_that_is_missing_is_said(hook: type, package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(UserError, match=f"hooks: {hook.__name__} needs the package {package}: pip install {package}"):
        hook()
