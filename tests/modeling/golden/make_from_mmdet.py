"""How the files of this folder that the reference's dumps lack were made with the reference itself; not run by the tests.

    python tests/modeling/golden/make_from_mmdet.py [noise | tiny_c | tiny_cascade | tiny_mask | more | full_a | full_c] ...

Needs mmdet 3.3.0, mmcv 2.1.0 with its CPU operators, and torch (2.13.0 was used). First the dumps' own tiny_a is computed again
and must come out equal within float32's noise; that proves this script. `noise` is what the dumps do not say of their noise,
`tiny_c` ResNeXt-50 with deformable convolutions, `tiny_cascade` and `tiny_mask` the baselines, `more` a batch of two images and
an image without detections, `full_*` the models at full size. Everything is computed in float32 and, for the noise, in float64.
"""

import json
import sys
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parents[2] / "support"))
import recipe
from baseline_recipe import recipe_key
from mmdet_models import build
from mmdet_trace import infer, losses_of, sample_of, train, training_samples
from reference_subset import floors, thin, thin_all, unmatched

HERE = Path(__file__).parent
SIZE, TRAIN_SIZES = (256, 320), [(256, 320), (240, 304)]
GIVEN = ("gt_boxes", "gt_labels", "gt_masks_packed", "proposals", "seg")


def fingerprints(arrays: dict) -> dict:
    """Number of values, l2 norm and projection of each map."""
    out = {}
    for key, value in arrays.items():
        if value.dtype.kind == "f" and value.ndim > 1 and not key.startswith(("det_", "rpn_p")) and "_first4" not in key:
            flat = value.astype(np.float64).ravel()
            out[key] = [flat.size, float(np.linalg.norm(flat)), float(flat @ recipe.projection(key, flat.size))]
    return out


def distances(one: dict, other: dict) -> dict:
    """Largest difference of each floating-point tensor; those of unequal shape are left out."""
    pairs = {k: (v, other[k]) for k, v in one.items() if v.dtype.kind == "f" and v.size and k in other}
    return {k: float(np.abs(a.astype(np.float64) - b).max()) for k, (a, b) in pairs.items() if a.shape == b.shape}


def noise(case: str, single: dict, exact: dict) -> dict:
    """What float32 differs from float64: tensors, proposals whatever their order, and pixels of masks."""
    found = floors(f"infer_{case}", distances(single, exact))
    for key in ("rpn_pre_boxes", "rpn_post_boxes"):
        if key in single:
            found[key] = float(f"{unmatched(exact[key], single[key]):.2e}")
    for key in single:
        if key.startswith("masks_") and single[key].shape == exact[key].shape:
            found[key] = int(np.unpackbits(single[key] ^ exact[key]).sum())
    return found


def inference(name: str, case: str, summary: dict, proposals: np.ndarray | None = None) -> None:
    """Golden of one image of SIZE."""
    image, sample = recipe.image(7, *SIZE), [sample_of(*SIZE, SIZE)]
    single, _ = infer(build(name), image, sample, proposals)
    exact, _ = infer(build(name, double=True), image, sample, proposals)
    kept = thin_all(single, name)
    if proposals is not None:
        kept["proposals"] = proposals
    np.savez_compressed(HERE / f"{name}_{case}.npz", **kept)
    summary["fingerprints"][f"infer_{case}"] = fingerprints(single)
    summary["floors"][f"infer_{case}"] = noise(case, single, exact)
    print(name, case, len(single["det_boxes"]), "detections, scores", single["det_scores"][[0, -1]])


def fixed_proposals(count: int) -> np.ndarray:
    """Random boxes of 8 to 96 px, as the dumps' `infer_fixed` has them."""
    u = np.random.RandomState(3077).uniform(size=(count, 4))
    size = 8 * 12.0 ** u[:, :2]
    corner = u[:, 2:] * (np.array([SIZE[1], SIZE[0]]) - size)
    return np.concatenate([corner, corner + size], 1).astype(np.float32)


def step_inputs(double: bool) -> tuple[torch.Tensor, list, list]:
    """The dumps' training batch: pixels, samples and proposals."""
    arrays = dict(np.load(HERE / "tiny_a_train.npz"))
    dtype = torch.float64 if double else torch.float32
    pixels = torch.from_numpy(recipe.image(8, *SIZE, 2, TRAIN_SIZES)).to(dtype)
    samples = training_samples(arrays, TRAIN_SIZES, SIZE, dtype)
    return pixels, samples, [torch.from_numpy(arrays[f"proposals{b}"]).to(dtype) for b in range(2)]


