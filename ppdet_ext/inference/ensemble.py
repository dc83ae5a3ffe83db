"""Several models and several views as one predictor: proposals merged, boxes, scores and masks averaged."""

import math
from collections.abc import Sequence

import numpy as np
import paddle

from ppdet_ext.data.transforms.sample import Sample
from ppdet_ext.errors import UserError
from ppdet_ext.modeling.ops.boxes import nms, select_objects
from ppdet_ext.structures import Candidates, TestSettings

from .feature_passes import FeaturePasses, Member, ViewFeatures
from .protocol import AveragedDetector, Batch


class Ensemble:
    """All views of all members as one model, by the scheme of iMaterialist 2019's winner.

    1. The proposals of every (member, view), in original pixels, are merged by NMS, and the best are kept.
    2. Every (member, view) runs its cascade on the merged proposals; boxes and class scores are averaged.
    3. NMS per class finds the objects.
    4. Every (member, view) gives the mask probabilities of those; they are averaged.

    A single view of a single member gives what the model alone gives, to the last bit. Memory holds the features of one view
    at a time, whatever their number: each of the passes 1, 2 and 4 computes them anew, but for the view it turns round at.

    Args:
        members: see there.
        settings: of all that follows the averages, and of what the first member proposes; the others propose by their own.
            None takes the first member's.

    Raises:
        UserError: the members do not fit together.
    """

    def __init__(self, members: Sequence[Member[AveragedDetector]], settings: TestSettings | None = None) -> None:
        _check(members)
        self.members = list(members)
        self.settings = settings or members[0].model.settings
        self.eval()

    @property
    def training(self) -> bool:
        """Whether the members are in training mode."""
        return self.members[0].model.training

    def eval(self) -> None:
        """All members to evaluation mode."""
        for member in self.members:
            member.model.eval()

    def train(self) -> None:
        """All members to training mode."""
        for member in self.members:
            member.model.train()

    @paddle.no_grad()
    def candidates(self, batch: Batch, settings: TestSettings) -> list[Candidates]:
        """Find the objects in the image of a batch of `ViewLoader`, in original pixels.

        Raises:
            DivergenceError: an output is NaN or infinite.
        """
        sample: Sample = batch["sample"]
        passes = FeaturePasses(self.members, sample)
        boxes, scores, labels = self._objects(passes, self._proposals(passes, settings), settings)
        probs = self._masks(passes, boxes, labels)
        return [Candidates(*sample.original_size, boxes.astype(np.float32), scores, labels, probs)]

    def _proposals(self, passes: FeaturePasses, settings: TestSettings) -> np.ndarray:
        """Merge what all views propose: (n, 4) float64 in original pixels."""

        def propose(view: ViewFeatures) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
            model = view.member.model
            own = settings if view.member is self.members[0] else model.settings
            boxes, scores = model.proposals(view.features, own)[0]
            return view.transform.to_original(np.asarray(boxes)), np.asarray(scores), np.full(len(scores), view.index)

        boxes, scores, view = map(np.concatenate, zip(*passes.over_all(propose)))
        return boxes[merge_proposals(boxes, scores, view, settings.proposals.nms_iou, settings.proposals.count)]

    def _objects(
        self, passes: FeaturePasses, proposals: np.ndarray, settings: TestSettings
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Boxes (n, 4) float64 in original pixels, scores (n,) float32, labels (n,), best first."""
        agnostic = all(member.model.class_agnostic for member in self.members)

        def refine(view: ViewFeatures) -> tuple[np.ndarray, np.ndarray, float]:
            own = view.transform.to_view(proposals).astype(np.float32)
            boxes, scores = view.member.model.cascade(view.features, [own])
            refined = np.asarray(boxes[0])
            refined = refined if agnostic else per_class(refined, view.member.model.num_classes)
            return view.transform.to_original(refined), np.asarray(scores[0]), view.member.weight

        mean_boxes, mean_scores = WeightedMean(), WeightedMean()
        for boxes, scores, weight in passes.over_all(refine):
            mean_boxes.add(boxes, weight)
            mean_scores.add(scores, weight)
        return select_objects(mean_boxes.value, mean_scores.value.astype(np.float32), settings)

    def _masks(self, passes: FeaturePasses, boxes: np.ndarray, labels: np.ndarray) -> np.ndarray | None:
        """Probabilities (n, S, S) float32 of the boxes' own classes; None of members without masks."""
        cells = self.members[0].model.mask_cells
        if cells is None:
            return None
        if not len(boxes):
            return np.zeros((0, cells, cells), np.float32)

        def draw(view: ViewFeatures) -> tuple[np.ndarray, float]:
            own = view.transform.to_view(boxes).astype(np.float32)
            (probs,) = view.member.model.masks(view.features, [own], [labels])
            return view.transform.unmirrored(np.asarray(probs)), view.member.weight

        mean = WeightedMean()
        for probs, weight in passes.over_all(draw):
            mean.add(probs, weight)
        return mean.value.astype(np.float32)


class WeightedMean:
    """Mean of arrays that come one at a time: memory is that of one, in float64, so that equal float32 come out unchanged."""

    def __init__(self) -> None:
        self._total: np.ndarray | None = None
        self._weight = 0.0

    def add(self, values: np.ndarray, weight: float = 1.0) -> None:
        """Arrays must be of one shape."""
        values = values.astype(np.float64) * weight
        self._total = values if self._total is None else np.add(self._total, values, out=self._total)
        self._weight += weight

    def __bool__(self) -> bool:
        """Whether anything was added."""
        return self._total is not None

    @property
    def value(self) -> np.ndarray:
        """Float64. ValueError where nothing was added."""
        if self._total is None:
            raise ValueError("the mean of nothing")
        return self._total / self._weight


def merge_proposals(boxes: np.ndarray, scores: np.ndarray, view: np.ndarray, iou_threshold: float, max_keep: int) -> np.ndarray:
    """Indices of the proposals of all views that are kept, best first; ties keep input order.

    A proposal goes when its IoU with a kept better one *of another view* is greater than the threshold. Within a view the
    RPN has already suppressed each level by itself, and its cross-level neighbours are the model's own choice: so one view's
    proposals pass unchanged, and the same view twice is that view once.

    Args:
        boxes: (n, 4) in pixels of the original picture.
        scores: (n,).
        view: (n,) number of the view each is from.
        iou_threshold: suppress above this IoU.
        max_keep: how many are kept at most.
    """
    return nms(boxes, scores, iou_threshold, max_keep, source=view)


def per_class(boxes: np.ndarray, classes: int) -> np.ndarray:
    """Boxes (n, 4) or (n, classes, 4) -> (n, classes, 4)."""
    return boxes if boxes.ndim == 3 else np.repeat(boxes[:, None], classes, axis=1)


def _check(members: Sequence[Member[AveragedDetector]]) -> None:
    """All members against the first one."""
    if not members:
        raise UserError("An ensemble needs at least one member.")
    for number, member in enumerate(members):
        who = f"Ensemble member {number + 1}{f' ({member.name})' if member.name else ''}"
        if not isinstance(member.model, AveragedDetector):
            raise UserError(
                f"{who} is {type(member.model).__name__}, which cannot be averaged; members are HybridTaskCascade (every "
                "configuration under configs/htc)."
            )
        if not (math.isfinite(member.weight) and member.weight > 0):
            raise UserError(f"{who} has weight {member.weight}; give a number above 0, or leave the member out.")
        _check_alike(who, member, members[0])


def _check_alike(who: str, member: Member[AveragedDetector], first: Member[AveragedDetector]) -> None:
    ours, theirs = member.model, first.model
    if ours.num_classes != theirs.num_classes:
        raise UserError(
            f"{who} has {ours.num_classes} classes, the first member {theirs.num_classes}; members must have learnt the same "
            "classes. Give the member a config with its own num_classes only if the classes are the same, else leave it out."
        )
    if (ours.mask_cells is None) != (theirs.mask_cells is None):
        have, lack = ("masks", "none") if ours.mask_cells else ("no masks", "some")
        raise UserError(
            f"{who} has {have}, the first member {lack}; set with_mask (HTCRoIHead.with_mask) to the same value in the "
            "configurations of all members."
        )
    if ours.mask_cells != theirs.mask_cells:
        raise UserError(
            f"{who} has masks of {ours.mask_cells} cells, the first member of {theirs.mask_cells}; masks can be averaged "
            "only where their size (HTCRoIHead.mask_size) is the same."
        )
    if member.views.read.reading != first.views.read.reading:
        raise UserError(
            f"{who} reads pictures with another ReadImage.exif or range than the first member; set them to the same values."
        )
