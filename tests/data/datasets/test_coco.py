"""COCO's JSON, image folders, and what can be wrong with them."""

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