def training(name: str, summary: dict) -> None:
    """Golden of the training step: samples, losses, gradients, and four steps of SGD."""
    traces, losses, grads, paths = [], [], [], []
    for double in (False, True):
        model = build(name, double).train()
        inputs = step_inputs(double)
        trace, parts = train(model, *inputs)
        total(parts).backward()
        traces.append(trace)
        losses.append({k: float(v.detach()) for k, v in parts.items()} | {"total": float(total(parts).detach())})
        grads.append({k: fingerprint(k, p.grad) for k, p in model.named_parameters()})
        paths.append(trajectory(build(name, double).train(), inputs))
    for key in traces[0]:
        if traces[0][key].dtype.kind in "iub" and not np.array_equal(traces[0][key], traces[1][key]):
            print(f"{name}: float32 and float64 choose otherwise in {key}")
    shipped = dict(np.load(HERE / "tiny_a_train.npz"))
    given = {k: v for k, v in shipped.items() if k.rstrip("01") in GIVEN and (k[:3] != "seg" or "semantic" in str(losses[0]))}
    kept = thin_all(traces[0], name) | given
    np.savez_compressed(HERE / f"{name}_train.npz", **kept)
    errors = [
        abs(g["norm"] - grads[1][k]["norm"]) / grads[1][k]["norm"] for k, g in grads[0].items() if g and grads[1][k]["norm"]
    ]
    summary["fingerprints"]["train"] = fingerprints({k: v for k, v in traces[0].items() if k.endswith("mask_preds")})
    summary["floors"]["train"] = floors("train", distances(*traces))
    summary |= {
        "loss_floor": max(abs(losses[0][k] - v) / max(abs(v), 1e-12) for k, v in losses[1].items() if "loss" in k),
        "grad_floor": [float(np.median(errors)), max(errors)],
        "losses": losses[0],
        "grads": grads[0],
        "sgd": {"lr": 5e-5, "momentum": 0.9, "weight_decay": 1e-4, "f32": paths[0], "f64": paths[1]},
    }
    print(name, "total", losses[0]["total"], "gradients", summary["grad_floor"], "step 4", [p[-1]["total"] for p in paths])


def total(losses: dict) -> torch.Tensor:
    """Sum of the losses; accuracies are not among them."""
    return sum(v for k, v in losses.items() if "loss" in k)


def fingerprint(key: str, grad: torch.Tensor | None) -> dict | None:
    """Norm and projection of a gradient, None for a frozen parameter."""
    if grad is None:
        return None
    flat = grad.double().numpy().ravel()
    return {"norm": float(np.linalg.norm(flat)), "proj": float(flat @ recipe.projection(recipe_key(key), flat.size))}


def trajectory(model: torch.nn.Module, inputs: tuple) -> list[dict]:
    """Losses before each of four steps on the same batch."""
    free = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.SGD(free, lr=5e-5, momentum=0.9, weight_decay=1e-4)
    path = []
    for _ in range(4):
        losses = losses_of(model, *inputs)
        path.append({k: float(v.detach()) for k, v in losses.items()} | {"total": float(total(losses).detach())})
        optimizer.zero_grad()
        total(losses).backward()
        optimizer.step()
    return path


def more() -> None:
    """Two images of different sizes in one batch, and an image on which nothing is found."""
    model, image = build("tiny_a"), recipe.image(8, *SIZE, 2, TRAIN_SIZES)
    trace, _ = infer(model, image, [sample_of(*s, SIZE) for s in TRAIN_SIZES])
    exact, _ = infer(build("tiny_a", True), image, [sample_of(*s, SIZE) for s in TRAIN_SIZES])
    floor = {k: v for k, v in noise("batch", trace, exact).items() if k.startswith(("det_", "masks_mean"))}
    model.roi_head.test_cfg.score_thr = 0.999
    nothing, results = infer(model, recipe.image(7, *SIZE), [sample_of(*SIZE, SIZE)])
    assert len(results[0].bboxes) == 0
    assert results[0].masks.shape == (0, *SIZE)
    kept = {k: v for k, v in trace.items() if k.startswith(("det_", "masks_mean"))}
    np.savez_compressed(HERE / "tiny_a_batch.npz", **kept)
    kept = {k: v for k, v in nothing.items() if k.startswith("det_")} | {"masks": results[0].masks.numpy()}
    np.savez_compressed(HERE / "tiny_a_none.npz", **kept)
    (HERE / "tiny_a_batch.json").write_text(json.dumps({"floors": floor}) + "\n")
    print("batch of two:", [len(trace[f"det_boxes{b}"]) for b in range(2)], "detections")


