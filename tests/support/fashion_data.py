"""iMaterialist's data set over a folder of tiny pictures."""

import csv
import json
from pathlib import Path

from tiny_data import HEIGHT, WIDTH, block, write_jpeg

from ppdet_ext.data.datasets import FashionDataSet

# Not in the order of their ids, and with gaps.
LABELS = {
    "categories": [{"id": 28, "name": "collar"}, {"id": 0, "name": "shirt, blouse"}, {"id": 13, "name": "dress"}],
    "attributes": [{"id": 45, "name": "striped"}, {"id": 20, "name": "mini"}, {"id": 0, "name": "classic"}],
}
HEADER_2019 = ("ImageId", "EncodedPixels", "Height", "Width", "ClassId")
HEADER_2020 = (*HEADER_2019, "AttributesIds")
SHIRT, COLLAR, DRESS = block(2, 3, 20, 30), block(2, 10, 5, 8), block(0, 0, 30, 12)
APART = block(1, 1, 3, 3).union(block(20, 50, 4, 4))


def row(name: str, mask, class_id: str, *more: str) -> tuple:
    return (name, mask.to_kaggle(), HEIGHT, WIDTH, class_id, *more)


ROWS_2019 = [
    row("b.jpg", SHIRT, "0"),
    row("a.jpg", SHIRT, "0"),
    row("a.jpg", COLLAR, "28"),
    row("b.jpg", DRESS, "13_20_45"),
    row("b.jpg", COLLAR, "0"),
    row("c.jpg", APART, "13_0"),
]
ROWS_2020 = [
    row("b", SHIRT, "0", ""),
    row("a", SHIRT, "0", ""),
    row("a", COLLAR, "28", ""),
    row("b", DRESS, "13", "20,45"),
    row("b", COLLAR, "0", ""),
    row("c", APART, "13", "0"),
]


def write_rows(folder: Path, rows: list[tuple], header: tuple[str, ...] = HEADER_2019) -> Path:
    path = folder / "train.csv"
    with open(path, "w", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    return path


def write_fashion(folder: Path) -> Path:
    """Pictures a, b, c with the rows above, and d that no row names."""
    (folder / "train").mkdir()
    for seed, name in enumerate("abcd"):
        write_jpeg(folder / "train" / f"{name}.jpg", seed=seed)
    (folder / "label_descriptions.json").write_text(json.dumps(LABELS))
    write_rows(folder, ROWS_2019)
    return folder


def opened(folder: Path, **options) -> FashionDataSet:
    return FashionDataSet(str(folder), **options).load()


def content(dataset: FashionDataSet) -> list[tuple]:
    return [(r.im_id, r.name, r.labels.tolist(), r.masks, r.boxes.tolist(), r.attributes) for r in dataset.records]
