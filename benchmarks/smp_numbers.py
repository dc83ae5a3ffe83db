"""Our networks' numbers beside segmentation_models_pytorch's, stage by stage; exits 1 where one is out of tolerance.

    python benchmarks/smp_numbers.py [--fixtures FOLDER] [--exact] [--out docs/smp_numbers.md]

Each cell is the largest difference from the reference and, after a stroke, what the reference's own float32 differs from its
float64 by on the same input: nothing can be expected to come closer. The tests' part of the fixtures takes a minute on two
cores; the whole ones, of 42 networks, five, and twice as long with --exact, which adds all gradients in float64.
"""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests" / "support"))
sys.path.insert(0, str(ROOT))

import ppdet_ext.register  # noqa: F401, I001, E402  first: it sets threads
import smp_checks  # noqa: E402
from reference_numbers import cell  # noqa: E402
from smp_checks import Check, Fixture  # noqa: E402

from ppdet_ext.distributed.progress import track  # noqa: E402

INTRODUCTION = """# Numbers against segmentation_models_pytorch

`python benchmarks/smp_numbers.py --fixtures FOLDER` prints these tables and exits 1 where a number is out of tolerance.
Reference: segmentation_models_pytorch 0.6.0, torch 2.13.0 on a CPU; weights and images are made from tensor names and seeds
(tests/support/smp_recipe.py), and every list of tensors is compared too (tests/modeling/test_smp_networks.py). A cell is the
largest difference from the reference, and after the stroke what the reference's own float32 differs from its float64 by on the
same input. **Bold** is out of tolerance.

- Maps (features f1 … f5, every part of the decoder, logits; also those of a training step, with batch statistics) in standard
  deviations of the map; tolerance 5e-4, with scSE 1e-3. Their means and projections on a random direction count as well.
- The loss, binary cross-entropy, relative; 1e-5. Batch norm's running means and variances after the step, relative; 1e-4.
- Gradients: norm and projection of each tensor's, relative to the norm, the worst of all; 5e-2 and 2.5e-1. For U-Net, FPN and
  PSPNet on ResNet-18 a hundredth of that. The reference suggests a hundredth for the deeper plain ResNets, too; there the
  worst projection is 1e-2 in place of 2.5e-3: in float32 a rectifier near its edge flips, and the gradients before it change by
  what one pixel is worth.
- The same gradients **in float64** (with --exact, a column of its own), where none flips: 1e-5. What is left comes of Paddle's
  epsilons and ratios of sizes, which are float32 whatever the tensors are. tests/modeling/test_smp_networks.py holds four
  networks to it.
- Left out: the bias of scSE's pixel gate in float32, a sum of large terms of both signs.
"""
COLUMNS = {
    "features": ("features", "training features"),
    "decoder": ("decoder", "training decoder"),
    "logits": ("logits", "labels", "training logits", "training labels"),
    "loss": ("loss",),
    "gradients' norms": ("gradient norms",),
    "projections": ("gradient projections",),
    "in float64": ("gradients in float64",),
    "image's gradient": ("image's gradient",),
    "statistics": ("batch norm statistics",),
}


def checks_of(name: str, fixture: Fixture, exact: bool) -> Iterator[Check]:
    """Everything that is known of a network."""
    yield from smp_checks.inference(name, fixture)
    if "train/loss" in smp_checks.keys_of(fixture):
        yield from smp_checks.training(name, fixture)
        if exact:
            yield from smp_checks.exact_gradients(name, fixture)


def table(checks: list[Check], columns: dict[str, tuple[str, ...]]) -> list[str]:
    """A markdown table with a row per network and a column per stage."""
    lines = ["| network | " + " | ".join(columns) + " |", "|---" * (len(columns) + 1) + "|"]
    for name in dict.fromkeys(one.fixture for one in checks):
        own = [one for one in checks if one.fixture == name]
        cells = [cell([one for one in own if one.what in kinds]) for kinds in columns.values()]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return lines


def main() -> int:
    """Print and write the tables; 1 where a check fails."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fixtures", type=Path, help="folder of the whole fixtures (default: the tests' part of them)")
    parser.add_argument("--exact", action="store_true", help="all gradients in float64, too")
    parser.add_argument("--out", type=Path, help="write the tables to this file as well")
    args = parser.parse_args()
    networks = smp_checks.whole_networks(args.fixtures) if args.fixtures else smp_checks.stored_networks()
    checks: list[Check] = []
    for name, fixture in track(networks.items(), len(networks), "Networks"):
        checks += checks_of(name, fixture, args.exact)
    steps = smp_checks.steps(networks["unet-resnet18"])
    losses = {f"step {number}": f"step {number}" for number in range(5)}
    rows = [
        f"| {rule} | " + " | ".join(cell([one for one in steps if (one.what, one.key) == (rule, key)]) for key in losses) + " |"
        for rule in dict.fromkeys(one.what for one in steps)
    ]
    columns = {title: kinds for title, kinds in COLUMNS.items() if any(one.what in kinds for one in checks)}
    lines = [INTRODUCTION, *table(checks, columns), "", "## Losses of U-Net, ResNet-18, in five steps", ""]
    lines += ["Momentum .9 at a rate of .02 with weight decay 1e-4; Adam at 1e-4 for the encoder, 1e-3 for the rest.", ""]
    lines += ["| | " + " | ".join(losses) + " |", "|---" * 6 + "|", *rows]
    failed = [one for one in [*checks, *steps] if not one.ok]
    lines += ["", f"{len(networks)} networks, {len(checks) + len(steps)} comparisons, {len(failed)} out of tolerance.", ""]
    print("\n".join(lines))
    for one in failed:
        print(one, file=sys.stderr)
    if args.out:
        args.out.write_text("\n".join(lines))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
