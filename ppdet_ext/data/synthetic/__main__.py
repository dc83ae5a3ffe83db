"""Command line of the generator of sample sets: parse flags, make the set, say where it is."""

import argparse
import csv
import shlex
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from ppdet_ext.errors import UserError

from .flags import make_parser
from .spec import SampleSpec, kind_of
from .writer import write_sample_set


def run(flags: argparse.Namespace) -> None:
    """Make the set that the flags describe. Raises: UserError for what the user can mend."""
    start = time.monotonic()
    spec = SampleSpec(flags.images, flags.seed, flags.height, flags.width, flags.quality, flags.kind)
    made = write_sample_set(flags.out, spec)
    print(f"{flags.out}: {summary(Path(flags.out), spec)}")
    if told := how_to_train(Path(flags.out), spec):
        print(told)
    print(f"made in {time.monotonic() - start:.0f} s" if made else "already complete, nothing to do")


def go_on(flags: argparse.Namespace, interrupt: KeyboardInterrupt) -> str:
    """What to do after an interruption."""
    return "The same command goes on from here."


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code: 0, 1 after a UserError (one line), 130 if interrupted."""
    flags = make_parser().parse_args(argv)
    try:
        run(flags)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted; the same command goes on from here", file=sys.stderr)
        return 130
    return 0


def summary(out: Path, spec: SampleSpec) -> str:
    """One line on the set in `out`: pictures, held out, clean, rows per class."""
    kind = kind_of(spec.kind)
    with (out / "train.csv").open(newline="") as stream:
        name, *rows = zip(*list(csv.reader(stream))[1:])
    clean = spec.images - len(set(name))
    size = f"{spec.images} {kind.noun}s {spec.width}×{spec.height}"
    return f"{size}, {spec.images // 4} held out, {clean} clean; {kind.describe(list(zip(*rows)))}"


def how_to_train(out: Path, spec: SampleSpec) -> str:
    """Options with which the shipped configuration takes a set that is not the one it makes itself; "" for that one."""
    usual = SampleSpec(kind=spec.kind)
    if spec == usual:
        return ""
    keys: dict[str, object] = {"dataset_dir": shlex.quote(str(out))}
    if spec.kind == "steel" and (spec.height, spec.width) != (usual.height, usual.width):
        keys |= {"height": spec.height, "width": spec.width}
    told = " ".join(f"{name}Dataset.{key}={value}" for name in ("Train", "Eval", "Test") for key, value in keys.items())
    return f"to train on it: -c configs/htc/{spec.kind}_sample.yml -o SampleData=null {told}"


if __name__ == "__main__":
    sys.exit(main())
