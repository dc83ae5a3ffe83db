"""Exported models in ONNX Runtime's CUDA provider: equal to the CPU? how fast? beside torchvision's Mask R-CNN on one card.

    python benchmarks/gpu/run.py --folder .gpu --output results [--cpu] [--only sample equality speed torchvision profile]

Needs no Paddle: numpy, onnx, onnxruntime-gpu, torch, torchvision; OpenCV, pycocotools and PyYAML for the sample. `--folder`
is what `prepare.py` has written. Milliseconds are medians of the wall clock, pixels on the host before and results on the host
after; torch.compile is off. `--cpu` rehearses it all without a GPU, once each. Results are printed, and written to
`results.json` as they come.
"""

import argparse
import importlib.metadata
import importlib.util
import json
import sys
import time
import traceback
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(Path(__file__).parent)]

from engines import FP16, FP32, MODES, Case, cases_in, open_session, profiled, runner  # noqa: E402

from ppdet_ext.export.matching import object_differences  # noqa: E402

PACKAGES = ("onnxruntime", "torch", "torchvision", "onnx")
SECTIONS = ("sample", "equality", "speed", "torchvision", "profile")


class Report:
    """Rows, printed and kept in a file as they come."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.file, self.rows, self.start = folder / "results.json", [], time.perf_counter()  # type: Path, list[dict], float

    def add(self, section: str, **facts: Any) -> None:
        """Keep and print a row."""
        self.rows.append({"section": section, **facts})
        self.file.write_text(json.dumps(self.rows, indent=1))
        told = " ".join(f"{key}={value:.4g}" if isinstance(value, float) else f"{key}={value}" for key, value in facts.items())
        print(f"[{time.perf_counter() - self.start:5.0f} s] {section}: {told}"[:600], flush=True)


def pictures(batch: int, height: int, width: int, count: int) -> list[np.ndarray]:
    """So many batches (batch, height, width, 3) uint8: noise over slow waves, another one each."""
    rng = np.random.default_rng(0)
    rows, columns, batches = np.arange(height)[:, None, None], np.arange(width)[None, :, None], []
    for _ in range(count):
        waves = np.sin(rows / rng.uniform(20, 90, 3) + columns / rng.uniform(20, 90, 3)) * 70 + 110
        batches.append(np.clip(waves + rng.integers(0, 70, (batch, height, width, 3)), 0, 255).astype(np.uint8))
    return batches


def milliseconds(work: Callable[[int], Any], once: bool, seconds: float = 2.5) -> tuple[float, float, int]:
    """Median and lower quartile of `work(k)`, of at least 12 runs after 4 warm-ups; and how many."""
    for k in range(1 if once else 4):
        work(k)
    taken: list[float] = []
    while not taken or (not once and (len(taken) < 12 or sum(taken) < seconds) and len(taken) < 60):
        start = time.perf_counter()
        work(len(taken))
        taken.append(time.perf_counter() - start)
    return float(np.median(taken)) * 1e3, float(np.quantile(taken, 0.25)) * 1e3, len(taken)


def demand(args: argparse.Namespace) -> None:
    """End with one line where a package, what `prepare.py` writes, or the GPU is missing."""
    missing = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        sys.exit(f"error: {', '.join(missing)} not installed; needed are {', '.join(PACKAGES)} (onnxruntime-gpu for a GPU)")
    if not (cases_in(args.folder) or any(args.folder.glob("*/inference.yml"))):
        sys.exit(f"error: --folder {args.folder} has no exported model; benchmarks/gpu/prepare.py writes it, where Paddle is")
    import torch

    if not args.cpu and not torch.cuda.is_available():
        sys.exit(
            f"error: torch {torch.__version__} sees no GPU (nvidia-smi, CUDA_VISIBLE_DEVICES); --cpu rehearses without one"
        )


def facts(args: argparse.Namespace, report: Report) -> None:
    """The machine, and what it can do at most."""
    import onnxruntime
    import torch

    device = "cpu" if args.cpu else "cuda"
    name = "CPU" if args.cpu else torch.cuda.get_device_name()
    versions = {
        "onnxruntime": onnxruntime.__version__,
        "torch": torch.__version__,
        "torchvision": importlib.metadata.version("torchvision"),
    }
    speeds = {}
    for kind, dtype in (("fp32", torch.float32), ("fp16", torch.float16)):
        size = 512 if args.cpu else 8192
        a, b = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
        wait = torch.cuda.synchronize if not args.cpu else lambda: None
        taken, _, _ = milliseconds(lambda k, a=a, b=b, wait=wait: (a @ b, wait()), args.cpu, 0.3)
        speeds[f"{kind}_tflops"] = 2 * size**3 / taken / 1e9
    report.add("facts", card=name, **versions, **speeds)


def sample(args: argparse.Namespace, report: Report) -> None:
    """The trained model through `Predictor`: on the GPU what it finds on the CPU, and how many pictures a second."""
    from ppdet_ext.runtime.predictor import Predictor

    files = sorted((args.folder / "pictures").iterdir())
    for folder in sorted(args.folder.glob("*_fp32")):
        expected = Predictor(folder, device="cpu").predict(files)
        for precision in (FP32, FP16):
            own = folder.with_name(folder.name.replace(FP32, precision))
            predictor = Predictor(own, device="cpu" if args.cpu else "gpu")
            found = predictor.predict(files)
            start = time.perf_counter()
            for _ in range(1 if args.cpu else 4):
                found = predictor.predict(files)
            taken = (time.perf_counter() - start) / (1 if args.cpu else 4) / len(files)
            same = sum(
                a.labels.tolist() == b.labels.tolist() and [m.counts for m in a.masks] == [m.counts for m in b.masks]
                for a, b in zip(expected, found)
            )
            kept = [(np.sort(a.scores[a.scores > 0.3]), np.sort(b.scores[b.scores > 0.3])) for a, b in zip(expected, found)]
            apart = max((float(np.abs(a - b).max(initial=0)) for a, b in kept if len(a) == len(b)), default=0.0)
            report.add(
                "sample", model=own.name, images=len(files), objects=sum(map(len, expected)), found=sum(map(len, found)),
                images_same_to_the_bit_of_a_mask=same, same_number_of_score_0_3=sum(len(a) == len(b) for a, b in kept),
                scores_apart=apart, images_per_second=1 / taken,
            )  # fmt: skip


def equality(args: argparse.Namespace, report: Report) -> None:
    """Each model with one image: the GPU's outputs beside those of the same file on the CPU."""
    for case in cases_in(args.folder):
        if case.batch > 1 or case.detections == 10 or case.precision != FP32:
            continue
        pixels = pictures(1, case.height, case.width, 1)[0]
        expected = _outputs(case, pixels, cpu=True, mode=FP32)
        for mode in MODES:
            got = _outputs(case.of(mode), pixels, cpu=args.cpu, mode=mode)
            report.add("equality", case=case.stem, mode=mode, **_apart(expected, got))


