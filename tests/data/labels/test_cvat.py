"""CVAT's XML: masks row by row in a box, what has no mask, layers, groups, subsets, and damaged files."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ppdet_ext.data.labels.collector import Unusable
from ppdet_ext.data.labels.formats import read_labels
from ppdet_ext.data.labels.label_set import LabelSet
from ppdet_ext.data.labels.readers.cvat import box_mask
from ppdet_ext.errors import UserError

META = "<meta><task><labels><label><name>car</name></label><label><name>dog</name></label></labels></task></meta>"
MASK = '<mask label="car" rle="0, 4" left="1" top="1" width="2" height="2" z_order="0"/>'
READ = Callable[..., LabelSet]


@pytest.fixture
def read(tmp_path: Path) -> READ:
    def one(*images: str, meta: str = META) -> LabelSet:
        path = tmp_path / "annotations.xml"
        path.write_text(f"<annotations><version>1.1</version>{meta}{''.join(images)}</annotations>", encoding="utf-8")
        return read_labels([str(path)])

    return one


def image(*shapes: str, name: str = "a.jpg", more: str = "") -> str:
    return f'<image id="0" name="{name}" width="20" height="10" {more}>{"".join(shapes)}</image>'


def row_major(bitmap: np.ndarray) -> str:
    """Runs of a box as CVAT writes them, by the rule in words: row by row, background first."""
    runs, value = [0], 0
    for pixel in bitmap.ravel().tolist():
        if pixel != value:
            runs.append(0)
            value = pixel
        runs[-1] += 1
    return ", ".join(map(str, runs))


@given(*[st.integers(1, 9)] * 2, *[st.integers(0, 5)] * 2, st.integers(0, 1 << 32))
def test_masks_are_row_by_row_in_their_box(height: int, width: int, top: int, left: int, seed: int) -> None:
    bitmap = np.random.default_rng(seed).integers(0, 2, (height, width), np.uint8)
    attributes = {"rle": row_major(bitmap), "left": left, "top": top, "width": width, "height": height}
    mask = box_mask({key: str(value) for key, value in attributes.items()}, 15, 16)
    whole = np.zeros((15, 16), np.uint8)
    whole[top : top + height, left : left + width] = bitmap
    assert np.array_equal(mask.to_bitmap(), whole)


def test_masks_written_column_by_column_are_refused(read: READ) -> None:
    y, x = np.mgrid[:30, :60]
    bitmaps = [((x - 30) / 30) ** 2 + ((y - 15) / height) ** 2 < 1 for height in (8, 11, 14, 15)]

    def masks(turned: bool) -> list[str]:
        texts = [row_major(bitmap.T if turned else bitmap) for bitmap in bitmaps]
        return [f'<mask label="car" rle="{text}" left="0" top="0" width="60" height="30"/>' for text in texts]

    large = image(name="b.jpg").replace('width="20" height="10"', 'width="60" height="30"')
    assert len(read(large.replace("</image>", "".join(masks(False)) + "</image>")).images[0].objects) == 4
    with pytest.raises(UserError, match=r"annotations\.xml: the masks' run lengths look column-major, .* 4 of 4 masks"):
        read(large.replace("</image>", "".join(masks(True)) + "</image>"))


def test_a_box_that_leaves_the_picture_is_cut() -> None:
    mask = box_mask({"rle": "0, 6", "left": "-1", "top": "3", "width": "3", "height": "2"}, 4, 4)
    assert mask.area == 2
    assert mask.box == (0, 3, 2, 4)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"rle": "1, 2"}, "do not sum to width x height"),
        ({"rle": "4, 4, 9999999999"}, "do not sum to width x height"),
        ({"rle": "1; 3"}, "no list of run lengths"),
        ({"rle": ""}, "no list of run lengths"),
        ({"rle": "-1, 5"}, "no list of run lengths"),
        ({"left": "40"}, "box is not in their picture"),
        ({"width": "1000000000", "rle": "0, 2000000000"}, "box is not in their picture"),
        ({"width": "0"}, "box is not in their picture"),
        ({"width": "wide"}, "without left, top"),
        ({"top": "nan"}, "without left, top"),
        ({"height": "inf"}, "without left, top"),
    ],
)
def test_damaged_masks_are_named(change: dict[str, str], reason: str) -> None:
    attributes = {"rle": "0, 4", "left": "1", "top": "1", "width": "2", "height": "2"}
    assert box_mask(attributes, 10, 20).area == 4
    with pytest.raises(Unusable, match=reason):
        box_mask({**attributes, **change}, 10, 20)


def test_what_has_no_mask_is_counted_by_kind(read: READ) -> None:
    shapes = [
        '<box label="car" xtl="0" ytl="0" xbr="5" ybr="5"/>',
        '<box label="car" xtl="0" ytl="0" xbr="5" ybr="5" rotation="30.5"/>',
        '<ellipse label="car" cx="5" cy="5" rx="2" ry="2"/>',
        '<polyline label="car" points="0,0;1,1"/>',
        '<points label="car" points="0,0"/>',
        '<cuboid label="car" xtl1="0"/>',
        '<skeleton label="car"><points label="1" points="1,1"/></skeleton>',
        '<tag label="car"/>',
        '<polygon label="car" points="1,1;2,2"/>',
        '<polygon label="car" points="1,1;2,2;nan,3"/>',
        '<polygon label="cat" points="1,1;5,1;5,5"/>',
        '<mask label="car" rle="1, 2" left="0" top="0" width="2" height="2"/>',
        '<mask label="car" rle="4" left="0" top="0" width="2" height="2"/>',
        MASK,
        MASK,
    ]
    labels = read(image(*shapes))
    assert labels.skipped == {
        "boxes without a mask": 1,
        "rotated boxes without a mask": 1,
        "ellipses": 1,
        "polylines": 1,
        "points": 1,
        "cuboids": 1,
        "skeletons": 1,
        "tags": 1,
        "polygons of fewer than three points": 1,
        "polygons with coordinates that are not finite": 1,
        "masks whose run lengths do not sum to width x height of their box": 1,
        "empty masks": 1,
        "objects that repeat another one": 1,
    }
    assert [one.class_name for one in labels.images[0].objects] == ["cat", "car"]
    assert labels.class_names == ["car", "dog", "cat"]
    (warning,) = labels.warnings
    assert "'cat' (1 shape) is not among the labels that it defines (meta): read as a class of its own" in warning
    assert "--rename 'cat=NAME'" in warning
    assert "skipped 1 ellipse: a.jpg, ellipse 2" in labels.notes


def test_only_boxes_end_with_a_message(read: READ) -> None:
    with pytest.raises(UserError, match=r"annotations.xml: no object with a mask, only 1 box without a mask\. Draw masks"):
        read(image('<box label="car" xtl="0" ytl="0" xbr="5" ybr="5"/>'))


def test_pictures_that_lost_all_objects_are_left_out_and_clean_ones_stay(read: READ) -> None:
    boxed = image('<box label="car" xtl="0" ytl="0" xbr="5" ybr="5"/>', name="boxed.jpg")
    labels = read(image(MASK), boxed, image('<tag label="car"/>', name="clean.jpg"), image(name="empty.jpg"))
    assert [one.name for one in labels.images] == ["a.jpg", "clean.jpg", "empty.jpg"]
    assert "1 picture left out that lost all objects: boxed.jpg" in labels.notes


def test_layers_keep_their_pixels_the_lowest_first(read: READ) -> None:
    over = '<polygon label="dog" points="0,0;10,0;10,10;0,10" z_order="3"/>'
    labels = read(image(over, MASK))
    assert [(one.class_name, one.mask.area) for one in labels.images[0].objects] == [("car", 4), ("dog", 100)]
    assert labels.images[0].objects[1].polygons == [[0, 0, 10, 0, 10, 10, 0, 10]]
    assert any(note.startswith("z_order: 1 picture with several layers") for note in labels.notes)


def test_groups_of_one_label_are_one_object(read: READ) -> None:
    left = '<mask label="car" group_id="5" rle="0, 1" left="0" top="0" width="1" height="1"/>'
    right = '<polygon label="car" group_id="5" points="10,0;14,0;14,4;10,4"/>'
    other = '<mask label="dog" group_id="5" rle="0, 1" left="3" top="3" width="1" height="1"/>'
    alone = '<mask label="car" group_id="0" rle="0, 1" left="7" top="7" width="1" height="1"/>'
    labels = read(image(left, right, other, alone))
    assert [(one.class_name, one.mask.area) for one in labels.images[0].objects] == [("car", 17), ("dog", 1), ("car", 1)]
    assert "group_id: 1 shape joined to an object of their group and label" in labels.notes


def test_a_name_in_several_subsets(read: READ) -> None:
    labels = read(image(MASK, more='subset="Train"'), image(MASK, more='subset="Validation"'), image(MASK, name="b.jpg"))
    assert [(one.name, one.subset) for one in labels.images] == [
        ("train/a.jpg", "train"),
        ("val/a.jpg", "val"),
        ("b.jpg", None),
    ]


def test_a_name_in_several_subsets_finds_the_picture_of_each(read: READ, tmp_path: Path) -> None:
    read(image(MASK, more='subset="Train"'), image(MASK, more='subset="Test"'))
    for subset in ("Train", "Test"):
        (tmp_path / "images" / subset).mkdir(parents=True)
        (tmp_path / "images" / subset / "a.jpg").write_bytes(b"")
    labels = read_labels([str(tmp_path / "annotations.xml")], images=str(tmp_path))
    files = [str(tmp_path / "images" / subset / "a.jpg") for subset in ("Train", "Test")]
    assert [one.file for one in labels.images] == files
    (tmp_path / "images" / "Test" / "a.jpg").unlink()
    with pytest.raises(UserError, match="2 subsets name this picture, and only one file is there"):
        read_labels([str(tmp_path / "annotations.xml")], images=str(tmp_path))


def test_two_tasks_with_one_name_are_refused(read: READ) -> None:
    with pytest.raises(UserError, match=r"two tasks have a picture a\.jpg"):
        read(image(MASK, more='task_id="1"'), image(MASK, more='task_id="2"'))


@pytest.mark.parametrize("name", ["../a.jpg", "/etc/a.jpg", "C:\\a.jpg", "x/../../a.jpg", ""])
def test_names_that_lead_elsewhere_are_refused(read: READ, name: str) -> None:
    with pytest.raises(UserError, match=r"annotations.xml: image 0: .*(name)"):
        read(image(MASK, name=name))


def test_a_size_that_is_none_is_refused(read: READ) -> None:
    with pytest.raises(UserError, match=r"image 0: '\?' is no height or width"):
        read(image(MASK).replace('width="20"', 'width="?"'))
    with pytest.raises(UserError, match="outside 1 to 65535"):
        read(image(MASK).replace('width="20"', 'width="1000000"'))
    with pytest.raises(UserError, match="60000x60000 pixels are more than"):
        read(image(MASK).replace('width="20" height="10"', 'width="60000" height="60000"'))


def test_tracks_are_refused(read: READ) -> None:
    with pytest.raises(UserError, match=r"tracks of a video.*Export the task as 'CVAT for images 1.1'"):
        read('<track id="0" label="car"><box frame="1"/></track>')


def test_a_file_without_definitions_has_the_labels_of_its_shapes(read: READ) -> None:
    assert read(image(MASK), meta="").class_names == ["car"]
