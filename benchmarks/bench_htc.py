"""Time and memory of one HTC training step and one inference, against ppdet's Cascade Mask R-CNN in the same run.

    python benchmarks/bench_htc.py [--height 256 --width 1600] [--repeats 3] [--profile]

R50-FPN, 4 classes, batch 1, random weights and image, 10 objects, proposals from the model's own RPN; stem and first stage
frozen and batch norm on stored statistics, as both projects fine-tune. So that random weights give as many detections as asked
for, no score is too low and only boxes of IoU > 0.99 suppress each other. Each model and task runs in a process of its own;
memory is that process's peak resident set. Seconds are the median of the repeats after one warm-up.
"""

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import yaml

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

TASKS = ("train", "infer100", "infer10")


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--height", type=int, default=256)
    parser.add_argument("--width", type=int, default=1600)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--profile", action="store_true", help="also say where our time goes")
    parser.add_argument("--worker", nargs=2, metavar=("MODEL", "TASK"), help=argparse.SUPPRESS)
    return parser.parse_args()


def make_batch(height: int, width: int, objects: int = 10) -> dict:
    """One random image with rectangular objects, for ours (RLE masks) and for ppdet (polygons)."""
    import paddle

    from ppdet_ext.structures import Rle

    rng = np.random.default_rng(0)
    size = rng.uniform([20, 20], [width / 8, height / 2], (objects, 2))
    corner = rng.uniform(0, 1, (objects, 2)) * (np.array([width, height]) - size)
    boxes = np.concatenate([corner, corner + size], axis=1).astype(np.float32)
    masks, polygons = [], []
    for x1, y1, x2, y2 in boxes:
        polygons.append([[float(v) for v in (x1, y1, x2, y1, x2, y2, x1, y2)]])
        masks.append(Rle.from_polygons(polygons[-1], height, width))
    labels = rng.integers(0, 4, objects)
    return {
        "image": paddle.to_tensor(rng.standard_normal((1, 3, height, width)).astype(np.float32)),
        "im_id": paddle.to_tensor([0]),
        "im_shape": paddle.to_tensor(np.array([[height, width]], np.float32)),
        "scale_factor": paddle.to_tensor(np.ones((1, 2), np.float32)),
        "origin_shape": paddle.to_tensor([[height, width]]),
        "semantic": paddle.to_tensor(rng.integers(0, 5, (1, height, width)).astype(np.uint8)),
        "gt_bbox": [boxes],
        "gt_class": [labels],
        "gt_mask": [masks],
        "gt_poly": [polygons],
        "is_crowd": [np.zeros((objects, 1), np.int32)],
    }


def build_ours() -> Callable[[int], object]:
    from ppdet_ext.config.load import load_config
    from ppdet_ext.host.build import build_model

    model = build_model(load_config("configs/htc/steel.yml", ["HTCResNet.freeze_at=0", "HTCResNet.norm_eval=true"]))
    model.roi_head.score_threshold, model.roi_head.nms_iou = -1.0, 0.99

    def limit(detections: int) -> object:
        model.roi_head.max_detections = detections
        return model

    return limit


def build_ppdet() -> Callable[[int], object]:
    """ppdet's own model."""
    import paddle
    from ppdet.core.workspace import create, global_config

    settings = yaml.safe_load(Path(__file__).with_name("ppdet_cascade_mask_rcnn_r50_fpn.yml").read_text())
    for key, value in settings.items():
        if isinstance(value, dict) and key in global_config:
            global_config[key].update(value)
        else:
            global_config[key] = value
    model = create("CascadeRCNN")

    def limit(detections: int) -> paddle.nn.Layer:
        model.bbox_post_process.nms.keep_top_k = detections
        return model

    return limit


def ppdet_batch(batch: dict) -> dict:
    """The same batch in ppdet's types."""
    import paddle

    keep = {k: batch[k] for k in ("image", "im_id", "im_shape", "scale_factor", "gt_poly")}
    keep["gt_bbox"] = [paddle.to_tensor(b) for b in batch["gt_bbox"]]
    keep["gt_class"] = [paddle.to_tensor(c.astype(np.int32)[:, None]) for c in batch["gt_class"]]
    keep["is_crowd"] = [paddle.to_tensor(c) for c in batch["is_crowd"]]
    return keep


