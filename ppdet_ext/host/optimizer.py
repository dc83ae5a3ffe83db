"""ppdet's `OptimizerBuilder` with groups of parameters, decoupled weight decay and LookAhead; without these ppdet's own."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import paddle
import ppdet.optimizer.optimizer as host
from paddle import nn
from paddle.regularizer import L2Decay

from ppdet_ext.errors import UserError, nearest

from .look_ahead import LookAhead
from .registry import number_in, replace_module

GROUP_KEYS = ("params", "learning_rate_factor", "weight_decay")
_REGULARIZER = {"type": "L2", "factor": 0.0001}  # ppdet's default


@replace_module
class OptimizerBuilder(host.OptimizerBuilder):
    """Builds the optimizer; what is not in the last four keys is built by ppdet, bit by bit as ever.

    Args:
        clip_grad_by_norm: largest norm of all gradients together.
        clip_grad_by_value: largest value of a gradient, where there is no norm.
        regularizer: {type: L2, factor}, the weight decay of optimizers without one of their own; null for none.
        optimizer: {type: a class of paddle.optimizer, its arguments …}.
        groups: parts of the model that learn otherwise, [{params: [encoder], learning_rate_factor: 0.1, weight_decay: 0.0}].
            `params` are names of layers or parameters; one in several groups belongs to the first. The factor is of the
            schedule's rate; a weight decay is of the kind that the optimizer has.
        decay_norms_and_biases: false: no weight decay of parameters with one axis, but where a group says another.
        decoupled_weight_decay: weights are multiplied by 1 − rate · this in each step, in place of `regularizer` (arXiv
            1711.05101). AdamW has a `weight_decay` for that.
        lookahead: {k: 5, alpha: 0.5}, see `LookAhead`.

    Raises:
        UserError: a key or a number that cannot be right.
    """

    def __init__(
        self,
        clip_grad_by_norm: float | None = None,
        clip_grad_by_value: float | None = None,
        regularizer: Any = _REGULARIZER,
        optimizer: Mapping[str, Any] = {"type": "Momentum", "momentum": 0.9},
        groups: Sequence[Mapping[str, Any]] | None = None,
        decay_norms_and_biases: bool = True,
        decoupled_weight_decay: float | None = None,
        lookahead: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(clip_grad_by_norm, clip_grad_by_value, regularizer, dict(optimizer))
        self.groups = [_checked(group, index) for index, group in enumerate(groups or ())]
        self.decay_norms_and_biases, self.decoupled = decay_norms_and_biases, decoupled_weight_decay
        if decoupled_weight_decay is not None:
            number_in(decoupled_weight_decay, "OptimizerBuilder.decoupled_weight_decay", 0)
            if self.optimizer.get("type") == "AdamW":
                raise UserError("OptimizerBuilder.decoupled_weight_decay: AdamW has its own; set optimizer.weight_decay.")
        self.lookahead = lookahead
        self._look_ahead()

    def __call__(
        self, learning_rate: paddle.optimizer.lr.LRScheduler, model: nn.Layer | None = None
    ) -> paddle.optimizer.Optimizer:
        """The optimizer of a model's trainable parameters."""
        if not self.groups and self.decay_norms_and_biases and self.decoupled is None and self.lookahead is None:
            return super().__call__(learning_rate, model)
        assert model is not None
        if "param_groups" in self.optimizer:
            raise UserError("OptimizerBuilder: param_groups of ppdet do not go with these keys; write groups in their place.")
        arguments = {key: value for key, value in self.optimizer.items() if key != "type"}
        kind = self.optimizer["type"]
        decoupled = self.decoupled
        if kind == "AdamW":
            # The same step, but for decays that differ by group.
            decoupled = float(arguments.pop("weight_decay", 0.01))
            arguments["weight_decay"] = 0.0
        decays = self._distribute(model, self._l2() if decoupled is None else decoupled, decoupled is not None)
        build = host.OptimizerBuilder(self.clip_grad_by_norm, self.clip_grad_by_value, None, {"type": kind, **arguments})
        optimizer = build(learning_rate, model)
        # The class stays the optimizer's own to everybody who asks: ranks, the scaler of mixed precision, checkpoints.
        optimizer.__class__ = type(kind, (Extended, type(optimizer)), {})
        optimizer.decays, optimizer.look_ahead = decays, self._look_ahead()
        return optimizer

    def _look_ahead(self) -> LookAhead | None:
        return None if self.lookahead is None else LookAhead.from_section(self.lookahead, "OptimizerBuilder.lookahead")

    def _l2(self) -> float:
        if not self.regularizer or self.regularizer == "None":
            return 0.0
        if self.regularizer["type"] != "L2":
            raise UserError("OptimizerBuilder: with groups, decay_norms_and_biases or lookahead the regularizer is L2 or null.")
        return float(self.regularizer["factor"])

    def _distribute(self, model: nn.Layer, usual: float, decoupled: bool) -> dict[str, float]:
        """Give each parameter its factor and L2 decay; gives the decoupled decays by paddle's name of the parameter."""
        decays = {}
        members = _members(self.groups, [name for name, _ in model.named_parameters()])
        for name, parameter in model.named_parameters():
            group = members.get(name, {})
            parameter.optimize_attr["learning_rate"] *= group.get("learning_rate_factor", 1.0)
            decay = usual if self.decay_norms_and_biases or len(parameter.shape) > 1 else 0.0
            decay = float(group.get("weight_decay", decay))
            if decoupled:
                decays[parameter.name] = decay
            elif "weight_decay" in group or parameter.regularizer is None:
                # A layer's own regularizer stays, unless a group says another.
                parameter.regularizer = L2Decay(decay) if decay else None
        return {name: decay for name, decay in decays.items() if decay}


