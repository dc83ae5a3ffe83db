"""Box head of one stage."""

import numpy as np
import paddle
import paddle.nn.functional as F
from paddle import nn

from ppdet_ext.modeling.ops.boxes import decode, encode
from ppdet_ext.modeling.ops.layers import linear
from ppdet_ext.modeling.ops.loss_functions import Loss, cross_entropy, smooth_l1, zero_loss

from .assignment import RoISample
from .ground_truth import GroundTruth
from .regions import of_class


class BoxHead(nn.Layer):
    """Two shared fully connected layers, then class logits and box deltas.

    The deltas are the same for all classes (Cascade R-CNN, arXiv 1712.00726), or each class has its own (Fast R-CNN,
    arXiv 1504.08083).

    Args:
        channels: channels of the pooled region.
        num_classes: classes without background; background is the last logit.
        fc_channels: width of the two layers.
        num_fcs: how many layers.
        size: cells along each side of the pooled region.
        class_agnostic: one box for all classes.
        stds: the deltas are in these units.
        beta: of the smooth L1 loss of the deltas; 0 is the L1 loss.
        class_loss: see `HTCRoIHead`.
    """

    def __init__(
        self,
        channels: int,
        num_classes: int,
        fc_channels: int = 1024,
        num_fcs: int = 2,
        size: int = 7,
        class_agnostic: bool = True,
        stds: tuple[float, ...] = (0.1, 0.1, 0.2, 0.2),
        beta: float = 1.0,
        class_loss: Loss | None = None,
    ):
        super().__init__()
        self.num_classes, self.class_agnostic = num_classes, class_agnostic
        self.stds, self.beta, self.class_loss = np.asarray(stds, np.float32), beta, class_loss or cross_entropy
        widths = [channels * size * size] + [fc_channels] * num_fcs
        self.fcs = nn.LayerList([linear(i, o) for i, o in zip(widths, widths[1:])])
        self.classify = linear(widths[-1], num_classes + 1, std=0.01)
        self.regress = linear(widths[-1], 4 if class_agnostic else 4 * num_classes, std=0.001)

    def forward(self, regions: paddle.Tensor) -> tuple[paddle.Tensor, paddle.Tensor]:
        """(n, channels, size, size) -> logits (n, num_classes + 1), deltas (n, 4), or (n, 4·num_classes)."""
        x = regions.reshape([-1, self.fcs[0].weight.shape[0]])  # regions may be none, of which `flatten` makes no graph
        for fc in self.fcs:
            x = F.relu(fc(x))
        return self.classify(x), self.regress(x)

    def decode(self, boxes: np.ndarray, deltas: np.ndarray, height: float, width: float) -> np.ndarray:
        """Boxes (n, 4) px moved by the deltas and clipped to the image: (n, 4), or (n, num_classes, 4)."""
        if self.class_agnostic:
            return decode(boxes, deltas, self.stds, height, width)
        boxes = np.repeat(boxes, self.num_classes, axis=0)
        return decode(boxes, deltas.reshape(-1, 4), self.stds, height, width).reshape(-1, self.num_classes, 4)

    def losses(
        self, cls: paddle.Tensor, reg: paddle.Tensor, samples: list[RoISample], truth: list[GroundTruth]
    ) -> tuple[paddle.Tensor, paddle.Tensor]:
        """Cross-entropy of all samples and smooth L1 of the positive ones, both divided by the number of all samples."""
        counts = [len(x.boxes) for x in samples]
        total = max(sum(counts), 1)
        labels = [t.labels[x.object_index] for x, t in zip(samples, truth)]
        positive = np.concatenate(labels)
        if sum(counts):
            background = [np.full(n - len(own), self.num_classes, np.int64) for n, own in zip(counts, labels)]
            every = np.concatenate([part for pair in zip(labels, background) for part in pair])
            loss_cls = self.class_loss(cls, paddle.to_tensor(every)).sum() / total
        else:
            loss_cls = zero_loss(self)
        if len(positive) == 0:
            return loss_cls, zero_loss(self.regress)
        pairs = [(x.boxes[: x.num_positive], t.boxes[x.object_index]) for x, t in zip(samples, truth)]
        goal = np.concatenate([encode(boxes, objects, self.stds) for boxes, objects in pairs])
        rows = np.concatenate([base + np.arange(len(own)) for base, own in zip(np.cumsum([0, *counts]), labels)])
        if self.class_agnostic:
            moves = paddle.gather(reg, paddle.to_tensor(rows))
        else:
            moves = of_class(reg.reshape([-1, self.num_classes, 4]), rows, positive)
        return loss_cls, smooth_l1(moves, paddle.to_tensor(goal), self.beta) / total
