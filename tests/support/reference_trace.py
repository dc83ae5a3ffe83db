"""What our modules compute, stage by stage, under the names of the reference's tensors."""

from contextlib import ExitStack
from unittest.mock import patch

import numpy as np
import paddle
import paddle.nn.functional as F
from recipe import image
from reference_model import TRAIN_SIZES, training_truth

from ppdet_ext.modeling.detection.features import Features
from ppdet_ext.modeling.ops.boxes import encode
from ppdet_ext.structures import Detections

SIZE = (256, 320)


class RecordedFeatures:
    """`Features` that remembers each pooling: rois (n, 5), cells along a side and the result."""

    def __init__(self, features: Features):
        self.inner, self.calls = features, []

    def pool(self, rois: np.ndarray, size: int, merge: int) -> paddle.Tensor:
        """As `Features.pool`."""
        out = self.inner.pool(rois, size, merge)
        self.calls.append((rois, size, out))
        return out


def record_calls(layers: list) -> tuple[list, list]:
    """Outputs of all calls of `layers`, in order, and the hooks' handles."""
    outputs = []
    return outputs, [x.register_forward_post_hook(lambda _, __, out: outputs.append(out)) for x in layers]


@paddle.no_grad()
def maps(model: paddle.nn.Layer, pixels: np.ndarray) -> tuple[dict, list[paddle.Tensor]]:
    """C2 … P6, semantic maps and the proposal network's, and the pyramid itself."""
    body = model.backbone({"image": paddle.to_tensor(pixels)})
    feats = model.neck(body)
    trace = {f"C{k + 2}": c for k, c in enumerate(body)} | {f"P{k + 2}": p for k, p in enumerate(feats)}
    if getattr(model.roi_head, "semantic_head", None) is not None:
        trace["semantic_logits"], trace["semantic_feat"] = model.roi_head.semantic_head(feats)
    for k, (logits, deltas) in enumerate(zip(*model.rpn_head(feats))):
        trace |= {f"rpn_cls_{k}": logits, f"rpn_reg_{k}": deltas}
    return {key: value.numpy() for key, value in trace.items()}, feats


@paddle.no_grad()
def proposals(model: paddle.nn.Layer, feats: list[paddle.Tensor], shape: np.ndarray) -> dict:
    """Proposals of one image before and after suppression; before it, everything the network passes on."""
    outputs = model.rpn_head(feats)
    after = model.rpn_head.proposals(*outputs, shape)[0]
    nms_iou, limits = model.rpn_head.nms_iou, model.rpn_head.limits
    model.rpn_head.nms_iou, model.rpn_head.limits = 2.0, {False: (limits[False][0], 10**6)}
    before = model.rpn_head.proposals(*outputs, shape)[0]
    model.rpn_head.nms_iou, model.rpn_head.limits = nms_iou, limits
    return {"rpn_pre_boxes": before, "rpn_post_boxes": after}


@paddle.no_grad()
def box_cascade(model: paddle.nn.Layer, feats: list[paddle.Tensor], rois: np.ndarray, shape: np.ndarray) -> dict:
    """All box stages from rois (n, 5) of one image on, each on what the stage before it made of them."""
    head = model.roi_head
    features = RecordedFeatures(head.features(feats)[0])
    outputs, hooks = record_calls(head.box_heads)
    boxes, scores = head.cascade(features, [rois[:, 1:]], shape)
    for hook in hooks:
        hook.remove()
    trace = {"final_boxes": boxes[0], "avg_scores": scores[0]}
    for s, ((cls, reg), (seen, _, pooled)) in enumerate(zip(outputs, features.calls)):
        trace |= {f"s{s}_cls": cls.numpy(), f"s{s}_reg": reg.numpy(), f"s{s}_rois": seen}
        trace[f"s{s}_bbox_in8"] = pooled[:8].numpy()
        trace[f"s{s}_bbox_roifeat8"] = features.inner.pyramid.pool(seen[:8], 7).numpy()
        if features.inner.semantic is not None:
            trace[f"s{s}_semroifeat8"] = features.inner.semantic.pool(seen[:8], 14).numpy()
    trace["avg_cls"] = np.mean([trace[f"s{s}_cls"] for s in range(len(outputs))], axis=0)
    return trace


