"""COCO's JSON as tools write it: crowds that are none, categories that are none, and what is wrong in it."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from ppdet_ext.data.labels.formats import read_labels
from ppdet_ext.data.labels.label_set import LabelSet
from ppdet_ext.errors import UserError
from ppdet_ext.structures import Rle

READ = Callable[..., LabelSet]
SQUARE = [[1, 1, 5, 1, 5, 5, 1, 5]]
CODED = {"size": [10, 20], "counts": [0, 10, 190]}


@pytest.fixture
def read(tmp_path: Path) -> READ:
    def one(annotations: list, name: str = "labels.json", **other: object) -> LabelSet:
        content = {
            "images": [{"id": 1, "file_name": "a.jpg", "height": 10, "width": 20}],
            "categories": [{"id": 1, "name": "car", "supercategory": ""}, {"id": 7, "name": "dog"}],
            "annotations": annotations,
            **other,
        }
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content))
        return read_labels([str(path)])

    return one


def item(segmentation: object, **other: object) -> dict:
    return {"id": 3, "image_id": 1, "category_id": 7, "bbox": [1, 1, 4, 4], "area": 99, "segmentation": segmentation, **other}


def test_polygons_keep_their_coordinates_and_the_files_area_is_not_used(read: READ) -> None:
    (one,) = read([item(SQUARE)]).images[0].objects
    assert (one.class_name, one.mask.area, one.crowd, one.polygons) == ("dog", 16, False, SQUARE)


@pytest.mark.parametrize("flag", [1, "1", True])
def test_masks_that_a_tool_marks_as_crowds_are_instances(read: READ, flag: object) -> None:
    tool = {"attributes": {"occluded": False}}
    labels = read([item(CODED, iscrowd=flag, **tool), item(SQUARE, iscrowd=0, **tool)])
    assert [one.crowd for one in labels.images[0].objects] == [False, False]
    assert "every RLE has iscrowd 1 (1): read as instances (CVAT writes it so)" in labels.notes


def test_a_file_of_crowds_alone_has_instances(read: READ) -> None:
    assert [one.crowd for one in read([item(CODED, iscrowd=1)]).images[0].objects] == [False]


def test_crowds_of_coco_stay_crowds(read: READ) -> None:
    labels = read([item(CODED, iscrowd=1), item(SQUARE, iscrowd=0)])
    assert [one.crowd for one in labels.images[0].objects] == [True, False]
    assert any("kept as crowds" in note for note in labels.notes)


def test_one_mask_that_is_no_crowd_tells_that_the_others_are(read: READ) -> None:
    other = {"size": [10, 20], "counts": [20, 10, 170]}
    labels = read([item(CODED, iscrowd=1), item(other, iscrowd="0")])
    assert [one.crowd for one in labels.images[0].objects] == [True, False]


def test_a_category_that_is_the_name_of_the_project_is_dropped(read: READ) -> None:
    categories = [
        {"id": 0, "name": "things", "supercategory": "none"},
        {"id": 1, "name": "car", "supercategory": "things"},
        {"id": 7, "name": "dog", "supercategory": "things"},
    ]
    assert read([item(SQUARE)], categories=categories).class_names == ["car", "dog"]
    assert read([item(SQUARE, category_id=0)], categories=categories).class_names == ["things", "car", "dog"]


def test_copies_of_one_photograph_are_a_group(read: READ) -> None:
    names = ["a_jpg.rf.0123.jpg", "a_jpg.rf.4567.jpg", "b.jpg"]
    images = [{"id": i, "file_name": name, "height": 10, "width": 20} for i, name in enumerate(names)]
    labels = read([item(SQUARE)], "valid/_annotations.coco.json", images=images)
    assert [(one.group, one.subset) for one in labels.images] == [("a_jpg", "val"), ("a_jpg", "val"), (None, "val")]


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (item([], bbox=[0, 0, 3, 3]), "boxes without a mask"),
        (item(None, bbox=None), "annotations without a segmentation"),
        (item([[1, 1, 2, 2]]), "polygons of fewer than three points"),
        (item([[1, 1, 2, 2, 3]]), "polygons with an odd number of coordinates"),
        (item([[1, 1, 2, 2, float("nan"), 4]]), "polygons with coordinates that are not finite"),
        (item([[1, 1, 2, 2, 1e30, 4]]), "polygons far outside of their picture"),
        (item([[0.1, 0.1, 0.9, 0.1, 0.9, 1.0]]), "polygons in fractions of their picture, where COCO counts pixels"),
        (item([[10.0 * (i % 2), 5.0] for i in range(400_000)]), "polygons whose outline is too long to be drawn"),
        (item([[1, 1, 2, 2, "x", 4]]), "polygons with coordinates that are no numbers"),
        (item([[100, 100, 110, 100, 110, 110]]), "empty masks"),
        (item("mask.png"), "segmentations that are neither polygons nor run lengths"),
        (item([[1, 2], {"x": 1}]), "segmentations that are neither polygons nor run lengths"),
        (item({"size": [9, 20], "counts": [0, 10, 170]}), "masks of another size than their picture"),
        (item({"size": [10, 20], "counts": [0, 10, 1000000000]}), "run lengths that do not fill their picture"),
        (item({"size": [10, 20], "counts": [0, -10, 210]}), "run lengths that are none"),
        (item({"size": [100000, 10000], "counts": [0, 1000000000]}), "masks of another size than their picture"),
        (item({"size": [10, 20], "counts": "~~~"}), "run lengths that are none"),
        (item({"counts": [200]}), "run lengths that are none"),
        (item({"size": [10, 20], "counts": [200]}), "empty masks"),
        (item(SQUARE, image_id=8), "annotations of an image that is not listed"),
        (item(SQUARE, image_id=[1]), "annotations of an image that is not listed"),
        (item(SQUARE, category_id=1), "objects that repeat another one"),
    ],
)
def test_one_bad_annotation_is_counted_and_the_others_stay(read: READ, fault: dict, reason: str) -> None:
    labels = read([item(SQUARE, category_id=1), fault])
    assert labels.skipped == {reason: 1}
    assert len(labels.images[0].objects) == 1


def test_a_picture_with_an_object_of_an_unknown_category_is_left_out_with_a_warning(read: READ) -> None:
    images = [{"id": number, "file_name": f"{number}.jpg", "height": 10, "width": 20} for number in (1, 2)]
    labels = read([item(SQUARE), item(SQUARE, image_id=2), item(CODED, image_id=2, category_id=8)], images=images)
    assert labels.skipped == {"annotations of an unknown category": 1}
    assert [image.name for image in labels.images] == ["1.jpg"]
    assert "1 picture left out whole" in labels.warnings[0]
    assert "2.jpg" in labels.warnings[0]


def test_parts_without_an_area_do_not_cost_the_object(read: READ) -> None:
    labels = read([item([*SQUARE, [7, 7, 8, 8]])])
    assert labels.images[0].objects[0].polygons == SQUARE
    assert any("parts of fewer than three points left out" in note for note in labels.notes)


@pytest.mark.parametrize("shape", [SQUARE[0], [[[1, 1], [5, 1], [5, 5], [1, 5]]], [[1, 1], [5, 1], [5, 5], [1, 5]]])
def test_polygons_nested_otherwise(read: READ, shape: list) -> None:
    (one,) = read([item(shape)]).images[0].objects
    assert (one.mask.area, one.polygons) == (16, SQUARE)


def test_ids_written_as_text(read: READ) -> None:
    assert read([item(SQUARE, image_id="1", category_id="7")]).images[0].objects[0].class_name == "dog"


def test_one_picture_under_two_ids_has_all_objects(read: READ) -> None:
    images = [{"id": number, "file_name": "a.jpg", "height": 10, "width": 20} for number in (1, 2)]
    labels = read([item(SQUARE), item(CODED, image_id=2)], images=images)
    assert [len(one.objects) for one in labels.images] == [2]
    assert "1 record of pictures that others have named before: their objects were joined" in labels.notes
    images[1]["height"] = 11
    with pytest.raises(UserError, match=r"image 1: a\.jpg is 11x20 here and 10x20 before"):
        read([item(SQUARE)], images=images)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        ([{"id": 1}], "image 0: needs an id and a file_name"),
        (["a.jpg"], "image 0: needs an id and a file_name"),
        ([{"id": 1, "file_name": "../a.jpg", "height": 1, "width": 1}], "leads out of the folder of pictures"),
        ([{"id": 1, "file_name": "/a.jpg", "height": 1, "width": 1}], "is an absolute path"),
        ([{"id": 1, "file_name": "a.jpg", "height": 1.5, "width": 1}], "'1.5' is no height or width"),
        ([{"id": 1, "file_name": "a.jpg", "height": float("inf"), "width": 1}], "'inf' is no height or width"),
        ([{"id": 1, "file_name": "a.jpg"}], "no such picture in .*--images DIR"),
        ([{"id": 1, "file_name": f"{name}.jpg", "height": 9, "width": 9} for name in "ab"], "the id 1 is used twice"),
    ],
)
def test_pictures_that_cannot_be_used_end_the_import(read: READ, images: list, message: str) -> None:
    with pytest.raises(UserError, match=message):
        read([item(SQUARE)], images=images)


def test_eisegs_file_has_no_crowds_and_sizes_that_may_be_swapped(read: READ, tmp_path: Path) -> None:
    eiseg = {"info": "info", "licenses": "licenses", "images": [{"id": 1, "file_name": "a.png", "width": 10, "height": 20}]}
    annotation = {"id": 1, "image_id": 1, "category_id": 7, "segmentation": SQUARE, "area": 0, "bbox": [0, 0, 0, 0]}
    assert [(one.height, one.width) for one in read([annotation], **eiseg).images] == [(20, 10)]
    Image.new("L", (20, 10)).save(tmp_path / "a.png")
    labels = read([annotation], **eiseg)
    assert [(one.height, one.width, one.objects[0].mask.size) for one in labels.images] == [(10, 20, (10, 20))]
    assert any("height and width of pictures are swapped (EISeg)" in note for note in labels.notes)


def test_label_studios_export_without_brushes_says_what_to_do() -> None:
    path = Path(__file__).parents[2] / "fixtures" / "labels" / "label_studio" / "coco_export_of_brush.json"
    with pytest.raises(UserError, match="Label Studio's COCO export leaves out brush masks: export its JSON"):
        read_labels([str(path)])


def test_categories_of_several_files_are_joined_by_name(read: READ, tmp_path: Path) -> None:
    read([item(SQUARE)], "instances_train.json")
    read([item(SQUARE)], "instances_val.json", categories=[{"id": 7, "name": "cat"}])
    labels = read_labels([str(tmp_path)])
    assert labels.class_names == ["car", "dog", "cat"]
    assert [(one.name, one.subset, one.objects[0].class_name) for one in labels.images] == [
        ("train/a.jpg", "train", "dog"), ("val/a.jpg", "val", "cat"),
    ]  # fmt: skip


def test_run_lengths_along_the_rows_are_refused(tmp_path: Path) -> None:
    mask = Rle.full(12, 20).place(5, 8, 40, 90)
    coded = {"size": [40, 90], "counts": mask.transpose().to_coco(text=True)["counts"]}
    content = {
        "images": [{"id": 1, "file_name": "a.png", "height": 40, "width": 90}],
        "categories": [{"id": 1, "name": "dent"}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "segmentation": coded, "bbox": [0, 0, 1, 1]}],
    }
    (tmp_path / "mine.json").write_text(json.dumps(content))
    with pytest.raises(UserError, match=r"mine\.json: the run lengths look row-major"):
        read_labels([str(tmp_path / "mine.json")])