def noise_of_the_dumps() -> None:
    """Write what the dumps do not say of their own noise: proposals and pixels; and SGD from one float32 machine to another."""
    found = {}
    for name, case in (("tiny_a", "rpn"), ("tiny_a", "fixed"), ("tiny_a", "padded"), ("tiny_b", "rpn")):
        size, origin, scale = ((250, 310), (200, 248), 1.25) if case == "padded" else (SIZE, SIZE, 1.0)
        inputs = recipe.image(7, *SIZE, 1, [size]), [sample_of(*size, SIZE, origin, scale)]
        given = fixed_proposals(800) if case == "fixed" else None
        single, exact = (infer(build(name, double), *inputs, given)[0] for double in (False, True))
        found[f"{name}_{case}"] = {k: v for k, v in noise(case, single, exact).items() if k.startswith(("rpn_p", "masks_"))}
    for name in ("tiny_a", "tiny_b", "tiny_c"):
        found[f"{name}_sgd"] = rounding_spread(name)
    (HERE / "noise.json").write_text(json.dumps(found, separators=(",", ":")) + "\n")
    print("noise", found)


def rounding_spread(name: str, runs: int = 6) -> list[float]:
    """Largest relative change of the total loss before each step of SGD when the last bits of the image change."""
    paths = []
    for seed in range(runs):
        pixels, *others = step_inputs(False)
        generator = torch.Generator().manual_seed(seed)
        moved = pixels * (1 + 1.2e-7 * torch.randint(-1, 2, pixels.shape, generator=generator)) if seed else pixels
        paths.append([step["total"] for step in trajectory(build(name).train(), (moved, *others))])
    totals = np.array(paths)
    return [float(x) for x in np.ptp(totals, axis=0) / totals[0]]


def reproduces_the_dumps() -> None:
    """Raise unless tiny_a comes out as in the dumps: inference with given proposals, and the training step."""
    golden = dict(np.load(HERE / "tiny_a_fixed.npz"))
    ours, _ = infer(build("tiny_a"), recipe.image(7, *SIZE), [sample_of(*SIZE, SIZE)], golden["proposals"])
    assert np.array_equal(fixed_proposals(800), golden["proposals"])
    shared = [k for k in golden if k in ours]
    apart = {k: np.abs(thin(k, ours[k], "tiny_a").astype(np.float64) - golden[k]).max() for k in shared}
    trace, losses = train(build("tiny_a").train(), *step_inputs(False))
    golden = dict(np.load(HERE / "tiny_a_train.npz"))
    apart |= {k: np.abs(thin(k, trace[k], "tiny_a").astype(np.float64) - v).max() for k, v in golden.items() if k in trace}
    pixels = [apart.pop(f"masks_{k}_packed") for k in ("mean", "mmdet3")]  # a probability may lie on the threshold
    print("tiny_a against its dump:", len(apart), "tensors; worst", sorted(apart.items(), key=lambda x: -x[1])[:4], pixels)
    want = json.loads((HERE / "tiny_a.json").read_text())["losses"]
    assert max(apart.values()) < 2e-3, apart
    assert all(abs(float(v) - want[k]) <= 2e-6 * abs(want[k]) for k, v in losses.items() if "loss" in k)


def main(names: list[str]) -> None:
    """Write what is asked for; everything where nothing is."""
    reproduces_the_dumps()
    for name in names or ["noise", "tiny_c", "tiny_cascade", "tiny_mask", "more", "full_a", "full_c"]:
        summary = {"fingerprints": {}, "floors": {}}
        if name in ("more", "noise"):
            more() if name == "more" else noise_of_the_dumps()
            continue
        if name.startswith("full"):
            inference(name, "fixed", summary, fixed_proposals(100))
        else:
            inference(name, "rpn", summary)
            inference(name, "fixed", summary, fixed_proposals(800))
            training(name, summary)
        (HERE / f"{name}.json").write_text(json.dumps(summary, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
