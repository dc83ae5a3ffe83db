"""ppdet's architectures behind our batch and our predictions."""

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import paddle
from paddle import nn
from ppdet.modeling.architectures.meta_arch import BaseArch

from ppdet_ext.distributed import sum_over_ranks, world
from ppdet_ext.errors import DivergenceError, UserError
from ppdet_ext.structures import Candidates, Detections, TestSettings

from .registry import register_adapter

Batch = Mapping[str, Any]
FARTHEST = 1e6  # px; what lies farther out, or is not finite, makes ppdet's RoIAlign abort the process on a CPU


class HostDetector(nn.Layer):
    """A model of ppdet: losses of a batch in training, `candidates(batch)` in evaluation.

    Its parts are this layer's own, under their names: weights are ppdet's files, both ways.

    Subclasses say where ppdet's configuration keeps the thresholds: `SECTION`, and `THRESHOLDS` by their names in
    `TestSettings`. Of two stages, the first proposes as ppdet's own section says.

    Args:
        model: as ppdet builds it.
        nms: of the model; its attributes are those of `THRESHOLDS`.
        mask_threshold: probability from which a pixel belongs to a mask.
    """

    SECTION: str
    THRESHOLDS = {"score_threshold": "score_threshold", "nms_iou": "nms_threshold", "max_detections": "keep_top_k"}

    def __init__(self, model: BaseArch, nms: Any, mask_threshold: float = 0.5) -> None:
        super().__init__()
        # In a tuple, so that it is no part: its parameters would be there twice.
        self._host = (model,)
        for name, part in model.named_children():
            self.add_sublayer(name, part)
        self._nms, self._mask_threshold = nms, mask_threshold

    @classmethod
    def settings_from(cls, cfg: Mapping[str, Any]) -> TestSettings:
        """Read the thresholds of a configuration, whose model need not be built."""
        values = section_values(cfg, cfg[cls.SECTION]["nms"])
        cut = float(cfg["MaskPostProcess"]["binary_thresh"]) if cls.has_masks(cfg) else 0.5
        return settings_of(values.get, cls.THRESHOLDS, cut)

    @classmethod
    def settings_sections(cls, **thresholds: float) -> dict[str, Any]:
        """Say in a configuration's sections what score_threshold, nms_iou and max_detections are."""
        return {cls.SECTION: {"nms": {"name": "MultiClassNMS"} | {cls.THRESHOLDS[k]: v for k, v in thresholds.items()}}}

    @staticmethod
    def has_masks(cfg: Mapping[str, Any]) -> bool:
        """Whether the model of a configuration gives masks."""
        raise NotImplementedError

    @property
    def settings(self) -> TestSettings:
        """What the model is configured with."""
        return settings_of(lambda name, default: getattr(self._nms, name, default), self.THRESHOLDS, self._mask_threshold)

    @contextlib.contextmanager
    def _thresholds(self, settings: TestSettings) -> Iterator[None]:
        """Within the block ppdet's NMS, which takes no arguments, has these thresholds; those that it knows."""
        before = dict(vars(self._nms))
        asked = {own: getattr(settings, name) for name, own in self.THRESHOLDS.items()}
        vars(self._nms).update({own: value for own, value in asked.items() if own in before})
        try:
            yield
        finally:
            vars(self._nms).update(before)

    @property
    def model(self) -> BaseArch:
        """The model as ppdet built it."""
        return self._host[0]

    def train(self) -> None:
        super().train()
        self.model.train()

    def eval(self) -> None:
        super().eval()
        self.model.eval()

    def forward(self, batch: Batch) -> dict[str, paddle.Tensor] | list[Detections]:
        """Scalar losses, "loss" being what is minimised; in evaluation one `Detections` an image.

        Raises:
            DivergenceError: a box or an output is NaN or infinite, on this rank or on another.
        """
        if not self.training:
            settings = self.settings
            return [found.detections(settings.mask_threshold) for found in self.candidates(batch, settings)]
        losses: dict[str, paddle.Tensor] = {}
        cause: DivergenceError | None = None
        try:
            losses = self.model({**host_inputs(batch), **self.targets(batch)})
        except DivergenceError as error:
            cause = error
        # A rank that goes on alone would wait for the others' losses.
        if world()[1] > 1 and sum_over_ranks(np.array([cause is not None], np.float64))[0] and cause is None:
            raise DivergenceError("")
        if cause is not None:
            raise cause
        return {name: value.reshape([]) for name, value in losses.items()}

    def targets(self, batch: Batch) -> dict[str, Any]:
        """What the model's heads learn from, as its reader in ppdet would give it."""
        raise NotImplementedError

    @paddle.no_grad()
    def candidates(self, batch: Batch, settings: TestSettings) -> list[Candidates]:
        """What is found in each image of a batch, in original pixels; without probabilities where there are no masks.

        Raises:
            DivergenceError: an output is NaN or infinite.
        """
        with self._thresholds(settings):
            outputs = self.model(host_inputs(batch))
        rows = outputs["bbox"].numpy().reshape(-1, 6)
        if not np.isfinite(rows).all():
            raise DivergenceError("predicted boxes are not finite")
        counts = outputs["bbox_num"].numpy().reshape(-1)
        images = np.repeat(np.arange(len(counts)), counts)
        # Where nothing is found ppdet puts a box of score 0, and a box without extent has label -1.
        real = rows[:, 1] > 0
        probs = outputs.get("mask")
        if probs is not None:
            probs = probs.numpy()
            # Mask R-CNN gives no mask for the boxes of score 0, Cascade R-CNN does.
            probs = probs[real] if len(probs) == len(rows) else probs[: int(real.sum())]
            if not np.isfinite(probs).all():
                raise DivergenceError("mask probabilities are not finite")
        sizes = np.asarray(batch["origin_shape"])
        return [_candidates(size, images[real] == i, rows[real], probs) for i, size in enumerate(sizes)]


