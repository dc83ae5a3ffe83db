"""The detector's forward pass as a graph: tensors alone, of images whose size is not known when it is traced."""

from collections.abc import Sequence

import paddle
import paddle.nn.functional as F
from paddle import nn
from ppdet.modeling.necks.fpn import FPN

from ppdet_ext.modeling.ops.roi_levels import Canvas
from ppdet_ext.modeling.ops.seam import size_of
from ppdet_ext.modeling.ops.tensor_boxes import decode, has_extent
from ppdet_ext.modeling.ops.traced_nms import ANY_SCORE, NO_SCORE, multiclass_nms
from ppdet_ext.structures import ProposalSettings, TestSettings

from .box_head import BoxHead
from .cascade import RegionCascade
from .rpn import HTCRPNHead, flatten
from .traced_views import TracedView, mean, merged

UNIT = (1.0, 1.0, 1.0, 1.0)
_LEAST = 1e-30  # a probability that underflowed is a score all the same


def pyramid_of(neck: nn.Layer, feats: list[paddle.Tensor]) -> list[paddle.Tensor]:
    """What the neck gives. ppdet's FPN doubles its maps by a factor, which converters to ONNX refuse: here by their size."""
    if type(neck) is not FPN or neck.has_extra_convs:
        return neck(feats)
    laterals = [layer(x) for layer, x in zip(neck.lateral_convs, feats)]
    for k in range(len(laterals) - 1, 0, -1):
        laterals[k - 1] = laterals[k - 1] + F.interpolate(laterals[k], size_of(laterals[k - 1]), mode="nearest")
    out = [layer(x) for layer, x in zip(neck.fpn_convs, laterals)]
    return [*out, F.max_pool2d(out[-1], 1, stride=2)] if neck.extra_stage else out


def proposals(head: HTCRPNHead, views: Sequence[TracedView], settings: ProposalSettings) -> paddle.Tensor:
    """What is proposed in all views of an image: (n, 4) float32 px of the image, best first."""
    return merged(views, [_scored_proposals(head, view.maps, view.image, settings) for view in views], settings)


def _scored_proposals(
    head: HTCRPNHead, maps: list[paddle.Tensor], image: paddle.Tensor, settings: ProposalSettings
) -> tuple[paddle.Tensor, paddle.Tensor]:
    """`HTCRPNHead.scored_proposals` of one image.

    Args:
        head: its layers and anchors.
        maps: pyramid, per level (1, channels, H, W).
        image: (1, 2) float32 h, w px.
        settings: how many.

    Returns:
        Boxes (n, 4) px and scores (n,) float32, best first.
    """
    boxes, scores = [], []
    for level, (logits, deltas) in enumerate(zip(*head(maps))):
        score, anchors = flatten(F.sigmoid(logits), 1).reshape([-1]).clip(min=_LEAST), head.grid.of_map(level, logits)
        # As many anchors as are asked for, whatever the map's size: `topk` wants no more than there are.
        score = paddle.concat([score, paddle.full([settings.pre_nms], NO_SCORE)])
        best, index = paddle.topk(score, settings.pre_nms)
        index = paddle.where(best > ANY_SCORE, index, paddle.zeros_like(index))
        moves = paddle.gather(flatten(deltas, 4).reshape([-1, 4]), index)
        box = decode(paddle.gather(anchors, index), moves, UNIT, image)
        # Clipped to the image, boxes outside have no extent left.
        scores.append(paddle.where(has_extent(box), best, paddle.full_like(best, NO_SCORE)))
        boxes.append(box)
    limits = settings.count, settings.pre_nms * len(boxes)
    found, best, _ = multiclass_nms(paddle.concat(boxes), _each_alone(scores), ANY_SCORE, settings.nms_iou, *limits)
    return found, best


def _each_alone(scores: list[paddle.Tensor]) -> paddle.Tensor:
    """Scores of each level (k,) -> (levels·k, levels): levels are like classes, which know nothing of each other."""
    columns = [
        paddle.concat([own if i == level else paddle.full_like(own, NO_SCORE) for i, own in enumerate(scores)])
        for level in range(len(scores))
    ]
    return paddle.stack(columns, axis=1)


