"""Our training step against the reference's: sampling, targets, losses, gradients and SGD."""

import numpy as np
import paddle
import reference_tolerances as tolerances
import reference_trace as trace_of
from baseline_recipe import recipe_key
from recipe import projection
from reference_checks import GOLDEN, Check, distance, fingerprint_checks, summary
from reference_subset import thin
from reference_zoo import build

from ppdet_ext.weights.foreign.mmdet import mmdet_name

TRAINED = ["tiny_a", "tiny_b", "tiny_c", "tiny_cascade", "tiny_mask"]


class Training:
    """One training step of ours beside the reference's."""

    def __init__(self, name: str):
        self.name, self.fixture = name, f"{name} train"
        self.arrays = dict(np.load(GOLDEN / f"{name}_train.npz"))
        self.model = build(name)
        self.model.train()
        self.trace, self.losses = trace_of.training(self.model, self.arrays)
        trace_of.total(self.losses).backward()

    def sampling(self) -> list[Check]:
        """Indices of sampled anchors and regions, whose objects they learn, labels, and mask targets: counts of wrong ones."""
        checks = []
        for key, theirs in self.arrays.items():
            if key.endswith("_pos_inds"):
                checks.append(self._sample_check(key.removesuffix("pos_inds")))
            elif theirs.dtype.kind in "iu" and not key.startswith(("gt_", "seg")) and not key.endswith(("_inds", "post_n")):
                ours = self.trace[key].astype(np.int64)
                if ours.shape != theirs.shape:
                    bits = np.inf
                elif key.endswith("_packed"):
                    bits = np.unpackbits(self.trace[key] ^ theirs).sum()
                else:
                    bits = (ours != theirs).sum()
                checks.append(Check(self.fixture, "sampling, wrong indices and bits", key, float(bits), 0))
        return checks

    def _sample_check(self, where: str) -> Check:
        """Sampled boxes are the candidates at the reference's indices, positives first."""
        index = np.concatenate([self.arrays[f"{where}pos_inds"], self.arrays[f"{where}neg_inds"]])
        ours, candidates = self.trace[f"{where}priors"], self.trace[f"{where}candidates"]
        wrong = (ours != candidates[index]).any(1).sum() if len(ours) == len(index) else np.inf
        return Check(self.fixture, "sampling, wrong indices and bits", f"{where}inds", float(wrong), 0)

    def indices(self) -> int:
        """How many sampled indices are compared."""
        return sum(len(v) for k, v in self.arrays.items() if k.endswith(("_inds", "_flat")))

    def tensors(self) -> list[Check]:
        """Boxes, targets and outputs."""
        floors, checks = summary(self.name)["floors"]["train"], []
        for key, theirs in self.arrays.items():
            if theirs.dtype.kind != "f" or key.startswith(("gt_", "proposals")):
                continue
            what, tolerance = tolerances.rule(key, self.name)
            ours = self.trace[key]
            apart = distance(ours if ours.shape == theirs.shape else thin(key, ours, self.name), theirs)
            checks.append(Check(self.fixture, what, key, apart, tolerance, floors.get(key)))
        return checks + fingerprint_checks(self.name, "train", self.trace)

    def loss_checks(self) -> list[Check]:
        """Every loss, and the proposal network's of every level."""
        want = summary(self.name)["losses"]
        pairs = loss_names(set(self.losses), want)
        checks = [self._loss(theirs, float(self.losses[ours]), want[theirs]) for ours, theirs in pairs.items()]
        if "loss_rpn_cls_per_level" in want:
            for level, parts in enumerate(trace_of.proposal_losses_by_level(self.model, self.arrays)):
                for ours, theirs in zip(parts, ("loss_rpn_cls_per_level", "loss_rpn_bbox_per_level")):
                    checks.append(self._loss(f"{theirs}[{level}]", ours, want[theirs][level]))
        return checks

    def _loss(self, key: str, ours: float, theirs: float) -> Check:
        apart = abs(ours - theirs) / max(abs(theirs), 1e-3)
        return Check(self.fixture, "losses, relative", key, apart, tolerances.LOSSES, summary(self.name)["loss_floor"])

    def gradient_checks(self) -> list[Check]:
        """Norm and projection of every parameter's gradient; frozen parameters have none."""
        want = {recipe_key(k): v for k, v in summary(self.name)["grads"].items()}
        allowed, floor = tolerances.gradients(self.name), summary(self.name)["grad_floor"]
        norms, along, wrong = [0.0], [0.0], 0
        seen = set()
        for key, value in self.model.named_parameters():
            name = mmdet_name(key)
            if key.endswith(("_mean", "_variance")):
                continue
            seen.add(name)
            theirs = want[name]
            if theirs is None or theirs["norm"] == 0:
                wrong += value.grad is not None and float(value.grad.abs().max()) >= (0 if theirs is None else 1e-6)
                continue
            grad = value.grad.numpy().astype(np.float64)
            grad = (grad.T if grad.ndim == 2 else grad).ravel()
            norms.append(abs(np.linalg.norm(grad) - theirs["norm"]) / theirs["norm"])
            along.append(abs(grad @ projection(name, grad.size) - theirs["proj"]) / theirs["norm"])
        return [
            Check(self.fixture, "gradients missing or not expected", "grads", float(wrong + len(set(want) ^ seen)), 0),
            Check(
                self.fixture, "gradient norms, relative, median", "grads", float(np.median(norms)), allowed["median"], floor[0]
            ),
            Check(self.fixture, "gradient norms, relative, worst", "grads", max(norms), allowed["norm"], floor[1]),
            Check(self.fixture, "gradient projections over norms, worst", "grads", max(along), allowed["projection"]),
        ]


