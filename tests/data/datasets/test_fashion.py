"""iMaterialist's two CSV formats, and what becomes of their rows."""

import csv
import logging
import pickle
from pathlib import Path

import numpy as np
import ppdet.data.source
import pytest
import yaml
from fashion_data import (
    APART,
    COLLAR,
    DRESS,
    HEADER_2020,
    ROWS_2020,
    SHIRT,
    content,
    opened,
    row,
    write_fashion,
    write_rows,
)
from tiny_data import HEIGHT, WIDTH, write_jpeg

from ppdet_ext.data.datasets import FashionDataSet
from ppdet_ext.data.images.decode import read_image
from ppdet_ext.data.images.depth import Reading
from ppdet_ext.structures import Rle

REAL = Path(__file__).parents[2] / "fixtures" / "imaterialist"


@pytest.fixture
def fashion(tmp_path):
    return write_fashion(tmp_path)


def names(dataset):
    return [record.name for record in dataset.records]


def test_every_row_is_an_instance(fashion):
    dataset = opened(fashion)
    a, b, c, d = dataset.records
    assert names(dataset) == ["a.jpg", "b.jpg", "c.jpg", "d.jpg"]
    # Overlap stays: the collar lies inside the shirt. Two rows of one class are two instances, two parts of a row are one.
    assert (a.masks, a.labels.tolist()) == ([SHIRT, COLLAR], [0, 2])
    assert a.masks[1].intersect(a.masks[0]) == COLLAR
    assert (b.masks, b.labels.tolist()) == ([SHIRT, DRESS, COLLAR], [0, 1, 0])
    assert (c.masks, c.labels.tolist()) == ([APART], [1])
    np.testing.assert_array_equal(b.boxes, [[3, 2, 33, 22], [0, 0, 12, 30], [10, 2, 18, 7]])
    assert (b.boxes.dtype, b.labels.dtype, b.crowd.tolist()) == (np.float32, np.int64, [False] * 3)
    assert (b.height, b.width, b.file) == (HEIGHT, WIDTH, str(fashion / "train" / "b.jpg"))
    assert (len(d.masks), d.boxes.shape, d.attributes) == (0, (0, 4), [])
    assert [record.im_id for record in dataset.records] == [0, 1, 2, 3]


def test_classes_are_in_the_order_of_their_ids_and_attributes_have_names(fashion):
    dataset = FashionDataSet(str(fashion), anno_path="not there.csv")
    assert dataset.num_classes == 3
    assert dataset.category_ids == [0, 13, 28]
    assert dataset.class_names == ["shirt, blouse", "dress", "collar"]
    assert dataset.attribute_names == {0: "classic", 20: "mini", 45: "striped"}
    assert [record.attributes for record in opened(fashion).records] == [[(), ()], [(), (20, 45), ()], [(0,)], []]


def test_the_format_of_2020_gives_the_same(fashion):
    before = content(opened(fashion))
    write_rows(fashion, ROWS_2020, HEADER_2020)
    assert content(opened(fashion)) == before
    order = [4, 0, 5, 2, 3, 1]
    write_rows(fashion, [[cells[i] for i in order] for cells in ROWS_2020], [HEADER_2020[i] for i in order])
    assert content(opened(fashion)) == before


def test_byte_order_mark_blank_lines_and_spaces_are_harmless(fashion):
    before = content(opened(fashion))
    text = (fashion / "train.csv").read_text()
    (fashion / "train.csv").write_text("\ufeff" + text.replace("\n", "\n\n").replace(",28", ", 28 ") + "\n\n")
    assert content(opened(fashion)) == before


def test_a_row_without_class_and_pixels_is_an_image_without_instances(fashion):
    write_rows(fashion, [row("a.jpg", SHIRT, "0"), ("b.jpg", "", "", "", ""), ("c.jpg", "", HEIGHT, WIDTH, "")])
    dataset = opened(fashion)
    assert names(dataset) == ["a.jpg", "b.jpg", "c.jpg", "d.jpg"]
    assert [len(record.masks) for record in dataset.records] == [1, 0, 0, 0]


def test_class_names_do_without_the_file(fashion):
    (fashion / "label_descriptions.json").unlink()
    write_rows(fashion, [row("a.jpg", SHIRT, "1_7")])
    dataset = opened(fashion, class_names=["hat", "shoe"])
    assert (dataset.category_ids, dataset.class_names, dataset.attribute_names) == ([0, 1], ["hat", "shoe"], {})
    assert dataset.records[0].labels.tolist() == [1]
    assert dataset.records[0].attributes == [(7,)]


def test_small_and_attributed_instances_can_be_left_out(fashion, caplog):
    with caplog.at_level(logging.INFO, "ppdet_ext"):
        dataset = opened(fashion, min_instance_area=40)
    assert [len(record.masks) for record in dataset.records] == [2, 3, 0, 0]
    assert "1 of 6 instances is smaller than min_instance_area: 40" in caplog.text
    with caplog.at_level(logging.INFO, "ppdet_ext"):
        dataset = opened(fashion, drop_attributed=True)
    assert [record.masks for record in dataset.records] == [[SHIRT, COLLAR], [SHIRT, COLLAR], [], []]
    assert [record.attributes for record in dataset.records] == [[(), ()], [(), ()], [], []]
    assert "2 of 6 instances are with attributes" in caplog.text
    assert names(opened(fashion, drop_attributed=True, allow_empty=False)) == ["a.jpg", "b.jpg"]
    assert len(opened(fashion, empty_ratio=0.25)) == 4
    assert len(opened(fashion, empty_ratio=0.0)) == 3