class TracedRegions:
    """What the heads pool from, of one image; see `Features`.

    Args:
        cascade: whose features they are.
        maps: pyramid, per level (1, channels, H, W).
        semantic: feature (1, channels, h, w) of the semantic branch, or None.
    """

    def __init__(self, cascade: RegionCascade, maps: list[paddle.Tensor], semantic: paddle.Tensor | None):
        self.pyramid = Canvas(maps[: len(cascade.strides)], cascade.strides)
        head = cascade.semantic_head
        self.semantic = None if head is None or semantic is None else Canvas([semantic], [head.stride])

    def pool(self, boxes: paddle.Tensor, size: int) -> paddle.Tensor:
        """Both features of boxes (n, 4) at size × size, added (HTC §3.3)."""
        pooled = self.pyramid.pool(boxes, size)
        return pooled if self.semantic is None else pooled + self.semantic.pool(boxes, size)

    def run(self, head: BoxHead, boxes: paddle.Tensor, size: int) -> tuple[paddle.Tensor, paddle.Tensor]:
        """What a box head gives of boxes (n, 4): logits and deltas."""
        if self.semantic is None:
            return head(self.pyramid.pool(boxes, size))
        # One more, large and beside the image: cuDNN merges no empty batch.
        boxes = paddle.concat([boxes, paddle.to_tensor([[-2048.0, -2048.0, -1024.0, -1024.0]])])
        # In the order of the semantic feature: what the head gives is much smaller than what it takes.
        semantic, order = self.semantic.pool_merged(boxes, size, 2)
        logits, deltas = head(self.pyramid.pool(paddle.gather(boxes, order), size) + semantic)
        back = paddle.argsort(order)[:-1]
        return paddle.gather(logits, back), paddle.gather(deltas, back)


def detect(
    cascade: RegionCascade, views: Sequence[TracedView], boxes: paddle.Tensor, settings: TestSettings
) -> dict[str, paddle.Tensor]:
    """`RegionCascade.detect` of one image, or of several views of it what `inference.ensemble` finds.

    Args:
        cascade: its heads.
        views: of the image.
        boxes: proposals (n, 4) px of the image, which every view refines.
        settings: thresholds.

    Returns:
        boxes (m, 4) px of the image, scores (m,), labels (m,) int64, best first; with mask heads probs (m, 2s, 2s).
    """
    regions = [_regions_of(cascade, view.maps) for view in views]
    passes = [refined(cascade, own, view.mirrored(boxes), view.image) for view, own in zip(views, regions)]
    found, best, labels = multiclass_nms(
        mean([view.mirrored(moved) for view, (moved, _) in zip(views, passes)]),
        mean([scores for _, scores in passes]),
        settings.score_threshold,
        settings.nms_iou,
        settings.max_detections,
        settings.proposals.count,
    )
    out = {"boxes": found, "scores": best, "labels": labels}
    if not cascade.with_mask:
        return out
    pooled = [own.pool(view.mirrored(found), cascade.mask_size) for view, own in zip(views, regions)]
    probs = [view.unmirrored(cascade.probabilities(own, labels)) for view, own in zip(views, pooled)]
    return {**out, "probs": mean(probs)}


def _regions_of(cascade: RegionCascade, maps: list[paddle.Tensor]) -> TracedRegions:
    semantic = None if cascade.semantic_head is None else cascade.semantic_head(maps, False)[1]
    return TracedRegions(cascade, maps, semantic)


def refined(
    cascade: RegionCascade, regions: TracedRegions, boxes: paddle.Tensor, image: paddle.Tensor
) -> tuple[paddle.Tensor, paddle.Tensor]:
    """`RegionCascade.cascade` of one view: boxes (n, 4), or (n, classes, 4), and scores (n, classes) of regions (n, 4) px."""
    stages = []
    for head in cascade.box_heads:
        logits, deltas = regions.run(head, boxes, cascade.box_size)
        stages.append(logits)
        boxes = refine(head, boxes, deltas, image)
    return boxes, F.softmax(paddle.add_n(stages) / float(len(stages)), axis=1)[:, :-1]


def refine(head: BoxHead, boxes: paddle.Tensor, deltas: paddle.Tensor, image: paddle.Tensor) -> paddle.Tensor:
    """Boxes (n, 4) moved by the deltas, clipped to images (1 or n, 2): (n, 4), or of each class (n, classes, 4)."""
    if head.class_agnostic:
        return decode(boxes, deltas, head.stds.tolist(), image)
    return decode(boxes.unsqueeze(1), deltas.reshape([-1, head.num_classes, 4]), head.stds.tolist(), image.unsqueeze(1))


def joined(images: Sequence[dict[str, paddle.Tensor]]) -> dict[str, paddle.Tensor]:
    """What was found in each image, one after the other; "image" (N,) int64 says in which."""
    found = [{**one, "image": paddle.full_like(one["labels"], b)} for b, one in enumerate(images)]
    return {key: paddle.concat([one[key] for one in found]) if len(found) > 1 else found[0][key] for key in found[0]}