def _candidates(size: np.ndarray, own: np.ndarray, rows: np.ndarray, probs: np.ndarray | None) -> Candidates:
    """Those rows (label, score, x1, y1, x2, y2) that `own` marks, best first, boxes within the image."""
    height, width = map(int, size)
    index = np.flatnonzero(own & (rows[:, 0] >= 0))
    index = index[np.argsort(-rows[index, 1], kind="stable")]
    boxes = np.clip(rows[index, 2:], 0, np.array([width, height, width, height], np.float32))
    masks = None if probs is None else probs[index]
    return Candidates(height, width, boxes, rows[index, 1], rows[index, 0].astype(np.int64), masks)


def settings_of(value_of: Callable[[str, Any], Any], names: Mapping[str, str], mask_threshold: float) -> TestSettings:
    """Settings from values by ppdet's names; defaults where it has no such threshold."""
    default = TestSettings()
    found = {name: value_of(own, getattr(default, name)) for name, own in names.items()}
    return replace(default, **found, mask_threshold=mask_threshold)


def section_values(cfg: Mapping[str, Any], part: Any) -> dict[str, Any]:
    """Values of a part that a section gives as {name: Class, …}, as the name of a section, or built (`!Class`)."""
    if part is None or not isinstance(part, (str, Mapping)):
        return dict(vars(part)) if part is not None else {}
    own = {"name": part} if isinstance(part, str) else part
    section = cfg[own["name"]]
    return {name: section[name] for name in section.schema if name in section or section.has_default(name)} | dict(own)


def host_inputs(batch: Batch) -> dict[str, Any]:
    """The keys of a batch that every model of ppdet reads."""
    inputs = {key: batch[key] for key in ("image", "im_shape", "scale_factor")}
    ids = paddle.to_tensor(np.asarray(batch["im_id"]).reshape(-1, 1))
    return inputs | {"im_id": ids, "epoch_id": int(batch.get("epoch", 0))}