class Extended:
    """Mixed into an optimizer: decoupled weight decay before a step, LookAhead after it.

    Attributes:
        decays: by paddle's name of a parameter; none where it is not there.
        look_ahead: or None.
    """

    decays: dict[str, float]
    look_ahead: LookAhead | None

    def step(self) -> None:
        """Update the parameters that have a gradient."""
        used = [one for one in self._parameter_list if not one.stop_gradient and one.grad is not None]  # type: ignore[attr-defined]
        with paddle.no_grad():
            self._decay(used)
            super().step()  # type: ignore[misc]
            if self.look_ahead is not None:
                self.look_ahead.step(used)

    def _decay(self, parameters: Iterable[paddle.Tensor]) -> None:
        rate = self.get_lr()  # type: ignore[attr-defined]
        for parameter in parameters:
            if decay := self.decays.get(parameter.name):
                own = rate * parameter.optimize_attr["learning_rate"]
                paddle.assign(parameter * (1 - own * decay), parameter)

    def state_dict(self) -> dict[str, Any]:
        """The optimizer's, and LookAhead's under its name."""
        state = super().state_dict()  # type: ignore[misc]
        return state if self.look_ahead is None else {**state, LookAhead.__name__: self.look_ahead.state_dict()}

    def set_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take back what `state_dict` gave."""
        state = dict(state_dict)
        own = state.pop(LookAhead.__name__, None)
        if self.look_ahead is not None:
            self.look_ahead.load_state_dict(own)
        super().set_state_dict(state)  # type: ignore[misc]

    load_state_dict = set_state_dict


def _checked(group: Any, index: int) -> dict[str, Any]:
    """A group of the configuration. Raises: UserError where a key or a value of it cannot be right."""
    key = f"OptimizerBuilder.groups.{index}"
    params = group.get("params") if isinstance(group, Mapping) else None
    if not isinstance(params, list) or not params or not all(isinstance(one, str) for one in params):
        raise UserError(
            f"{key} is {group!r}; expected {{params: [names of layers], learning_rate_factor: …, weight_decay: …}}."
        )
    for name in group:
        if name not in GROUP_KEYS:
            raise UserError(f"{key}.{name} is unknown.{nearest(name, GROUP_KEYS)} There are {', '.join(GROUP_KEYS)}.")
    for name in GROUP_KEYS[1:]:
        if name in group:
            number_in(group[name], f"{key}.{name}", 0)
    return dict(group)


def _members(groups: Sequence[Mapping[str, Any]], names: Sequence[str]) -> dict[str, Mapping[str, Any]]:
    """Parameter name -> its group, the first that names it or a layer around it. Raises: UserError where one names nothing."""
    found: dict[str, Mapping[str, Any]] = {}
    layers = {".".join(name.split(".")[:end]) for name in names for end in range(1, name.count(".") + 2)}
    for index, group in enumerate(groups):
        for prefix in group["params"]:
            if prefix not in layers:
                top = sorted({name.split(".")[0] for name in names})
                raise UserError(
                    f"OptimizerBuilder.groups.{index}.params: the model has no layer or parameter {prefix!r}."
                    f"{nearest(prefix, layers)} Its parts are {', '.join(top)}."
                )
            for name in names:
                if name == prefix or name.startswith(f"{prefix}."):
                    found.setdefault(name, group)
    return found
