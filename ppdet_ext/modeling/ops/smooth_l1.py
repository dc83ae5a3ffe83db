"""Smooth L1 loss."""

import paddle
import paddle.nn.functional as F


def smooth_l1(prediction: paddle.Tensor, target: paddle.Tensor, beta: float) -> paddle.Tensor:
    """Sum of 0.5·d²/beta where |d| < beta, |d| − 0.5·beta elsewhere (Fast R-CNN, arXiv 1504.08083); L1 where beta is 0."""
    if beta == 0:
        return (prediction - target).abs().sum()
    # Paddle's is the Huber loss, which is beta times this one.
    return F.smooth_l1_loss(prediction, target, reduction="sum", delta=beta) / beta
