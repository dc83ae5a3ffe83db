"""COCO's JSON, image folders, and what can be wrong with them."""

import gzip
import logging

import numpy as np
import ppdet.data.source
import pytest
import yaml
from PIL import Image
from pycocotools import mask as mask_utils
from pycocotools.coco import COCO
from tiny_data import HEIGHT, WIDTH, block, coco_content, write_coco, write_jpeg

from ppdet_ext.data.datasets import CocoJsonDataSet, ImageFolder
from ppdet_ext.data.formats.coco_annotations import segmentation_mask
from ppdet_ext.data.loading import build_loader
from ppdet_ext.errors import UserError
from ppdet_ext.structures import Rle


def opened(folder, **options) -> CocoJsonDataSet:
    return CocoJsonDataSet(str(folder), "instances.json", "images", **options).load()


def test_all_kinds_of_segmentation(coco):
    dataset = opened(coco, check_images="header")
    assert (dataset.class_names, dataset.category_ids, dataset.num_classes) == (["early", "late"], [3, 90], 2)
    first, second = dataset.records
    assert (first.im_id, first.name, first.height, first.width) == (7, "a.jpg", HEIGHT, WIDTH)
    assert first.labels.tolist() == [1, 0, 0]
    assert first.crowd.tolist() == [False, False, True]
    assert [mask.area for mask in first.masks] == [100, 36, 14 * HEIGHT]
    assert first.masks[0] == block(5, 5, 10, 10)
    np.testing.assert_array_equal(first.boxes, [[5, 5, 15, 15], [30, 4, 36, 10], [50, 0, 64, 32]])
    assert second.masks == []
    assert second.boxes.shape == (0, 4)


def test_images_without_objects_stay_by_choice(coco):
    assert [r.im_id for r in opened(coco, allow_empty=False).records] == [7]
    content = coco_content()
    content["annotations"] = content["annotations"][2:]
    write_coco(coco, content)
    with pytest.raises(UserError, match="no image is left"):
        opened(coco, allow_empty=False)
    assert len(opened(coco)) == 2


def test_boxes_are_clipped_and_degenerate_annotations_reported(coco, caplog):
    content = coco_content()
    base = content["annotations"][0]
    content["annotations"] = [
        base | {"id": 1, "bbox": [-5, -2, 20, 20], "segmentation": [[-5, -2, 15, -2, 15, 18, -5, 18]]},
        base | {"id": 2, "segmentation": [[5, 5, 9, 9]]},
        base | {"id": 3, "segmentation": [[70, 5, 80, 5, 80, 9], []]},
        base | {"id": 5, "segmentation": [[70, 5, 80, 5, 80, 9]]},
    ]
    write_coco(coco, content)
    with caplog.at_level(logging.WARNING, "ppdet_ext"):
        record = opened(coco).records[0]
    np.testing.assert_array_equal(record.boxes, [[0, 0, 15, 18]])
    assert "3 annotations without area" in caplog.text
    for number in (2, 3, 5):
        assert f"id {number} (image 7" in caplog.text


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"bbox": [1, 2, 3]}, "id 1: bbox"),
        ({"bbox": [float("nan")] * 4}, r"id 1: bbox \[nan.* is not finite"),
        ({"bbox": [1, 2, float("inf"), 3]}, r"id 1: bbox .*inf.* is not finite"),
        ({"bbox": "5 5 10 10"}, "id 1: bbox '5 5 10 10' is not"),
        ({"iscrowd": "perhaps"}, "id 1: iscrowd 'perhaps' is neither 0 nor 1"),
        ({"iscrowd": 2}, "id 1: iscrowd '2' is neither 0 nor 1"),
        ({"segmentation": "[[5, 5, 15, 5, 15, 15]]"}, "id 1: segmentation .* is a text; COCO wants a list of polygons"),
        ({"segmentation": [5, 5, 15, None, 15, 15]}, "id 1: polygon 0 has the coordinate null"),
        ({"segmentation": [["a", 5, 15, 5, 15, 15]]}, "id 1: polygon 0 has the coordinate 'a'"),
        ({"segmentation": [{"x": 1}]}, "id 1: polygon 0 is an object"),
        ({"segmentation": [[0.1, 0.1, 0.4, 0.1, 0.4, 0.5]]}, "id 1: all its coordinates lie between 0 and 1, as fractions"),
        ({"image_id": [7]}, r"image that is not listed: id 1 of \[7\]"),
        ({"category_id": {}}, r"unknown category: id 1 of \{\}"),
        ({"segmentation": [[1, 2, 3]]}, "id 1"),
        ({"segmentation": {"size": [HEIGHT, WIDTH], "counts": [5, 7]}}, "id 1: not a COCO RLE"),
        ({"segmentation": {"counts": [5]}}, "id 1: not a COCO RLE"),
        ({"segmentation": {"size": [10, 10], "counts": [40, 10, 50]}}, "10x10, its image 32x64"),
        ({"image_id": 55}, "image that is not listed: id 1 of 55"),
        ({"category_id": 4}, "unknown category: id 1 of 4"),
    ],
)
def test_malformed_annotations_are_named(coco, change, message, caplog):
    content = coco_content()
    content["annotations"][0].update(change)
    write_coco(coco, content)
    with pytest.raises(UserError, match=rf"instances\.json has faults[\s\S]*{message}"):
        opened(coco)
    with caplog.at_level(logging.WARNING, "ppdet_ext"):
        dataset = opened(coco, on_error="skip")
    # What is left of an image's annotations would call its other objects background.
    left = [7, 9] if "not listed" in message else [9]
    assert [record.im_id for record in dataset.records] == left
    assert "skipped" in caplog.text
    assert ("1 image left out, since what is left" in caplog.text) == (left == [9])


