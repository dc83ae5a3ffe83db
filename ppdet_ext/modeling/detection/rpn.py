"""Region proposal network with the reference's rules for targets, losses and proposals."""

from collections.abc import Sequence

import numpy as np
import paddle
import paddle.nn.functional as F
from paddle import nn
from ppdet.core.workspace import register

from ppdet_ext.errors import DivergenceError
from ppdet_ext.modeling.ops.boxes import decode, encode, nms
from ppdet_ext.modeling.ops.layers import conv
from ppdet_ext.modeling.ops.loss_functions import smooth_l1
from ppdet_ext.structures import ProposalSettings

from .anchors import AnchorGrid
from .assignment import IoUAssigner, keys_of, sample_balanced
from .losses import Losses

UNIT = np.ones(4, np.float32)


@register
class HTCRPNHead(nn.Layer):
    """Objectness and box of every anchor (Faster R-CNN, arXiv 1506.01497), as the reference computes them.

    ppdet's own RPNHead differs: half-stride anchor offsets, one-sided delta clamp, no inside test, other normalisers.

    Args:
        channels: channels of the pyramid and of the hidden convolution.
        strides: px of one cell, per level.
        ratios, scale: of the anchors.
        positive_iou, negative_iou: assignment thresholds.
        num_samples, positive_fraction: anchors of an image that enter the loss.
        inside_only: anchors that reach over the image's edge take no part in learning.
        smooth_l1_beta: of the loss of the deltas; 0 is the L1 loss.
        nms_iou: overlap above which a worse proposal of the same level goes.
        train_pre_nms, train_proposals, test_pre_nms, test_proposals: best anchors of each level, best proposals of all.
    """

    def __init__(
        self,
        channels: int = 256,
        strides: tuple[int, ...] = (4, 8, 16, 32, 64),
        ratios: tuple[float, ...] = (0.5, 1.0, 2.0),
        scale: float = 8.0,
        positive_iou: float = 0.7,
        negative_iou: float = 0.3,
        num_samples: int = 256,
        positive_fraction: float = 0.5,
        inside_only: bool = True,
        smooth_l1_beta: float = 1 / 9,
        nms_iou: float = 0.7,
        train_pre_nms: int = 2000,
        train_proposals: int = 2000,
        test_pre_nms: int = 1000,
        test_proposals: int = 1000,
    ):
        super().__init__()
        self.grid = AnchorGrid(strides, tuple(ratios), scale)
        self.assigner = IoUAssigner(positive_iou, negative_iou, negative_iou)
        self.num_samples = num_samples
        self.positive_fraction = positive_fraction
        self.inside_only, self.smooth_l1_beta = inside_only, smooth_l1_beta
        self.nms_iou = nms_iou
        self.limits = {True: (train_pre_nms, train_proposals), False: (test_pre_nms, test_proposals)}
        self.hidden = conv(channels, channels, 3, std=0.01)
        self.objectness = conv(channels, self.grid.per_cell, 1, std=0.01)
        self.deltas = conv(channels, 4 * self.grid.per_cell, 1, std=0.01)

    @classmethod
    def from_config(cls, cfg: dict, input_shape: list) -> dict:
        """ppdet's wiring: width and strides follow the pyramid."""
        return {"channels": input_shape[0].channels, "strides": tuple(int(i.stride) for i in input_shape)}

    def forward(self, feats: list[paddle.Tensor]) -> tuple[list[paddle.Tensor], list[paddle.Tensor]]:
        """Per level logits (B, A, H, W) and deltas (B, 4A, H, W)."""
        hidden = [self.hidden(feat, relu=True) for feat in feats]
        return [self.objectness(h) for h in hidden], [self.deltas(h) for h in hidden]

    def settings(self, training: bool) -> ProposalSettings:
        """What is configured for training, or for inference."""
        return ProposalSettings(self.nms_iou, *self.limits[training])

    def proposals(
        self,
        logits: list[paddle.Tensor],
        deltas: list[paddle.Tensor],
        im_shape: np.ndarray,
        settings: ProposalSettings | None = None,
    ) -> list[np.ndarray]:
        """Best boxes of every image, (n, 4) float32, best first; detached.

        settings: None takes those configured for the mode the head is in.

        Raises:
            DivergenceError: a logit or delta is NaN or infinite.
        """
        return [boxes for boxes, _ in self.scored_proposals(logits, deltas, im_shape, settings)]

    def scored_proposals(
        self,
        logits: list[paddle.Tensor],
        deltas: list[paddle.Tensor],
        im_shape: np.ndarray,
        settings: ProposalSettings | None = None,
    ) -> list[tuple[np.ndarray, np.ndarray]]:
        """`proposals` of every image with their objectness in [0, 1], (n,) float32."""
        scores = [_rows(F.sigmoid(x.detach()), 1)[..., 0] for x in logits]
        moves = [_rows(x.detach(), 4) for x in deltas]
        if not all(np.isfinite(x).all() for x in scores + moves):
            raise DivergenceError("the region proposal network's output is not finite")
        sizes = [tuple(x.shape[2:]) for x in logits]
        chosen = settings or self.settings(self.training)
        return [
            self._proposals_of_image(chosen, [s[b] for s in scores], [m[b] for m in moves], sizes, *im_shape[b])
            for b in range(len(im_shape))
        ]

    def _proposals_of_image(
        self,
        settings: ProposalSettings,
        scores: list[np.ndarray],
        deltas: list[np.ndarray],
        sizes: list,
        height: float,
        width: float,
    ) -> tuple[np.ndarray, np.ndarray]:
        boxes, kept = [], []
        for level, (score, delta, size) in enumerate(zip(scores, deltas, sizes)):
            top = np.argsort(-score, kind="stable")[: settings.pre_nms]
            box = decode(self.grid.level(level, *size)[top], delta[top], UNIT, height, width)
            # Clipped to the image, boxes outside have no extent left.
            real = (box[:, 2] > box[:, 0]) & (box[:, 3] > box[:, 1])
            box, score = box[real], score[top][real]
            keep = nms(box, score, settings.nms_iou, settings.count)
            boxes.append(box[keep])
            kept.append(score[keep])
        best = np.concatenate(kept)
        order = np.argsort(-best, kind="stable")[: settings.count]
        return np.concatenate(boxes)[order], best[order]

    def targets(
        self, sizes: list, objects: np.ndarray, height: float, width: float, rng: np.random.Generator | None
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Indices of the sampled positive and negative anchors among all of an image, and the positives' deltas."""
        anchors, known = self.anchors(sizes), np.flatnonzero(self.known(sizes, height, width))
        assigned = self.assigner(anchors[known], objects)
        keys = keys_of(rng, len(anchors))[known]
        positive, negative = sample_balanced(assigned, self.num_samples, self.positive_fraction, keys)
        goal = objects[assigned[positive]] if len(positive) else np.zeros((0, 4), np.float32)
        return known[positive], known[negative], encode(anchors[known[positive]], goal, UNIT)

    def anchors(self, sizes: list) -> np.ndarray:
        """All anchors of maps of these sizes (rows, columns), (n, 4) float32 px. Do not write into it."""
        return self.grid.levels(tuple(map(tuple, sizes)))

    def known(self, sizes: list, height: float, width: float) -> np.ndarray:
        """Which anchors take part in learning, (n,) bool."""
        if self.inside_only:
            anchors = self.anchors(sizes)
            return (anchors[:, 0] >= 0) & (anchors[:, 1] >= 0) & (anchors[:, 2] < width) & (anchors[:, 3] < height)
        return np.concatenate([self._of_image(k, rows, columns, height, width) for k, (rows, columns) in enumerate(sizes)])

    def _of_image(self, level: int, rows: int, columns: int, height: float, width: float) -> np.ndarray:
        """Which anchors of a level are centred on the image padded to whole multiples of 32 px; a batch may be larger."""
        stride = self.grid.strides[level]
        used = [np.arange(n) < np.ceil(np.ceil(length / 32) * 32 / stride) for n, length in ((rows, height), (columns, width))]
        return np.repeat((used[0][:, None] & used[1]).ravel(), self.grid.per_cell)

    def losses(
        self,
        logits: list[paddle.Tensor],
        deltas: list[paddle.Tensor],
        objects: list[np.ndarray],
        im_shape: np.ndarray,
        rngs: Sequence[np.random.Generator | None],
    ) -> Losses:
        """Both losses, summed over the sampled anchors of the batch and divided by their number."""
        sizes = [tuple(x.shape[2:]) for x in logits]
        total = sum(h * w for h, w in sizes) * self.grid.per_cell
        parts = [self.targets(sizes, own, h, w, rng) for own, (h, w), rng in zip(objects, im_shape, rngs)]
        sampled = np.concatenate([np.concatenate([p, n]) + b * total for b, (p, n, _) in enumerate(parts)])
        labels = np.concatenate([np.repeat([1.0, 0.0], [len(p), len(n)]) for p, n, _ in parts]).astype(np.float32)
        # Indices run over all levels of all images, as the flattened outputs do.
        positive = np.concatenate([p + b * total for b, (p, _, _) in enumerate(parts)])
        flat = paddle.concat([flatten(x, 1) for x in logits], axis=1).reshape([-1])
        moves = paddle.concat([flatten(x, 4) for x in deltas], axis=1).reshape([-1, 4])
        count = max(len(sampled), 1)
        if len(sampled):
            cls = F.binary_cross_entropy_with_logits(
                paddle.gather(flat, paddle.to_tensor(sampled)), paddle.to_tensor(labels), reduction="sum"
            )
        else:
            cls = flat.sum() * 0.0
        if len(positive):
            goal = paddle.to_tensor(np.concatenate([d for _, _, d in parts]))
            reg = smooth_l1(paddle.gather(moves, paddle.to_tensor(positive)), goal, self.smooth_l1_beta)
        else:
            reg = moves.sum() * 0.0
        losses = Losses()
        losses.add("loss_rpn_cls", cls / count, len(sampled))
        losses.add("loss_rpn_reg", reg / count, len(sampled))
        return losses


def flatten(x: paddle.Tensor, width: int) -> paddle.Tensor:
    """(B, A·width, H, W) -> (B, H·W·A, width)."""
    return x.transpose([0, 2, 3, 1]).reshape([0, -1, width])


def _rows(x: paddle.Tensor, width: int) -> np.ndarray:
    return flatten(x, width).numpy()