@register_adapter("CascadeRCNN", "FasterRCNN", "MaskRCNN")
class RegionDetector(HostDetector):
    """Faster, Mask and Cascade (Mask) R-CNN."""

    SECTION = "BBoxPostProcess"

    @staticmethod
    def has_masks(cfg: Mapping[str, Any]) -> bool:
        return bool(cfg[cfg["architecture"]].get("mask_head"))

    def __init__(self, model: BaseArch) -> None:
        with_mask = getattr(model, "mask_head", None) is not None
        cut = float(model.mask_post_process.binary_thresh) if with_mask else 0.5
        super().__init__(model, model.bbox_post_process.nms, cut)
        head, post, rpn = model.bbox_head, model.bbox_post_process, model.rpn_head
        head.roi_extractor = _Guarded(head.roi_extractor)
        post.decode = _finite(post.decode, "box scores and deltas")
        # ppdet drops boxes that are not finite: such a model would find nothing, and not say why.
        for name in ("train_proposal", "test_proposal"):
            setattr(rpn, name, _finite(getattr(rpn, name), "scores and deltas of the anchors"))
        if with_mask:
            model.mask_head.roi_extractor = _Guarded(model.mask_head.roi_extractor)
            # Masks are pasted and cut by `Candidates`: only there a threshold can be searched.
            model.mask_post_process = _uncut

    def targets(self, batch: Batch) -> dict[str, Any]:
        """Boxes and classes by image; masks as runs, which `compat` makes ppdet's mask target take."""
        return {
            "gt_bbox": [paddle.to_tensor(np.asarray(boxes)) for boxes in batch["gt_bbox"]],
            "gt_class": [_column(labels) for labels in batch["gt_class"]],
            "is_crowd": [_column(np.zeros(len(labels))) for labels in batch["gt_class"]],
            "gt_poly": batch["gt_mask"],
        }


def _column(values: Any) -> paddle.Tensor:
    return paddle.to_tensor(np.asarray(values, np.int32).reshape(-1, 1))


def _uncut(probs: paddle.Tensor, *_: Any) -> paddle.Tensor:
    return probs


def _finite(function: Callable[..., Any], what: str) -> Callable[..., Any]:
    """The function, raising DivergenceError where a tensor among what it is given is NaN or infinite."""

    def guarded(*args: Any, **kwargs: Any) -> Any:
        given = [*args, *kwargs.values()]
        given += [item for value in given if isinstance(value, (list, tuple)) for item in value]
        if not all(bool(paddle.isfinite(x).all()) for x in given if isinstance(x, paddle.Tensor) and x.is_floating_point()):
            raise DivergenceError(f"{what} are not finite")
        return function(*args, **kwargs)

    return guarded


class _Guarded(nn.Layer):
    """A RoI extractor that raises DivergenceError where the native code would end the process."""

    def __init__(self, extractor: nn.Layer) -> None:
        super().__init__()
        self.extractor = extractor

    def forward(self, feats: Any, rois: Sequence[paddle.Tensor], rois_num: paddle.Tensor) -> paddle.Tensor:
        # NaN compares as false.
        if not all(bool((boxes.abs() < FARTHEST).all()) for boxes in rois):
            raise DivergenceError("proposed boxes are not finite")
        return self.extractor(feats, rois, rois_num)


@register_adapter("PPYOLOE")
class SingleStageDetector(HostDetector):
    """PP-YOLOE: boxes without masks."""

    SECTION = "PPYOLOEHead"

    @staticmethod
    def has_masks(cfg: Mapping[str, Any]) -> bool:
        return False

    def __init__(self, model: BaseArch) -> None:
        super().__init__(model, model.yolo_head.nms)
        if model.post_process is not None:
            raise UserError("PPYOLOE.post_process is for heads with anchors; set it to null: the head's own nms does it.")

    def targets(self, batch: Batch) -> dict[str, Any]:
        """Boxes (B, n, 4), classes (B, n, 1) and which of them are real (B, n, 1), n the most of an image."""
        height, width = batch["image"].shape[2:]
        stride, wanted = max(self.model.yolo_head.fpn_strides), self.model.yolo_head.static_assigner.topk
        if (height // stride) * (width // stride) < wanted:
            raise UserError(
                f"Pictures of {height}x{width} px have fewer cells of {stride} px than the {wanted} that ATSSAssigner "
                "looks at: take larger ones (TrainReader), or a smaller PPYOLOEHead.static_assigner.topk."
            )
        # ppdet's assigner fails on none at all.
        most = max(1, *(len(labels) for labels in batch["gt_class"]))
        boxes = np.zeros((len(batch["gt_class"]), most, 4), np.float32)
        classes, real = np.zeros((*boxes.shape[:2], 1), np.int64), np.zeros((*boxes.shape[:2], 1), np.float32)
        for i, (box, label) in enumerate(zip(batch["gt_bbox"], batch["gt_class"])):
            boxes[i, : len(label)], classes[i, : len(label), 0], real[i, : len(label)] = box, label, 1
        arrays = {"gt_bbox": boxes, "gt_class": classes, "pad_gt_mask": real}
        return {name: paddle.to_tensor(array) for name, array in arrays.items()}
