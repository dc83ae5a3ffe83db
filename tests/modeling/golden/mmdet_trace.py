"""What the reference computes, stage by stage, for `make_from_mmdet.py`; names of tensors as in tests/support."""

from contextlib import contextmanager
from copy import deepcopy

import numpy as np
import torch
from mmdet.structures import DetDataSample
from mmdet.structures.mask import BitmapMasks
from mmengine.structures import InstanceData, PixelData


class Recorder:
    """While it is in use, keeps what the wrapped methods and modules return, by name, in order."""

    def __init__(self):
        self.calls: dict[str, list] = {}
        self._undo = []

    def hook(self, name: str, module: torch.nn.Module | None) -> None:
        """Record (inputs, output) of a module."""
        if module is not None:
            handle = module.register_forward_hook(lambda _, x, y: self._keep(name, (x, y)))
            self._undo.append(handle.remove)

    def wrap(self, name: str, owner: object, method: str) -> None:
        """Record (arguments, result) of a method."""
        plain = getattr(owner, method)

        def recorded(*args, **kwargs):
            result = plain(*args, **kwargs)
            self._keep(name, ((args, kwargs), result))
            return result

        setattr(owner, method, recorded)
        self._undo.append(lambda: delattr(owner, method))

    def _keep(self, name: str, value: tuple) -> None:
        self.calls.setdefault(name, []).append(clone(value))

    def outputs(self, name: str) -> list:
        """Results recorded under a name."""
        return [y for _, y in self.calls.get(name, [])]

    def close(self) -> None:
        """Take all hooks away."""
        for undo in self._undo:
            undo()


def clone(value: object) -> object:
    """Copies of the tensors in a nest, since mmdet adds in place."""
    if isinstance(value, torch.Tensor):
        return value.detach().clone()
    if isinstance(value, (list, tuple)):
        return type(value)(clone(v) for v in value) if type(value) in (list, tuple) else value
    if isinstance(value, dict):
        return {k: clone(v) for k, v in value.items()}
    return value.clone() if isinstance(value, InstanceData) else value


@contextmanager
def recorder():
    """A Recorder that cleans up."""
    record = Recorder()
    try:
        yield record
    finally:
        record.close()


def sample_of(height: int, width: int, batch_shape: tuple, origin: tuple | None = None, scale: float = 1.0) -> DetDataSample:
    """An image's description."""
    sample = DetDataSample()
    sample.set_metainfo(
        {
            "img_shape": (height, width),
            "ori_shape": origin or (height, width),
            "pad_shape": batch_shape,
            "batch_input_shape": batch_shape,
            "scale_factor": (scale, scale),
        }
    )
    return sample


def stages(part: object) -> list:
    """The heads of all stages."""
    return list(part) if isinstance(part, torch.nn.ModuleList) else [part]


def infer(model: torch.nn.Module, image: np.ndarray, samples: list, proposals: np.ndarray | None = None) -> tuple[dict, list]:
    """Trace of inference, and each image's result."""
    head, dtype = model.roi_head, next(model.parameters()).dtype
    with recorder() as record, torch.no_grad():
        for name in ("backbone", "neck", "rpn_head"):
            record.hook(name, getattr(model, name))
        record.hook("semantic", getattr(head, "semantic_head", None))
        record.wrap("boxes", head, "_bbox_forward")
        record.wrap("masks", head, "_mask_forward")
        record.wrap("before_nms", model.rpn_head, "_bbox_post_process")
        for k, part in enumerate(stages(head.mask_head)):
            record.hook(f"mask_{k}", part)
        for k, part in enumerate(stages(head.bbox_head)):
            record.hook(f"box_{k}", part)
        pixels = torch.from_numpy(image).to(dtype)
        if proposals is None:
            results = model.predict(pixels, samples, rescale=True)
            results = [r.pred_instances for r in results]
        else:
            feats = model.extract_feat(pixels)
            model.rpn_head(feats)
            given = InstanceData(bboxes=torch.from_numpy(proposals).to(dtype))
            results = head.predict(feats, [given], samples, rescale=True)
    trace = {f"C{k + 2}": x for k, x in enumerate(record.outputs("backbone")[0])}
    trace |= {f"P{k + 2}": x for k, x in enumerate(record.outputs("neck")[0])}
    if record.outputs("semantic"):
        trace["semantic_logits"], trace["semantic_feat"] = record.outputs("semantic")[0]
    for k, (cls, reg) in enumerate(zip(*record.outputs("rpn_head")[0])):
        trace |= {f"rpn_cls_{k}": cls, f"rpn_reg_{k}": reg}
    if proposals is None:
        trace["rpn_pre_boxes"] = record.calls["before_nms"][0][0][1]["results"].bboxes
    trace |= _stage_outputs(record)
    if proposals is None:
        trace["rpn_post_boxes"] = trace["s0_rois"][:, 1:]
    return {k: v.numpy() for k, v in trace.items()} | _masks(model, record, samples, results), results


