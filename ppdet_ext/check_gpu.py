"""Does a GPU compute what a CPU does? One model, the same weights and images, on each side: a table to paste into an issue.

    python -m ppdet_ext.check_gpu [--config configs/htc/steel_sample.yml] [--size 192 256]

On a machine without a GPU it compares the two sides of the CPU: our operators, and Paddle's with the boxes' work in tensors,
which is what a GPU runs.
"""

import argparse
import contextlib
import importlib.util
import sys
import time
from dataclasses import dataclass
from typing import Any

import numpy as np

if __name__ == "__main__" and importlib.util.find_spec("paddle") is None:
    sys.exit(
        'error: The package paddle is not installed. Install it with: pip install ".[train]" in the checkout. Exported models '
        "are checked on a GPU without it: benchmarks/gpu/run.py (docs/gpu_checklist.md)."
    )

import paddle

from . import register  # noqa: F401  makes the parts known
from .config.load import load_config
from .errors import UserError
from .host.build import build_model
from .modeling.ops.seam import plain_operators
from .structures import Candidates, Rle

STRIDE, DETECTOR = 32, "HybridTaskCascade"
BEST = 20  # detections of an image that are compared
# Largest differences from the CPU that rounding explains: losses and gradient relative, scores absolute.
TOLERANCE = {"fp32": (2e-3, 0.1, 2e-3), "bf16": (5e-2, 0.5, 5e-2)}


@dataclass(frozen=True)
class Side:
    """Where, and how, a step and an inference are computed.

    Attributes:
        name: for the table.
        device: Paddle's name.
        plain: whether a CPU takes Paddle's operators.
        amp: whether matrices are multiplied in bfloat16 (O1).
    """

    name: str
    device: str
    plain: bool = False
    amp: bool = False


@dataclass(frozen=True)
class Outcome:
    """What a side gave: losses by name, gradient by parameter, candidates by image, seconds of the second step."""

    losses: dict[str, float]
    gradients: dict[str, np.ndarray]
    found: list[Candidates]
    seconds: float


def sides() -> list[Side]:
    """All sides that this machine has; the first is what the others are compared with."""
    out = [Side("CPU, our operators", "cpu"), Side("CPU, as a GPU", "cpu", plain=True)]
    if paddle.is_compiled_with_cuda() and paddle.device.cuda.device_count():
        out.append(Side("GPU, fp32", "gpu:0"))
        if paddle.amp.is_bfloat16_supported():
            out.append(Side("GPU, AMP O1 bf16", "gpu:0", amp=True))
    return out