def test_some_annotations_without_segmentation_are_faults(coco, caplog):
    for nothing in ({"segmentation": None}, {"segmentation": []}, {}):
        content = coco_content()
        del content["annotations"][1]["segmentation"]
        content["annotations"][1].update(nothing)
        write_coco(coco, content)
        with pytest.raises(UserError, match=r"1 annotation without a segmentation.*: id 2 \(image 7\)[\s\S]*on_error: skip"):
            opened(coco)
        assert [record.im_id for record in opened(coco, on_error="skip").records] == [9]
    assert "id 2 (image 7)" in caplog.text


def test_a_file_of_boxes_alone_gets_rectangles_and_a_warning(coco, caplog):
    content = coco_content()
    for item in content["annotations"]:
        del item["segmentation"]
    content["annotations"][1]["bbox"] = [63.6, 31.7, 5, 5]
    write_coco(coco, content)
    record = opened(coco).records[0]
    assert record.masks == [block(5, 5, 10, 10), block(31, 63, 1, 1), block(0, 50, HEIGHT, 14)]
    np.testing.assert_allclose(record.boxes[1], [63.6, 31.7, WIDTH, HEIGHT])
    assert caplog.text.count("none of the 3 annotations has a segmentation") == 1


def test_areas_are_those_of_the_file(coco):
    content = coco_content()
    content["annotations"][0]["area"] = 77.5
    del content["annotations"][1]["area"]
    write_coco(coco, content)
    assert opened(coco).records[0].areas.tolist() == [77.5, 36, 448]
    for wrong in ("twelve", -1, float("nan")):
        content["annotations"][0]["area"] = wrong
        write_coco(coco, content)
        with pytest.raises(UserError, match=r"id 1: area .* is not a number of pixels"):
            opened(coco)


