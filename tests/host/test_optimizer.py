"""Optimizers against torch's and timm's: 14 steps each; groups, decay and LookAhead as configured; state to go on from."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import paddle
import pytest
import smp_recipe
from paddle import nn

from ppdet_ext.checkpoint.load import foreign_slots
from ppdet_ext.errors import UserError
from ppdet_ext.host.optimizer import Extended, OptimizerBuilder
from ppdet_ext.host.schedules import FlatCosine, LearningRate
from ppdet_ext.weights.files.paddle_file import read_data_file

GOLDEN = Path(__file__).resolve().parents[1] / "modeling" / "golden"
ADAM, RADAM, ADAMW = {"type": "Adam"}, {"type": "RAdam"}, {"type": "AdamW", "weight_decay": 0.01}
TWO_RATES = [{"params": ["encoder"], "learning_rate_factor": 0.1}]
LOOK_AHEAD = {"k": 5, "alpha": 0.5}
NO_DECAY = {"regularizer": None}
# Name of the trace -> rate, and keys of OptimizerBuilder.
TRACES: list[tuple[str, float, dict[str, Any]]] = [
    ("adam", 1e-3, {"optimizer": ADAM, **NO_DECAY}),
    ("adam_two_rates", 1e-2, {"optimizer": ADAM, "groups": TWO_RATES, **NO_DECAY}),
    ("adam_l2_1e-4", 1e-3, {"optimizer": ADAM, "regularizer": {"type": "L2", "factor": 1e-4}}),
    ("adam_l2_1e-4", 1e-3, {"optimizer": ADAM, "groups": [{"params": ["encoder", "decoder"], "weight_decay": 1e-4}]}),
    ("adamw_1e-2", 1e-3, {"optimizer": ADAMW}),
    ("adamw_1e-2", 1e-3, {"optimizer": ADAMW, "groups": [{"params": ["decoder"]}]}),
    ("adamw_1e-2", 1e-3, {"optimizer": ADAM, "decoupled_weight_decay": 0.01}),
    ("sgd_momentum_l2", 1e-2, {}),
    ("sgd_nesterov", 1e-2, {"optimizer": {"type": "Momentum", "momentum": 0.9, "use_nesterov": True}, **NO_DECAY}),
    ("radam", 1e-2, {"optimizer": RADAM, **NO_DECAY}),
    ("radam_two_rates", 1e-2, {"optimizer": RADAM, "groups": TWO_RATES, **NO_DECAY}),
    ("radam_l2_1e-2", 1e-2, {"optimizer": RADAM, "regularizer": {"type": "L2", "factor": 1e-2}}),
    ("radam_decoupled_1e-2", 1e-2, {"optimizer": RADAM, "decoupled_weight_decay": 0.01}),
    ("lookahead_adam_k5_a.5", 1e-2, {"optimizer": ADAM, "lookahead": LOOK_AHEAD, **NO_DECAY}),
    ("lookahead_radam_k5_a.5", 1e-2, {"optimizer": RADAM, "lookahead": LOOK_AHEAD, **NO_DECAY}),
]


class Perceptron(nn.Layer):
    """Parameters of torch's shapes; its gradients are recorded ones."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.decoder = nn.Layer(), nn.Layer()
        for name, value in smp_recipe.mlp_params().items():
            layer, own = name.split(".")
            made = paddle.create_parameter(list(value.shape), "float32")
            made.set_value(value)
            setattr(getattr(self, layer), own, made)

    def take(self, gradients: np.ndarray) -> None:
        for parameter in self.parameters():
            size = parameter.size
            parameter.grad = paddle.to_tensor(gradients[:size].reshape(parameter.shape))
            gradients = gradients[size:]

    @property
    def values(self) -> np.ndarray:
        return np.concatenate([parameter.numpy().ravel() for parameter in self.parameters()])


def built(rate: float, keys: dict[str, Any]) -> tuple[Perceptron, paddle.optimizer.Optimizer]:
    """A fresh perceptron and its optimizer."""
    model = Perceptron()
    schedule = LearningRate(rate, [FlatCosine(max_epochs=99, flat=1.0)])(1)
    return model, OptimizerBuilder(**keys)(schedule, model)


@pytest.fixture(scope="module")
def golden() -> dict[str, np.ndarray]:
    return dict(np.load(GOLDEN / "smp_optim.npz"))


@pytest.mark.parametrize(("name", "rate", "keys"), TRACES, ids=[f"{i}-{name}" for i, (name, _, _) in enumerate(TRACES)])
def test_fourteen_steps(name: str, rate: float, keys: dict[str, Any], golden: dict[str, np.ndarray]) -> None:
    model, optimizer = built(rate, keys)
    for gradients, expected in zip(golden[f"{name}/grads_f32"], golden[f"{name}/params_f32"]):
        model.take(gradients)
        optimizer.step()
        optimizer.clear_grad()
        np.testing.assert_allclose(model.values, expected, rtol=0, atol=2e-6)


def test_every_trace_of_the_reference_is_compared() -> None:
    known = json.loads((GOLDEN / "smp_optim.json").read_text())["optimizers"]
    assert {name for name, _, _ in TRACES} == set(known)


