"""Losses that are not finite: stop with the images' names, or skip; the last good checkpoint stays."""

import json
import logging
from pathlib import Path

import numpy as np
import paddle
import pytest

from ppdet_ext.checkpoint import newest_checkpoint, read_checkpoint
from ppdet_ext.errors import DivergenceError
from ppdet_ext.training.hooks import Hook
from ppdet_ext.training.state import TrainState
from ppdet_ext.weights.files.paddle_file import read_data_file
from tests.support.engine_fakes import TinyLoader, make_trainer
from tests.support.engine_fakes import run_tiny as run


class Weights(Hook):
    """What the model's tensors were after each step."""

    def __init__(self) -> None:
        self.seen: list[dict[str, np.ndarray]] = []
        self.losses: list[dict[str, float]] = []

    def after_step(self, state: TrainState) -> None:
        self.seen.append({name: tensor.numpy().copy() for name, tensor in state.model.state_dict().items()})
        self.losses.append(state.losses)


def test_nan_loss_stops_before_the_weights_change_and_names_the_images(tmp_path: Path) -> None:
    with pytest.raises(DivergenceError) as caught:
        run(tmp_path, loader=TinyLoader(nan_at=(1, 1)))
    message = str(caught.value)
    assert "loss_fit = nan" in message
    assert "epoch 1, step 1" in message
    assert "sheet_1_1_0.jpg, sheet_1_1_1.jpg" in message
    weights = read_data_file(tmp_path / "checkpoints" / "epoch_0" / "model.pdparams")
    assert all(np.isfinite(value).all() for value in weights.values())


def test_divergence_inside_the_model_gets_the_images_too(tmp_path: Path) -> None:
    with paddle.utils.unique_name.guard():
        trainer = make_trainer(tmp_path)

        def diverge(batch: dict) -> None:
            raise DivergenceError("Boxes of stage 2 are NaN")

        trainer.model.forward = diverge
        with pytest.raises(DivergenceError, match=r"Boxes of stage 2 are NaN in epoch 0, step 0.*sheet_0_0_4\.jpg"):
            trainer.train()


def test_state_for_diagnosis_runs_the_same_step_again(tmp_path: Path) -> None:
    with pytest.raises(DivergenceError, match=r"The state before this step and its batch are in .*diverged_epoch_1_step_1; -r"):
        run(tmp_path, loader=TinyLoader(nan_at=(1, 1)), snapshot_iter=1)
    folder = tmp_path / "diverged_epoch_1_step_1"
    checkpoint = read_checkpoint(folder)
    assert checkpoint.position == (1, 1)
    # Its weights and statistics are those after the last good step; the bad forward has left no trace.
    for suffix in (".pdparams", ".pdopt"):
        good = tmp_path / "checkpoints" / "epoch_1_step_1" / f"model{suffix}"
        assert (folder / f"model{suffix}").read_bytes() == good.read_bytes()
    with np.load(folder / "batch_rank_0.npz") as batch:
        assert np.isnan(batch["image"][0, 0])
    record = json.loads((folder / "batch_rank_0.json").read_text())
    assert record["images"][0] == "sheet_1_1_0.jpg"
    assert np.isnan(record["losses"]["loss_fit"])
    assert newest_checkpoint(tmp_path).position == (1, 1)
    with pytest.raises(DivergenceError, match="epoch 1, step 1"):
        run(tmp_path, resume=str(folder), loader=TinyLoader(nan_at=(1, 1)))
    # Without the bad image it trains on from there.
    run(tmp_path, resume=str(folder))


@pytest.mark.parametrize("accumulation", [1, 2])
def test_a_skipped_step_leaves_everything_as_it_was(tmp_path: Path, accumulation: int, caplog, monkeypatch) -> None:
    monkeypatch.setattr(logging.getLogger("ppdet_ext"), "propagate", True)
    steps = Weights()
    loader = TinyLoader(4, nan_at=(0, 2))
    run(tmp_path, epochs=1, loader=loader, extra=(steps,), skip=1, accumulation=accumulation, with_eval=False, ema_decay=0.5)
    bad = 2 // accumulation
    for name, value in steps.seen[bad - 1].items():
        assert np.array_equal(steps.seen[bad][name], value), name
    if accumulation == 1:
        assert not np.array_equal(steps.seen[3]["last.bias"], steps.seen[2]["last.bias"])
    assert [bool(losses) for losses in steps.losses] == [step != bad for step in range(4 // accumulation)]
    assert "Step skipped (1 in a row, 1 in all): loss_fit = nan, " in caplog.text
    assert "sheet_0_2_0.jpg" in caplog.text
    state = json.loads((tmp_path / "checkpoints/epoch_0/state.json").read_text())["trainer"]
    assert state["LossGuard"] == {"in_a_row": 1 if bad == 4 // accumulation - 1 else 0, "skipped": 1}
    assert state["AverageWeights"] == {"updates": 4 // accumulation - 1}


def test_too_many_in_a_row_stop(tmp_path: Path) -> None:
    class Bad(TinyLoader):
        def __iter__(self):
            for batch in super().__iter__():
                yield {**batch, "image": batch["image"] * float("inf")}

    with pytest.raises(DivergenceError, match="epoch 0, step 2"):
        run(tmp_path, loader=Bad(5), skip=2)


def test_a_resumed_run_goes_on_counting(tmp_path: Path) -> None:
    run(tmp_path, epochs=1, loader=TinyLoader(nan_at=(0, 2)), skip=1)
    with pytest.raises(DivergenceError, match="epoch 1, step 0"):
        run(tmp_path, epochs=2, loader=TinyLoader(nan_at=(1, 0)), skip=1, resume="auto")


def test_a_nan_gradient_of_a_finite_loss_does_not_reach_a_checkpoint(tmp_path: Path) -> None:
    class Poison(Hook):
        def after_step(self, state: TrainState) -> None:
            if (state.epoch, state.step) == (1, 2):
                state.model.last.bias.set_value(paddle.to_tensor([float("nan")]))

    with pytest.raises(DivergenceError, match=r"last\.bias is NaN or infinite"):
        run(tmp_path, extra=(Poison(),), with_eval=False)
    assert newest_checkpoint(tmp_path).position == (1, 0)


def test_state_that_is_not_finite_itself_is_kept_for_diagnosis_too(tmp_path: Path) -> None:
    class Poison(Hook):
        def after_step(self, state: TrainState) -> None:
            if (state.epoch, state.step) == (1, 0):
                state.model.last.bias.set_value(paddle.to_tensor([float("inf")]))

    with pytest.raises(DivergenceError, match=r"loss = inf in epoch 1, step 1.*sheet_1_1_0\.jpg.*runs the step again"):
        run(tmp_path, extra=(Poison(),))
    weights = read_data_file(read_checkpoint(tmp_path / "diverged_epoch_1_step_1").weights)
    assert np.isinf(weights["last.bias"]).all()


def test_a_diagnosis_that_cannot_be_written_does_not_hide_the_divergence(tmp_path: Path) -> None:
    (tmp_path / "diverged_epoch_1_step_1").mkdir(parents=True)
    (tmp_path / ".diverged_epoch_1_step_1.part").write_text("in the way")
    with pytest.raises(DivergenceError, match=r"loss_fit = nan.*Cannot write .*diverged_epoch_1_step_1"):
        run(tmp_path, loader=TinyLoader(nan_at=(1, 1)))