def work(name: str, task: str, args: argparse.Namespace) -> None:
    """Run one model on one task and print the result as JSON."""
    import ppdet_ext.register  # noqa: F401, I001  first: it sets threads and silences the host
    import paddle

    paddle.seed(0)
    limit = build_ours() if name == "ours" else build_ppdet()
    model = limit(10 if task == "infer10" else 100)
    batch = make_batch(args.height, args.width)
    batch = batch if name == "ours" else ppdet_batch(batch)
    step = train_step(model, batch) if task == "train" else infer_step(model, batch)
    step()
    runs = [step() for _ in range(args.repeats)]
    result = {key: float(np.median([run[key] for run in runs])) for key in runs[0]}
    result["peak_gb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(json.dumps(result))
    if args.profile and name == "ours":
        profile(step)


def train_step(model, batch: dict) -> Callable[[], dict[str, float]]:
    """A step with zero learning rate, so that random weights stay as they are."""
    import paddle

    parameters = [p for p in model.parameters() if not p.stop_gradient]
    optimizer = paddle.optimizer.Momentum(0.0, 0.9, parameters=parameters, weight_decay=1e-4)
    model.train()

    def step() -> dict[str, float]:
        start = time.perf_counter()
        loss = model(dict(batch))["loss"]
        float(loss)
        middle = time.perf_counter()
        loss.backward()
        optimizer.step()
        optimizer.clear_grad(set_to_zero=False)
        end = time.perf_counter()
        return {"forward": middle - start, "backward_update": end - middle, "total": end - start}

    return step


def infer_step(model, batch: dict) -> Callable[[], dict[str, float]]:
    """An inference up to the masks on the full-size image; ours are RLE, ppdet's a bitmap stack."""
    import paddle

    model.eval()

    def step() -> dict[str, float]:
        start = time.perf_counter()
        with paddle.no_grad():
            out = model(dict(batch))
        count = len(out[0]) if isinstance(out, list) else int(out["bbox_num"].numpy()[0])
        return {"total": time.perf_counter() - start, "detections": count}

    return step


def profile(step: Callable[[], object]) -> None:
    """Print the operators that take most of one step."""
    import paddle.profiler as profiler

    with profiler.Profiler(targets=[profiler.ProfilerTarget.CPU]) as run:
        step()
        run.step()
    run.summary(sorted_by=profiler.SortedKeys.CPUTotal, op_detail=False, thread_sep=False, time_unit="ms")


def main() -> None:
    """Every model and task in a process of its own, as a table."""
    args = parse_args()
    if args.worker:
        work(*args.worker, args)
        return
    print(f"R50-FPN, {args.height} × {args.width} px, batch 1, 4 classes, 10 objects; seconds (median of {args.repeats})")
    print(f"{'':24}{'total':>8}{'forward':>9}{'backward':>9}{'peak GB':>9}{'detections':>12}")
    for task in TASKS:
        for name in ("ours", "ppdet"):
            command = [sys.executable, __file__, "--worker", name, task]
            command += [f"--{key}={getattr(args, key)}" for key in ("height", "width", "repeats")]
            out = subprocess.run(command + ["--profile"] * args.profile, capture_output=True, text=True, check=False)
            line = next((text for text in out.stdout.splitlines() if text.startswith("{")), None)
            if line is None:
                print(f"{task + ' ' + name:24} failed: {out.stderr.strip().splitlines()[-1:]}")
                continue
            r = json.loads(line)
            print(
                f"{task + ' ' + name:24}{r['total']:8.2f}{r.get('forward', 0):9.2f}{r.get('backward_update', 0):9.2f}"
                f"{r['peak_gb']:9.2f}{r.get('detections', 0):12.0f}",
                flush=True,
            )
            if args.profile and name == "ours":
                print(out.stdout.split(line)[1])


if __name__ == "__main__":
    main()
