"""Files that tools have written, against what independent readers see in them (expected.json beside the files)."""

from collections import Counter
from pathlib import Path

import pytest
from label_cases import Seen, expected, seen

from ppdet_ext.data.labels.formats import read_labels
from ppdet_ext.data.labels.label_set import LabelSet

FIXTURES = Path(__file__).parents[2] / "fixtures" / "labels"
# Folder -> format, files to name ("" for the folder), and what counts as an object in expected.json, by keys of area and box.
PYCOCOTOOLS = ("area_pycocotools", "bbox_pycocotools")
CASES: dict[str, tuple[str, list[str], list[tuple[str, str, dict]]]] = {
    "coco": ("coco", [""], [("area", "bbox", {"type": "mask"}), ("area", "bbox", {"type": "polygon"})]),
    "coco_panoptic": ("coco_panoptic", [""], [("area", "bbox", {"type": "mask"})]),
    "cvat_coco": ("coco", [""], [("area", "bbox", {})]),
    "cvat_images": ("cvat", [""], [("area", "bbox", {"kind": "mask"}), (*PYCOCOTOOLS, {"kind": "polygon"})]),
    "label_studio": (
        "label_studio",
        ["brush.json", "polygons.json"],
        [("area", "bbox", {"kind": "mask"}), (*PYCOCOTOOLS, {"kind": "polygon"})],
    ),
    "labelme_coco": ("coco", [""], [(*PYCOCOTOOLS, {})]),
    "roboflow_coco": ("coco", [""], []),
    "segment_anything": ("segment_anything", [""], [("area", "bbox", {"type": "mask"})]),
}
# Objects that expected.json does not have: made after an issue, to have a project's name as a category.
OURS: dict[str, Counter[Seen]] = {
    "roboflow_coco": Counter(
        {
            ("a_jpg.rf.0123456789abcdef0123456789abcdef", "peix", 1200, 10.0, 20.0, 40.0, 30.0): 1,
            ("a_jpg.rf.0123456789abcdef0123456789abcdef", "taca", 1200, 70.0, 10.0, 20.0, 60.0): 1,
        }
    )
}


def read(root: Path, name: str) -> LabelSet:
    return read_labels([str(root / name / file) for file in CASES[name][1]])


def check(root: Path, name: str) -> None:
    form, _, chosen = CASES[name]
    labels = read(root, name)
    assert labels.format == form
    wanted = sum((expected(root / name, area, box, **which) for area, box, which in chosen), OURS.get(name, Counter()))
    if name == "segment_anything":
        wanted = Counter({(key[0], "object", *key[2:]): number for key, number in wanted.items()})
    assert seen(labels) == wanted
    assert wanted


@pytest.mark.parametrize("name", CASES)
def test_files_are_read_as_expected(name: str) -> None:
    check(FIXTURES, name)


@pytest.mark.parametrize("name", CASES)
def test_collected_files_are_read_as_expected(name: str, shared: Path) -> None:
    check(shared / "data" / "labels", name)


def test_what_has_no_mask_is_counted() -> None:
    assert read(FIXTURES, "cvat_images").skipped == {
        "boxes without a mask": 2, "polylines": 2, "points": 2, "polygons without a label": 1,
    }  # fmt: skip
    assert read(FIXTURES, "roboflow_coco").skipped == {"boxes without a mask": 4}
    assert read(FIXTURES, "segment_anything").skipped == {"empty masks": 1}