@paddle.no_grad()
def mask_stages(model: paddle.nn.Layer, feats: list[paddle.Tensor], boxes: np.ndarray, labels: np.ndarray) -> dict:
    """Mask heads on boxes (n, 4) of one image: logits and features of every head, and the mean probability."""
    head = model.roi_head
    rois = np.concatenate([np.zeros((len(boxes), 1)), boxes], 1).astype(np.float32)
    features, states, own = RecordedFeatures(head.features(feats)[0]), [], []
    with _recorded(head.mask_heads, "features", states), _recorded(head.mask_heads, "predict_own", own):
        mean = head.mask_probabilities(features, rois, labels)
    trace = {"mask_prob_mean_lab": mean, "mask_in8": features.calls[0][2][:8].numpy()}
    trace["mask_roifeat8"] = features.inner.pyramid.pool(rois[:8], 14).numpy()
    for k, (part, state, chosen) in enumerate(zip(head.mask_heads, states, own, strict=True)):
        out = part.predict(state)
        trace |= {f"mask_last_feat_{k}": state.numpy(), f"mask_last_feat_{k}_first4": state[:4].numpy()}
        trace |= {f"mask_logits_{k}": out.numpy(), f"mask_logits_{k}_first4": out[:4].numpy()}
        trace[f"mask_logits_{k}_lab"] = chosen.numpy()
    return trace


class _recorded:
    """While it lasts, the results of each layer's method `name` are appended to `results`."""

    def __init__(self, layers: list, name: str, results: list):
        self.patches = [patch.object(type(layers[0]), name, _recording(getattr(type(layers[0]), name), results))]

    def __enter__(self):
        for p in self.patches:
            p.start()

    def __exit__(self, *error):
        for p in self.patches:
            p.stop()


def _recording(method, results: list):
    def recorded(*args, **kwargs):
        results.append(method(*args, **kwargs))
        return results[-1]

    return recorded


def detect(
    model: paddle.nn.Layer,
    pixels: np.ndarray,
    sizes: list,
    scale: float = 1.0,
    origin: list | None = None,
    given: np.ndarray | None = None,
) -> tuple[list[Detections], list[tuple]]:
    """The model's own answer to a batch of images of `sizes` (h, w), on `given` proposals if any; and what it pastes from."""
    raw, head, rpn = [], model.roi_head, model.rpn_head
    batch = {
        "image": paddle.to_tensor(pixels),
        "im_id": np.arange(len(sizes)),
        "im_shape": np.array(sizes, np.float32),
        "scale_factor": np.full((len(sizes), 2), scale, np.float32),
        "origin_shape": np.array(origin or sizes),
    }
    with ExitStack() as stack:
        stack.enter_context(patch.object(type(head), "detect", _recording(type(head).detect, raw)))
        if given is not None:
            stack.enter_context(patch.object(type(rpn), "proposals", lambda *_: [given]))
        return model(batch), raw[0]


def training_losses(model: paddle.nn.Layer, arrays: dict) -> dict[str, paddle.Tensor]:
    """Losses of the two training images on given proposals, with the first candidates sampled."""
    truth = training_truth(arrays)
    feats = model.neck(model.backbone({"image": paddle.to_tensor(image(8, *SIZE, 2, TRAIN_SIZES))}))
    shapes = np.array(TRAIN_SIZES, np.float32)
    losses = model.rpn_head.losses(*model.rpn_head(feats), [t.boxes for t in truth], shapes, [None, None])
    semantic = paddle.to_tensor(np.stack([arrays["seg0"], arrays["seg1"]])) if "seg0" in arrays else None
    losses.update(model.roi_head.losses(feats, [arrays["proposals0"], arrays["proposals1"]], truth, semantic))
    return losses


def total(losses: dict[str, paddle.Tensor]) -> paddle.Tensor:
    """Sum of the losses."""
    return paddle.add_n([x.reshape([]) for x in losses.values()])


class SamplerSpy:
    """A region sampler that remembers proposals, objects and sample of each call."""

    def __init__(self, sampler):
        self.sampler, self.calls = sampler, []

    def __call__(self, boxes: np.ndarray, objects: np.ndarray, rng: None = None):
        """As `RoISampler.__call__`."""
        self.calls.append((boxes, objects, self.sampler(boxes, objects, rng)))
        return self.calls[-1][2]


def training(model: paddle.nn.Layer, arrays: dict) -> tuple[dict, dict[str, paddle.Tensor]]:
    """The training step's trace and its losses."""
    head, truth = model.roi_head, training_truth(arrays)
    spies = [SamplerSpy(s) for s in head.samplers]
    box_outputs, hooks = record_calls(head.box_heads)
    states, masked, ordinary, cross_entropies = [], [], F.binary_cross_entropy_with_logits, []

    def binary(logit, label, *args, **kwargs):
        masked.append((logit, label))
        return ordinary(logit, label, *args, **kwargs)

    cross = _recorded_arguments(F.cross_entropy, cross_entropies)
    with (
        _recorded(head.mask_heads, "features", states),
        patch.object(head, "samplers", spies),
        patch.object(F, "binary_cross_entropy_with_logits", binary),
        patch.object(F, "cross_entropy", cross),
    ):
        losses = training_losses(model, arrays)
    for hook in hooks:
        hook.remove()
    masked = [(x, y) for x, y in masked if x.ndim == 3]
    labels = [y for x, y in cross_entropies if x.ndim == 2]
    trace, last = {}, -1
    for s, spy in enumerate(spies):
        last += s + 1 if head.mask_info_flow else 1  # a stage runs the heads before its own, too
        trace |= _stage_trace(s, spy.calls, truth, head.box_heads[s].stds, *box_outputs[s])
        trace[f"s{s}_labels"] = labels[s].numpy()
        with paddle.no_grad():
            trace[f"s{s}_mask_preds"] = head.mask_heads[s].predict(states[last]).numpy()
        trace[f"s{s}_mask_preds_first8_lab"] = masked[s][0][:8].numpy()
        trace[f"s{s}_mask_targets_packed"] = np.packbits(masked[s][1].numpy().astype(np.uint8), axis=-1)
    return trace | _anchor_trace(model, truth), losses


