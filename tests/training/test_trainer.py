"""The loop and its hooks: exact resumption, accumulation, the order of hooks."""

import json
from pathlib import Path

import numpy as np
import paddle
import pytest

from ppdet_ext.checkpoint import Position
from ppdet_ext.errors import UserError
from ppdet_ext.training.hooks import AverageWeights, Hook, Kind
from ppdet_ext.training.state import TrainState
from ppdet_ext.training.trainer import seed_step
from tests.support.engine_fakes import TinyLoader, assert_same_file, make_trainer, run_tiny


class StopAfter(Hook):
    """Ends training as Ctrl-C would, in the middle of an epoch."""

    def __init__(self, epoch: int, step: int) -> None:
        self.at = (epoch, step)

    def after_step(self, state: TrainState) -> None:
        if (state.epoch, state.step) == self.at:
            raise KeyboardInterrupt


class Recorder(Hook):
    """Writes down the order of calls."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def __getattribute__(self, name: str):
        if name.startswith(("before_", "after_")) and name != "before_save":
            return lambda state: self.calls.append(f"{name} {state.epoch} {state.step}")
        return super().__getattribute__(name)


run = run_tiny


def assert_same_run(one: Path, two: Path, names: tuple[str, ...] = ("epoch_2", "epoch_3")) -> None:
    for name in names:
        files = {path.name for path in (one / "checkpoints" / name).iterdir()}
        assert files == {path.name for path in (two / "checkpoints" / name).iterdir()}
        for file in sorted(files):
            left, right = (folder / "checkpoints" / name / file for folder in (one, two))
            if file.endswith((".json", ".yml")):
                assert left.read_bytes() == right.read_bytes(), file
            else:
                assert_same_file(left, right)
    for name in ("model_final", "best_model"):
        assert_same_file(one / f"{name}.pdparams", two / f"{name}.pdparams")
    assert (one / "metrics.jsonl").read_bytes() == (two / "metrics.jsonl").read_bytes()


@pytest.mark.parametrize(
    "kwargs",
    [{}, {"ema_decay": 0.9}, {"accumulation": 2}, {"ema_decay": 0.9, "with_eval": False}],
    ids=["", "ema", "2", "plain"],
)
@pytest.mark.parametrize("stop", [(0, 1), (1, 0), (1, 1), (2, 0), (3, 1)])
@pytest.mark.parametrize("snapshot_iter", [None, 1])
def test_resumed_run_is_bit_identical_to_an_uninterrupted_one(tmp_path: Path, stop, snapshot_iter, kwargs) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    kwargs = {"snapshot_iter": snapshot_iter, "keep": 99, "loader": TinyLoader(5), **kwargs}
    run(whole, **kwargs)
    with pytest.raises(KeyboardInterrupt):
        run(parts, extra=(StopAfter(*stop),), **kwargs)
    trainer = run(parts, resume="auto", **kwargs)
    # The hook stops before the step is saved.
    assert trainer.state.start == (stop if snapshot_iter else (stop[0], 0))
    if kwargs.get("with_eval", True):
        assert_same_run(whole, parts)
    else:
        assert_same_file(whole / "model_final.pdparams", parts / "model_final.pdparams")


def test_resuming_twice_and_from_a_named_epoch(tmp_path: Path) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    run(whole)
    run(parts)
    final = (parts / "model_final.pdparams").read_bytes()
    trainer = run(parts, resume="1")
    assert trainer.state.start == (2, 0)
    assert_same_run(whole, parts)
    # What came after it belongs to another future.
    aside = parts / "earlier_1"
    assert {path.name for path in (aside / "checkpoints").iterdir()} == {"epoch_2", "epoch_3"}
    assert (aside / "model_final.pdparams").read_bytes() == final
    assert (aside / "metrics.jsonl").read_bytes() == (whole / "metrics.jsonl").read_bytes()


def test_accumulated_batches_are_one_step(tmp_path: Path) -> None:
    loader = TinyLoader(5)
    trainer = run(tmp_path, epochs=1, loader=loader, accumulation=2, log_iter=1, with_eval=False)
    assert trainer.state.steps_per_epoch == 3
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [0, 1, 2]
    assert [line["learning_rate"] for line in lines] == [0.1, 0.1, 0.05]


def test_gradient_of_accumulated_batches_is_their_mean(tmp_path: Path) -> None:
    gradients = {}
    batches = [batch for _, batch in zip(range(2), TinyLoader(2))]
    for count in (1, 2):
        with paddle.utils.unique_name.guard():
            trainer = make_trainer(tmp_path, accumulation=2)
        trainer.model.forward = lambda batch, model=trainer.model: {"loss": model.last(model.first(batch["image"])).mean()}
        trainer.optimizer.step = lambda: None
        trainer.optimizer.clear_grad = lambda: None
        if count == 2:
            trainer._train_step(batches)
        else:
            both = paddle.concat([batch["image"] for batch in batches])
            trainer._train_step([{"image": both, "names": ["both"]}])
        gradients[count] = trainer.model.first.weight.grad.numpy()
    assert np.allclose(gradients[1], gradients[2], rtol=1e-6)


def test_training_lowers_the_loss_and_randomness_depends_on_the_place_only(tmp_path: Path) -> None:
    run(tmp_path, epochs=12)
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    losses = [line["losses"]["loss"] for line in lines if line["kind"] == "train"]
    assert np.mean(losses[-4:]) < 0.6 * np.mean(losses[:2])
    seed_step(3, 1, 2, 0)
    first = np.random.rand(3), paddle.rand([3]).numpy()
    seed_step(3, 1, 2, 0)
    assert np.array_equal(np.random.rand(3), first[0])
    assert np.array_equal(paddle.rand([3]).numpy(), first[1])
    seed_step(3, 1, 2, 1)
    assert not np.array_equal(np.random.rand(3), first[0])


def test_hooks_are_called_in_the_order_the_docstring_gives(tmp_path: Path) -> None:
    recorder = Recorder()
    run(tmp_path, epochs=2, loader=TinyLoader(2), extra=(recorder,), with_eval=False)
    assert recorder.calls == [
        "before_train 0 0",
        "before_epoch 0 0", "after_step 0 0", "after_step 0 1", "after_epoch 0 1",
        "before_epoch 1 0", "after_step 1 0", "after_step 1 1", "after_epoch 1 1",
        "after_train 1 1",
    ]  # fmt: skip


def test_kinds_decide_the_order_not_the_list(tmp_path: Path) -> None:
    class Late(Hook):
        kind = Kind.SAVE

    given = (Late(), Recorder(), AverageWeights(0.9))
    with paddle.utils.unique_name.guard():
        trainer = make_trainer(tmp_path, extra=given)
    names = [type(hook).__name__ for hook in trainer.hooks]
    assert names == ["AverageWeights", "Evaluate", "LogLine", "MetricsFile", "Recorder", "Late", "SaveCheckpoints"]
    assert trainer.state.average is given[-1]


def test_two_hooks_of_one_class_that_remember_are_refused(tmp_path: Path) -> None:
    class Counter(Hook):
        def state_dict(self) -> dict[str, int]:
            return {"count": 1}

    with paddle.utils.unique_name.guard(), pytest.raises(UserError, match="two of them are of a class named Counter"):
        make_trainer(tmp_path, extra=(Counter(), Counter()))


def test_a_hook_of_a_third_party_saves_what_a_run_goes_on_from(tmp_path: Path) -> None:
    class Keep(Hook):
        def after_step(self, state: TrainState) -> None:
            if (state.epoch, state.step) == (1, 1):
                state.save_to(tmp_path / "kept", Position(1, 2))

    run(tmp_path / "whole", epochs=2, extra=(Keep(),), ema_decay=0.9)
    trainer = run(tmp_path / "resumed", epochs=2, resume=str(tmp_path / "kept"), ema_decay=0.9)
    assert trainer.state.start == (1, 2)
    assert_same_file(*(tmp_path / name / "model_final.pdparams" for name in ("whole", "resumed")))


def test_state_of_another_format_is_refused(tmp_path: Path) -> None:
    with paddle.utils.unique_name.guard():
        trainer = make_trainer(tmp_path)
    with pytest.raises(UserError, match="training state"):
        trainer.load_state_dict({"SaveCheckpoints": {"bests": 1}})
