"""Mask PNGs: Pascal VOC's, CVAT's, our own, and Cityscapes'."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from label_files import PROPERTY, SMALL, areas, read, write_png, write_text

from ppdet_ext.data.labels.index_maps import colour_ids, placed_mask, regions_of, set_pixels
from ppdet_ext.errors import UserError

CLASSES = np.array([[1, 1, 0, 2, 2], [1, 1, 0, 0, 255], [0, 0, 0, 1, 1]])
OBJECTS = np.array([[1, 1, 0, 2, 2], [1, 1, 0, 0, 255], [0, 0, 0, 3, 3]])
NAMES = "_background_\npit\nscratch\n"


def voc(place: Path, classes: np.ndarray = CLASSES, objects: np.ndarray | None = OBJECTS, names: str | None = NAMES) -> Path:
    write_png(place / "SegmentationClass" / "a.png", classes, palette=classes.ndim == 2)
    if objects is not None:
        write_png(place / "SegmentationObject" / "a.png", objects, palette=objects.ndim == 2)
    if names is not None:
        write_text(place / "class_names.txt", names)
    return place


@PROPERTY
@given(pixels=SMALL)
def test_regions_are_the_pixels_of_each_value(pixels: np.ndarray) -> None:
    found = dict(regions_of(pixels))
    assert sorted(found) == [value for value in np.unique(pixels) if value]
    assert all(np.array_equal(mask.to_bitmap() > 0, pixels == value) for value, mask in found.items())


@PROPERTY
@given(pixels=SMALL, x=st.integers(-10, 10), y=st.integers(-10, 10))
def test_a_placed_mask_is_cut_at_the_border(pixels: np.ndarray, x: int, y: int) -> None:
    canvas = np.zeros((40, 40), bool)
    height, width = pixels.shape
    canvas[15 + y : 15 + y + height, 15 + x : 15 + x + width] = pixels > 0
    assert np.array_equal(placed_mask(pixels, x, y, 7, 8).to_bitmap() > 0, canvas[15:22, 15:23])


def test_what_is_set_in_a_picture_of_a_mask() -> None:
    opaque = np.dstack([CLASSES * 0, CLASSES * 0, CLASSES * 0, (CLASSES == 1) * 9])
    assert np.array_equal(set_pixels(opaque), CLASSES == 1)
    black_and_white = np.dstack([(CLASSES == 1) * 255] * 3 + [CLASSES * 0 + 255])
    assert np.array_equal(set_pixels(black_and_white), CLASSES == 1)
    assert np.array_equal(colour_ids(opaque + [0, 0, 3, 0]), (CLASSES == 1) * 3)


def test_index_and_not_colour_is_read(tmp_path: Path) -> None:
    labels = read(voc(tmp_path))
    assert areas(labels) == {"a.jpg": [("pit", 4), ("scratch", 2), ("pit", 2)]}
    assert labels.skipped == {"ignored regions (index 255)": 1}
    assert labels.class_names == ["pit", "scratch"]


def test_without_objects_each_region_is_one(tmp_path: Path) -> None:
    labels = read(voc(tmp_path, objects=None))
    assert areas(labels) == {"a.jpg": [("pit", 4), ("pit", 2), ("scratch", 2)]}
    assert any("each connected region of a class" in note for note in labels.notes)


def test_coloured_masks_of_cvat(tmp_path: Path) -> None:
    colours = np.array([[0, 0, 0], [51, 221, 255], [250, 50, 83]], np.uint8)
    classes = colours[np.minimum(CLASSES, 2)]
    classes[1, 4] = (224, 224, 192)
    objects = np.array([[0, 0, 0], [128, 0, 0], [0, 128, 0], [128, 128, 0]], np.uint8)[np.where(OBJECTS == 255, 0, OBJECTS)]
    voc(tmp_path, classes, objects, None)
    with pytest.raises(UserError, match=r"no labelmap\.txt"):
        read(tmp_path)
    write_text(
        tmp_path / "labelmap.txt",
        "# label:color_rgb:parts:actions\nbackground:0,0,0::\nscratch:250,50,83::\npit:51,221,255::\n",
    )
    write_text(tmp_path / "ImageSets" / "Segmentation" / "val.txt", "a\n")
    labels = read(tmp_path)
    assert sorted(areas(labels)["a.jpg"]) == [("pit", 2), ("pit", 4), ("scratch", 2)]
    assert (labels.class_names, labels.images[0].subset) == (["scratch", "pit"], "val")


def test_jpeg_masks_are_refused(tmp_path: Path) -> None:
    write_png(voc(tmp_path) / "SegmentationClass" / "b.jpg", CLASSES)
    with pytest.raises(UserError, match=r"b\.jpg: JPEG changes the numbers"):
        read(tmp_path)
    (tmp_path / "SegmentationClass" / "b.jpg").rename(tmp_path / "SegmentationClass" / "b.png")
    (tmp_path / "SegmentationClass" / "b.png").write_bytes(b"\xff\xd8\xff\xe0 no PNG at all, whatever its name is")
    with pytest.raises(UserError, match=r"b\.png: not a PNG"):
        read(tmp_path)


def test_pngs_that_do_not_belong_together_are_counted(tmp_path: Path) -> None:
    voc(tmp_path)
    for name in "bcd":
        write_png(tmp_path / "SegmentationClass" / f"{name}.png", CLASSES)
    write_png(tmp_path / "SegmentationObject" / "c.png", np.ones((2, 2)))
    write_png(tmp_path / "SegmentationObject" / "d.png", OBJECTS)
    write_png(tmp_path / "JPEGImages" / "d.png", np.ones((6, 10)))
    write_png(tmp_path / "JPEGImages" / "a.png", np.ones((3, 5)))
    labels = read(tmp_path)
    assert [(image.name, image.file) for image in labels.images] == [("a.png", str(tmp_path / "JPEGImages" / "a.png"))]
    assert labels.skipped == {
        "ignored regions (index 255)": 1, "masks of classes without one of objects": 1,
        "masks of objects of another size than those of classes": 1, "masks of another size than their picture": 1,
    }  # fmt: skip


def test_a_class_without_a_name_or_an_object_is_counted(tmp_path: Path) -> None:
    classes, objects = CLASSES.copy(), OBJECTS.copy()
    objects[0, 3:] = 0
    objects[2, 0] = 4
    objects[2, 3:] = 0
    voc(tmp_path, classes, objects)
    # What may be of any class is no background: its picture goes, too.
    for folder, pixels in (("SegmentationClass", np.where(CLASSES == 2, 9, CLASSES)), ("SegmentationObject", OBJECTS)):
        write_png(tmp_path / folder / "b.png", pixels)
    labels = read(tmp_path)
    assert areas(labels) == {"a.jpg": [("pit", 4)]}
    assert "1 picture left out whole" in labels.warnings[0]
    assert "b.jpg" in labels.warnings[0]
    assert labels.skipped == {
        "ignored regions (index 255)": 2, "regions of a class without an object": 1, "regions of a class without a name": 1,
        "objects without a class": 1,
    }  # fmt: skip


def test_names_of_classes(tmp_path: Path) -> None:
    unnamed = read(voc(tmp_path / "1", names=None))
    assert unnamed.class_names == ["class_1", "class_2"]
    assert any("class_names.txt" in note for note in unnamed.notes)
    assert read(voc(tmp_path / "2", names="pit\nscratch\n")).class_names == ["pit", "scratch"]
    (tmp_path / "3" / "JPEGImages").mkdir(parents=True)
    (tmp_path / "3" / "ImageSets").mkdir(parents=True)
    assert areas(read(voc(tmp_path / "3", names=None)))["a.jpg"][0] == ("aeroplane", 4)


def test_masks_of_0_and_255(tmp_path: Path) -> None:
    black_and_white = (CLASSES == 1) * 255
    labels = read(voc(tmp_path, black_and_white, None))
    assert areas(labels) == {"a.jpg": [("pit", 4), ("pit", 2)]}
    assert any("0 and 255" in note for note in labels.notes)
    # Resized with interpolation.
    write_png(tmp_path / "SegmentationClass" / "b.png", black_and_white)
    for number in range(60):
        write_png(tmp_path / "SegmentationClass" / f"c{number}.png", np.minimum(black_and_white, 250 if number == 59 else 255))
    with pytest.raises(UserError, match=r"c59\.png: has other values than 0 and 255"):
        read(tmp_path)


def test_plain_masks_beside_pictures(tmp_path: Path) -> None:
    for name in "ab":
        write_png(tmp_path / "pictures" / f"{name}.jpg", np.zeros((3, 5)))
        write_png(tmp_path / "masks" / f"{name}.png", np.dstack([(CLASSES == 1) * 255] * 3))
    labels = read(tmp_path)
    assert areas(labels) == {f"{name}.jpg": [("class_1", 4), ("class_1", 2)] for name in "ab"}
    assert labels.images[0].file == str(tmp_path / "pictures" / "a.jpg")
    assert sorted(labels.lost) == [str(tmp_path / "masks" / f"{name}.png") for name in "ab"]
    # Masks alone, in a folder of any name; classes are named beside or in it.
    write_text((tmp_path / "masks").rename(tmp_path / "painted") / "class_names.txt", NAMES)
    assert areas(read(tmp_path / "painted", images=tmp_path / "pictures"))["b.jpg"] == [("pit", 4), ("pit", 2)]
    # A mask is not its own picture; one called a_mask is that of a.
    assert [image.file for image in read(tmp_path / "painted").images] == [None, None]
    (tmp_path / "painted" / "a.png").rename(tmp_path / "painted" / "a_mask.png")
    assert list(areas(read(tmp_path / "painted", images=tmp_path / "pictures"))) == ["a.jpg", "b.jpg"]


def test_photographs_are_no_masks(tmp_path: Path) -> None:
    write_png(tmp_path / "a.png", np.arange(256).reshape(16, 16))
    with pytest.raises(UserError, match="1 picture and no labels"):
        read(tmp_path)


def city(place: Path, values: np.ndarray, name: str = "gtFine/train/aachen/aachen_0_1_gtFine_instanceIds.png") -> Path:
    write_png(place / name, values.astype(np.uint16))
    return place


VALUES = np.array([[26001, 26001, 26002, 26], [7, 7, 0, 24], [99, 1024, 7, 4]])


def test_cityscapes_things_groups_stuff_and_void(tmp_path: Path) -> None:
    write_png(tmp_path / "leftImg8bit" / "train" / "aachen" / "aachen_0_1_leftImg8bit.png", np.zeros((3, 4, 3)))
    labels = read(city(tmp_path, VALUES))
    (image,) = labels.images
    found = [(one.class_name, one.mask.area, one.crowd) for one in image.objects]
    assert found == [("road", 3, False), ("person", 1, True), ("car", 1, True), ("car", 2, False), ("car", 1, False)]
    assert labels.skipped == {"regions of no class (void)": 3, "regions of an unknown class": 1}
    assert image.name == "leftImg8bit/train/aachen/aachen_0_1_leftImg8bit.png"
    assert (image.subset, image.file) == ("train", str(tmp_path / image.name))
    assert labels.lost == [str(tmp_path / "gtFine" / "train" / "aachen" / "aachen_0_1_gtFine_instanceIds.png")]
    assert labels.class_names == ["road", "person", "car"]


def test_cityscapes_with_classes_of_ones_own(tmp_path: Path) -> None:
    write_text(tmp_path / "label_colors.txt", "0 0 0 background\n220 20 60 long scratch\n0 0 142 pit\n")
    write_png(tmp_path / "pictures" / "aachen_0_1.jpg", np.zeros((1, 4)))
    labels = read(city(tmp_path, np.array([[1001, 2, 0, 1002]])))
    assert areas(labels) == {"gtFine/train/aachen/aachen_0_1.jpg": [("pit", 1), ("long scratch", 1), ("long scratch", 1)]}


def test_cityscapes_faults(tmp_path: Path) -> None:
    city(tmp_path, VALUES)
    write_png(tmp_path / "leftImg8bit" / "train" / "aachen" / "aachen_0_1_leftImg8bit.png", np.zeros((6, 8)))
    with pytest.raises(UserError, match="1 mask of another size than their picture"):
        read(tmp_path)
    with pytest.raises(UserError, match="has colours, not the numbers"):
        read(write_png(tmp_path / "b_gtFine_instanceIds.png", np.zeros((3, 4, 3))).parent)
