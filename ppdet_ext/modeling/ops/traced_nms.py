"""Greedy NMS inside a traced graph: Paddle's operator, which ONNX and OpenVINO have, too."""

import paddle
from paddle import _C_ops

NO_SCORE, ANY_SCORE = -1.0, 0.0  # of a box that is none; the threshold that all other scores are above


def multiclass_nms(
    boxes: paddle.Tensor,
    scores: paddle.Tensor,
    score_threshold: float,
    iou_threshold: float,
    max_detections: int,
    most: int,
) -> tuple[paddle.Tensor, paddle.Tensor, paddle.Tensor]:
    """As `boxes.multiclass_nms`; but of boxes without extent at one place Paddle's operator keeps the best only.

    Args:
        boxes: (n, 4) float32, shared by all classes, or (n, classes, 4).
        scores: (n, classes) float32.
        score_threshold: a score counts when it is greater.
        iou_threshold: suppress above this IoU.
        max_detections: best over all classes that are returned.
        most: a number that n is not above; n itself may be unknown.

    Returns:
        Boxes (m, 4), scores (m,) and labels (m,) int64, best first.
    """
    boxes, scores = filled(boxes, most, 0.0), filled(scores, most, NO_SCORE)
    by_class = scores.transpose([1, 0])
    if len(boxes.shape) == 3:
        by_class = _only_own(scores, boxes.shape[1])
        boxes = boxes.reshape([-1, 4])
    # Paddle returns them class by class, ONNX with the best first.
    out, _, _ = _C_ops.multiclass_nms3(
        boxes.unsqueeze(0), by_class.unsqueeze(0), None, score_threshold, most, max_detections, iou_threshold, True, 1.0, -1
    )
    order = paddle.argsort(-out[:, 1])  # paddle2onnx converts no descending one
    out = paddle.gather(out, order)
    return out[:, 2:6], out[:, 1], out[:, 0].astype("int64")


def filled(rows: paddle.Tensor, count: int, value: float) -> paddle.Tensor:
    """Rows (n, …) and more of `value` up to `count`: paddle2onnx finds the scores of a known number of boxes only."""
    shape = [count, *rows.shape[1:]]
    return paddle.concat([rows, paddle.full(shape, value)])[:count].reshape(shape)


def _only_own(scores: paddle.Tensor, classes: int) -> paddle.Tensor:
    """Scores (n, classes) -> (classes, n·classes): of a class the scores of its own boxes, NO_SCORE of the others'."""
    own = paddle.eye(classes).unsqueeze(1)  # (class, 1, box's class)
    spread = scores.unsqueeze(0) * own + NO_SCORE * (1.0 - own)
    return spread.reshape([classes, -1])
