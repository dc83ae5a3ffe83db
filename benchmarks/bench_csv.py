"""Seconds and memory for opening a full-size Severstal CSV with every row split into instances.

    python benchmarks/bench_csv.py --csv train.csv             # its rows repeated under new names to --images images
    python benchmarks/bench_csv.py                             # synthetic rows

Each opening runs in a process of its own: the first builds the cache, the second uses it. Image files are made as links
to one JPEG, so that looking at 12,568 headers is part of the time. Peak memory is that of the whole process; what
importing paddle and ppdet takes of it is shown beside it.
"""

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

HEIGHT, WIDTH = 256, 1600


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--csv", type=Path)
    parser.add_argument("--images", type=int, default=12568)
    parser.add_argument("--check", default="header", choices=["header", "exists", "none"])
    parser.add_argument("--open", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.open:
        open_once(args.open, args.check)
        return
    with tempfile.TemporaryDirectory() as folder:
        make_data(Path(folder), args.csv, args.images)
        size = os.path.getsize(Path(folder) / "train.csv") / 2**20
        print(f"train.csv of {size:.0f} MiB, {args.images} images, check_images: {args.check}")
        environment = {**os.environ, "PPDET_EXT_CACHE": str(Path(folder) / "cache")}
        for label in ("first", "second"):
            print(f"{label}: ", end="", flush=True)
            command = [sys.executable, __file__, "--open", folder, "--check", args.check]
            subprocess.run(command, check=True, env=environment)


def open_once(folder: Path, check: str) -> None:
    from ppdet_ext.data.datasets import SteelDataSet

    imported = peak_mebibytes()
    start = time.perf_counter()
    dataset = SteelDataSet(str(folder), check_images=check).load()
    seconds = time.perf_counter() - start
    instances = sum(len(record.masks) for record in dataset.records)
    peak = peak_mebibytes()
    print(
        f"{seconds:.2f} s, {len(dataset)} images, {instances} instances, peak {peak:.0f} MiB of the process, "
        f"{imported:.0f} MiB after the imports, {peak - imported:.0f} MiB more for opening"
    )


def peak_mebibytes() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def make_data(folder: Path, csv: Path | None, count: int) -> None:
    """Every image gets the rows of one source image, under a name of its own."""
    import cv2

    groups = list((real_rows(csv) if csv else synthetic_rows()).values())
    (folder / "train_images").mkdir()
    template = folder / "sheet.jpg"
    cv2.imwrite(str(template), np.full((HEIGHT, WIDTH, 3), 90, np.uint8))
    with open(folder / "train.csv", "w") as file:
        file.write("ImageId,ClassId,EncodedPixels\n")
        for i in range(count):
            name = f"{i:09x}.jpg"
            os.link(template, folder / "train_images" / name)
            file.writelines(f"{name},{label},{text}\n" for label, text in groups[i % len(groups)])


def real_rows(csv: Path) -> dict[str, list[tuple[str, str]]]:
    rows: dict[str, list[tuple[str, str]]] = {}
    for line in csv.read_text().splitlines()[1:]:
        name, label, text = line.split(",")
        rows.setdefault(name, []).append((label, text))
    return rows


def synthetic_rows() -> dict[str, list[tuple[str, str]]]:
    import cv2

    from ppdet_ext.structures import Rle

    rng = np.random.default_rng(0)
    rows = {}
    for i in range(400):
        bitmap = np.zeros((HEIGHT, WIDTH), np.uint8)
        for _ in range(int(rng.integers(1, 6))):
            center = (int(rng.integers(WIDTH)), int(rng.integers(HEIGHT)))
            cv2.ellipse(bitmap, center, (int(rng.integers(4, 120)), int(rng.integers(4, 60))), 0, 0, 360, 1, -1)
        rows[str(i)] = [(str(rng.integers(1, 5)), Rle.from_bitmap(bitmap).to_kaggle())]
    return rows


if __name__ == "__main__":
    main()
