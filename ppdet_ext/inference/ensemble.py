"""Several models and several views as one predictor: proposals merged, boxes, scores and masks averaged."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import paddle

from ppdet_ext.data.transforms.sample import Sample
from ppdet_ext.errors import UserError
from ppdet_ext.modeling.detection import HTCRoIHead, HybridTaskCascade
from ppdet_ext.modeling.detection.regions import stack
from ppdet_ext.structures.candidates import Candidates

from .feature_passes import Sight, Sights
from .merge import WeightedMean, merge_proposals, per_class
from .views import Views


@dataclass(frozen=True)
class Member:
    """A model of an ensemble with its weights loaded, and the views it sees.

    Attributes:
        model: the detector.
        views: by its own reader.
        weight: of each of its views in all averages; proposals have none.
        name: for messages, such as the path of its weights.
    """

    model: HybridTaskCascade
    views: Views
    weight: float = 1.0
    name: str = ""


class Ensemble:
    """All views of all members as one model, by the scheme of iMaterialist 2019's winner.

    1. The proposals of every (member, view), in original pixels, are merged by NMS, and the best are kept.
    2. Every (member, view) runs its cascade on the merged proposals; boxes and class scores are averaged.
    3. NMS per class finds the objects.
    4. Every (member, view) gives the mask probabilities of those; they are averaged.

    A single view of a single member gives what the model alone gives, to the last bit. Memory holds the features of one view
    at a time, whatever their number: each of the passes 1, 2 and 4 computes them anew, but for the view it turns round at.

    Args:
        members: the first one's settings hold for all: NMS and number of proposals; score threshold, NMS and number of
            detections; mask threshold.

    Raises:
        UserError: the members do not fit together.
    """

    def __init__(self, members: Sequence[Member]):
        _check(members)
        self.members = list(members)
        self.eval()

    @property
    def training(self) -> bool:
        return self.members[0].model.training

    @property
    def mask_threshold(self) -> float:
        return self.members[0].model.mask_threshold

    def eval(self) -> None:
        """All members to evaluation mode."""
        for member in self.members:
            member.model.eval()

    def train(self) -> None:
        """All members to training mode."""
        for member in self.members:
            member.model.train()

    @paddle.no_grad()
    def candidates(self, batch: dict) -> list[Candidates]:
        """What is found in the image of a batch of `ViewLoader`, in original pixels.

        Raises:
            DivergenceError: an output is NaN or infinite.
        """
        sample: Sample = batch["sample"]
        sights = Sights(self.members, sample)
        boxes, scores, labels = self._objects(sights, self._proposals(sights))
        probs = self._masks(sights, boxes, labels)
        return [Candidates(*sample.original_size, boxes.astype(np.float32), scores, labels, probs)]

    def _proposals(self, sights: Sights) -> np.ndarray:
        """(n, 4) float64 in original pixels."""

        def use(sight: Sight) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
            rpn = sight.member.model.rpn_head
            boxes, scores = rpn.scored_proposals(*rpn(sight.feats), sight.im_shape)[0]
            return sight.frame.to_original(boxes), scores, np.full(len(scores), sight.index)

        boxes, scores, view = map(np.concatenate, zip(*sights.each(use)))
        rpn = self.members[0].model.rpn_head
        return boxes[merge_proposals(boxes, scores, view, rpn.nms_iou, rpn.limits[False][1])]

    def _objects(self, sights: Sights, proposals: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Boxes (n, 4) float64 in original pixels, scores (n,) float32, labels (n,), best first."""
        by_class = any(not _head(member).box_heads[-1].class_agnostic for member in self.members)

        def use(sight: Sight) -> tuple[np.ndarray, np.ndarray, float]:
            head, own = _head(sight.member), sight.frame.to_view(proposals).astype(np.float32)
            boxes, scores = head.cascade(sight.features, [own], sight.im_shape)
            found = per_class(boxes[0], head.num_classes) if by_class else boxes[0]
            return sight.frame.to_original(found), scores[0], sight.member.weight

        mean_boxes, mean_scores = WeightedMean(), WeightedMean()
        for boxes, scores, weight in sights.each(use):
            mean_boxes.add(boxes, weight)
            mean_scores.add(scores, weight)
        return _head(self.members[0]).best(mean_boxes.value, mean_scores.value.astype(np.float32))

    def _masks(self, sights: Sights, boxes: np.ndarray, labels: np.ndarray) -> np.ndarray | None:
        """Probabilities (n, S, S) float32 of the boxes' own classes; None of members without masks."""
        head = _head(self.members[0])
        if not head.with_mask:
            return None
        if not len(boxes):
            return np.zeros((0, 2 * head.mask_size, 2 * head.mask_size), np.float32)

        def use(sight: Sight) -> tuple[np.ndarray, float]:
            rois = stack([sight.frame.to_view(boxes)])
            probs = _head(sight.member).mask_probabilities(sight.features, rois, labels)
            return sight.frame.unmirrored(probs), sight.member.weight

        mean = WeightedMean()
        for probs, weight in sights.each(use):
            mean.add(probs, weight)
        return mean.value.astype(np.float32)


def _head(member: Member) -> HTCRoIHead:
    return member.model.roi_head


def _check(members: Sequence[Member]) -> None:
    """All members against the first one."""
    if not members:
        raise UserError("An ensemble needs at least one member.")
    for number, member in enumerate(members):
        who = f"Ensemble member {number + 1}{f' ({member.name})' if member.name else ''}"
        if not isinstance(member.model, HybridTaskCascade):
            raise UserError(
                f"{who} is a {type(member.model).__name__}; members are HybridTaskCascade (every configuration under configs/)."
            )
        if not (math.isfinite(member.weight) and member.weight > 0):
            raise UserError(f"{who} has weight {member.weight}; give a number above 0, or leave the member out.")
        _check_alike(who, member, members[0])


def _check_alike(who: str, member: Member, first: Member) -> None:
    ours, theirs = member.model.roi_head, first.model.roi_head
    if ours.num_classes != theirs.num_classes:
        raise UserError(
            f"{who} has {ours.num_classes} classes, the first member {theirs.num_classes}; members must have learnt the same "
            "classes. Give the member a config with its own num_classes only if the classes are the same, else leave it out."
        )
    if ours.with_mask != theirs.with_mask:
        have, lack = ("masks", "none") if ours.with_mask else ("no masks", "some")
        raise UserError(
            f"{who} has {have}, the first member {lack}; set HTCRoIHead.with_mask to the same value in the configurations of "
            "all members."
        )
    if ours.with_mask and ours.mask_size != theirs.mask_size:
        raise UserError(
            f"{who} has masks of {2 * ours.mask_size} cells, the first member of {2 * theirs.mask_size}; masks can be averaged "
            "only where HTCRoIHead.mask_size is the same."
        )
    if member.views.read.exif != first.views.read.exif:
        raise UserError(f"{who} reads pictures with another ReadImage.exif than the first member; set it to the same value.")
