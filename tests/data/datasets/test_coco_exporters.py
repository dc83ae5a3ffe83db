"""COCO JSON as exporters write it: ids and sizes as text, crowds, boxes and polygons of other forms, other encodings."""

import gzip

import pytest
from tiny_data import HEIGHT, WIDTH, block, coco_content, write_coco, write_jpeg

from ppdet_ext.data.datasets import CocoJsonDataSet
from ppdet_ext.data.formats.coco_annotations import segmentation_mask
from ppdet_ext.errors import UserError
from ppdet_ext.structures import Rle


def opened(folder, **options) -> CocoJsonDataSet:
    return CocoJsonDataSet(str(folder), "instances.json", "images", **options).load()


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