def test_images_without_annotations_are_there_to_predict_on(coco, caplog):
    content = coco_content()
    del content["annotations"]
    write_coco(coco, content)
    with caplog.at_level(logging.INFO, "ppdet_ext"):
        dataset = opened(coco, allow_empty=False)
    assert [record.im_id for record in dataset.records] == [7, 9]
    assert not dataset.annotated
    assert "2 images without annotations" in caplog.text
    with pytest.raises(UserError, match="no annotations to train on"):
        build_loader(dataset, {"sample_transforms": [{"ReadImage": {}}, {"NormalizeToCHW": {}}]}, mode="train")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"height": None}, "height is missing"),
        ({"width": None, "file_name": None}, "file_name, width is missing"),
        ({"id": None}, "id is missing"),
        ({"height": "tall"}, "height 'tall'"),
        ({"width": 0}, "width 0"),
        ({"file_name": 3}, "file_name a text"),
    ],
)
def test_incomplete_image_entries_are_named(coco, change, message):
    content = coco_content()
    content["images"][1].update(change)
    content["images"][1] = {key: value for key, value in content["images"][1].items() if value is not None}
    write_coco(coco, content)
    with pytest.raises(UserError, match=rf"1 image of the file that cannot be used: entry 1 .*{message}"):
        opened(coco)
    assert [record.im_id for record in opened(coco, on_error="skip").records] == [7]


def test_incomplete_categories_are_named(coco):
    for categories, message in (([{"id": 3}], "entry 0 of categories"), ([{"id": 3, "name": "x"}] * 2, "id 3 is used twice")):
        write_coco(coco, coco_content() | {"categories": categories})
        with pytest.raises(UserError, match=message):
            opened(coco)


def test_faulty_images_are_named(coco):
    content = coco_content()
    content["images"] += [content["images"][0], {"id": 10, "file_name": "gone.jpg", "height": 1, "width": 1}]
    write_coco(coco, content)
    with pytest.raises(UserError) as caught:
        opened(coco)
    assert "1 image listed twice under one id: id 7 (a.jpg)" in str(caught.value)
    assert "missing on disk: gone.jpg" in str(caught.value)
    write_jpeg(coco / "images" / "gone.jpg", 5, 6)
    assert len(opened(coco, on_error="skip", check_images="exists")) == 3
    with pytest.raises(UserError, match=r"gone\.jpg is 5x6, annotated 1x1"):
        opened(coco, check_images="header")


def test_an_exif_rotation_either_way_is_no_contradiction(coco):
    exif = Image.Exif()
    exif[0x0112] = 6
    write_jpeg(coco / "images" / "b.jpg", exif=exif)
    assert len(opened(coco, check_images="header")) == 2
    content = coco_content()
    content["images"][1].update(height=WIDTH, width=HEIGHT)
    write_coco(coco, content)
    assert len(opened(coco, check_images="header")) == 2


def test_bad_files_are_named(coco):
    for text, message in (("", "not a JSON file"), ('{"images": []}', "categories is missing")):
        (coco / "instances.json").write_text(text)
        with pytest.raises(UserError, match=rf"instances\.json.*{message}"):
            opened(coco)
    with pytest.raises(UserError, match=r"nowhere\.json does not exist"):
        CocoJsonDataSet(str(coco), "nowhere.json", "images").load()
    write_coco(coco, coco_content())
    with pytest.raises(UserError, match=r"image folder .* does not exist"):
        CocoJsonDataSet(str(coco), "instances.json", "pictures").load()


def test_label_maps_are_found_beside_the_images(coco):
    (coco / "maps").mkdir()
    record = opened(coco, semantic_dir="maps").records[0]
    assert record.semantic_file == str(coco / "maps" / "a.png")
    assert opened(coco).records[0].semantic_file is None
    with pytest.raises(UserError, match=r"label maps .*pictures does not exist; .* semantic_dir .*README"):
        opened(coco, semantic_dir="pictures")


def test_yaml_restores_it():
    dataset = yaml.load("!CocoJsonDataSet {dataset_dir: there, image_dir: val2017}", Loader=yaml.Loader)
    again = yaml.load(yaml.dump(dataset), Loader=yaml.Loader)
    assert (again.dataset_dir, again.image_dir, again.anno_path) == ("there", "val2017", dataset.anno_path)
    assert ppdet.data.source.CocoJsonDataSet is CocoJsonDataSet


