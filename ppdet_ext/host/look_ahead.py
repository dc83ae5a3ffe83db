"""LookAhead: slow weights that follow an optimizer's, and pull it back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import paddle

from ppdet_ext.errors import UserError, nearest

from .registry import number_in, whole_number_in


class LookAhead:
    """Each k-th step the slow weights go a share of the way to the optimizer's, which go on from there (arXiv 1907.08610).

    As timm's: the slow weights begin as those after the first k steps, so the first synchronization changes nothing. (Paddle's
    own begins with the first step.) A parameter without gradient in such a step is left out of it.

    Args:
        k: steps between two synchronizations.
        alpha: share of the way.

    Attributes:
        steps: done so far; a step that mixed precision left out is none.
        slow: paddle's name of a parameter -> its slow weights.
    """

    def __init__(self, k: int = 5, alpha: float = 0.5) -> None:
        self.k, self.alpha = whole_number_in(k, "LookAhead.k", 1), number_in(alpha, "LookAhead.alpha", 0, 1)
        self.steps = 0
        self.slow: dict[str, paddle.Tensor] = {}

    @classmethod
    def from_section(cls, section: Any, key: str) -> LookAhead:
        """Of {k, alpha} of a configuration. Raises: UserError that begins with `key`."""
        if not isinstance(section, Mapping):
            raise UserError(f"{key} is {section!r}; expected {{k: 5, alpha: 0.5}}.")
        for name in section:
            if name not in ("k", "alpha"):
                raise UserError(f"{key}.{name} is unknown.{nearest(name, ('k', 'alpha'))} There are k, alpha.")
        k, alpha = section.get("k", 5), section.get("alpha", 0.5)
        return cls(whole_number_in(k, f"{key}.k", 1), number_in(alpha, f"{key}.alpha", 0, 1))

    def step(self, parameters: Iterable[paddle.Tensor]) -> None:
        """Count a step of the optimizer, after it; synchronize these parameters if it is a k-th one."""
        self.steps += 1
        if self.steps % self.k:
            return
        with paddle.no_grad():
            for fast in parameters:
                slow = self.slow.get(fast.name)
                if slow is None:
                    self.slow[fast.name] = fast.detach().clone()
                    continue
                paddle.assign(slow + (fast - slow) * self.alpha, slow)
                paddle.assign(slow, fast)

    def state_dict(self) -> dict[str, Any]:
        """Numbers and tensors to go on from exactly."""
        return {"steps": self.steps, "slow": dict(self.slow)}

    def load_state_dict(self, state: Mapping[str, Any] | None) -> None:
        """Take back what `state_dict` gave; None begins anew."""
        self.steps = 0 if state is None else int(state["steps"])
        self.slow = {} if state is None else {name: paddle.to_tensor(value).clone() for name, value in state["slow"].items()}