def test_without_our_keys_the_optimizer_is_ppdets_own() -> None:
    _, optimizer = built(0.1, {})
    assert type(optimizer) is paddle.optimizer.Momentum
    assert not isinstance(optimizer, Extended)


@pytest.mark.parametrize("stop", range(1, 14))
@pytest.mark.parametrize("keys", [
    {"optimizer": RADAM, "lookahead": LOOK_AHEAD},
    {"optimizer": ADAMW, "groups": TWO_RATES, "lookahead": {"k": 3, "alpha": 0.8}},
], ids=["radam", "adamw-groups"])  # fmt: skip
def test_resumed_bit_by_bit(keys: dict[str, Any], stop: int, golden: dict[str, np.ndarray], tmp_path: Path) -> None:
    gradients = golden["radam/grads_f32"]

    def run(steps: np.ndarray, resume: bool = False) -> np.ndarray:
        # State is filed under names that are generated anew in each run.
        with paddle.utils.unique_name.guard():
            model, optimizer = built(1e-2, keys)
            if resume:
                content = read_data_file(tmp_path / "a.pdopt")
                assert foreign_slots(content, optimizer) == []
                model.set_state_dict(paddle.load(str(tmp_path / "a.pdparams")))
                optimizer.set_state_dict(content)
            for one in steps:
                model.take(one)
                optimizer.step()
                optimizer.clear_grad()
        paddle.save(optimizer.state_dict(), str(tmp_path / "a.pdopt"))
        paddle.save(model.state_dict(), str(tmp_path / "a.pdparams"))
        return model.values

    whole = run(gradients)
    run(gradients[:stop])
    np.testing.assert_array_equal(run(gradients[stop:], resume=True), whole)


def test_state_of_lookahead_does_not_go_into_a_plain_optimizer() -> None:
    _, ahead = built(1e-2, {"lookahead": LOOK_AHEAD})
    _, plain = built(1e-2, {})
    assert foreign_slots(ahead.state_dict(), plain) == ["LookAhead"]


def test_norms_and_biases_need_not_decay() -> None:
    keys = {"optimizer": {"type": "SGD"}, "regularizer": {"type": "L2", "factor": 0.5}, "decay_norms_and_biases": False}
    groups = [{"params": ["decoder.bias"], "weight_decay": 0.1}]
    model, optimizer = built(1.0, {**keys, "groups": groups})
    before = {name: one.numpy() for name, one in model.named_parameters()}
    model.take(np.zeros(83, np.float32))
    optimizer.step()
    shares = {name: np.unique(np.round(one.numpy() / before[name], 5)).tolist() for name, one in model.named_parameters()}
    assert shares == {
        "encoder.weight": [0.5],
        "encoder.bias": [1.0],
        "decoder.weight": [0.5],
        "decoder.bias": [pytest.approx(0.9)],
    }


def test_gradients_of_all_groups_are_clipped_together() -> None:
    model, optimizer = built(1.0, {"optimizer": {"type": "SGD"}, **NO_DECAY, "clip_grad_by_norm": 1.0, "groups": TWO_RATES})
    before = model.values
    model.take(np.ones(83, np.float32))
    optimizer.step()
    step = before - model.values
    np.testing.assert_allclose(step[-1], 1 / np.sqrt(83), rtol=1e-5)
    np.testing.assert_allclose(step[0], 0.1 / np.sqrt(83), rtol=1e-4)


def test_a_parameter_without_gradient_is_left_alone() -> None:
    model, optimizer = built(1.0, {"optimizer": {"type": "SGD"}, "decoupled_weight_decay": 0.5, "lookahead": {"k": 1}})
    model.encoder.weight.stop_gradient = True
    before = model.encoder.weight.numpy(), model.decoder.bias.numpy(), model.decoder.weight.numpy()
    model.take(np.zeros(83, np.float32))
    model.decoder.bias.clear_gradient(False)
    model.decoder.bias.grad = None
    optimizer.step()
    np.testing.assert_array_equal(model.encoder.weight.numpy(), before[0])
    np.testing.assert_array_equal(model.decoder.bias.numpy(), before[1])
    np.testing.assert_allclose(model.decoder.weight.numpy(), before[2] / 2)


@pytest.mark.parametrize(("keys", "message"), [
    ({"groups": [{"params": ["encodr"]}]}, "'encodr'. Did you mean 'encoder'.* Its parts are decoder, encoder"),
    ({"groups": [{"params": "encoder"}]}, "groups.0 is .*expected"),
    ({"groups": [{"params": ["encoder"], "lr": 1}]}, "groups.0.lr is unknown"),
    ({"groups": [{"params": ["encoder"], "weight_decay": -1}]}, "groups.0.weight_decay: -1"),
    ({"lookahead": {"alpa": 1}}, r"lookahead.alpa is unknown. Did you mean 'alpha'\?"),
    ({"lookahead": {"k": 0}}, "OptimizerBuilder.lookahead.k: 0"),
    ({"optimizer": ADAMW, "decoupled_weight_decay": 0.1}, "AdamW has its own"),
    ({"regularizer": {"type": "L1", "factor": 1}, "lookahead": {}}, "regularizer is L2 or null"),
])  # fmt: skip
def test_what_cannot_be_built_is_said(keys: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        built(1.0, keys)
