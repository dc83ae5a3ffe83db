"""SOLOv2 behind our batch and our predictions: ppdet's own decoding fails on paddle 3, and gives no mask probabilities."""

from collections.abc import Callable, Mapping
from typing import Any

import cv2
import numpy as np
import paddle
import paddle.nn.functional as F
from ppdet.data.transform.batch_operators import Gt2Solov2Target
from ppdet.modeling.architectures.meta_arch import BaseArch

from ppdet_ext.errors import DivergenceError
from ppdet_ext.structures import Candidates, TestSettings

from .detector import Batch, HostDetector, host_inputs, section_values, settings_of
from .registry import register_adapter

STRIDE = 4  # px of the image a cell of the mask feature
CELLS = 56  # of a mask along each side of its box


@register_adapter("SOLOv2")
class SOLOv2Detector(HostDetector):
    """SOLOv2: a mask for each cell of a grid, boxes from the masks."""

    # Matrix NMS lowers scores in place of cutting at an overlap.
    THRESHOLDS = {"score_threshold": "update_threshold", "max_detections": "post_nms_top_n"}

    def __init__(self, model: BaseArch) -> None:
        super().__init__(model, model.solov2_head.mask_nms, float(model.solov2_head.mask_threshold))
        model.solov2_head.solov2_loss = _defined_without_objects(model.solov2_head.solov2_loss)
        self._assign = Gt2Solov2Target(num_grids=model.solov2_head.seg_num_grids, sampling_ratio=float(STRIDE))

    @staticmethod
    def has_masks(cfg: Mapping[str, Any]) -> bool:
        return True

    @classmethod
    def settings_from(cls, cfg: Mapping[str, Any]) -> TestSettings:
        """Read the thresholds of a configuration, whose model need not be built."""
        values = section_values(cfg, cfg["SOLOv2Head"]["mask_nms"])
        return settings_of(values.get, cls.THRESHOLDS, float(cfg["SOLOv2Head"]["mask_threshold"]))

    @classmethod
    def settings_sections(cls, **thresholds: float) -> dict[str, Any]:
        """Say in a configuration's sections what score_threshold and max_detections are."""
        own = {cls.THRESHOLDS[name]: value for name, value in thresholds.items() if name in cls.THRESHOLDS}
        return {"SOLOv2Head": {"mask_nms": {"name": "MaskMatrixNMS"} | own}}

    def targets(self, batch: Batch) -> dict[str, Any]:
        """Per level of the grid: masks, classes and cells (see ppdet's `Gt2Solov2Target`)."""
        height, width = batch["image"].shape[2:]
        samples: list[dict[str, Any]] = []
        for boxes, labels, masks in zip(batch["gt_bbox"], batch["gt_class"], batch["gt_mask"]):
            bitmaps = [mask.place(0, 0, height, width).to_bitmap() for mask in masks]
            samples.append({
                # Only its size is looked at.
                "image": np.broadcast_to(np.uint8(0), (3, height, width)),
                "gt_bbox": np.asarray(boxes), "gt_class": np.asarray(labels, np.int64).reshape(-1, 1),
                "gt_segm": np.array(bitmaps, np.uint8).reshape(-1, height, width), "is_crowd": None, "gt_poly": None,
            })  # fmt: skip
        samples = self._assign(samples)
        return {key: paddle.to_tensor(np.stack([sample[key] for sample in samples])) for key in samples[0] if key != "image"}

    @paddle.no_grad()
    def candidates(self, batch: Batch, settings: TestSettings) -> list[Candidates]:
        """What is found in each image of a batch, in original pixels.

        Raises:
            DivergenceError: an output is NaN or infinite.
        """
        model = self.model
        feats = model.neck(model.backbone(host_inputs(batch)))
        masks = model.mask_head(feats)
        classes, kernels = model.solov2_head(feats)
        shapes, scales = np.asarray(batch["im_shape"]), np.asarray(batch["scale_factor"])
        found = []
        for i, (height, width) in enumerate(np.asarray(batch["origin_shape"]).tolist()):
            scores = paddle.concat([level[i].reshape([-1, level.shape[-1]]) for level in classes])
            kernel = paddle.concat([level[i].flatten(1).t() for level in kernels])
            probs, scores, labels = self._chosen(masks[i], scores, kernel, settings)
            boxes = np.array([_extent(p, self._mask_threshold, shapes[i]) for p in probs], np.float32).reshape(-1, 4)
            within = (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])
            crops = np.array([_crop(p, box) for p, box in zip(probs[within], boxes[within])], np.float32)
            limits = np.array([width, height, width, height], np.float32)
            boxes = np.minimum(boxes[within] / scales[i][[1, 0, 1, 0]], limits).astype(np.float32)
            found.append(Candidates(height, width, boxes, scores[within], labels[within], crops.reshape(-1, CELLS, CELLS)))
        return found

    def _chosen(
        self, feature: paddle.Tensor, scores: paddle.Tensor, kernels: paddle.Tensor, settings: TestSettings
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Mask probabilities (n, h, w) of a cell each, scores and labels (n,), best first, after matrix NMS.

        Args:
            feature: (E, h, w). scores: (cells, classes). kernels: (cells, E).
        """
        head = self.model.solov2_head
        values = scores.numpy()
        if not np.isfinite(values).all():
            raise DivergenceError("class scores are not finite")
        cells, labels = np.nonzero(values > head.score_threshold)
        empty = np.zeros((0, *feature.shape[1:]), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int64)
        if len(cells) == 0:
            return empty
        chosen = F.sigmoid(kernels.numpy()[cells] @ feature.flatten(1)).reshape([-1, *feature.shape[1:]])
        masks = (chosen > head.mask_threshold).astype("float32")
        areas = masks.sum([1, 2]).numpy()
        strides = np.repeat(head.segm_strides, np.square(head.seg_num_grids))
        large = np.flatnonzero(areas > strides[cells])
        if len(large) == 0:
            return empty
        index = paddle.to_tensor(large)
        chosen, masks = chosen.gather(index), masks.gather(index)
        maskness = (chosen * masks).sum([1, 2]) / masks.sum([1, 2])
        rated = paddle.to_tensor(values[cells, labels][large]) * maskness
        kinds = paddle.to_tensor(labels[large])
        # ppdet's NMS gives the last one back in any case, so as not to be empty: it gets one of score 0 for that.
        chosen, masks, kinds, rated = (paddle.concat([x, x[:1]]) for x in (chosen, masks, kinds, rated))
        rated[-1] = 0.0
        with self._thresholds(settings):
            chosen, rated, kinds = head.mask_nms(chosen, masks, kinds, rated, sum_masks=masks.sum([1, 2]))
        chosen, rated, kinds = chosen.numpy(), rated.numpy(), kinds.numpy()
        kept = np.flatnonzero(rated > 0)
        order = kept[np.argsort(-rated[kept], kind="stable")]
        return chosen[order], rated[order], kinds.astype(np.int64)[order]


def _defined_without_objects(loss: Callable[..., Any]) -> Callable[..., Any]:
    """ppdet's loss divides by the number of masks; in a batch without one the mask loss is 0."""

    def guarded(predicted: list[Any], targets: list[Any], *classes: Any) -> tuple[paddle.Tensor, paddle.Tensor]:
        if any(mask is not None and target.numpy().any() for mask, target in zip(predicted, targets)):
            return loss(predicted, targets, *classes)
        masks, kinds = loss([paddle.zeros([1, 1, 1])], [paddle.ones([1, 1, 1])], *classes)
        return masks * 0.0, kinds

    return guarded


def _extent(probs: np.ndarray, threshold: float, shape: np.ndarray) -> tuple[float, float, float, float]:
    """Box x1, y1, x2, y2 (px of the network's image of `shape`) of the pixels above the threshold; empty without any."""
    rows, columns = np.flatnonzero((probs > threshold).any(1)), np.flatnonzero((probs > threshold).any(0))
    if len(rows) == 0:
        return 0.0, 0.0, 0.0, 0.0
    # Between samples the probability crosses the threshold less than a cell outside of the last one.
    ys = np.arange(max(STRIDE * (rows[0] - 1), 0), min(STRIDE * (rows[-1] + 2), int(np.ceil(shape[0]))))
    xs = np.arange(max(STRIDE * (columns[0] - 1), 0), min(STRIDE * (columns[-1] + 2), int(np.ceil(shape[1]))))
    inside = _sampled(probs, xs + 0.5, ys + 0.5) > threshold
    ys, xs = ys[inside.any(1)], xs[inside.any(0)]
    if len(ys) == 0:
        return 0.0, 0.0, 0.0, 0.0
    return float(xs[0]), float(ys[0]), float(xs[-1] + 1), float(ys[-1] + 1)


def _crop(probs: np.ndarray, box: np.ndarray) -> np.ndarray:
    """(CELLS, CELLS) probabilities at the centres of the cells of a box."""
    centres = (np.arange(CELLS) + 0.5) / CELLS
    return _sampled(probs, *(box[i] + centres * (box[i + 2] - box[i]) for i in (0, 1)))


def _sampled(probs: np.ndarray, xs: np.ndarray, ys: np.ndarray) -> np.ndarray:
    """(len(ys), len(xs)) bilinear samples at these px of the network's image, of cells of `STRIDE` px."""
    x, y = np.meshgrid((xs / STRIDE - 0.5).astype(np.float32), (ys / STRIDE - 0.5).astype(np.float32))
    return cv2.remap(probs, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
