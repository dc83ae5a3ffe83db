"""COCO's numbers of boxes and masks at the size of val2017: our metric against pycocotools.

    python benchmarks/bench_eval.py                     # 5,000 images, 36,000 objects and detections
    python benchmarks/bench_eval.py --images 1000

Both start from what is in memory: ours from records and detections, which are collected image by image and scored, as
tools/eval.py does it; pycocotools from annotations and results as `json.load` gives them (COCO, loadRes, evaluate, accumulate,
summarize). Outlines are random polygons, scores have two decimals, so that thousands are equal, 2 % of the objects are crowds
and 2 % of the images have none. The numbers are compared bit by bit. The seconds are those of one run in this process,
of ours the worst of `--repeats`.
"""

import argparse
import contextlib
import io
import os
import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import ppdet_ext  # noqa: F401, I001 (sets the environment first)
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from ppdet_ext.evaluation import CocoMetric
from ppdet_ext.evaluation.coco_data import ground_truth, predicted
from ppdet_ext.structures import Detections, Record, Rle

HEIGHT, WIDTH, CLASSES = 480, 640, 80
KINDS = ("bbox", "segm")


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=5000)
    parser.add_argument("--evaluator", default="auto", choices=["auto", "hotcoco", "pycocotools"])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


def outline(rng: np.random.Generator, x: float, y: float, across: float, down: float) -> Rle:
    """A polygon of 24 corners around a place, cut at the image's border."""
    angles, radii = np.sort(rng.uniform(0, 2 * np.pi, 24)), rng.uniform(0.8, 1.1, 24)
    xs, ys = x + across * radii * np.cos(angles), y + down * radii * np.sin(angles)
    corners = np.stack([np.clip(xs, 0, WIDTH), np.clip(ys, 0, HEIGHT)], axis=1)
    return Rle.from_polygons([corners.ravel().tolist()], HEIGHT, WIDTH)


def draw(rng: np.random.Generator, im_id: int) -> tuple[Record, Detections]:
    """An image's annotations, and each found again: moved, scaled, one in five as another class."""
    count = 0 if rng.random() < 0.02 else int(rng.poisson(7.35))
    masks, found = [], []
    for _ in range(count):
        size = float(np.exp(rng.uniform(np.log(6), np.log(200))))
        x, y, down = rng.uniform(0, WIDTH), rng.uniform(0, HEIGHT), size * rng.uniform(0.5, 1.5)
        masks.append(outline(rng, x, y, size, down))
        moved = rng.normal(0, 0.1 * size, 2)
        found.append(outline(rng, x + moved[0], y + moved[1], size * rng.uniform(0.8, 1.2), down * rng.uniform(0.8, 1.2)))
    labels = rng.integers(0, CLASSES - 3, count)
    said = np.where(rng.random(count) < 0.2, rng.integers(0, CLASSES, count), labels)
    record = Record(im_id, "", f"{im_id}.jpg", HEIGHT, WIDTH, boxes(masks), labels, masks, rng.random(count) < 0.02)
    return record, Detections(HEIGHT, WIDTH, boxes(found), np.round(rng.random(count), 2), said, found)


def boxes(masks: list[Rle]) -> np.ndarray:
    return np.array([mask.box for mask in masks], np.float32).reshape(-1, 4)


def ours(records: list[Record], found: dict[int, Detections], evaluator: str) -> CocoMetric:
    metric = CocoMetric(records, [f"class {i}" for i in range(CLASSES)], list(range(1, CLASSES + 1)), evaluator=evaluator)
    for im_id, detections in found.items():
        metric.update(im_id, detections)
    metric.compute()
    return metric


def peer(truth: dict, results: list[dict], kind: str) -> COCOeval:
    with contextlib.redirect_stdout(io.StringIO()):
        annotated = COCO()
        annotated.dataset = truth
        annotated.createIndex()
        evaluation = COCOeval(annotated, annotated.loadRes(results), kind)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation


def main() -> None:
    args = parse_args()
    rng = np.random.default_rng(args.seed)
    drawn = [draw(rng, im_id) for im_id in range(1, args.images + 1)]
    records, found = [record for record, _ in drawn], {record.im_id: own for record, own in drawn}
    counts = sum(len(record.labels) for record in records), sum(map(len, found.values()))
    print(f"{args.images} images, {counts[0]} objects, {counts[1]} detections, load {os.getloadavg()[0]:.1f}")
    seconds, busy = [], []
    for _ in range(args.repeats):
        began, spent = time.perf_counter(), time.process_time()
        metric = ours(records, found, args.evaluator)
        seconds.append(time.perf_counter() - began)
        busy.append(time.process_time() - spent)
    print(f"ours ({metric.engine}), boxes and masks: {', '.join(f'{one:.2f}' for one in seconds)} s; {max(busy):.2f} s of CPU")
    ids, total, work = list(range(1, CLASSES + 1)), 0.0, 0.0
    truth = {"info": {}, **ground_truth(records, ids, with_masks=True)}
    for kind in KINDS:
        results = predicted(ids, found, kind)
        began, spent = time.perf_counter(), time.process_time()
        evaluation = peer(truth, results, kind)
        total, work = total + time.perf_counter() - began, work + time.process_time() - spent
        own = metric.scores(kind)
        pairs = [(own.stats, evaluation.stats), *((getattr(own, key), evaluation.eval[key]) for key in ("precision", "recall"))]
        equal = all(np.asarray(mine).tobytes() == np.asarray(its).tobytes() for mine, its in pairs)
        print(f"{kind}: AP {own.stats[0]:.4f}, {'equal to the last bit' if equal else 'DIFFERENT'}")
    shares = f"{total / max(seconds):.1f} × ours; {work:.2f} s of CPU, {work / max(busy):.1f} ×"
    print(f"pycocotools, boxes and masks: {total:.2f} s, {shares}")


if __name__ == "__main__":
    main()
