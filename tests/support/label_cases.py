"""What readers of labels make of files, in a form that compares with `expected.json` of the collected files."""

import json
from collections import Counter
from pathlib import Path

from ppdet_ext.data.labels.label_set import LabelSet
from ppdet_ext.structures import Rle

# (image without suffix, class, pixels, x, y, width, height)
Seen = tuple[str, str | None, int, float, float, float, float]


def seen(labels: LabelSet, classes: bool = True) -> Counter[Seen]:
    """All objects of a set."""
    found: Counter[Seen] = Counter()
    for image in labels.images:
        for one in image.objects:
            assert one.mask.size == (image.height, image.width)
            stem = image.name.rpartition("/")[2].rpartition(".")[0] or image.name
            found[(stem, one.class_name if classes else None, one.mask.area, *xywh(one.mask))] += 1
    return found


def xywh(mask: Rle) -> tuple[float, float, float, float]:
    x1, y1, x2, y2 = mask.box
    return x1, y1, x2 - x1, y2 - y1


def expected(folder: Path, area: str, box: str, **chosen: object) -> Counter[Seen]:
    """Entries of expected.json that have a number of pixels above 0 and `chosen` values, by the keys of area and box."""
    found: Counter[Seen] = Counter()
    for entry in json.loads((folder / "expected.json").read_text()):
        if entry.get(area) and entry.get(box) and all(entry.get(key) == value for key, value in chosen.items()):
            name = entry.get("image", entry.get("item"))
            stem = name.rpartition("/")[2]
            stem = stem.rpartition(".")[0] or stem
            x, y, width, height = map(float, entry[box])
            found[stem, entry.get("cls", entry.get("label")), int(entry[area]), x, y, width, height] += 1
    return found