def test_images_are_chosen_by_split_file_and_fold(fashion):
    (fashion / "split.csv").write_text("ImageId,part\nc.jpg,val\na.jpg,train\nb.jpg,train\n")
    assert names(opened(fashion, split="split.csv", part="val")) == ["c.jpg"]
    (record,) = opened(fashion, split="split.csv", part="val").records
    assert (record.im_id, record.masks) == (2, [APART])
    parts = [opened(fashion, fold=0, num_folds=2, part=part) for part in ("train", "val")]
    assert sorted(names(parts[0]) + names(parts[1])) == ["a.jpg", "b.jpg", "c.jpg", "d.jpg"]
    # What is left out of an image must not move it to another fold.
    assert names(opened(fashion, fold=0, num_folds=2, part="val", drop_attributed=True)) == names(parts[1])


def test_images_alone_serve_the_test_set(fashion):
    write_jpeg(fashion / "train" / "d.jpg", 20, 30)
    dataset = opened(fashion, anno_path=None)
    assert not dataset.annotated
    assert [(r.name, r.height, r.width, len(r.masks)) for r in dataset.records][2:] == [
        ("c.jpg", HEIGHT, WIDTH, 0),
        ("d.jpg", 20, 30, 0),
    ]


@pytest.mark.parametrize("turned", [False, True])
def test_sizes_may_count_pixels_before_or_after_the_exif_rotation(fashion, turned):
    exif = b"Exif\x00\x00II*\x00\x08\x00\x00\x00\x01\x00\x12\x01\x03\x00\x01\x00\x00\x00\x06\x00\x00\x00\x00\x00\x00\x00"
    write_jpeg(fashion / "train" / "a.jpg", exif=exif)
    height, width = (WIDTH, HEIGHT) if turned else (HEIGHT, WIDTH)
    write_rows(fashion, [("a.jpg", f"{height * width} 1", height, width, "0")])
    record = opened(fashion).records[0]
    assert (record.height, record.width) == record.masks[0].size == (height, width)
    assert record.boxes.tolist() == [[width - 1, height - 1, width, height]]
    assert read_image(record.file, Reading(exif=turned)).shape[:2] == (height, width)


def test_construction_reads_nothing_and_yaml_restores_it(fashion):
    text = f"!FashionDataSet {{dataset_dir: {fashion}, fold: 2, part: val, drop_attributed: true}}"
    dataset = yaml.load(text, Loader=yaml.Loader)
    assert dataset.num_classes == 3
    again = yaml.load(yaml.dump(dataset), Loader=yaml.Loader)
    assert (again.fold, again.part, again.drop_attributed) == (2, "val", True)
    # Names that were read must not come back as given ones, or the ids would be others.
    assert again.category_ids == [0, 13, 28]
    assert ppdet.data.source.FashionDataSet is FashionDataSet
    given = yaml.load("!FashionDataSet {dataset_dir: nowhere, class_names: [hat]}", Loader=yaml.Loader)
    assert yaml.load(yaml.dump(given), Loader=yaml.Loader).class_names == ["hat"]


def test_masks_behave_as_a_list(fashion):
    masks = opened(fashion).records[1].masks
    whole = [SHIRT, DRESS, COLLAR]
    assert masks == whole
    assert whole == masks
    assert masks != whole[:2]
    assert masks != [SHIRT, COLLAR, DRESS]
    assert (masks[0], masks[-1], masks[1:], masks[::-1]) == (SHIRT, COLLAR, whole[1:], whole[::-1])
    assert masks + [APART] == [*whole, APART]
    assert [APART] + masks == [APART, *whole]
    assert list(masks) == whole
    assert DRESS in masks
    assert masks.index(DRESS) == 1
    with pytest.raises(IndexError):
        masks[3]
    copied = pickle.dumps(masks)
    # Not the whole data set's store.
    assert len(copied) < 600
    assert pickle.loads(copied) == whole
    assert type(pickle.loads(copied)) is list


def test_the_real_rows():
    with open(REAL / "train_sample.csv", newline="") as file:
        texts = [cells["EncodedPixels"] for cells in csv.DictReader(file)]
    dataset = FashionDataSet(str(REAL), "train_sample.csv", check_images="none").load()
    (record,) = dataset.records
    assert (record.name, record.height, record.width) == ("00000663ed1ff0c4e0132b9b9ac53f6e.jpg", 5214, 3676)
    assert [mask.to_kaggle() for mask in record.masks] == texts
    assert [dataset.class_names[label] for label in record.labels] == [
        "pants",
        "shirt, blouse",
        "collar",
        "sleeve",
        "pocket",
        "pocket",
        "sleeve",
        "lapel",
        "jacket",
    ]
    assert [dataset.category_ids[label] for label in record.labels] == [6, 0, 28, 31, 32, 32, 31, 29, 4]
    assert (dataset.num_classes, dataset.category_ids) == (46, list(range(46)))
    assert (len(dataset.attribute_names), dataset.attribute_names[0]) == (92, "above-the-hip (length)")
    assert [Rle.from_bitmap(mask.to_bitmap()) for mask in record.masks[4:7]] == record.masks[4:7]
    np.testing.assert_array_equal(record.boxes, [mask.box for mask in record.masks])
