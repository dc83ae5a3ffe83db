"""Command line of the sample-sheet generator: parse flags, make the set, say where it is."""

import argparse
import csv
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from ppdet_ext.errors import UserError

from .writer import SampleSpec, write_sample_set


def parse_flags(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """The flags; defaults are those of `SampleSpec`."""
    parser = argparse.ArgumentParser(prog="python -m ppdet_ext.data.sample", description="Make a set of sample steel sheets.")
    parser.add_argument("--out", required=True, help="folder to make, e.g. dataset/steel_sample")
    parser.add_argument("--images", type=int, default=SampleSpec.images, help="sheets (%(default)s), a quarter held out")
    parser.add_argument("--seed", type=int, default=SampleSpec.seed, help="same seed, same sheets (%(default)s)")
    parser.add_argument("--height", type=int, default=SampleSpec.height, help="sheet height (%(default)s)")
    parser.add_argument("--width", type=int, default=SampleSpec.width, help="sheet width (%(default)s)")
    parser.add_argument("--quality", type=int, default=SampleSpec.quality, help="JPEG quality (%(default)s)")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code: 0, 1 after a UserError (one line), 130 if interrupted."""
    flags = parse_flags(argv)
    start = time.monotonic()
    try:
        spec = SampleSpec(flags.images, flags.seed, flags.height, flags.width, flags.quality)
        made = write_sample_set(flags.out, spec)
        print(f"{flags.out}: {summary(Path(flags.out), spec)}")
        print(f"made in {time.monotonic() - start:.0f} s" if made else "already complete, nothing to do")
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted; the same command goes on from here", file=sys.stderr)
        return 130
    return 0


def summary(out: Path, spec: SampleSpec) -> str:
    """One line on the set in `out`: sheets, held out, clean, rows per class."""
    with (out / "train.csv").open(newline="") as stream:
        rows = [(row["ImageId"], row["ClassId"]) for row in csv.DictReader(stream)]
    counts = Counter(class_id for _, class_id in rows)
    per_class = ", ".join(f"{counts[class_id]} of class {class_id}" for class_id in sorted(counts))
    clean = spec.images - len({name for name, _ in rows})
    size = f"{spec.images} sheets {spec.width}×{spec.height}"
    return f"{size}, {spec.images // 4} held out, {clean} clean; rows: {per_class}"


if __name__ == "__main__":
    sys.exit(main())