def test_an_empty_segmentation_is_an_empty_mask():
    for nothing in (None, [], {}):
        assert segmentation_mask(nothing, 4, 5) == Rle.empty(4, 5)


def test_run_lengths_along_the_rows_are_never_taken_for_cocos():
    along = {"encoding": "rle-row-major-zero-first", "size": [2, 4], "counts": [1, 2, 3, 1, 1]}
    np.testing.assert_array_equal(segmentation_mask(along, 2, 4).to_bitmap(), [[0, 1, 1, 0], [0, 0, 1, 0]])
    down = {"size": [2, 4], "counts": [2, 1, 1, 2, 2]}
    for own in ({}, {"encoding": "rle"}, {"encoding": "COCO"}):
        assert segmentation_mask(down | own, 2, 4) == segmentation_mask(along, 2, 4)
    for change, message in (
        ({"encoding": "rle-row-major"}, "encoding 'rle-row-major' is not known \\(known: rle, coco, coco_rle,"),
        ({"size": 8}, "size 8 is not \\[height, width\\]"),
        ({"counts": [1, 2]}, "not a COCO RLE"),
    ):
        with pytest.raises(UserError, match=message):
            segmentation_mask(along | change, 2, 4)


@pytest.mark.parametrize("text", [True, False])
def test_row_major_run_lengths_are_told_without_a_word_of_the_file(coco, text):
    """The commonest slip: counts of mask.ravel(), or encode() of a transposed mask under the size of the right one."""
    content = coco_content()
    mask = Rle.full(12, 20).place(5, 8, HEIGHT, WIDTH)
    wrong = Rle(HEIGHT, WIDTH, mask.transpose().counts)
    coded = wrong.to_coco(text=True) if text else {"size": [HEIGHT, WIDTH], "counts": np.diff([0, *edges_of(wrong)]).tolist()}
    x1, y1, x2, y2 = map(float, wrong.box)
    content["annotations"] = content["annotations"][:1]
    content["annotations"][0] |= {"segmentation": coded, "bbox": [x1, y1, x2 - x1, y2 - y1]}
    write_coco(coco, content)
    message = r"look row-major, where COCO's go down the columns: read so, 1 of 1 mask .*32x64.*\"rle-row-major-zero-first\""
    with pytest.raises(UserError, match=message):
        opened(coco, on_error="skip")
    content["annotations"][0]["segmentation"] = coded | {"encoding": "coco"}
    write_coco(coco, content)
    assert opened(coco).records[0].masks[0] == wrong
    content["annotations"][0] |= {"segmentation": coded | {"encoding": "rle-row-major-zero-first"}, "bbox": [8, 5, 20, 12]}
    write_coco(coco, content)
    assert opened(coco).records[0].masks[0] == mask


def edges_of(mask: Rle) -> list[int]:
    starts, lengths = mask.runs()
    return [*np.stack([starts, starts + lengths], 1).ravel().tolist(), mask.height * mask.width]


def test_real_annotations_equal_pycocotools(shared):
    folder = shared / "data/coco_mini"
    path = folder / "annotations/instances_train2017.json"
    dataset = CocoJsonDataSet(str(folder), check_images="header").load()
    api = COCO(str(path))
    assert len(dataset) == 50
    assert dataset.category_ids == sorted(api.getCatIds())
    assert sum(int(record.crowd.sum()) for record in dataset.records) == 5
    assert sum(len(record.masks) == 0 for record in dataset.records) == 1
    seen = 0
    for record in dataset.records:
        items = api.loadAnns(api.getAnnIds(record.im_id))
        assert len(items) == len(record.masks)
        for item, mask, label in zip(items, record.masks, record.labels):
            np.testing.assert_array_equal(mask.to_bitmap(), mask_utils.decode(api.annToRLE(item)))
            assert dataset.category_ids[label] == item["category_id"]
            seen += 1
    assert seen == 470


