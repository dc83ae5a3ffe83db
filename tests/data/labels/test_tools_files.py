"""Files that labelme, VIA, Supervisely and others have written, against what independent readers see in them."""

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from label_cases import Seen, seen
from PIL import Image
from pycocotools import mask as mask_utils

from ppdet_ext.data.labels.formats import read_labels
from ppdet_ext.data.labels.label_set import LabelSet

FIXTURES = Path(__file__).parents[2] / "fixtures" / "labels"


@pytest.fixture(params=["copied", "collected"])
def folder(request: pytest.FixtureRequest):
    """Function from a tool's name to the folder of its files: the copies here, and the collection, where that is at hand."""
    if request.param == "copied":
        return lambda name: FIXTURES / name
    labels = request.getfixturevalue("shared") / "data" / "labels"
    return lambda name: labels / name if name != "open_images" else labels.parent / "rle" / name


def entries(place: Path) -> list[dict]:
    return json.loads((place / "expected.json").read_text())


def joined(place: Path, group: str, area: str = "area_pycocotools", box: str = "bbox_pycocotools", **without) -> Counter[Seen]:
    """Objects of expected.json, whose parts of one group do not touch each other: areas add up, boxes grow."""
    objects: dict[tuple, list[dict]] = {}
    for number, entry in enumerate(entries(place)):
        if area in entry and all(entry.get(key) != value for key, value in without.items()):
            key = (entry["image"], entry["cls"], entry.get(group) if entry.get(group) is not None else f"alone {number}")
            objects.setdefault(key, []).append(entry)
    found: Counter[Seen] = Counter()
    for (image, name, _), parts in objects.items():
        x1, y1 = (min(part[box][axis] for part in parts) for axis in (0, 1))
        x2, y2 = (max(part[box][axis] + part[box][axis + 2] for part in parts) for axis in (0, 1))
        stem = image.removesuffix(".jpg")
        found[(stem, name, sum(part[area] for part in parts), float(x1), float(y1), float(x2 - x1), float(y2 - y1))] += 1
    return found


def read(place: Path, form: str, *files: str, images: str | None = None) -> LabelSet:
    """Read what `files` of a folder name, told by content."""
    paths = [str(path) for file in files for path in sorted(place.glob(file))] or [str(place)]
    labels = read_labels(paths, images)
    assert labels.format == form
    return labels