def loss_names(ours: set[str], theirs: dict) -> dict[str, str]:
    """Our names of the losses -> the reference's; KeyError where one has no counterpart."""
    names = {"loss_rpn_cls": "loss_rpn_cls", "loss_rpn_reg": "loss_rpn_bbox", "loss_semantic": "loss_semantic_seg"}
    for s in range(3):
        stage = f"s{s}." if "s0.loss_cls" in theirs else ""
        names |= {f"loss_bbox_cls_stage{s}": f"{stage}loss_cls", f"loss_bbox_reg_stage{s}": f"{stage}loss_bbox"}
        names[f"loss_mask_stage{s}"] = f"{stage}loss_mask"
    pairs = {k: names[k] for k in ours}
    unpaired = {k for k in theirs if "loss" in k and not k.endswith("_per_level")} - set(pairs.values())
    if unpaired:
        raise KeyError(f"we have no counterpart of {sorted(unpaired)}")
    return pairs


def sgd(name: str) -> list[Check]:
    """Losses along four steps of SGD with momentum and weight decay on one batch, relative to the total."""
    arrays, model, want = dict(np.load(GOLDEN / f"{name}_train.npz")), build(name), summary(name)["sgd"]
    model.train()
    free = [p for p in model.parameters() if not p.stop_gradient]
    settings = {"parameters": free, "weight_decay": want["weight_decay"]}
    optimizer = paddle.optimizer.Momentum(want["lr"], want["momentum"], **settings)
    checks = []
    for step, (single, exact) in enumerate(zip(want["f32"], want["f64"])):
        losses = trace_of.training_losses(model, arrays)
        total = trace_of.total(losses)
        ours = {theirs: float(losses[k]) for k, theirs in loss_names(set(losses), single).items()} | {"total": float(total)}
        apart = {k: abs(v - single[k]) / single["total"] for k, v in ours.items()}
        floor = max(abs(single[k] - exact[k]) / single["total"] for k in ours)
        worst = max(apart, key=apart.get)
        spread = summary("noise").get(f"{name}_sgd", [0] * 4)[step]
        what, allowed = f"losses before step {step + 1}, relative to the total", tolerances.trajectory(floor, spread)
        checks.append(Check(f"{name} SGD", what, worst, apart[worst], allowed, max(floor, spread)))
        total.backward()
        optimizer.step()
        optimizer.clear_grad()
    return checks
