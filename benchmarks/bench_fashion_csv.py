"""Seconds and memory for opening a full-size iMaterialist CSV: 333,415 rows of 45,625 images.

    python benchmarks/bench_fashion_csv.py [--text 2500] [--check header|exists|none]

Rows are outlines of garments drawn as ellipses with bites taken out, on pictures of 600 to 3,200 pixels, with about `--text`
characters of run lengths in the mean; real rows have 4,000 to 37,000 at 19 megapixels, most pictures are smaller. Each
opening runs in a process of its own: the first builds the cache, the second uses it. Pictures are links to one JPEG per size,
so that looking at all headers is part of the time. Peak memory is that of the whole process; what importing paddle and ppdet
takes of it is shown beside it. The files (1 GB) are deleted at the end.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

ROWS, IMAGES, CATEGORIES, ATTRIBUTES = 333_415, 45_625, 46, 92
SIZES = ((1200, 800), (1024, 683), (600, 400), (3200, 2133), (2048, 1365), (800, 800))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--images", type=int, default=IMAGES)
    parser.add_argument("--text", type=int, default=2500, help="mean characters of EncodedPixels")
    parser.add_argument("--check", default="header", choices=["header", "exists", "none"])
    parser.add_argument("--open", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.open:
        open_once(args.open, args.check)
        return
    with tempfile.TemporaryDirectory() as folder:
        mean = make_data(Path(folder), args.rows, args.images, args.text)
        size = os.path.getsize(Path(folder) / "train.csv") / 2**20
        print(f"train.csv of {size:.0f} MiB: {args.rows} rows, {args.images} images, {mean:.0f} characters of runs in the mean")
        environment = {**os.environ, "PPDET_EXT_CACHE": str(Path(folder) / "cache")}
        for label in ("first", "second"):
            print(f"{label}: ", end="", flush=True)
            subprocess.run([sys.executable, __file__, "--open", folder, "--check", args.check], check=True, env=environment)


def open_once(folder: Path, check: str) -> None:
    from ppdet_ext.data.datasets import FashionDataSet

    imported = peak_mebibytes()
    start, processor = time.perf_counter(), time.process_time()
    dataset = FashionDataSet(str(folder), check_images=check).load()
    seconds, processor = time.perf_counter() - start, time.process_time() - processor
    instances = sum(len(record.masks) for record in dataset.records)
    peak = peak_mebibytes()
    print(
        f"{seconds:.2f} s ({processor:.2f} s of the processor), {len(dataset)} images, {instances} instances, "
        f"peak {peak:.0f} MiB of the process, {imported:.0f} MiB after the imports, {peak - imported:.0f} MiB more for opening"
    )


def peak_mebibytes() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def make_data(folder: Path, rows: int, images: int, text: int) -> float:
    """Write the data set; returns the mean length of the texts. Every row has a mask of its own, moved by whole columns."""
    import cv2

    rng = np.random.default_rng(0)
    pool = {size: outlines(size, text, rng) for size in SIZES}
    (folder / "train").mkdir()
    for height, width in SIZES:
        cv2.imwrite(str(folder / f"{height}.jpg"), np.full((height, width, 3), 90, np.uint8))
    per_image = np.bincount(rng.integers(images, size=rows - images), minlength=images) + 1
    characters = 0
    with open(folder / "train.csv", "w") as file:
        file.write("ImageId,EncodedPixels,Height,Width,ClassId\n")
        for i, count in enumerate(per_image.tolist()):
            height, width = size = SIZES[int(rng.integers(len(SIZES)))]
            name = f"{i:032x}.jpg"
            os.link(folder / f"{height}.jpg", folder / "train" / name)
            for _ in range(count):
                starts, lengths = pool[size][int(rng.integers(len(pool[size])))]
                room = (height * width - int(starts[-1] + lengths[-1])) // height
                moved = starts + height * int(rng.integers(room + 1)) - int(rng.integers(starts[0]))
                pixels = " ".join(map(str, np.stack([moved + 1, lengths], 1).ravel().tolist()))
                characters += len(pixels)
                file.write(f"{name},{pixels},{height},{width},{class_id(rng)}\n")
    labels = {
        "categories": [{"id": i, "name": f"category {i}"} for i in range(CATEGORIES)],
        "attributes": [{"id": i, "name": f"attribute {i}"} for i in range(ATTRIBUTES)],
    }
    (folder / "label_descriptions.json").write_text(json.dumps(labels))
    return characters / rows


def class_id(rng: np.random.Generator) -> str:
    """A category; one in thirty rows has two attributes."""
    numbers = [int(rng.integers(CATEGORIES))]
    if rng.random() < 1 / 30:
        numbers += rng.choice(ATTRIBUTES, 2, replace=False).tolist()
    return "_".join(map(str, numbers))


def outlines(size: tuple[int, int], text: int, rng: np.random.Generator) -> list[tuple[np.ndarray, np.ndarray]]:
    """Starts and lengths of 60 shapes whose texts have about `text` characters in the mean, from small parts to dresses."""
    import cv2

    from ppdet_ext.structures import Rle

    height, width = size
    found = []
    for _ in range(60):
        # A run takes about 11 characters; columns with a bite have two.
        columns = min(max(8, int(rng.exponential(text / 15))), width * 3 // 4)
        tall = min(int(columns * rng.uniform(0.7, 2.5)), height * 3 // 4)
        bitmap = np.zeros((height, width), np.uint8)
        x, y = columns // 2 + 2, height // 2
        cv2.ellipse(bitmap, (x, y), (columns // 2, tall // 2), float(rng.uniform(-4, 4)), 0, 360, 1, -1)
        for _ in range(3):
            bite = (int(rng.integers(2, 2 * x)), y + int(rng.integers(-tall // 2, tall // 2 + 1)))
            cv2.circle(bitmap, bite, max(2, columns // 8), 0, -1)
        runs = Rle.from_bitmap(bitmap).runs()
        if len(runs[0]):
            found.append(runs)
    return found


if __name__ == "__main__":
    main()
