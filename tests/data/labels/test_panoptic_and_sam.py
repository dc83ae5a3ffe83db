"""COCO's panoptic PNGs, and Segment Anything's files."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ppdet_ext.data.labels.formats import read_labels
from ppdet_ext.data.labels.label_set import LabelSet
from ppdet_ext.errors import UserError

READ = Callable[..., LabelSet]
CODED = {"size": [4, 5], "counts": [0, 3, 17]}


@pytest.fixture
def panoptic(tmp_path: Path) -> READ:
    def one(ids: np.ndarray, *segments: dict, file: str = "a.png", **saved: str) -> LabelSet:
        content = {
            "images": [{"id": 5, "file_name": "a.jpg", "height": 4, "width": 6}],
            "categories": [{"id": 1, "name": "car", "isthing": 1}, {"id": 2, "name": "sky", "isthing": 0}],
            "annotations": [{"image_id": 5, "file_name": file, "segments_info": list(segments)}],
        }
        (tmp_path / "labels.json").write_text(json.dumps(content))
        (tmp_path / "labels").mkdir(exist_ok=True)
        pixels = np.stack([ids % 256, ids // 256 % 256, ids // 65536], axis=-1).astype(np.uint8)
        Image.fromarray(pixels).save(tmp_path / "labels" / "a.png", **saved)
        return read_labels([str(tmp_path / "labels.json")])

    return one


def ids_of(height: int = 4, width: int = 6) -> np.ndarray:
    ids = np.zeros((height, width), np.int64)
    ids[:2, :3], ids[2:, 1] = 66051, 256
    return ids


def test_segments_are_colours_of_the_png(panoptic: READ) -> None:
    labels = panoptic(ids_of(), {"id": 66051, "category_id": 1, "iscrowd": 0}, {"id": 256, "category_id": 2, "iscrowd": 1})
    found = [(one.class_name, one.mask.area, one.crowd) for one in labels.images[0].objects]
    assert found == [("car", 6, False), ("sky", 2, True)]
    assert labels.class_names == ["car", "sky"]
    assert "classes of no things (isthing 0: sky): all pixels of a segment are one object" in labels.notes


def test_segments_and_regions_that_do_not_meet_are_counted(panoptic: READ) -> None:
    segments = [
        {"id": 66051, "category_id": 1},
        {"id": 9, "category_id": 1},
        {"category_id": 2},
    ]
    assert panoptic(ids_of(), *segments).skipped == {
        "segments whose id is not in the PNG": 2,
        "regions of the PNG without a segment": 1,
    }


def test_a_picture_with_a_segment_of_an_unknown_category_is_left_out(panoptic: READ) -> None:
    with pytest.raises(UserError, match="no object with a mask, only 1 segment of an unknown category"):
        panoptic(ids_of(), {"id": 66051, "category_id": 1}, {"id": 256, "category_id": 3})


def test_a_resized_png_is_refused(panoptic: READ) -> None:
    with pytest.raises(UserError, match=r"a.png: is 8x12, its picture 4x6 .*Resized masks have false ids|more than the 24"):
        panoptic(ids_of(8, 12), {"id": 66051, "category_id": 1})
    with pytest.raises(UserError, match=r"is 4x5|is 2x3, its picture 4x6"):
        panoptic(ids_of()[::2, ::2], {"id": 66051, "category_id": 1})


def test_a_png_that_was_cut_on_one_side_covers_the_rest_with_nothing(panoptic: READ) -> None:
    labels = panoptic(ids_of(4, 4), {"id": 66051, "category_id": 1})
    assert labels.images[0].objects[0].mask.box == (0, 0, 3, 2)
    assert any("covers 4x4 of 4x6" in note for note in labels.notes)


def test_a_lossy_file_is_refused(panoptic: READ) -> None:
    with pytest.raises(UserError, match=r"a\.png: not a PNG\. Other formats, JPEG above all, change the numbers"):
        panoptic(ids_of(), {"id": 66051, "category_id": 1}, format="JPEG")


@pytest.mark.parametrize(
    ("file", "message"), [("b.png", "the PNG b.png is not there"), ("../a.png", "leads out of the folder")]
)
def test_a_png_that_is_elsewhere(panoptic: READ, file: str, message: str) -> None:
    with pytest.raises(UserError, match=f"labels.json: annotation 0: .*{message}"):
        panoptic(ids_of(), {"id": 66051, "category_id": 1}, file=file)


def test_a_segment_without_a_pixel_is_no_object_of_its_picture(tmp_path: Path) -> None:
    for name, coded in (("a", CODED), ("b", {"size": [4, 5], "counts": [20]})):
        image = {"image_id": 1, "width": 5, "height": 4, "file_name": f"{name}.jpg"}
        (tmp_path / f"{name}.json").write_text(json.dumps({"image": image, "annotations": [{"id": 1, "segmentation": coded}]}))
    labels = read_labels([str(tmp_path)])
    assert [(image.name, len(image.objects)) for image in labels.images] == [("a.jpg", 1), ("b.jpg", 0)]
    assert labels.skipped == {"empty masks": 1}


def test_segment_anything_has_one_class(tmp_path: Path) -> None:
    image = {"image_id": 1, "width": 5, "height": 4, "file_name": "a.jpg"}
    annotations = [
        {"id": 1, "segmentation": CODED, "area": 3},
        {"id": 2, "segmentation": {"size": [5, 4], "counts": [0, 3, 17]}, "area": 3},
        {"id": 3, "segmentation": [[1, 1, 2, 2, 3, 3]]},
        {"id": 4, "segmentation": {"size": [40000, 40000], "counts": [1600000000]}, "area": 0},
    ]
    (tmp_path / "a.json").write_text(json.dumps({"image": image, "annotations": annotations}))
    labels = read_labels([str(tmp_path)])
    assert (labels.format, labels.class_names) == ("segment_anything", ["object"])
    assert [one.mask.area for one in labels.images[0].objects] == [3]
    assert labels.skipped == {
        "masks that are no run lengths of their picture's size": 1, "annotations without run lengths": 1, "empty masks": 1,
    }  # fmt: skip
