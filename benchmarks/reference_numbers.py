"""Our numbers beside mmdetection's, stage by stage, on its own weights and images; exits 1 where one is out of tolerance.

    python benchmarks/reference_numbers.py [--full-c] [--out docs/reference_numbers.md]

Each cell is the largest absolute difference from the reference in float32 and, after a stroke, what the reference's own float32
differs from its float64 by on the same input: nothing can be expected to come closer. The values lie in tests/modeling/golden.
Some 90 s on two cores; --full-c, which adds ResNeXt-101 64×4d with deformable convolutions, takes 15 s more and 1.4 GB.
"""

import argparse
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests" / "support"))
sys.path.insert(0, str(ROOT))

import ppdet_ext.register  # noqa: F401, I001, E402  first: it sets threads
import reference_checks  # noqa: E402
from reference_checks import CASES, Check  # noqa: E402
from reference_training import TRAINED, Training, sgd  # noqa: E402

INTRODUCTION = """# Numbers against mmdetection

`python benchmarks/reference_numbers.py --full-c` prints these tables and exits 1 where a number is out of tolerance. Reference:
mmdet 3.3.0, mmcv 2.1.0, torch 2.13.0 on a CPU; weights and images are made from parameter names and seeds
(tests/support/recipe.py). A cell is the largest absolute difference from the reference, and after the stroke what the
reference's own float32 differs from its float64 by on the same input, where that is known. **Bold** is out of tolerance.

Of large tensors some thousand values are compared one by one (of the full-size models 200, of 1,000 regions the first 100 and
every seventh), and the whole by its norm and its projection on a random direction. Where a row has several tolerances, each
belongs to some of its fixtures.

The tolerances are those of the fixtures: features 1e-4, class logits 3e-3, boxes 1e-3 px, scores 2e-4, mask probabilities 3e-4,
losses 1e-5, gradient norms 1e-2 (3e-2 with deformable convolutions), six times as much for the largest model. For quantities
without one it is at least five times what the reference's float32 differs from its float64 by: the semantic maps and what is
pooled from them (7.5e-5), proposals before and after NMS (2.3e-3 and 6e-4 px), mask features, the steps of SGD.

- `tiny_a`: HTC, ResNet-50 of 16 base channels, with the semantic branch; `tiny_b`: without it; `tiny_c`: ResNeXt-50 with
  deformable convolutions v1 in c3 to c5; `tiny_cascade`, `tiny_mask`: Cascade Mask R-CNN and Mask R-CNN.
- `full_a`: HTC R-50 at full size, 80 classes; `full_c`: HTC X-101 64×4d with deformable convolutions (tolerances × 6).
- `rpn`: the model's own proposals; `fixed`: given ones; `padded`: a 250 × 310 px image in 256 × 320, found in 200 × 248.
"""
COLUMNS = 5


def tables(checks: list[Check]) -> list[str]:
    """Markdown tables with a row per quantity and a column per fixture, a few fixtures each."""
    lines = []
    fixtures = list(dict.fromkeys(c.fixture for c in checks))
    for start in range(0, len(fixtures), COLUMNS):
        shown = fixtures[start : start + COLUMNS]
        lines += ["", "| | tolerance | " + " | ".join(shown) + " |", "|---|---" + "|---" * len(shown) + "|"]
        for what in dict.fromkeys(c.what for c in checks if c.fixture in shown):
            own = [[c for c in checks if c.what == what and c.fixture == f] for f in shown]
            allowed = sorted({c.tolerance for part in own for c in part})
            cells = [f"{what}", " / ".join(f"{t:g}" for t in allowed), *(cell(part) for part in own)]
            lines.append("| " + " | ".join(cells) + " |")
    return lines


def cell(checks: list[Check]) -> str:
    """The worst of some checks beside the largest floor."""
    if not checks:
        return "–"
    worst = max(checks, key=lambda c: c.difference)
    counted = float(worst.difference).is_integer() and worst.tolerance in (0, int(worst.tolerance))
    text = f"{worst.difference:g}" if counted else f"{worst.difference:.1e}"
    floors = [c.floor for c in checks if c.floor is not None]
    text = text if all(c.ok for c in checks) else f"**{text}**"
    return f"{text} / {max(floors):.1e}" if floors and not counted else text + (f" / {max(floors):g}" if floors else "")


def main() -> int:
    """Print and write the tables; 1 where a check fails."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full-c", action="store_true", help="the largest model, too")
    parser.add_argument("--out", type=Path, help="write the tables to this file as well")
    args = parser.parse_args()
    cases = [*CASES, ("full_a", "fixed")] + ([("full_c", "fixed")] if args.full_c else [])
    inference = [c for case in cases for c in reference_checks.inference(*case)]
    whole = [*reference_checks.batch_of_two(), *reference_checks.nothing_found(), reference_checks.last_stage_masks()]
    lines = [
        INTRODUCTION,
        "## Inference",
        *tables(inference),
        "",
        "## Batches and results",
        *tables(whole),
        "",
        "## Training step",
    ]
    training, sampled = [], []
    for name in TRAINED:
        step = Training(name)
        training += step.sampling() + step.tensors() + step.loss_checks() + step.gradient_checks()
        sampled.append(f"{name} {step.indices()}")
    paths = [c for name in TRAINED for c in sgd(name)]
    lines += ["", f"Sampled indices compared: {', '.join(sampled)}.", *tables(training)]
    lines += ["", "## Four steps of SGD (learning rate 5e-5, momentum 0.9, weight decay 1e-4)", *tables(paths)]
    checks = inference + whole + training + paths
    failed = [c for c in checks if not c.ok]
    lines += ["", f"{len(checks)} comparisons, {len(failed)} out of tolerance.", ""]
    print("\n".join(lines))
    for check in failed:
        print(check, file=sys.stderr)
    if args.out:
        args.out.write_text("\n".join(lines))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
