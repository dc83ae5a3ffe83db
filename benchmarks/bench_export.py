"""Exported models beside the eager one, in one run: seconds, CPU seconds, memory, the time to a first result, equal objects.

    python benchmarks/bench_export.py --folder exported [--work 256x1600_d100 … sample products] [--rows eager onnx …]
        [--sample output/steel_sample --pictures dataset/steel_sample/train_images] [--threads 2] [--repeats 5]

HTC R50-FPN with 80 classes and random weights (`gpu/prepare.py` says which), one picture, from uint8 pixels to run lengths of
masks. `bf16` and `int8` are OpenVINO's. Each row is a process of its own: seconds are the median of the repeats after the first
result, memory is the peak resident set of that process, `start` is from its start to its first result. Differences are those
from the eager model's objects; of random weights they say little where there are fewer bits: `tools/export.py --evaluate`
measures a trained model. `sample` is a trained run: pictures a second, from JPEG files to COCO results in JSON. `products` is
what the machine multiplies. `--folder` keeps what was exported for the next run. Needs the extra `export`.
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
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks" / "gpu")]

WORKS = {f"{h}x{w}_d{n}": ((h, w), n) for (h, w), n in (((256, 1600), 100), ((256, 1600), 10), ((800, 1344), 100))}
SAMPLE, PRODUCTS, EAGER, CONVERT = "sample", "products", "eager", "convert"
# Row -> engine and precision.
ROWS = {
    EAGER: ("", "fp32"),
    "onnx": ("onnx", "fp32"),
    "openvino": ("openvino", "fp32"),
    "bf16": ("openvino", "bf16"),
    "int8": ("openvino", "int8"),
}
CONFIG = "configs/htc/htc_r50_fpn_1x_coco.yml"


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--work", nargs="+", choices=[*WORKS, SAMPLE, PRODUCTS], default=[PRODUCTS, *WORKS])
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=list(ROWS))
    parser.add_argument("--sample", type=Path, help="folder of a trained run")
    parser.add_argument("--pictures", type=Path, help="folder of pictures for it")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--streams", type=int, default=1, help="of the sample: pictures at the same time")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--worker", nargs=2, metavar=("WORK", "ROW"), help=argparse.SUPPRESS)
    parser.add_argument("--begun", type=float, default=0.0, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if SAMPLE in args.work and not (args.sample and args.pictures):
        parser.error("--work sample: give --sample, the folder of a trained run, and --pictures")
    return args


def convert(work: str, folder: Path) -> None:
    """Export the model of a work in every precision, into folders `work_onnx`, `work_openvino`, …."""
    import prepare  # first: it sets threads and silences the host

    from ppdet_ext.export import onnx, openvino
    from ppdet_ext.export.paddle import save_paddle
    from ppdet_ext.export.precision import quantize
    from ppdet_ext.export.run import convertible_operators, fine_layers
    from ppdet_ext.export.verify import random_pixels

    size, count = WORKS[work]
    model, _ = prepare.drawn_model(CONFIG)
    model.roi_head.max_detections = count
    graph, places = prepare.graph_of(model), {row: folder / f"{work}_{row}" for row in ROWS if row != EAGER}
    for place in places.values():
        place.mkdir(parents=True, exist_ok=True)
    paddle_files, whole = folder / f"{work}_paddle", places["onnx"] / onnx.MODEL
    paddle_files.mkdir(exist_ok=True)
    with convertible_operators():
        save_paddle(graph, (1, *size, 3), paddle_files)
    onnx.convert_to_onnx(paddle_files, whole, graph.names)
    openvino.convert_to_openvino(whole, places["openvino"], graph.names)
    openvino.convert_to_openvino(whole, places["bf16"], graph.names, half=True, precise=True)
    coarse = folder / f"{work}_int8.onnx"
    quantize(whole, coarse, [random_pixels(1, *size, seed) for seed in (1, 2)], fine_layers(model))
    openvino.convert_to_openvino(coarse, places["int8"], graph.names, half=False, precise=True)


def eager_model(work: str) -> Callable[[np.ndarray], Any]:
    """Pixels (1, H, W, 3) -> what the eager model finds."""
    import prepare
    from prepare import paddle

    from ppdet_ext.data.transforms import NormalizeToCHW

    size, count = WORKS[work]
    model, _ = prepare.drawn_model(CONFIG)
    model.roi_head.max_detections = count
    tables, facts = NormalizeToCHW().tables, np.array([size], np.float32)

    def find(pixels: np.ndarray) -> Any:
        image = np.zeros((1, 3, *(-(-side // 32) * 32 for side in size)), np.float32)
        for channel in range(3):
            image[0, channel, : size[0], : size[1]] = tables[channel][pixels[0, :, :, channel]]
        batch = {
            "image": paddle.to_tensor(image), "im_shape": paddle.to_tensor(facts), "im_id": paddle.to_tensor([0]),
            "scale_factor": paddle.to_tensor(np.ones((1, 2), np.float32)), "origin_shape": paddle.to_tensor([list(size)]),
        }  # fmt: skip
        return model.candidates(batch, model.settings)[0]

    return find


def exported_model(work: str, row: str, folder: Path, threads: int) -> Callable[[np.ndarray], Any]:
    """Pixels (1, H, W, 3) -> what an exported model finds, by the runtime's own code."""
    from ppdet_ext.data.transforms.sample import sample_of
    from ppdet_ext.runtime.findings import candidates_of
    from ppdet_ext.runtime.open import open_engine
    from ppdet_ext.structures import Record

    engine, precision = ROWS[row]
    loaded = open_engine(folder / f"{work}_{row}", engine, device="cpu", threads=threads, precision=precision)
    sample = sample_of(Record(0, "", "", *WORKS[work][0]), targets=False)
    return lambda pixels: candidates_of(loaded.run({"pixels": pixels}), [sample], 0.0)[0]