def _stage_outputs(record: Recorder) -> dict:
    trace, logits = {}, []
    for s, ((args, kwargs), out) in enumerate(record.calls["boxes"]):
        rois = [a for a in (*args, *kwargs.values()) if isinstance(a, torch.Tensor) and a.ndim == 2 and a.shape[1] == 5]
        trace |= {f"s{s}_rois": rois[0], f"s{s}_cls": out["cls_score"], f"s{s}_reg": out["bbox_pred"]}
        trace[f"s{s}_bbox_in8"] = record.calls[f"box_{s}"][0][0][0][:8]
        logits.append(out["cls_score"])
    return trace | {"avg_cls": sum(logits) / len(logits)}


def _masks(model: torch.nn.Module, record: Recorder, samples: list, results: list) -> dict:
    """Detections and masks; the masks of all stages are averaged here, since mmdet 3 keeps the last of HTC's only."""
    one = len(results) == 1
    trace = {}
    for b, r in enumerate(results):
        suffix = "" if one else str(b)
        for key, value in (("boxes", r.bboxes), ("scores", r.scores), ("labels", r.labels)):
            trace[f"det_{key}{suffix}"] = value.numpy()
    if "masks" not in record.calls:
        return trace
    labels = torch.cat([r.labels for r in results])
    args, kwargs = record.calls["masks"][0][0]
    rois = next(a for a in (*args, *kwargs.values()) if isinstance(a, torch.Tensor) and a.ndim == 2 and a.shape[1] == 5)
    probs = []
    for k in range(len(stages(model.roi_head.mask_head))):
        (inputs, out) = record.calls[f"mask_{k}"][0]
        logits, state = out if isinstance(out, (list, tuple)) else (out, None)
        probs.append(logits.sigmoid())
        trace[f"mask_logits_{k}_lab"] = logits[torch.arange(len(labels)), labels].numpy()
        trace |= {f"mask_logits_{k}": logits.numpy(), f"mask_logits_{k}_first4": logits[:4].numpy()}
        if state is not None:
            trace |= {f"mask_last_feat_{k}": state.numpy(), f"mask_last_feat_{k}_first4": state[:4].numpy()}
        trace["mask_in8"] = inputs[0][:8].numpy()
    mean = sum(probs) / len(probs)
    trace["mask_prob_mean_lab"] = mean[torch.arange(len(labels)), labels].numpy()
    start = 0
    for b, (r, sample) in enumerate(zip(results, samples)):
        boxes = rois[rois[:, 0] == b][:, 1:]
        part = mean[start : start + len(boxes)]
        start += len(boxes)
        suffix = "" if one else str(b)
        trace[f"det_boxes_netscale{suffix}"] = boxes.numpy()
        if len(boxes):
            found = InstanceData(bboxes=boxes.clone(), labels=r.labels)
            last = stages(model.roi_head.mask_head)[-1]
            config = model.roi_head.test_cfg
            pasted = last.predict_by_feat([part], [found], [sample.metainfo], config, rescale=True, activate_map=True)
            trace[f"masks_mean_packed{suffix}"] = np.packbits(pasted[0].masks.numpy(), axis=-1)
            trace[f"masks_mmdet3_packed{suffix}"] = np.packbits(r.masks.numpy(), axis=-1)
    return trace