def test_image_folder_lists_pictures_by_name(tmp_path):
    for name in ("b.jpg", "a.JPG", "c.png"):
        write_jpeg(tmp_path / name.replace(".png", ".jpg"), 10, 12).rename(tmp_path / name)
    (tmp_path / "notes.txt").write_text("x")
    folder = ImageFolder(str(tmp_path), ["one", "two"])
    assert [record.name for record in folder.records] == ["a.JPG", "b.jpg", "c.png"]
    assert [(record.im_id, record.height, record.width) for record in folder.records] == [(i, 10, 12) for i in range(3)]
    assert (folder.num_classes, folder.category_ids) == (2, [1, 2])
    chosen = ImageFolder([str(tmp_path / "b.jpg"), tmp_path / "a.JPG"])
    assert [record.name for record in chosen.records] == ["b.jpg", "a.JPG"]
    assert len(ImageFolder(str(tmp_path / "b.jpg"))) == 1


def test_image_folder_without_pictures(tmp_path):
    for images, message in (
        (str(tmp_path), "no picture there"),
        ([], "no picture there"),
        (str(tmp_path / "x"), "no such picture or folder"),
        ([str(tmp_path / "x.jpg")], r"x\.jpg"),
    ):
        with pytest.raises(UserError, match=message):
            ImageFolder(images).load()
    (tmp_path / "bad.jpg").write_text("[]")
    with pytest.raises(UserError, match=r"bad\.jpg"):
        ImageFolder(str(tmp_path)).load()


def test_pictures_in_sub_folders_are_counted_never_silently_passed_over(tmp_path, caplog):
    for folder in ("one", "two/three", ".hidden"):
        (tmp_path / folder).mkdir(parents=True)
        write_jpeg(tmp_path / folder / "a.jpg")
    with pytest.raises(
        UserError, match=r"no picture there \(.*\)\. 2 pictures in 2 sub-folders are not used \(one, two/three\)\."
    ):
        ImageFolder(str(tmp_path)).load()
    write_jpeg(tmp_path / "b.jpg")
    assert [record.name for record in ImageFolder(str(tmp_path)).records] == ["b.jpg"]
    assert "2 pictures in 2 sub-folders are not used (one, two/three)" in caplog.text
    assert len(ImageFolder(str(tmp_path / "one")).records) == 1


def test_a_byte_order_mark_is_harmless(coco):
    expected = [record.name for record in opened(coco).records]
    path = coco / "instances.json"
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert [record.name for record in opened(coco).records] == expected


def test_ids_that_no_array_holds_are_named(coco):
    content = coco_content()
    content["images"].append({"id": 1 << 63, "file_name": "b.jpg", "height": 1, "width": 1})
    write_coco(coco, content)
    with pytest.raises(UserError, match=r"1 image of the file that cannot be used: .*id must be below 2\^63"):
        opened(coco)


def test_a_picture_under_two_ids_is_a_warning(coco, caplog):
    content = coco_content()
    content["images"].append({**content["images"][0], "id": 99})
    write_coco(coco, content)
    opened(coco)
    assert "1 file name listed under several ids, so that none has all annotations of its picture: a.jpg (7, 99)" in caplog.text


def test_ids_and_areas_written_as_text_are_read_as_numbers(coco):
    expected = opened(coco).records
    content = coco_content()
    for image in content["images"]:
        image["id"] = str(image["id"])
    for item in content["annotations"]:
        item.update(image_id=str(item["image_id"]), category_id=str(item["category_id"]), area="12.5")
    for category in content["categories"]:
        category["id"] = str(category["id"])
    write_coco(coco, content)
    found = opened(coco).records
    assert [record.im_id for record in found] == [record.im_id for record in expected]
    for one, other in zip(found, expected):
        assert one.labels.tolist() == other.labels.tolist()
    assert set(found[0].areas.tolist()) == {12.5}
    content["annotations"][0]["image_id"] = "seven"
    write_coco(coco, content)
    with pytest.raises(UserError, match=r"1 annotation of an image that is not listed: id .* of seven"):
        opened(coco)