def drawn_batch(height: int, width: int, classes: int, images: int = 2, objects: int = 5) -> dict[str, Any]:
    """Images of smooth noise with rectangles on them, as a training batch of numpy arrays."""
    rng = np.random.default_rng(0)
    out: dict[str, Any] = {"image": [], "semantic": [], "gt_bbox": [], "gt_class": [], "gt_mask": []}
    for _ in range(images):
        image, semantic = rng.standard_normal((3, height, width)).astype(np.float32) * 0.2, np.zeros((height, width), np.uint8)
        labels, boxes, masks = rng.integers(0, classes, objects), [], []
        for label in labels:
            h, w = (int(rng.integers(side // 8, side // 3)) for side in (height, width))
            y, x = int(rng.integers(0, height - h)), int(rng.integers(0, width - w))
            image[:, y : y + h, x : x + w] += label - classes / 2
            semantic[y : y + h, x : x + w] = label + 1
            bitmap = np.zeros((height, width), np.uint8)
            bitmap[y : y + h, x : x + w] = 1
            boxes.append((x, y, x + w, y + h))
            masks.append(Rle.from_bitmap(bitmap))
        for key, value in zip(out, (image, semantic, np.array(boxes, np.float32), labels, masks), strict=True):
            out[key].append(value)
    sizes = np.array([[height, width]] * images)
    out |= {"image": np.stack(out["image"]), "semantic": np.stack(out["semantic"]), "im_id": np.arange(images)}
    return {
        **out,
        "im_shape": sizes.astype(np.float32),
        "scale_factor": np.ones((images, 2), np.float32),
        "origin_shape": sizes,
    }


def computed(side: Side, config: Any, weights: dict[str, np.ndarray] | None, arrays: dict[str, Any]) -> tuple[Outcome, dict]:
    """What a side gives, and the weights it had; None draws them."""
    paddle.set_device(side.device)
    paddle.seed(0)
    model = build_model(config)
    if weights is not None:
        model.set_state_dict({key: paddle.to_tensor(value) for key, value in weights.items()})
    weights = {key: value.numpy().copy() for key, value in model.state_dict().items()}
    batch = {**arrays, **{key: paddle.to_tensor(arrays[key]) for key in ("image", "semantic")}}
    with plain_operators() if side.plain else contextlib.nullcontext():
        for _ in range(2):  # the first one chooses kernels
            start = time.perf_counter()
            model.clear_gradients()
            losses, gradients = _step(model, batch, side.amp)
            seconds = time.perf_counter() - start
        model.set_state_dict({key: paddle.to_tensor(value) for key, value in weights.items()})
        model.eval()
        with _cast(side.amp):
            found = model.candidates(batch, model.settings)
    return Outcome(losses, gradients, found, seconds), weights


def _step(model: paddle.nn.Layer, batch: dict[str, Any], amp: bool) -> tuple[dict[str, float], dict[str, np.ndarray]]:
    model.train()
    with _cast(amp):
        losses = model(batch)
    losses["loss"].backward()
    gradients = {key: p.grad.astype("float32").numpy() for key, p in model.named_parameters() if p.grad is not None}
    return {key: float(value) for key, value in losses.items()}, gradients


def _cast(amp: bool) -> contextlib.AbstractContextManager:
    return paddle.amp.auto_cast(level="O1", dtype="bfloat16") if amp else contextlib.nullcontext()


def differences(one: Outcome, other: Outcome) -> tuple[float, float, float]:
    """Largest relative one of a loss, relative one of the whole gradient (L2), largest one of the best scores."""
    loss = max(abs(other.losses[key] - value) / max(abs(value), 1e-3) for key, value in one.losses.items())
    off = sum(float(np.sum((other.gradients[key] - value) ** 2)) for key, value in one.gradients.items())
    whole = sum(float(np.sum(value**2)) for value in one.gradients.values())
    best = [(a.scores[:BEST], b.scores[:BEST]) for a, b in zip(one.found, other.found, strict=True)]
    scores = [float(np.abs(a - b).max(initial=0)) if len(a) == len(b) else float("inf") for a, b in best]
    return loss, (off / max(whole, 1e-12)) ** 0.5, max(scores, default=0.0)


def no_gpu() -> str:
    """Why there is no GPU here; "" where there is one."""
    if not paddle.is_compiled_with_cuda():
        return f"this paddlepaddle {paddle.__version__} is the CPU build; for a GPU install paddlepaddle-gpu in its place"
    if not paddle.device.cuda.device_count():
        return "paddle sees no card; look at nvidia-smi and CUDA_VISIBLE_DEVICES"
    return ""


def main() -> int:
    """Print the table; 1 if a difference is larger than rounding explains, or after one line about what to mend."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", default="configs/htc/steel_sample.yml", help="a detector's configuration")
    parser.add_argument("--size", type=int, nargs=2, default=(192, 256), metavar=("H", "W"), help="multiples of 32")
    args = parser.parse_args()
    try:
        return int(compare(args.config, *args.size))
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


def compare(file: str, height: int, width: int) -> bool:
    """Print the table; whether a difference is larger than rounding explains. Raises: UserError for what cannot be compared."""
    if min(height, width) < 2 * STRIDE or height % STRIDE or width % STRIDE:
        raise UserError(f"--size {height} {width}: give height and width, multiples of {STRIDE} from {2 * STRIDE} on.")
    config = load_config(file, [])
    if config.architecture != DETECTOR:
        raise UserError(f"--config {file}: a {config.architecture}; give a detector of ours, as configs/htc/steel.yml.")
    arrays, weights, first, worst = drawn_batch(height, width, config.num_classes), None, None, False
    print(f"paddle {paddle.__version__}, {file}, two images of {height} × {width} px")
    print(f"No GPU: {why}. These are the two sides of the CPU alone.\n" if (why := no_gpu()) else "")
    print("| side | loss | loss differs | gradient differs | scores differ | detections | s a step | |\n|" + "---|" * 8)
    for side in sides():
        outcome, weights = computed(side, config, weights, arrays)
        first = first or outcome
        found = differences(first, outcome)
        fine = all(a <= b for a, b in zip(found, TOLERANCE["bf16" if side.amp else "fp32"]))
        worst |= not fine
        counts = "+".join(str(len(one)) for one in outcome.found)
        numbers = " | ".join(f"{value:.1e}" for value in found)
        verdict = "ok" if fine else "LARGER THAN ROUNDING"
        print(f"| {side.name} | {outcome.losses['loss']:.5f} | {numbers} | {counts} | {outcome.seconds:.2f} | {verdict} |")
    return worst


if __name__ == "__main__":
    raise SystemExit(main())
