"""Averaged weights: what they are, where they are saved."""

from pathlib import Path

import numpy as np
import paddle
import pytest

from ppdet_ext.training.hooks import AverageWeights
from ppdet_ext.weights.files.paddle_file import read_data_file
from tests.support.engine_fakes import assert_same_file, make_trainer
from tests.support.engine_fakes import run_tiny as run


def test_average_is_what_is_saved_and_the_raw_weights_go_on_training(tmp_path: Path) -> None:
    plain, averaged = tmp_path / "plain", tmp_path / "averaged"
    run(plain, epochs=2)
    run(averaged, epochs=2, ema_decay=0.5)
    # Averaging does not touch the training itself, in spite of the evaluations with other weights in between.
    plain, averaged = (folder / "checkpoints" / "epoch_1" for folder in (plain, averaged))
    assert_same_file(plain / "model.pdparams", averaged / "model.pdema")
    assert_same_file(plain / "model.pdopt", averaged / "model.pdopt")
    one, two = (read_data_file(averaged / f"model{suffix}") for suffix in (".pdparams", ".pdema"))
    assert not np.array_equal(one["first.weight"], two["first.weight"])


def test_average_by_hand(tmp_path: Path) -> None:
    with paddle.utils.unique_name.guard():
        trainer = make_trainer(tmp_path)
    hook, weight = AverageWeights(0.15), trainer.model.last.bias
    weight.set_value(paddle.to_tensor([1.0]))
    hook.before_train(trainer.state)
    expected = 1.0
    for update, value in enumerate((2.0, 4.0, 8.0)):
        weight.set_value(paddle.to_tensor([value]))
        trainer.state.losses = {"loss": 0.0}
        hook.after_step(trainer.state)
        keep = min(0.15, (1 + update) / (10 + update))
        expected = keep * expected + (1 - keep) * value
    with hook.applied(trainer.model) as own:
        assert float(weight) == pytest.approx(expected)
        assert float(own["last.bias"]) == 8.0
    assert float(weight) == 8.0


def test_average_may_start_or_end_with_a_resumed_run(tmp_path: Path) -> None:
    run(tmp_path, epochs=2)
    run(tmp_path, epochs=3, resume="auto", ema_decay=0.5)
    assert (tmp_path / "checkpoints" / "epoch_2" / "model.pdema").exists()
    run(tmp_path, epochs=4, resume="auto")
    assert not (tmp_path / "checkpoints" / "epoch_3" / "model.pdema").exists()
    whole = tmp_path / "whole"
    run(whole, epochs=4)
    assert_same_file(whole / "model_final.pdparams", tmp_path / "model_final.pdparams")
