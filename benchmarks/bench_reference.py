"""Time and memory of HTC R50-FPN (80 classes, 183 semantic labels) against mmdetection's own, in the same run.

    python benchmarks/bench_reference.py [--reference-python MMDET_VENV/bin/python] [--repeats 3] [--profile]

Both get the same generated weights (tests/support/recipe.py), image, 10 objects and proposals, on two threads:
  infer   one image at 256×1600 and at 800×1333 (padded to 800×1344), own proposals, up to the binary masks; 100 detections
  train   forward and backward on given proposals, so that the first stage has its 128 positives of 512; no optimizer step

mmdetection is no dependency of this project. A virtual environment with it (CPU; mmcv compiles for a quarter of an hour):
    pip install torch==2.13.0 numpy==1.26.4 "setuptools<81" wheel ninja opencv-python-headless
    MMCV_WITH_OPS=1 pip install --no-build-isolation mmcv==2.1.0
    pip install mmengine==0.10.7 mmdet==3.3.0 torch==2.13.0 torchvision==0.28.0 numpy==1.26.4

Each task runs in a process of its own; memory is that process's peak resident set; seconds are the best of the repeats after
one warm-up, because a shared machine only ever adds time, and all of them are printed.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "support")]

SIZES = {"256x1600": (256, 1600, 256, 1600), "800x1333": (800, 1333, 800, 1344)}
TASKS = ("infer", "train")
THREADS = "2"
SCORE_THRESHOLD = 1e-5  # low enough for 100 detections of a random network


def inputs(size: str) -> dict:
    """Image, objects, semantic target and proposals, in numpy alone."""
    height, width, padded_height, padded_width = SIZES[size]
    rng = np.random.default_rng(0)
    image = np.zeros((1, 3, padded_height, padded_width), np.float32)
    coarse = rng.standard_normal((3, -(-height // 8), -(-width // 8)))
    image[0, :, :height, :width] = np.repeat(np.repeat(coarse, 8, 1), 8, 2)[:, :height, :width]
    image[0, :, :height, :width] += 0.3 * rng.standard_normal((3, height, width))
    extent = rng.uniform([40, 40], [width / 5, height / 2], (10, 2))
    corner = rng.uniform(0, 1, (10, 2)) * (np.array([width, height]) - extent)
    boxes = np.concatenate([corner, corner + extent], axis=1).astype(np.float32)
    bitmaps = np.zeros((10, height, width), np.uint8)
    for bitmap, (x1, y1, x2, y2) in zip(bitmaps, boxes.astype(int)):
        bitmap[y1:y2, x1:x2] = 1
    jitter = rng.uniform(-0.15, 0.15, (10, 60, 4)) * np.tile(extent, 2)[:, None]
    corner = rng.uniform(0, 0.8, (1400, 2)) * [width, height]
    random = np.concatenate([corner, corner + rng.uniform(16, 0.2 * min(height, width), (1400, 2))], axis=1)
    proposals = np.concatenate([(boxes[:, None] + jitter).reshape(-1, 4), random]).clip(0, [width, height] * 2)
    seg = np.full((1, padded_height, padded_width), 255, np.uint8)
    seg[0, :height, :width] = np.kron(rng.integers(0, 183, (-(-height // 16), -(-width // 16))), np.ones((16, 16)))[
        :height, :width
    ]
    return {
        "size": (height, width),
        "image": image,
        "boxes": boxes,
        "labels": rng.integers(0, 80, 10),
        "bitmaps": bitmaps,
        "seg": seg,
        "proposals": proposals.astype(np.float32),
    }


def step_of(
    task: str, model: Any, infer: Callable[[], dict], total_loss: Callable[[], Any], clear: Callable[[], None]
) -> Callable[[], dict]:
    """The function that runs the task once; `model`, what `total_loss` gives and `clear` gradients are of one framework."""
    if task == "infer":
        model.eval()
        return infer
    model.train()

    def train() -> dict:
        start = time.perf_counter()
        total = total_loss()
        value, middle = float(total), time.perf_counter()
        total.backward()
        clear()
        return {"forward": middle - start, "loss": value}

    return train


def ours(task: str, data: dict) -> Callable[[], dict]:
    """A function that runs the task once in this project."""
    import ppdet_ext  # noqa: F401, I001  first: it sets threads and silences the host
    import paddle
    from ppdet_ext.host.build import build_model
    from ppdet_ext.config.load import load_config
    from ppdet_ext.modeling.detection.ground_truth import GroundTruth
    from ppdet_ext.structures import Rle
    from recipe_weights import give_weights

    settings = ["FusedSemanticHead.num_semantic_classes=183", "HTCResNet.freeze_at=0", "HTCResNet.norm_eval=true"]
    model = build_model(load_config(str(ROOT / "configs/htc/htc_r50_fpn_1x_coco.yml"), settings))
    give_weights(model, "full_a")
    model.roi_head.score_threshold = SCORE_THRESHOLD
    image, (height, width) = paddle.to_tensor(data["image"]), data["size"]
    shapes = np.array([[height, width]], np.float32)
    ones = np.ones((1, 2), np.float32)
    batch = {"image": image, "im_shape": shapes, "scale_factor": ones, "origin_shape": shapes.astype(int)}
    masks = [Rle.from_bitmap(bitmap) for bitmap in data["bitmaps"]]
    truth = [GroundTruth(data["boxes"], data["labels"], masks, height, width)]
    semantic = paddle.to_tensor(data["seg"])

    def infer() -> dict:
        return {"detections": len(model(dict(batch))[0])}

    def total_loss() -> Any:
        feats = model.neck(model.backbone({"image": image}))
        losses = model.rpn_head.losses(*model.rpn_head(feats), [data["boxes"]], shapes, [None])
        losses.update(model.roi_head.losses(feats, [data["proposals"]], truth, semantic, [np.random.default_rng(0)]))
        return paddle.add_n([x.reshape([]) for x in losses.values()])

    return step_of(task, model, infer, total_loss, model.clear_gradients)


def mmdetection(task: str, data: dict) -> Callable[[], dict]:
    """The same in mmdetection."""
    import torch
    from mmdet.registry import MODELS
    from mmdet.structures import DetDataSample
    from mmdet.structures.mask import BitmapMasks
    from mmdet.utils import register_all_modules
    from mmengine.hub import get_config
    from mmengine.structures import InstanceData, PixelData
    from recipe import parameter

    torch.set_num_threads(int(THREADS))
    register_all_modules()
    cfg = get_config("mmdet::htc/htc_r50_fpn_1x_coco.py").model
    cfg.backbone.init_cfg = None
    cfg.test_cfg.rcnn.score_thr = SCORE_THRESHOLD
    model = MODELS.build(cfg)
    state = model.state_dict()
    for name, value in state.items():
        if not name.endswith("num_batches_tracked"):
            value.copy_(torch.from_numpy(parameter(name, tuple(value.shape), "full_a")))
    image, (height, width) = torch.from_numpy(data["image"]), data["size"]
    padded = tuple(image.shape[2:])
    meta = {"img_shape": (height, width), "ori_shape": (height, width), "pad_shape": padded, "batch_input_shape": padded}
    sample = DetDataSample(metainfo={**meta, "scale_factor": (1.0, 1.0)})
    sample.gt_instances = InstanceData(
        bboxes=torch.from_numpy(data["boxes"]),
        labels=torch.from_numpy(data["labels"]),
        masks=BitmapMasks(data["bitmaps"], height, width),
    )
    sample.gt_sem_seg = PixelData(sem_seg=torch.from_numpy(data["seg"].astype(np.int64)))
    boxes = torch.from_numpy(data["proposals"])
    proposals = InstanceData(bboxes=boxes, scores=torch.ones(len(boxes)), labels=torch.zeros(len(boxes), dtype=torch.long))

    @torch.no_grad()
    def infer() -> dict:
        found = model.predict(image, [sample], rescale=True)
        return {"detections": len(found[0].pred_instances)}

    def total_loss() -> Any:
        features = model.extract_feat(image)
        objects = sample.clone()
        objects.gt_instances.labels = torch.zeros_like(objects.gt_instances.labels)
        losses = model.rpn_head.loss(features, [objects])
        losses.update(model.roi_head.loss(features, [proposals.clone()], [sample]))
        return model.parse_losses(losses)[0]

    return step_of(task, model, infer, total_loss, model.zero_grad)


def work(who: str, size: str, task: str, args: argparse.Namespace) -> None:
    """Run one task and print the result as JSON."""
    step = {"ours": ours, "mmdetection": mmdetection}[who](task, inputs(size))
    runs = []
    for _ in range(args.repeats + 1):
        start = time.perf_counter()
        result = step()
        runs.append({**result, "total": time.perf_counter() - start})
    best = min(runs[1:], key=lambda run: run["total"])
    best["all"] = [round(run["total"], 2) for run in runs[1:]]
    best["peak_gb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print("RESULT " + json.dumps(best))
    if args.profile:
        from bench_htc import profile

        profile(step)


def main() -> None:
    """Every task, ours beside mmdetection, as a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--reference-python", help="interpreter of an environment with mmdetection; without it, ours only")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--tasks", nargs="+", default=TASKS, choices=TASKS)
    parser.add_argument("--sizes", nargs="+", default=list(SIZES), choices=SIZES)
    parser.add_argument("--profile", action="store_true", help="also say where our time goes")
    parser.add_argument("--worker", nargs=3, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker:
        work(*args.worker, args)
        return
    interpreters = {"ours": sys.executable} | ({"mmdetection": args.reference_python} if args.reference_python else {})
    print(f"{'':30}{'best s':>8}{'forward':>9}{'peak GB':>9}{'detections':>12}{'loss':>9}   all")
    for task in args.tasks:
        for size in args.sizes:
            best = {}
            for who, python in interpreters.items():
                command = [python, __file__, "--worker", who, size, task, "--repeats", str(args.repeats)]
                command += ["--profile"] * (args.profile and who == "ours")
                env = {**os.environ, "OMP_NUM_THREADS": THREADS}
                out = subprocess.run(command, capture_output=True, text=True, check=False, env=env)
                line = next((text for text in out.stdout.splitlines() if text.startswith("RESULT ")), None)
                if line is None:
                    sys.exit(f"{task} {size} {who} failed:\n{out.stderr[-2000:]}")
                r = json.loads(line.removeprefix("RESULT "))
                best[who] = r["total"]
                print(
                    f"{task + ' ' + size + ' ' + who:30}{r['total']:8.2f}{r.get('forward', 0):9.2f}{r['peak_gb']:9.2f}"
                    f"{r.get('detections', 0):12}{r.get('loss', 0):9.3f}   {r['all']}",
                    flush=True,
                )
                if args.profile and who == "ours":
                    print(out.stdout.split(line)[1])
            if len(best) == 2:
                print(f"{'':30}{best['mmdetection'] / best['ours']:8.2f} times as fast")


if __name__ == "__main__":
    main()
