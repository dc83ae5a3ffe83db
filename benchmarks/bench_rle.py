"""Run-length masks: Kaggle strings to COCO RLE and to instances, against decoding to a bitmap.

    python benchmarks/bench_rle.py --data ../shared/data

`--data` holds severstal/train.csv (256x1600) and imaterialist/train_sample.csv (with Height and Width). The peer
decodes each string run by run into a flat array and encodes it with pycocotools, and for instances labels the
bitmap with cv2 and encodes each label. Both sides give equal masks, which is checked. Best of `--repeats` passes.
"""

import argparse
import csv
import gc
import sys
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from pycocotools import mask as mask_utils

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from ppdet_ext.structures import Rle

Row = tuple[str, int, int]  # Kaggle string, height, width


def parse_args() -> argparse.Namespace:
    layout = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=layout)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--repeats", type=int, default=10)
    return parser.parse_args()


def read(path: Path) -> list[Row]:
    with open(path, newline="") as file:
        return [
            (row["EncodedPixels"], int(row.get("Height", 256)), int(row.get("Width", 1600)))
            for row in csv.DictReader(file)
            if row["EncodedPixels"].strip()
        ]


def decode(row: Row) -> np.ndarray:
    """The usual Kaggle decoder: (h, w) uint8 in Fortran order."""
    text, height, width = row
    values = np.array(text.split(), dtype=np.int64)
    flat = np.zeros(height * width, np.uint8)
    for start, length in zip(values[0::2] - 1, values[1::2]):
        flat[start : start + length] = 1
    return flat.reshape((height, width), order="F")


def peer_convert(row: Row) -> dict:
    return mask_utils.encode(decode(row))


def peer_instances(row: Row) -> list[dict]:
    count, labels = cv2.connectedComponents(np.ascontiguousarray(decode(row)), connectivity=8)
    return [mask_utils.encode(np.asfortranarray(labels == i).view(np.uint8)) for i in range(1, count)]


def convert(row: Row) -> dict:
    return Rle.from_kaggle(*row).to_coco()


def instances(row: Row) -> list[dict]:
    return [part.to_coco() for part in Rle.from_kaggle(*row).components()]


def best(function: Callable, rows: list[Row], repeats: int) -> tuple[float, list]:
    """Shortest time of one pass over the rows in seconds, and its results."""
    seconds = []
    gc.collect()
    for _ in range(repeats):
        start = time.perf_counter()
        results = [function(row) for row in rows]
        seconds.append(time.perf_counter() - start)
    return min(seconds), results


def same(mine: list, theirs: list) -> bool:
    """Equal masks; instances may come in another order."""

    def key(result: dict | list) -> list:
        return sorted(mask["counts"] for mask in (result if isinstance(result, list) else [result]))

    return all(key(a) == key(b) for a, b in zip(mine, theirs, strict=True))


def main() -> None:
    args = parse_args()
    files = {"steel": "severstal/train.csv", "fashion": "imaterialist/train_sample.csv"}
    print(f"{'rows':24s} {'task':20s} {'ours ms/row':>12s} {'peer ms/row':>12s} {'times faster':>12s}  equal")
    for name, file in files.items():
        rows = read(args.data / file)
        title = f"{name}: {len(rows)} of {rows[0][1]}x{rows[0][2]}"
        for task, ours, peer in (
            ("Kaggle to COCO RLE", convert, peer_convert),
            ("Kaggle to instances", instances, peer_instances),
        ):
            seconds, mine = best(ours, rows, args.repeats)
            peer_seconds, theirs = best(peer, rows, args.repeats if peer is peer_convert else 1)
            print(
                f"{title:24s} {task:20s} {1e3 * seconds / len(rows):12.3f} {1e3 * peer_seconds / len(rows):12.3f} "
                f"{peer_seconds / seconds:12.1f}  {same(mine, theirs)}"
            )


if __name__ == "__main__":
    main()
