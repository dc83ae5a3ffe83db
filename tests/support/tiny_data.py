"""Builders of tiny data sets, for tests of everything that reads data."""

import json
from pathlib import Path

import numpy as np
from PIL import Image

from ppdet_ext.structures import Rle

HEIGHT, WIDTH = 32, 64


def write_jpeg(path: Path, height: int = HEIGHT, width: int = WIDTH, seed: int = 0, **options) -> Path:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3)).astype(np.uint8)
    Image.fromarray(pixels).save(path, quality=90, **options)
    return path


def block(y: int, x: int, height: int, width: int) -> Rle:
    bitmap = np.zeros((HEIGHT, WIDTH), np.uint8)
    bitmap[y : y + height, x : x + width] = 1
    return Rle.from_bitmap(bitmap)


def write_csv(folder: Path, rows: list[tuple], header: str = "ImageId,ClassId,EncodedPixels") -> None:
    (folder / "train.csv").write_text("\n".join([header, *(",".join(map(str, row)) for row in rows)]) + "\n")


def coco_content() -> dict:
    """Two images; the first has a polygon, a run-length object, and a crowd as an uncompressed run length."""
    crowd = np.zeros((HEIGHT, WIDTH), np.uint8)
    crowd[:, 50:] = 1
    starts, lengths = Rle.from_bitmap(crowd).runs()
    object_rle = block(4, 30, 6, 6).to_coco(text=True)
    return {
        "images": [
            {"id": 7, "file_name": "a.jpg", "height": HEIGHT, "width": WIDTH},
            {"id": 9, "file_name": "b.jpg", "height": HEIGHT, "width": WIDTH},
        ],
        "categories": [{"id": 90, "name": "late"}, {"id": 3, "name": "early"}],
        "annotations": [
            {
                "id": 1,
                "image_id": 7,
                "category_id": 90,
                "iscrowd": 0,
                "area": 100,
                "bbox": [5, 5, 10, 10],
                "segmentation": [[5, 5, 15, 5, 15, 15, 5, 15]],
            },
            {
                "id": 2,
                "image_id": 7,
                "category_id": 3,
                "iscrowd": 0,
                "area": 36,
                "bbox": [30, 4, 6, 6],
                "segmentation": object_rle,
            },
            {
                "id": 3,
                "image_id": 7,
                "category_id": 3,
                "iscrowd": 1,
                "area": 448,
                "bbox": [50, 0, 14, 32],
                "segmentation": {"size": [HEIGHT, WIDTH], "counts": [int(starts[0]), int(lengths[0])]},
            },
        ],
    }


def write_coco(folder: Path, content: dict) -> None:
    (folder / "instances.json").write_text(json.dumps(content))