def test_labelme_joins_groups_and_leaves_out_what_is_ignored(folder) -> None:
    labels = read(folder("labelme"), "labelme", "20*.json")
    assert seen(labels) == joined(folder("labelme"), "group_id", cls="__ignore__")
    assert labels.skipped == {"shapes named __ignore__": 2}
    sofa = next(one for one in labels.images[1].objects if one.class_name == "sofa")
    assert [len(polygon) // 2 for polygon in sofa.polygons or []] == [9, 3, 9, 4]
    assert [image.name for image in labels.images] == ["2011_000003.jpg", "2011_000006.jpg"]


def test_labelme_primitives(folder) -> None:
    labels = read(folder("labelme"), "labelme", "primitives.json")
    areas = {one.class_name: (one.mask.area, one.mask.box) for one in labels.images[0].objects if one.class_name != "rectangle"}
    assert areas["octagon"] == (7275, (417, 305, 517, 405))  # the PNG's, placed at its first corner
    assert areas["circle"][0] == pytest.approx(np.pi * (30**2 + 41**2), rel=0.002)
    rectangles = [one.mask for one in labels.images[0].objects if one.class_name == "rectangle"]
    assert [(mask.area, mask.box) for mask in rectangles] == [(10000, (32, 35, 132, 135)), (15402, (391, 33, 542, 135))]
    assert labels.skipped == {"lines": 1, "points": 1, "polylines": 1}


def test_voc_palette(folder) -> None:
    labels = read(folder("voc_palette_png"), "voc_masks")
    assert seen(labels) == joined(folder("voc_palette_png"), "none", "area", "bbox")
    assert labels.skipped == {"ignored regions (index 255)": 2}
    assert labels.class_names[:2] == ["aeroplane", "bicycle"]


def test_cityscapes(folder) -> None:
    labels = read(folder("cityscapes"), "cityscapes")
    own, theirs = Counter(), Counter()
    for image in labels.images:
        for one in image.objects:
            own[(image.subset, Path(image.name).name.removesuffix("_leftImg8bit.png"), one.class_name)] += one.mask.area
    for entry in entries(folder("cityscapes")):
        if entry["label"] != "background":
            theirs[(entry["subset"], Path(entry["item"]).name, entry["label"])] += entry["area"]
    assert own == theirs
    # Two numbers are two trucks; datumaro joins them.
    trucks = [one.mask.area for image in labels.images for one in image.objects if one.class_name == "truck"]
    assert trucks == [1, 2]
    assert [image.file is not None for image in labels.images] == [True] * 4
    assert labels.class_names == ["wall", "person", "truck", "train"]


def test_yolo_lines_are_instances(folder) -> None:
    labels = read(folder("yolo_seg"), "yolo_seg")
    wanted = [entry for entry in entries(folder("yolo_seg")) if "area" in entry]
    found = [(image.name, one) for image in labels.images for one in image.objects]
    assert len(found) == len(wanted) == 13
    for (name, one), entry in zip(found, wanted):
        x, y, width, height = entry["bbox"]
        assert (Path(name).name, one.class_name) == (entry["image"], entry["cls"])
        # supervision draws the outline, too.
        assert one.mask.box == pytest.approx((x, y, x + width, y + height), abs=2)
        assert entry["area"] - 6 - 2.2 * (width + height) < one.mask.area <= entry["area"]
    assert "_background_" not in labels.class_names
    assert read(folder("yolo_seg"), "yolo_seg", "data.yaml").images[0].objects == labels.images[0].objects


def test_supervisely(folder) -> None:
    labels = read(folder("supervisely"), "supervisely")
    (image,) = labels.images
    *nuclei, car = image.objects
    theirs = [entry for entry in entries(folder("supervisely")) if entry["kind"] == "bitmap"]
    assert [(one.mask.area, list(one.mask.box[:2])) for one in nuclei] == [(each["area"], each["bbox"][:2]) for each in theirs]
    outline, hole = ([20, 10, 80, 10, 80, 60, 20, 60], [30, 20, 50, 20, 50, 40])
    areas = [int(mask_utils.area(mask_utils.frPyObjects([ring], 256, 320)[0])) for ring in (outline, hole)]
    assert (car.mask.area, car.mask.holes, car.polygons) == (areas[0] - areas[1], 1, None)
    assert (image.name, labels.class_names) == ("ds/img/nuclei.png", ["nucleus", "car"])
    assert seen(read(folder("supervisely"), "supervisely", "ds/ann/*.json")) == seen(labels)


@pytest.fixture(scope="module")
def camera_pictures(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Empty pictures of the sizes that expected.json was made with."""
    place = tmp_path_factory.mktemp("pictures")
    for number in range(6):
        Image.new("1", (2448, 2057 if number == 3 else 2048)).save(place / f"camera_{number}.jpg", "PNG")
    return str(place)


def test_via(folder, camera_pictures: str) -> None:
    labels = read(folder("via"), "via", "via_region_data.json", images=camera_pictures)
    assert seen(labels) == joined(folder("via"), "none")
    first = read(folder("via"), "via", "via1_regions_as_dict.json", images=camera_pictures)
    assert [image.objects for image in first.images] == [image.objects for image in labels.images[:2]]
    assert any("attribute 'name'" in note for note in labels.notes)


def test_datumaro(folder) -> None:
    labels = read(folder("datumaro"), "datumaro", "masks/annotations/default.json")
    theirs = [entry for entry in entries(folder("datumaro")) if entry["type"] in ("mask", "polygon")]
    found = [one for image in labels.images for one in image.objects]
    assert [one.class_name for one in found] == [entry["cls"] for entry in theirs]
    for one, entry in zip(found, theirs):
        x, y, width, height = entry["bbox"]
        exact = entry["type"] == "mask"
        assert one.mask.area == (entry["area"] if exact else pytest.approx(entry["area"], rel=1e-3))
        assert one.mask.box == pytest.approx((x, y, x + width, y + height), abs=0 if exact else 1)
    assert labels.skipped == {"boxes without a mask": 1, "polylines": 1, "points": 1}


def test_datumaro_without_masks_has_an_error(folder) -> None:
    with pytest.raises(ValueError, match=r"no object with a mask, only .* labels of whole pictures"):
        read(folder("datumaro"), "datumaro", "annotations/*.json", images=str(folder("datumaro") / "images"))


def test_superannotate(folder) -> None:
    place = folder("superannotate")
    vector = read(place, "superannotate", "vector/*.json")
    polygons = joined(place, "groupId", kind="mask")
    # Group 0 is none.
    alone = joined(place, "none", groupId=1)
    pair = Counter({key: number for key, number in polygons.items() if key[2] == 664 + 280})
    assert seen(vector) == alone + pair
    assert vector.skipped == {"boxes without a mask": 5}
    pixel = read(place, "superannotate", "pixel/*.json")
    assert seen(pixel) == joined(place, "none", "area", "bbox")


def test_darwin(folder) -> None:
    polygons = read(folder("darwin_v7"), "darwin", "polygons/*.json")
    assert seen(polygons) == joined(folder("darwin_v7"), "none")
    raster = read(folder("darwin_v7"), "darwin", "raster_mask/*.json")
    assert seen(raster) == Counter({("image_2", "test_mask_basic", 474, 326.0, 145.0, 31.0, 23.0): 1})
    assert raster.skipped == {"polylines": 1, "skeletons": 1, "tags": 1}


def test_mit_labelme(folder) -> None:
    labels = read(folder("labelme_xml_mit"), "labelme_xml", "Annotations/*/*.xml")
    own = {one.class_name: one for one in labels.images[0].objects}
    for entry in entries(folder("labelme_xml_mit")):
        if entry["type"] == "bbox":
            continue
        x, y, width, height = entry["bbox"]
        one = own.pop(entry["label"])
        assert one.mask.area == pytest.approx(entry["area"], abs=0 if entry["type"] == "mask" else 2)
        assert one.mask.box == pytest.approx((x, y, x + width, y + height), abs=0 if entry["type"] == "mask" else 1)
    assert own == {}
    assert labels.skipped == {"boxes without a mask": 1}
    assert (labels.images[0].name, labels.images[0].height, labels.images[0].width) == ("subset1/img1.png", 77, 102)


def test_open_images(folder) -> None:
    labels = read(folder("open_images"), "open_images")
    assert seen(labels) == Counter({("b", "Generic label #0", 4, 0.0, 0.0, 2.0, 2.0): 1})
    assert labels.images[0].subset == "train"