def find_objects(work: str, row: str, args: argparse.Namespace) -> dict[str, Any]:
    """Time one row; its objects go into a file, for the comparison."""
    rng, size = np.random.default_rng(0), WORKS[work][0]
    slow = np.linspace(0, 120, size[0])[:, None, None] + np.linspace(0, 80, size[1])[None, :, None]
    pixels = np.clip(slow + rng.integers(0, 60, (1, *size, 3)), 0, 255).astype(np.uint8)
    find = eager_model(work) if row == EAGER else exported_model(work, row, args.folder, args.threads)
    found = find(pixels)
    found.detections()
    start = time.time() - args.begun
    np.savez(
        args.folder / f"{work}_{row}.npz", boxes=found.boxes, scores=found.scores, labels=found.labels, probs=found.probs,
        image=np.zeros(len(found), int),
    )  # fmt: skip
    return {"start": start, "objects": len(found), **timed(lambda: find(pixels).detections(), args.repeats)}


def timed(work: Callable[[], Any], repeats: int) -> dict[str, float]:
    """Median seconds, of the clock and of all CPUs, and this process's peak memory in MB."""
    wall, cpu = [], []
    for _ in range(repeats):
        begun, used = time.perf_counter(), time.process_time()
        work()
        wall.append(time.perf_counter() - begun)
        cpu.append(time.process_time() - used)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    return {"seconds": float(np.median(wall)), "cpu_seconds": float(np.median(cpu)), "peak_mb": peak}


def find_in_pictures(row: str, args: argparse.Namespace) -> dict[str, Any]:
    """Pictures a second of the trained sample, from files to JSON."""
    from ppdet_ext.runtime.predictor import Predictor

    files = sorted(args.pictures.iterdir())[:24]
    predictor = Predictor(args.folder / f"{SAMPLE}_{row}", threads=args.threads, streams=args.streams)
    json.dumps(predictor.predict(files[0]).to_coco())
    start, objects = time.time() - args.begun, 0

    def all_of_them() -> None:
        nonlocal objects
        objects = sum(len(json.loads(json.dumps(one.to_coco()))) for one in predictor.predict(iter(files)))

    told = timed(all_of_them, args.repeats)
    return {"start": start, "objects": objects, **told, "pictures_a_second": len(files) / told["seconds"]}