@pytest.mark.parametrize(
    ("written", "there", "hint"),
    [
        ("img_1.jpg", "img_1.JPG", "img_1.JPG"),
        ("my%20photo.jpg", "my photo.jpg", "my photo.jpg"),
        ("val\\c.jpg", "c.jpg", "c.jpg"),
        ("caf\u00e9.jpg", "cafe\u0301.jpg", "cafe\u0301.jpg, the same name in another Unicode form"),
    ],
)
def test_of_a_missing_picture_the_file_of_nearly_its_name_is_named(coco, written, there, hint):
    content = coco_content()
    content["images"].append({"id": 99, "file_name": written, "height": HEIGHT, "width": WIDTH})
    write_coco(coco, content)
    write_jpeg(coco / "images" / there)
    with pytest.raises(UserError) as caught:
        opened(coco)
    assert f"missing on disk: {written} (there is {hint})" in str(caught.value)


SHAPES = {
    "one flat polygon": [5, 5, 15, 5, 15, 15, 5, 15],
    "one of points": [[5, 5], [15, 5], [15, 15], [5, 15]],
    "several of points": [[[5, 5], [15, 5], [15, 15], [5, 15]]],
    "numbers as text": [["5", "5", "15", "5.0", "15", "15", "5", "15"]],
    "with an empty part": [[], [5, 5, 15, 5, 15, 15, 5, 15]],
    "with a null part": [[5, 5, 15, 5, 15, 15, 5, 15], None],
    "with a point and a line": [[5, 5, 15, 5, 15, 15, 5, 15], [20, 20], [20, 20, 22, 22]],
}


@pytest.mark.parametrize("shape", SHAPES)
def test_polygons_are_read_however_they_are_nested(coco, shape):
    content = coco_content()
    content["annotations"][0]["segmentation"] = SHAPES[shape]
    write_coco(coco, content)
    assert opened(coco).records[0].masks[0] == block(5, 5, 10, 10)


def test_a_triangle_of_points_is_no_list_of_polygons():
    triangle = [[1.0, 1.0], [9.0, 1.0], [9.0, 9.0]]
    assert segmentation_mask(triangle, 12, 12) == Rle.from_polygons([[1, 1, 9, 1, 9, 9]], 12, 12)


@pytest.mark.parametrize("nothing", [[[]], [None], [[], []]])
def test_an_empty_polygon_is_no_segmentation(coco, nothing, caplog):
    content = coco_content()
    for item in content["annotations"]:
        item["segmentation"] = nothing
    write_coco(coco, content)
    assert len(opened(coco).records[0].masks) == 3
    assert "none of the 3 annotations has a segmentation" in caplog.text


@pytest.mark.parametrize("value", ["0", "False", "false", "", " 0 ", 0.0, False, None])
def test_what_says_no_crowd_is_none(coco, value):
    content = coco_content()
    for item in content["annotations"]:
        item["iscrowd"] = value
    write_coco(coco, content)
    assert not opened(coco).records[0].crowd.any()


@pytest.mark.parametrize("value", ["1", "True", 1, 1.0, True])
def test_what_says_crowd_is_one_unless_crowds_are_objects(coco, value, caplog):
    content = coco_content()
    for item in content["annotations"]:
        item["iscrowd"] = value
    write_coco(coco, content)
    assert opened(coco).records[0].crowd.all()
    assert "3 of 3 annotations are crowds (iscrowd 1)" in caplog.text
    assert "set `crowds: objects`" in caplog.text
    caplog.clear()
    assert not opened(coco, crowds="objects").records[0].crowd.any()
    assert "crowds (iscrowd 1)" not in caplog.text
    with pytest.raises(UserError, match="Did you mean 'objects'"):
        opened(coco, crowds="object")


NOT_BOXES = {
    "x1 y1 x2 y2": lambda x, y, w, h: [x, y, x + w, y + h],
    "centre x, centre y, width, height": lambda x, y, w, h: [x + w / 2, y + h / 2, w, h],
    "y, x, height, width": lambda x, y, w, h: [y, x, h, w],
    "y1 x1 y2 x2": lambda x, y, w, h: [y, x, y + h, x + w],
    "fractions of the picture": lambda x, y, w, h: [x / WIDTH, y / HEIGHT, w / WIDTH, h / HEIGHT],
    "fractions, from the centre": lambda x, y, w, h: [(x + w / 2) / WIDTH, (y + h / 2) / HEIGHT, w / WIDTH, h / HEIGHT],
}


