"""How large_logits.json was made: losses and gradients of the full-size models' stages where logits are 75 and more.

    python tests/modeling/golden/make_large_logits.py [full_a | full_c]

An HTC written for this alone, after the paper and mmdetection's rules, in torch and torchvision (2.14.1 and 0.29.1 were used),
in float64; not run by the tests. First it computes the step of tiny_a, which must have mmdetection's own losses. Then the
classifiers are scaled, and an object is added that low-quality matching gives boxes of another.
"""

import json
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torchvision.ops import deform_conv2d, roi_align

sys.path.insert(0, str(Path(__file__).parents[2] / "support"))
import recipe
from large_logits import SCALE, inputs

HERE = Path(__file__).parent
STDS = ((0.1, 0.1, 0.2, 0.2), (0.05, 0.05, 0.1, 0.1), (0.033, 0.033, 0.067, 0.067))
IOUS, STAGE_WEIGHTS = (0.5, 0.6, 0.7), (1.0, 0.5, 0.25)
SIZE = (256, 320)
# The float64 gradient of ResNeXt-101 takes long: torch has no fast convolution of groups for it.
GRADIENTS_IN = {"full_a": (torch.float32, torch.float64), "full_c": (torch.float32,)}


@dataclass(frozen=True)
class Spec:
    """Widths of a model."""

    name: str
    blocks: tuple[int, ...] = (3, 4, 6, 3)
    base: int = 64
    groups: int = 1
    deformable: bool = False
    channels: int = 256
    fc: int = 1024
    classes: int = 80
    labels: int = 183
    samples: int = 512


SPECS = {
    "tiny_a": Spec("tiny_a", base=16, channels=32, fc=64, classes=4, labels=5, samples=128),
    "full_a": Spec("full_a"),
    "full_c": Spec("full_c", blocks=(3, 4, 23, 3), groups=64, deformable=True),
}