def convert_sample(args: argparse.Namespace) -> None:
    """Export the trained run by the command that users take."""
    for row, (engine, precision) in ROWS.items():
        target = args.folder / f"{SAMPLE}_{row}"
        if row == EAGER or row not in args.rows or target.exists():
            continue
        command = [sys.executable, str(ROOT / "tools/export.py"), "-c", str(args.sample / "config.yml"), "--format", engine]
        command += ["--precision", precision, "--output", str(target), "-o", f"weights={args.sample / 'best_model'}"]
        command += ["--calibration", str(args.pictures)] if precision == "int8" else []
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def products(threads: int, size: int = 2048) -> dict[str, float]:
    """Gigaflops of a product of matrices with 32 and 16 bits, by OpenVINO."""
    import openvino
    from openvino import opset13

    told = {}
    for name in ("f32", "bf16"):
        left = opset13.parameter([size, size], np.float32)
        right = opset13.constant(np.random.default_rng(0).standard_normal((size, size)).astype(np.float32))
        model = openvino.Model([opset13.matmul(left, right, False, False)], [left])
        hints = {"INFERENCE_NUM_THREADS": threads, "INFERENCE_PRECISION_HINT": name, "PERFORMANCE_HINT": "LATENCY"}
        request = openvino.Core().compile_model(model, "CPU", hints).create_infer_request()
        values = np.random.default_rng(1).standard_normal((size, size)).astype(np.float32)
        request.infer([values])
        told[name] = 2 * size**3 / timed(lambda request=request, values=values: request.infer([values]), 7)["seconds"] / 1e9
    return told


def work(work: str, row: str, args: argparse.Namespace) -> None:
    """Do one row, and print it as JSON."""
    if row == CONVERT:
        convert(work, args.folder)
    elif work == PRODUCTS:
        print(json.dumps(products(args.threads)))
    else:
        print(json.dumps(find_in_pictures(row, args) if work == SAMPLE else find_objects(work, row, args)))


def in_process(work: str, row: str, args: argparse.Namespace) -> dict[str, Any] | None:
    """What a process of its own says of a row; None, after its last line, where it fails."""
    command = [sys.executable, __file__, "--folder", str(args.folder), "--worker", work, row]
    command += [
        "--repeats",
        str(args.repeats),
        "--threads",
        str(args.threads),
        "--streams",
        str(args.streams),
        "--begun",
        repr(time.time()),
    ]
    command += ["--pictures", str(args.pictures)] if args.pictures else []
    environment = {**os.environ, "OMP_NUM_THREADS": str(args.threads)}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    if done.returncode or (not lines and row != CONVERT):
        print(f"{work} {row} failed: {(done.stderr.strip().splitlines() or [''])[-1]}", flush=True)
    return json.loads(lines[-1]) if lines else None


def apart(work: str, row: str, folder: Path) -> str:
    """How a row's objects differ from the eager model's; empty without these."""
    from ppdet_ext.export.matching import object_differences

    files = [folder / f"{work}_{name}.npz" for name in (EAGER, row)]
    if row == EAGER or not all(file.is_file() for file in files):
        return ""
    a, b = (dict(np.load(file).items()) for file in files)
    return ", ".join(f"{name} {largest:.2g}" for name, (largest, _) in object_differences(a, b).items())


def main() -> None:
    """Print the table."""
    args = parse_args()
    if args.worker:
        work(*args.worker, args)
        return
    args.folder.mkdir(parents=True, exist_ok=True)
    print(f"HTC R50-FPN, 80 classes, batch 1, {args.threads} threads; median of {args.repeats}")
    for name in args.work:
        if name == PRODUCTS:
            told = in_process(PRODUCTS, PRODUCTS, args) or {}
            print("products of 2048 × 2048: " + ", ".join(f"{kind} {speed:.0f} GFLOP/s" for kind, speed in told.items()))
            continue
        if name == SAMPLE:
            convert_sample(args)
        elif any(not (args.folder / f"{name}_{row}").is_dir() for row in args.rows if row != EAGER):
            in_process(name, CONVERT, args)
        print(f"\n| {name} | s | × eager | CPU s | peak MB | start, s | objects | differs by |\n|{'---|' * 8}")
        eager = None
        for row in args.rows:
            if (name == SAMPLE and row == EAGER) or (told := in_process(name, row, args)) is None:
                continue
            eager = told["seconds"] if row == EAGER else eager
            ratio = f"{eager / told['seconds']:.2f}" if eager else ""
            more = f"{told['pictures_a_second']:.1f} pictures/s" if name == SAMPLE else apart(name, row, args.folder)
            cells = f"{told['seconds']:.2f} | {ratio} | {told['cpu_seconds']:.2f} | {told['peak_mb']:.0f} | {told['start']:.1f}"
            print(f"| {row} | {cells} | {told['objects']} | {more} |", flush=True)


if __name__ == "__main__":
    main()