@pytest.mark.parametrize("meant", NOT_BOXES)
def test_boxes_of_another_form_give_way_to_those_of_the_masks(coco, meant, caplog):
    content = coco_content()
    item = content["annotations"][0]
    places = [(3, 2), (20, 4), (40, 16), (9, 20)]
    content["annotations"] = []
    for number, (x, y) in enumerate(places):
        polygon = [x, y, x + 14, y, x + 14, y + 6, x, y + 6]
        content["annotations"].append(item | {"id": number, "segmentation": [polygon], "bbox": NOT_BOXES[meant](x, y, 14, 6)})
    write_coco(coco, content)
    record = opened(coco).records[0]
    assert record.boxes.tolist() == [[x, y, x + 14, y + 6] for x, y in places]
    assert f"they read like {meant})" in caplog.text
    assert "that do not fit the mask" in caplog.text


@pytest.mark.parametrize("bbox", [[0, 0, 0, 0], [], None, "absent", [500, 500, 20, 20], [5, 5, 0, 10], [5, 5, -10, -10]])
def test_a_mask_gives_the_box_that_is_missing(coco, bbox, caplog):
    content = coco_content()
    content["annotations"][0]["bbox"] = bbox
    if bbox == "absent":
        del content["annotations"][0]["bbox"]
    write_coco(coco, content)
    assert opened(coco).records[0].boxes[0].tolist() == [5, 5, 15, 15]
    assert "1 annotation without a bbox of their mask" in caplog.text
    assert ": id 1. The boxes of the masks are taken" in caplog.text


def test_so_few_odd_boxes_as_coco_has_stay(coco, caplog):
    content = coco_content()
    base = content["annotations"][0]
    many = [base | {"id": n, "segmentation": [[n % 40, 5, n % 40 + 10, 5, n % 40 + 10, 6 + n // 40]]} for n in range(200)]
    for item in many:
        mask = segmentation_mask(item["segmentation"], HEIGHT, WIDTH)
        x1, y1, x2, y2 = mask.box
        item["bbox"] = [x1, y1, x2 - x1, y2 - y1]
    many[17]["bbox"] = [0, 0, 64, 32]
    content["annotations"] = many
    write_coco(coco, content)
    assert opened(coco).records[0].boxes[17].tolist() == [0, 0, 64, 32]
    assert "1 bbox of 200 that does not fit the mask" in caplog.text
    assert "They stay, as so few are" in caplog.text


def test_annotations_listed_twice_count_once(coco, caplog):
    expected = opened(coco).records[0]
    content = coco_content()
    content["annotations"] += [item | {"id": item["id"] + 100} for item in content["annotations"]]
    write_coco(coco, content)
    found = opened(coco).records[0]
    assert found.masks == expected.masks
    assert found.labels.tolist() == expected.labels.tolist()
    assert "3 annotations of the same image, class and mask as another one: id 101 repeats id 1; " in caplog.text
    assert "left out" in caplog.text


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"annotations": {"1": {}}}, "annotations is an object, a list is expected"),
        ({"images": None}, "the section images is missing"),
        ({"categories": None}, "the section categories is missing"),
        ({"categories": "a, b"}, "categories is a str, a list is expected"),
        ({"categories": []}, "categories is empty, so nothing tells what the annotations are"),
        ({"annotations": [None, 3]}, r"2 annotations given as null or a plain value: entry 0 \(null\); entry 1 \(3\)"),
    ],
)
def test_sections_of_another_shape_are_named(coco, change, message):
    write_coco(coco, coco_content() | change)
    with pytest.raises(UserError, match=rf"instances\.json[\s\S]*{message}"):
        opened(coco)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32", "utf-8-sig"])