def training_samples(arrays: dict, sizes: list, batch_shape: tuple, dtype: torch.dtype) -> list[DetDataSample]:
    """The two training images' ground truth."""
    samples = []
    for b, (h, w) in enumerate(sizes):
        sample = sample_of(h, w, batch_shape)
        bitmaps = np.unpackbits(arrays[f"gt_masks_packed{b}"], axis=-1)[:, :, :w]
        sample.gt_instances = InstanceData(
            bboxes=torch.from_numpy(arrays[f"gt_boxes{b}"]).to(dtype),
            labels=torch.from_numpy(arrays[f"gt_labels{b}"]),
            masks=BitmapMasks(bitmaps, h, w),
        )
        sample.ignored_instances = InstanceData(
            bboxes=torch.zeros((0, 4), dtype=dtype), labels=torch.zeros(0, dtype=torch.long)
        )
        sample.gt_sem_seg = PixelData(sem_seg=torch.from_numpy(arrays[f"seg{b}"].astype(np.int64))[None])
        samples.append(sample)
    return samples


def losses_of(model: torch.nn.Module, pixels: torch.Tensor, samples: list, proposals: list) -> dict[str, torch.Tensor]:
    """Losses on given proposals."""
    feats = model.extract_feat(pixels)
    anchored = [deepcopy(s) for s in samples]
    for sample in anchored:  # the proposal network knows one class
        sample.gt_instances.labels = torch.zeros_like(sample.gt_instances.labels)
    losses = {k: sum(v) for k, v in model.rpn_head.loss(feats, anchored).items()}
    given = [InstanceData(bboxes=p.clone()) for p in proposals]
    losses.update(model.roi_head.loss(feats, given, samples))
    return losses


def train(model: torch.nn.Module, pixels: torch.Tensor, samples: list, proposals: list) -> tuple[dict, dict[str, torch.Tensor]]:
    """Trace of the training step, and its losses."""
    head, images = model.roi_head, len(samples)
    box_heads, mask_heads, samplers = stages(head.bbox_head), stages(head.mask_head), head.bbox_sampler
    samplers = samplers if isinstance(samplers, list) else [samplers]
    with recorder() as record:
        record.wrap("anchors", model.rpn_head, "_get_targets_single")
        for s, (box_head, mask_head, sampler) in enumerate(zip(box_heads, mask_heads, samplers)):
            record.wrap(f"sample_{s}", sampler, "sample")
            record.wrap(f"box_{s}", box_head, "loss_and_target")
            record.wrap(f"refine_{s}", box_head, "refine_bboxes")
            record.wrap(f"mask_{s}", mask_head, "loss_and_target")
        losses = losses_of(model, pixels, samples, proposals)
    trace = {}
    for b, targets in enumerate(record.outputs("anchors")):
        labels, weights = targets[0], targets[1]
        positive = ((labels == 0) & (weights > 0)).nonzero()[:, 0]
        trace |= {f"rpn_img{b}_pos_flat": positive, f"rpn_img{b}_pos_targets": targets[2][positive]}
        trace[f"rpn_img{b}_neg_flat"] = ((labels == 1) & (weights > 0)).nonzero()[:, 0]
    for s in range(len(box_heads)):
        trace |= _training_stage(s, record, images)
    return {k: v.detach().numpy() if isinstance(v, torch.Tensor) else v for k, v in trace.items()}, losses


def _training_stage(s: int, record: Recorder, images: int) -> dict:
    trace = {}
    for k, found in enumerate(record.outputs(f"sample_{s}")):
        where = f"s{s}_{('bbox', 'mask')[k // images]}_img{k % images}_"
        trace |= {where + "pos_inds": found.pos_inds, where + "neg_inds": found.neg_inds, where + "priors": found.priors}
        trace |= {where + "pos_gt": found.pos_assigned_gt_inds, where + "pos_is_gt": found.pos_is_gt}
    (_, kwargs), out = record.calls[f"box_{s}"][0]
    trace |= {f"s{s}_cls": kwargs["cls_score"], f"s{s}_reg": kwargs["bbox_pred"]}
    trace |= {f"s{s}_labels": out["bbox_targets"][0].to(torch.int16), f"s{s}_bbox_targets": out["bbox_targets"][2]}
    (_, kwargs), out = record.calls[f"mask_{s}"][0]
    trace |= {f"s{s}_mask_preds": kwargs["mask_preds"]}
    targets = out["mask_targets"]
    trace[f"s{s}_mask_targets_packed"] = np.packbits(targets.numpy().astype(np.uint8), axis=-1)
    for refined in record.outputs(f"refine_{s}"):
        trace |= {f"s{s}_refined_img{b}": r.bboxes if "bboxes" in r else r.priors for b, r in enumerate(refined)}
    return trace