def _recorded_arguments(function, calls: list):
    def recorded(logits, labels, *args, **kwargs):
        calls.append((logits, labels))
        return function(logits, labels, *args, **kwargs)

    return recorded


def _stage_trace(stage: int, calls: list, truth: list, stds: np.ndarray, cls: paddle.Tensor, reg: paddle.Tensor) -> dict:
    trace = {f"s{stage}_cls": cls.detach().numpy(), f"s{stage}_reg": reg.detach().numpy()}
    goals = []
    for k, (boxes, objects, found) in enumerate(calls):
        branch, b = ("bbox", "mask")[k // len(truth)], k % len(truth)
        where = f"s{stage}_{branch}_img{b}_"
        trace[where + "candidates"] = np.concatenate([objects, boxes])
        trace |= {where + "priors": found.boxes, where + "pos_gt": found.object_index, where + "pos_is_gt": found.is_object}
        if branch == "mask":
            trace[f"s{stage}_refined_img{b}"] = boxes
            continue
        if stage > 0:
            trace[f"s{stage - 1}_refined_img{b}"] = boxes
        goal = np.zeros((len(found.boxes), 4), np.float32)
        p = found.num_positive
        goal[:p] = encode(found.boxes[:p], truth[b].boxes[found.object_index], stds)
        goals.append(goal)
    return trace | {f"s{stage}_bbox_targets": np.concatenate(goals)}


def _anchor_trace(model: paddle.nn.Layer, truth: list) -> dict:
    trace, sizes = {}, [(-(-SIZE[0] // s), -(-SIZE[1] // s)) for s in model.rpn_head.grid.strides]
    for b, t in enumerate(truth):
        names = (f"rpn_img{b}_pos_flat", f"rpn_img{b}_neg_flat", f"rpn_img{b}_pos_targets")
        trace |= dict(zip(names, model.rpn_head.targets(sizes, t.boxes, t.height, t.width, None)))
    return trace


@paddle.no_grad()
def proposal_losses_by_level(model: paddle.nn.Layer, arrays: dict) -> list[tuple[float, float]]:
    """Both losses of the proposal network, level by level: the other levels' outputs are made perfect, and cost nothing."""
    truth, head = training_truth(arrays), model.rpn_head
    feats = model.neck(model.backbone({"image": paddle.to_tensor(image(8, *SIZE, 2, TRAIN_SIZES))}))
    outputs = head(feats)
    sizes, per_cell = [tuple(x.shape[2:]) for x in outputs[0]], head.grid.per_cell
    perfect = np.full((len(truth), sum(h * w for h, w in sizes) * per_cell, 5), -200, np.float32)
    for b, t in enumerate(truth):
        positive, _, goal = head.targets(sizes, t.boxes, t.height, t.width, None)
        perfect[b, positive] = np.pad(goal, ((0, 0), (1, 0)), constant_values=200)
    ends = np.cumsum([h * w * per_cell for h, w in sizes])[:-1]
    logits, deltas = [], []
    for part, (h, w) in zip(np.split(perfect, ends, axis=1), sizes):
        cells = part.reshape(len(truth), h, w, per_cell, 5)
        logits.append(paddle.to_tensor(cells[..., 0].transpose(0, 3, 1, 2)))
        deltas.append(paddle.to_tensor(cells[..., 1:].reshape(len(truth), h, w, -1).transpose(0, 3, 1, 2)))
    shapes, objects, losses = np.array(TRAIN_SIZES, np.float32), [t.boxes for t in truth], []
    for k in range(len(sizes)):
        mixed = [[own[i] if i == k else ideal[i] for i in range(len(sizes))] for own, ideal in zip(outputs, (logits, deltas))]
        parts = head.losses(*mixed, objects, shapes, [None, None])
        losses.append((float(parts["loss_rpn_cls"]), float(parts["loss_rpn_reg"])))
    return losses