def test_json_in_other_unicode_encodings(coco, encoding):
    path = coco / "instances.json"
    text = path.read_text().replace("early", "fr\u00fch")
    path.write_text(text, encoding=encoding)
    assert opened(coco).class_names == ["fr\u00fch", "late"]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (gzip.compress(b"{}", mtime=0), r"is packed by gzip\. Unpack it"),
        (b"PK\x03\x04abc", "is a ZIP archive"),
        (b"Rar!\x1a\x07", "is a RAR archive"),
        (b"\x80\x04\x95", "is a pickle of Python"),
        (b"<?xml version='1.0'?><annotations/>", "is XML, another format"),
        ('{"images": []}'.encode("utf-16-le"), "holds zero bytes, as binary files and UTF-16 without a mark do"),
        (b'{"images": [], "categories": [', "not a JSON file .*Its end is missing: fetch it again"),
        (b'{"images": [], "categories": [],}', "not a JSON file .*Correct it, or export it anew"),
        (b"[]", r"the sections images and categories are missing or null \(it holds a list\)"),
        (b"version https://git-lfs.github.com/spec/v1\noid", "is a Git LFS pointer.*git lfs pull"),
        (b"<!doctype HTML><html>", "is a web page"),
        ('{"images": "\u4f60\u597d"}'.encode("gbk"), "is not in UTF-8"),
    ],
)
def test_files_that_are_no_json_are_called_what_they_are(coco, data, message):
    (coco / "instances.json").write_bytes(data)
    with pytest.raises(UserError, match=rf"instances\.json: {message}"):
        opened(coco)


@pytest.mark.parametrize("write", [str, float])
def test_sizes_and_ids_written_otherwise_are_numbers(coco, write):
    content = coco_content()
    for image in content["images"]:
        image.update({key: write(image[key]) for key in ("id", "height", "width")})
    write_coco(coco, content)
    assert [(one.im_id, one.height, one.width) for one in opened(coco).records] == [(7, HEIGHT, WIDTH), (9, HEIGHT, WIDTH)]


@pytest.mark.parametrize("height", [31.5, 1e300, float("nan"), 1 << 31, -32])
def test_sizes_that_no_picture_has_are_named(coco, height):
    content = coco_content()
    content["images"][0]["height"] = height
    write_coco(coco, content)
    with pytest.raises(UserError, match=r"1 image of the file that cannot be used: entry 0 .*height"):
        opened(coco)


@pytest.mark.parametrize("number", [1.5, True, None, "early", 1 << 63, [3]])
def test_category_ids_are_whole_numbers(coco, number):
    content = coco_content()
    content["categories"][0]["id"] = number
    write_coco(coco, content)
    with pytest.raises(UserError, match=r"entry 0 of categories .* needs a whole number below 2\^63 as its id, and a name"):
        opened(coco)


def test_categories_of_one_name_are_warned_of(coco, caplog):
    content = coco_content()
    for category in content["categories"]:
        category["name"] = "same"
    write_coco(coco, content)
    opened(coco)
    assert "several categories are called same" in caplog.text


def test_an_area_of_zero_beside_a_mask_is_that_of_the_mask(coco):
    content = coco_content()
    content["annotations"][0]["area"] = 0
    write_coco(coco, content)
    assert opened(coco).records[0].areas[0] == 100


def test_parts_as_run_lengths_are_one_mask(coco):
    content = coco_content()
    content["annotations"][0]["segmentation"] = [block(5, 5, 10, 5).to_coco(text=True), block(5, 10, 10, 5).to_coco(text=True)]
    write_coco(coco, content)
    assert opened(coco).records[0].masks[0] == block(5, 5, 10, 10)


def test_a_missing_picture_is_named_as_the_file_names_it(coco):
    content = coco_content()
    content["images"][0]["file_name"] = "images/a.jpg"
    write_coco(coco, content)
    with pytest.raises(UserError, match=r"missing on disk: images/a\.jpg \(there is a\.jpg\)"):
        opened(coco)
