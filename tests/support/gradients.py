"""Seeded tensors, and what an operator gives of them: values and gradients."""

import numpy as np
import paddle


def tensors(*shapes: tuple[int, ...]) -> list[paddle.Tensor]:
    """Seeded normal tensors that learn."""
    rng = np.random.default_rng(0)
    return [paddle.to_tensor(rng.normal(size=shape).astype(np.float32), stop_gradient=False) for shape in shapes]


def results(function, parts: list[paddle.Tensor]) -> list[np.ndarray]:
    """What a function gives of tensors, and the gradients of a weighted sum of it."""
    for part in parts:
        part.clear_gradient()
    out = function(*parts)
    weights = np.random.default_rng(1).normal(size=out.shape).astype(np.float32)
    (out * paddle.to_tensor(weights)).sum().backward()
    return [out.numpy(), *(part.grad.numpy() for part in parts)]
