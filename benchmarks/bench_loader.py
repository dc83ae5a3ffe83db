"""Images per second of our loader and of ppdet's COCO reader, on the same 256x1600 JPEGs and masks, in one run.

    python benchmarks/bench_loader.py                          # synthetic sheets
    python benchmarks/bench_loader.py --images DIR --csv train.csv   # real ones, repeated up to --count

Both read, flip, resize to the same size, normalise, transpose and pad, carry the masks along and give paddle tensors.
ppdet gets the same masks as polygons; ours once more with a plane of pixels for each class (ClassMasks), which ppdet has
not. Shown per number of workers: the median over the epochs after the first. ppdet runs with its default settings;
`use_shared_memory: true` makes no difference to it here.
"""

import argparse
import json
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from ppdet_ext.data.datasets import SteelDataSet
from ppdet_ext.data.loading import build_loader
from ppdet_ext.structures import Rle

HEIGHT, WIDTH = 256, 1600
MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, help="folder of 256x1600 JPEGs to repeat; synthetic ones without it")
    parser.add_argument("--csv", type=Path, help="Severstal CSV with masks for --images; synthetic masks without it")
    parser.add_argument("--count", type=int, default=96)
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 2])
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        dataset = make_data(Path(folder), args.images, args.csv, args.count)
        print(f"{len(dataset)} images, {sum(len(r.masks) for r in dataset.records)} instances, batch {args.batch}")
        for workers in args.workers:
            ours = images_per_second(our_epochs(dataset, workers, args.batch), args.epochs, len(dataset))
            planes = images_per_second(our_epochs(dataset, workers, args.batch, {"ClassMasks": {}}), args.epochs, len(dataset))
            theirs = images_per_second(ppdet_epochs(folder, workers, args.batch), args.epochs, len(dataset))
            text = f"ours {ours:6.1f} images/s, with class masks {planes:6.1f}, ppdet {theirs:6.1f}, ratio {ours / theirs:.2f}"
            print(f"workers {workers}: {text}")


def images_per_second(run_epoch: Callable[[int], int], epochs: int, count: int) -> float:
    rates = []
    for epoch in range(epochs):
        start = time.perf_counter()
        images = run_epoch(epoch)
        rates.append(images / (time.perf_counter() - start))
        assert images == count, (images, count)
    return statistics.median(rates[1:])


def our_epochs(dataset: SteelDataSet, workers: int, batch: int, *more: dict) -> Callable[[int], int]:
    reader = {
        "sample_transforms": [
            {"ReadImage": {}},
            {"FlipImage": {"horizontal": 0.5}},
            {"ResizeFixed": {"height": HEIGHT, "width": WIDTH}},
            *more,
            {"NormalizeToCHW": {"mean": MEAN, "std": STD}},
        ],
        "batch_transforms": [{"PadToStride": {"stride": 32}}],
        "batch_size": batch,
    }
    loader = build_loader(dataset, reader, mode="train", worker_num=workers, seed=0)

    def run(epoch: int) -> int:
        loader.set_epoch(epoch)
        return sum(batch["image"].shape[0] for batch in loader)

    return run


def ppdet_epochs(folder: str, workers: int, batch: int) -> Callable[[int], int]:
    from ppdet.data.reader import TrainReader
    from ppdet.data.source import COCODataSet

    fields = ["image", "gt_bbox", "gt_class", "gt_poly", "is_crowd"]
    dataset = COCODataSet(folder, "train_images", "instances.json", fields)
    reader = TrainReader(
        sample_transforms=[
            {"Decode": {}},
            {"RandomFlip": {"prob": 0.5}},
            {"Resize": {"target_size": [HEIGHT, WIDTH], "keep_ratio": True}},
            {"NormalizeImage": {"is_scale": True, "mean": MEAN, "std": STD}},
            {"Permute": {}},
        ],
        batch_transforms=[{"PadBatch": {"pad_to_stride": 32}}],
        batch_size=batch,
        shuffle=True,
        drop_last=True,
        collate_batch=False,
    )
    loader = reader(dataset, workers)
    # It has started an epoch already, and would start another one after the last.
    loader.loader = None

    def run(epoch: int) -> int:
        dataset.set_epoch(epoch)
        return sum(batch["image"].shape[0] for batch in loader.dataloader)

    return run


def make_data(folder: Path, images: Path | None, csv: Path | None, count: int) -> SteelDataSet:
    """`count` images under train_images, train.csv, and the same instances as instances.json for ppdet."""
    (folder / "train_images").mkdir()
    rng = np.random.default_rng(0)
    sources = sorted(images.glob("*.jpg")) if images else [synthetic_sheet(folder, i, rng) for i in range(8)]
    rows = read_rows(csv) if csv else {}
    lines = ["ImageId,ClassId,EncodedPixels"]
    for i in range(count):
        source = sources[i % len(sources)]
        shutil.copy(source, folder / "train_images" / f"{i:05d}.jpg")
        # A sheet without defects gets some too, so that every image carries masks in both loaders.
        own = rows.get(source.name) or [(c, synthetic_mask(rng).to_kaggle()) for c in rng.permutation(4)[:2] + 1]
        lines += [f"{i:05d}.jpg,{label},{text}" for label, text in own]
    (folder / "train.csv").write_text("\n".join(lines) + "\n")
    dataset = SteelDataSet(str(folder)).load()
    write_coco(folder, dataset)
    return dataset


def read_rows(csv: Path) -> dict[str, list[tuple[str, str]]]:
    rows: dict[str, list[tuple[str, str]]] = {}
    for line in csv.read_text().splitlines()[1:]:
        name, label, text = line.split(",")
        rows.setdefault(name, []).append((label, text))
    return rows


def synthetic_sheet(folder: Path, number: int, rng: np.random.Generator) -> Path:
    """A grey sheet with noise; about 90 kB as a JPEG, as Kaggle's."""
    grey = cv2.GaussianBlur(rng.normal(110, 40, (HEIGHT, WIDTH)).astype(np.float32), (0, 0), 1.2)
    path = folder / f"source_{number}.jpg"
    Image.fromarray(np.clip(grey, 0, 255).astype(np.uint8)).convert("RGB").save(path, quality=90)
    return path


def synthetic_mask(rng: np.random.Generator) -> Rle:
    bitmap = np.zeros((HEIGHT, WIDTH), np.uint8)
    for _ in range(int(rng.integers(1, 4))):
        center = (int(rng.integers(60, WIDTH - 60)), int(rng.integers(40, HEIGHT - 40)))
        axes = (int(rng.integers(8, 60)), int(rng.integers(8, 40)))
        cv2.ellipse(bitmap, center, axes, float(rng.integers(180)), 0, 360, 1, -1)
    return Rle.from_bitmap(bitmap)


def write_coco(folder: Path, dataset: SteelDataSet) -> None:
    images, annotations = [], []
    for record in dataset.records:
        images.append({"id": record.im_id, "file_name": record.name, "height": HEIGHT, "width": WIDTH})
        for box, label, mask in zip(record.boxes.tolist(), record.labels.tolist(), record.masks):
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": record.im_id,
                    "category_id": label + 1,
                    "iscrowd": 0,
                    "bbox": [box[0], box[1], box[2] - box[0], box[3] - box[1]],
                    "area": mask.area,
                    "segmentation": mask.to_polygons(),
                }
            )
    categories = [{"id": i, "name": name} for i, name in zip(dataset.category_ids, dataset.class_names)]
    content = {"images": images, "annotations": annotations, "categories": categories}
    (folder / "instances.json").write_text(json.dumps(content))


if __name__ == "__main__":
    main()