def _outputs(case: Case, pixels: np.ndarray, cpu: bool, mode: str) -> dict[str, np.ndarray]:
    session = open_session(case, cpu=cpu, mode=mode)
    return dict(zip([one.name for one in session.get_outputs()], session.run(None, {"pixels": pixels})))


def _apart(expected: dict[str, np.ndarray], got: dict[str, np.ndarray]) -> dict[str, Any]:
    if "scores" in expected:
        objects = object_differences(expected, got)
        return {"objects": len(expected["scores"]), **{name: largest for name, (largest, _) in objects.items()}}
    return {name: float(np.abs(values.astype(np.float64) - got[name]).max()) for name, values in expected.items()}


def speed(args: argparse.Namespace, report: Report) -> None:
    """Milliseconds an image of each graph in each mode."""
    for case in cases_in(args.folder):
        for mode in MODES:
            if case.precision != case.of(mode).precision or (mode == FP32 and case.detections == 10):
                continue
            try:
                session = open_session(case, cpu=args.cpu, mode=mode)
                work = runner(session, pictures(case.batch, case.height, case.width, 3))
                median, quarter, runs = milliseconds(work, args.cpu)
                found = len(dict(zip([o.name for o in session.get_outputs()], work(0))).get("scores", ()))
                report.add("speed", case=case.stem, mode=mode, ms_an_image=median / case.batch,
                           lower_quartile=quarter / case.batch, found=found, runs=runs)  # fmt: skip
            except Exception as error:  # the other cases count all the same
                report.add("speed", case=case.stem, mode=mode, error=str(error)[:300])


def torchvision_speed(args: argparse.Namespace, report: Report) -> None:
    """The same of torchvision's Mask R-CNN."""
    from peer import peer

    for (height, width), (batch, count), mode, paste in product(
        ((800, 1344), (256, 1600)), ((1, 100), (1, 10), (8, 100)), MODES, (False, True)
    ):
        if (mode == FP32 and (count == 10 or batch > 1)) or (paste and count == 10):
            continue
        name = f"{height}x{width}_b{batch}_d{count}"
        try:
            work = peer(pictures(batch, height, width, 3), count, mode, paste, "cpu" if args.cpu else "cuda")
            median, quarter, runs = milliseconds(work, args.cpu, 1.5)
            found = sum(len(one["scores"]) for one in work(0))
            report.add("torchvision", case=name, mode=mode, full_masks=paste, ms_an_image=median / batch,
                       lower_quartile=quarter / batch, found=found, runs=runs)  # fmt: skip
        except Exception as error:
            report.add("torchvision", case=name, mode=mode, full_masks=paste, error=str(error)[:300])


def profile(args: argparse.Namespace, report: Report) -> None:
    """What of a graph runs on the CPU, and which kernels take the GPU's time."""
    for case in cases_in(args.folder):
        if case.batch > 1 or case.detections == 10 or (case.height == 256 and case.model != "unet_r50"):
            continue
        report.add("profile", case=case.stem, **profiled(case, pictures(1, case.height, case.width, 1), args.cpu, args.output))


def main() -> None:
    """Run the sections; one that fails is told, and the others run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=ROOT / ".gpu")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--cpu", action="store_true")
    parser.add_argument("--only", nargs="*", choices=SECTIONS, default=SECTIONS)
    args = parser.parse_args()
    demand(args)
    report = Report(args.output)
    works = {"sample": sample, "equality": equality, "speed": speed, "torchvision": torchvision_speed, "profile": profile}
    facts(args, report)
    for name in args.only:
        try:
            works[name](args, report)
        except Exception:
            report.add(name, error=traceback.format_exc()[-1500:])


if __name__ == "__main__":
    main()