class Model:
    """Weights by mmdetection's names, made when first asked for, and the network as functions of them."""

    def __init__(self, spec: Spec, dtype: torch.dtype, scale: float = 1.0):
        self.spec, self.dtype, self.scale = spec, dtype, scale
        self.weights: dict[str, torch.Tensor] = {}

    def get(self, name: str, *shape: int) -> torch.Tensor:
        if name not in self.weights:
            value = torch.from_numpy(recipe.parameter(name, shape, self.spec.name)).to(self.dtype)
            value = value * self.scale if ".fc_cls." in name else value
            frozen = "running" in name or name.startswith(("backbone.conv1", "backbone.bn1", "backbone.layer1"))
            self.weights[name] = value.requires_grad_(not frozen)
        return self.weights[name]

    def conv(self, x: torch.Tensor, name: str, out: int, kernel: int, bias: bool = True, **settings) -> torch.Tensor:
        weight = self.get(f"{name}.weight", out, x.shape[1] // settings.get("groups", 1), kernel, kernel)
        return F.conv2d(x, weight, self.get(f"{name}.bias", out) if bias else None, padding=kernel // 2, **settings)

    def linear(self, x: torch.Tensor, name: str, out: int) -> torch.Tensor:
        return F.linear(x, self.get(f"{name}.weight", out, x.shape[1]), self.get(f"{name}.bias", out))

    def norm(self, x: torch.Tensor, name: str) -> torch.Tensor:
        parts = [self.get(f"{name}.{k}", x.shape[1]) for k in ("running_mean", "running_var", "weight", "bias")]
        return F.batch_norm(x, *parts, training=False, eps=1e-5)

    def backbone(self, x: torch.Tensor) -> list[torch.Tensor]:
        spec, maps = self.spec, []
        x = F.conv2d(x, self.get("backbone.conv1.weight", spec.base, 3, 7, 7), stride=2, padding=3)
        x = F.max_pool2d(self.norm(x, "backbone.bn1").relu(), 3, 2, 1)
        for stage, count in enumerate(spec.blocks):
            for block in range(count):
                x = self.block(x, stage, f"backbone.layer{stage + 1}.{block}", 2 if stage and not block else 1, block == 0)
            maps.append(x)
        return maps

    def block(self, x: torch.Tensor, stage: int, name: str, stride: int, first: bool) -> torch.Tensor:
        spec, planes = self.spec, self.spec.base << stage
        width = planes if spec.groups == 1 else planes * 4 * spec.groups // 64
        y = self.norm(self.conv(x, f"{name}.conv1", width, 1, False), f"{name}.bn1").relu()
        if spec.deformable and stage:
            offset = self.conv(y, f"{name}.conv2.conv_offset", 18, 3, stride=stride)
            weight = self.get(f"{name}.conv2.weight", width, width // spec.groups, 3, 3)
            y = deform_conv2d(y, offset, weight, stride=stride, padding=1)
        else:
            y = self.conv(y, f"{name}.conv2", width, 3, False, stride=stride, groups=spec.groups)
        y = self.norm(y, f"{name}.bn2").relu()
        y = self.norm(self.conv(y, f"{name}.conv3", 4 * planes, 1, False), f"{name}.bn3")
        if first:
            x = self.norm(self.conv(x, f"{name}.downsample.0", 4 * planes, 1, False, stride=stride), f"{name}.downsample.1")
        return (x + y).relu()

    def pyramid(self, maps: list[torch.Tensor]) -> list[torch.Tensor]:
        lateral = [self.conv(c, f"neck.lateral_convs.{k}.conv", self.spec.channels, 1) for k, c in enumerate(maps)]
        for k in (2, 1, 0):
            lateral[k] = lateral[k] + F.interpolate(lateral[k + 1], lateral[k].shape[2:], mode="nearest")
        out = [self.conv(x, f"neck.fpn_convs.{k}.conv", self.spec.channels, 3) for k, x in enumerate(lateral)]
        return [*out, F.max_pool2d(out[-1], 1, 2)]

    def semantic(self, pyramid: list[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
        head, width = "roi_head.semantic_head", self.spec.channels
        resized = [F.interpolate(p, pyramid[1].shape[2:], mode="bilinear", align_corners=True) for p in pyramid]
        x = sum(self.conv(p, f"{head}.lateral_convs.{k}.conv", width, 1).relu() for k, p in enumerate(resized))
        for k in range(4):
            x = self.conv(x, f"{head}.convs.{k}.conv", width, 3).relu()
        return self.conv(x, f"{head}.conv_logits", self.spec.labels, 1), self.conv(
            x, f"{head}.conv_embedding.conv", width, 1
        ).relu()

    def box_head(self, s: int, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        head, x = f"roi_head.bbox_head.{s}", x.flatten(1)
        for k in range(2):
            x = self.linear(x, f"{head}.shared_fcs.{k}", self.spec.fc).relu()
        return self.linear(x, f"{head}.fc_cls", self.spec.classes + 1), self.linear(x, f"{head}.fc_reg", 4)

    def mask_features(self, s: int, x: torch.Tensor, previous: torch.Tensor | None) -> torch.Tensor:
        head, width = f"roi_head.mask_head.{s}", self.spec.channels
        if s:
            x = x + self.conv(previous, f"{head}.conv_res.conv", width, 1).relu()
        for k in range(4):
            x = self.conv(x, f"{head}.convs.{k}.conv", width, 3).relu()
        return x

    def mask_logits(self, s: int, x: torch.Tensor) -> torch.Tensor:
        head, width = f"roi_head.mask_head.{s}", self.spec.channels
        weight, bias = self.get(f"{head}.upsample.weight", width, width, 2, 2), self.get(f"{head}.upsample.bias", width)
        x = F.conv_transpose2d(x, weight, bias, stride=2).relu()
        return self.conv(x, f"{head}.conv_logits", self.spec.classes, 1)


def pool(pyramid: list[torch.Tensor], semantic: torch.Tensor, rois: torch.Tensor, size: int) -> torch.Tensor:
    side = ((rois[:, 3] - rois[:, 1]) * (rois[:, 4] - rois[:, 2])).sqrt()
    level = torch.floor(torch.log2(side / 56 + 1e-6)).clamp(0, 3)
    out = torch.zeros(len(rois), pyramid[0].shape[1], size, size, dtype=rois.dtype)
    for k in range(4):
        own = (level == k).nonzero()[:, 0]
        if len(own):
            pooled = roi_align(pyramid[k], rois[own], size, 1 / (4 << k), sampling_ratio=-1, aligned=True)
            out = out.index_copy(0, own, pooled)
    context = roi_align(semantic, rois, 14, 1 / 8, sampling_ratio=-1, aligned=True)
    return out + (F.adaptive_avg_pool2d(context, 7) if size == 7 else context)


def iou(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    corner = torch.maximum(a[:, None, :2], b[None, :, :2]), torch.minimum(a[:, None, 2:], b[None, :, 2:])
    inter = (corner[1] - corner[0]).clamp(min=0).prod(-1)
    areas = [(x[:, 2:] - x[:, :2]).prod(1) for x in (a, b)]
    return inter / (areas[0][:, None] + areas[1][None] - inter)


def sample(boxes: torch.Tensor, objects: torch.Tensor, threshold: float, count: int, low_quality: bool) -> tuple:
    """Sampled boxes of {objects ∪ boxes}, first by index, positives first; the positives' objects, and which are objects."""
    overlaps = iou(objects, boxes)
    best, owner = overlaps.max(0)
    assigned = torch.where(best >= threshold, owner, -1)
    if low_quality:
        for k, most in enumerate(overlaps.max(1).values):
            if most >= threshold:
                assigned[overlaps[k] == most] = k
    assigned = torch.cat([torch.arange(len(objects)), assigned])
    positive = (assigned >= 0).nonzero()[:, 0][: count // 4]
    negative = (assigned < 0).nonzero()[:, 0][: count - len(positive)]
    return torch.cat([objects, boxes])[torch.cat([positive, negative])], assigned[positive], positive < len(objects)


def encode(boxes: torch.Tensor, goal: torch.Tensor, stds: torch.Tensor) -> torch.Tensor:
    size, wanted = boxes[:, 2:] - boxes[:, :2], goal[:, 2:] - goal[:, :2]
    shift = ((goal[:, :2] + goal[:, 2:]) / 2 - (boxes[:, :2] + boxes[:, 2:]) / 2) / size
    return torch.cat([shift, (wanted / size).log()], 1) / stds


def decode(boxes: torch.Tensor, deltas: torch.Tensor, stds: torch.Tensor, height: int, width: int) -> torch.Tensor:
    deltas, size = deltas * stds, boxes[:, 2:] - boxes[:, :2]
    centre = (boxes[:, :2] + boxes[:, 2:]) / 2 + deltas[:, :2] * size
    size = size * deltas[:, 2:].clamp(-np.log(1000 / 16), np.log(1000 / 16)).exp()
    moved = torch.cat([centre - size / 2, centre + size / 2], 1)
    return torch.minimum(moved.clamp(min=0), torch.tensor([width, height, width, height], dtype=boxes.dtype))


def stack(boxes: list[torch.Tensor]) -> torch.Tensor:
    """Boxes of each image as rois."""
    return torch.cat([F.pad(b, (1, 0), value=k) for k, b in enumerate(boxes)])


def step(model: Model, data: dict, low_quality: bool = True) -> tuple[dict[str, torch.Tensor], dict]:
    """Losses of the semantic branch and all stages on given proposals; largest gap of a label's logit, positives of a stage."""
    spec, kind = model.spec, model.dtype
    objects, proposals = ([torch.from_numpy(b).to(kind) for b in data[k]] for k in ("boxes", "proposals"))
    labels = [torch.from_numpy(x) for x in data["labels"]]
    pyramid = model.pyramid(model.backbone(torch.from_numpy(data["image"]).to(kind)))
    logits, semantic = model.semantic(pyramid)
    target = torch.from_numpy(data["semantic"].astype(np.int64))[:, ::8, ::8]
    losses = {"loss_semantic": 0.2 * F.cross_entropy(logits, target, ignore_index=255, reduction="sum") / target.numel()}
    seen = {"gaps": [], "positives": [], "rows": []}
    for s in range(3):
        stds, weight = torch.tensor(STDS[s], dtype=kind), STAGE_WEIGHTS[s]
        drawn = [sample(p, g, IOUS[s], spec.samples, low_quality) for p, g in zip(proposals, objects)]
        cls, reg = model.box_head(s, pool(pyramid, semantic, stack([d[0] for d in drawn]), 7))
        counts = [len(d[0]) for d in drawn]
        every = [F.pad(own[d[1]], (0, n - len(d[1])), value=spec.classes) for d, own, n in zip(drawn, labels, counts)]
        every = torch.cat(every)
        losses[f"loss_bbox_cls_stage{s}"] = weight * F.cross_entropy(cls, every, reduction="sum") / len(every)
        goals = [encode(d[0][: len(d[1])], g[d[1]], stds) for d, g in zip(drawn, objects)]
        moves = torch.cat([r[: len(d[1])] for r, d in zip(reg.split(counts), drawn)])
        losses[f"loss_bbox_reg_stage{s}"] = weight * F.smooth_l1_loss(moves, torch.cat(goals), reduction="sum") / len(every)
        proposals = []
        for d, r, (h, w) in zip(drawn, reg.detach().split(counts), data["sizes"]):
            keep = torch.ones(len(d[0]), dtype=torch.bool)
            keep[: len(d[1])] = ~d[2]
            proposals.append(decode(d[0], r, stds, h, w)[keep])
        again = [sample(p, g, IOUS[s], spec.samples, low_quality) for p, g in zip(proposals, objects)]
        losses[f"loss_mask_stage{s}"] = weight * mask_loss(model, s, pyramid, semantic, again, data, labels)
        gaps = cls.max(1).values - cls[torch.arange(len(every)), every]
        seen["gaps"].append(gaps.detach().numpy())
        seen["positives"].append(sum(len(d[1]) for d in drawn))
        seen["rows"].append([d[1].tolist() for d in (*drawn, *again)])
    return losses, seen


def mask_loss(
    model: Model, s: int, pyramid: list, semantic: torch.Tensor, drawn: list, data: dict, labels: list
) -> torch.Tensor:
    positive = [d[0][: len(d[1])] for d in drawn]
    x = pool(pyramid, semantic, stack(positive), 14)
    state = None
    for k in range(s + 1):
        state = model.mask_features(k, x, state)
    own = torch.cat([values[d[1]] for values, d in zip(labels, drawn)])
    logits = model.mask_logits(s, state)[torch.arange(len(own)), own]
    targets = []
    for boxes, d, bitmaps in zip(positive, drawn, data["bitmaps"]):
        rois = torch.cat([d[1][:, None].to(boxes.dtype), boxes], 1)
        maps = torch.from_numpy(bitmaps).to(boxes.dtype)[:, None]
        targets.append((roi_align(maps, rois, 28, 1.0, sampling_ratio=-1, aligned=True)[:, 0] >= 0.5).to(boxes.dtype))
    return F.binary_cross_entropy_with_logits(logits, torch.cat(targets))


def agrees_with_mmdetection() -> None:
    """Raise unless tiny_a's losses are those that mmdetection computed."""
    want = json.loads((HERE / "tiny_a.json").read_text())["losses"]
    arrays = dict(np.load(HERE / "tiny_a_train.npz"))
    sizes = [(256, 320), (240, 304)]
    data = {
        "image": recipe.image(8, *SIZE, 2, sizes),
        "sizes": sizes,
        "semantic": np.stack([arrays["seg0"], arrays["seg1"]]),
        **{k: [arrays[f"{key}{b}"] for b in range(2)] for k, key in (("boxes", "gt_boxes"), ("labels", "gt_labels"))},
        "proposals": [arrays[f"proposals{b}"] for b in range(2)],
        "bitmaps": [np.unpackbits(arrays[f"gt_masks_packed{b}"], axis=-1)[:, :, : sizes[b][1]] for b in range(2)],
    }
    losses, _ = step(Model(SPECS["tiny_a"], torch.float64), data)
    names = {"loss_semantic": "loss_semantic_seg"}
    for s in range(3):
        names |= {f"loss_bbox_cls_stage{s}": f"s{s}.loss_cls", f"loss_bbox_reg_stage{s}": f"s{s}.loss_bbox"}
        names[f"loss_mask_stage{s}"] = f"s{s}.loss_mask"
    apart = {k: abs(float(v.detach()) - want[names[k]]) / want[names[k]] for k, v in losses.items()}
    print("tiny_a against mmdetection, relative:", max(apart.values()))
    assert max(apart.values()) < 3e-6, apart


def fingerprint(name: str, grad: torch.Tensor) -> list[float]:
    """Norm, and projection over it."""
    flat = grad.double().numpy().ravel()
    norm = float(np.linalg.norm(flat))
    return [float(f"{norm:.9g}"), float(f"{flat @ recipe.projection(name, flat.size):.9g}")]


def golden(name: str) -> dict:
    """Losses in float64, gradients, and what float32 differs by."""
    found, rows = {}, []
    for kind in (torch.float32, torch.float64):
        with torch.set_grad_enabled(kind in GRADIENTS_IN[name]):
            model = Model(SPECS[name], kind, SCALE)
            losses, seen = step(model, inputs())
        rows.append(seen["rows"])
        grads = {}
        if kind in GRADIENTS_IN[name]:
            sum(losses.values()).backward()
            grads = {k: fingerprint(k, v.grad) for k, v in model.weights.items() if v.requires_grad}
        found[kind] = {k: float(v.detach()) for k, v in losses.items()}, grads
        print(name, kind, found[kind][0], flush=True)
    assert rows[0] == rows[1], "float32 and float64 sample otherwise"
    (single, coarse), (losses, exact) = found[torch.float32], found[torch.float64]
    apart = [abs(coarse[k][0] - n) / n for k, (n, _) in exact.items() if n]
    return {
        "losses": losses,
        "loss_floor": max(abs(single[k] - v) / v for k, v in losses.items()),
        "grad_floor": [float(np.median(apart)), max(apart)] if apart else None,
        "positives": seen["positives"],
        "gaps": [float(f"{g.max():.6g}") for g in seen["gaps"]],
        "capped": [int((g > 64).sum()) for g in seen["gaps"]],
        "grads": exact or coarse,
    }


def low_quality_matters() -> None:
    """Raise unless the matching of an object's best box, where it is not enough, changes full_a's losses."""
    with torch.no_grad():
        model = Model(SPECS["full_a"], torch.float32, SCALE)
        (on, _), (off, _) = (step(model, inputs(), low_quality=flag) for flag in (True, False))
    changed = {k: abs(float(off[k]) / float(v) - 1) for k, v in on.items() if k.startswith("loss_bbox")}
    print("without low-quality matching, relative:", changed)
    assert max(changed.values()) > 1e-4


if __name__ == "__main__":
    torch.set_num_threads(2)
    agrees_with_mmdetection()
    low_quality_matters()
    file = HERE / "large_logits.json"
    for name in sys.argv[1:] or SPECS.keys() - {"tiny_a"}:
        stored = json.loads(file.read_text()) if file.exists() else {}
        file.write_text(json.dumps(stored | {name: golden(name)}, separators=(",", ":")) + "\n")
