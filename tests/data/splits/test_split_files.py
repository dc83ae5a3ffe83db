"""`select_images` and split files: folds, parts, plain lists; and what is wrong with a file, by row."""

import json
import logging
import os
import shutil

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from steel_data import names, opened
from tiny_data import HEIGHT, WIDTH, coco_content, write_coco, write_jpeg

from ppdet_ext.data.datasets import CocoJsonDataSet
from ppdet_ext.data.splits.selection import fold_of, hashed, read_split_file, select_images
from ppdet_ext.errors import UserError

NAMES = [f"{c}.jpg" for c in "abcdef"]
FOLDS = "ImageId,fold\nf.jpg,0\na.jpg,1\nb.jpg,2\nc.jpg,0\nd.jpg,1\ne.jpg,2\n"
PARTS = "part,ImageId\ntest,f.jpg\ntrain,b.jpg\nval,a.jpg\ntrain,c.jpg\n"


@pytest.fixture
def select(tmp_path):
    """select_images with the text of a split file."""

    def choose(text: str | None = None, known=NAMES, **options) -> list[str]:
        if text is not None:
            (tmp_path / "split.csv").write_text(text)
            options["split"] = str(tmp_path / "split.csv")
        return select_images(known, {}, **{"split": None, "fold": None, "num_folds": 3, "part": "all", "seed": 0, **options})

    return choose


def test_folds_of_a_file(select):
    assert select(FOLDS, fold=0, part="val") == ["f.jpg", "c.jpg"]
    assert select(FOLDS, fold=0, part="train") == ["a.jpg", "b.jpg", "d.jpg", "e.jpg"]
    assert select(FOLDS, fold=0) == select(FOLDS) == ["f.jpg", "a.jpg", "b.jpg", "c.jpg", "d.jpg", "e.jpg"]


def test_parts_of_a_file(select, caplog):
    assert select(PARTS, part="train") == ["b.jpg", "c.jpg"]
    assert select(PARTS, part="val") == ["a.jpg"]
    assert select(PARTS, part="test") == ["f.jpg"]
    assert select(PARTS) == ["f.jpg", "b.jpg", "a.jpg", "c.jpg"]
    with caplog.at_level(logging.INFO, logger="ppdet_ext"):
        assert select(PARTS, part="val", fold=1) == ["a.jpg"]
        assert select(PARTS, part="train", fold=1) == ["b.jpg", "c.jpg"]
    assert caplog.text.count("no folds but parts: its column `part` is used, and fold: 1 is not") == 1


def test_a_file_with_both_columns_follows_the_fold_if_there_is_one(select):
    text = "ImageId,fold,part\na.jpg,0,train\nb.jpg,1,val\n"
    assert select(text, fold=0, part="val") == ["a.jpg"]
    assert select(text, part="val") == ["b.jpg"]


def test_capitals_of_the_columns_do_not_matter(select):
    for fold, part, name in (("Fold", "Part", "imageid"), ("FOLD", "PART", "IMAGEID")):
        assert select(FOLDS.replace("fold", fold).replace("ImageId", name), fold=0, part="val") == ["f.jpg", "c.jpg"]
        assert select(PARTS.replace("part", part).replace("ImageId", name), part="train") == ["b.jpg", "c.jpg"]


def test_plain_lists(select):
    assert select("c.jpg\n\n a.jpg \nc.jpg\n") == ["c.jpg", "a.jpg"]
    assert select("name\nc.jpg\n") == ["c.jpg"]
    whole = select(fold=1, part="val")
    assert select("\n".join(reversed(NAMES)), fold=1, part="val") == whole
    assert select("c.jpg\na.jpg", fold=1, part="val") == [name for name in whole if name in ("a.jpg", "c.jpg")]


def test_the_first_image_is_no_header(select):
    """Image ids need not have a suffix."""
    assert select("0c1\n0a2\n", known=["0a2", "0c1"]) == ["0c1", "0a2"]


def test_other_columns_may_hold_long_masks(select):
    text = "ImageId,ClassId,EncodedPixels\n" + f"b.jpg,1,{'1 1 ' * 60_000}\nb.jpg,2,5 5\na.jpg,,\n"
    assert select(text) == ["b.jpg", "a.jpg"]


@pytest.mark.parametrize(("text", "options", "message"), [
    ("ImageId,fold\na.jpg,0\nz.jpg,1\n", {"fold": 0}, r"split\.csv, row 3: the data set has no image z\.jpg\. Make"),
    ("a.jpg\nx.jpg\ny.jpg\nz.jpg\n", {}, r"row 2: the data set has no image x\.jpg \(nor 2 others"),
    ("ImageId,fold\na.jpg,0\n\nb.jpg,3\n", {"fold": 0}, r"split\.csv, row 4: b\.jpg is in fold 3, but .*num_folds: 4"),
    ("ImageId,fold\na.jpg,0\nb.jpg,x\n", {"fold": 0}, r"row 3: fold 'x' is not a whole number"),
    ("ImageId,fold\na.jpg,0\nb.jpg,-1\n", {"fold": 0}, r"row 3: fold '-1' is not a whole number"),
    ("ImageId,fold\na.jpg,0\nb.jpg\n", {"fold": 0}, r"row 3: the column fold is empty for b\.jpg"),
    ("ImageId,fold\na.jpg,0\nb.jpg,1\na.jpg,1\n", {"fold": 0}, r"rows 2 and 4: a\.jpg is in fold 0 and in fold 1"),
    ("ImageId,part\na.jpg,val\na.jpg,train\n", {"part": "val"}, r"rows 2 and 3: a\.jpg is in part val and in part train"),
    ("ImageId,part\na.jpg,train\n", {"part": "val"}, r"'val' is no part in the split file .*; there are train, and `all`"),
    ("ImageId,fold\na.jpg,0\n", {"part": "val"}, r"part: val needs a fold.*has a column `fold`"),
    ("ImageId,fold\na.jpg,0\n", {"fold": 1, "part": "val"}, r"no image is left with part: val, fold: 1"),
    ("ImageId,fold\na.jpg,0\n", {"fold": 0, "part": "test"}, r"part: 'test' is not one of train, val, all"),
    ("a.jpg\n", {"part": "val"}, r"part: val needs a fold, or a column `part` or `fold`"),
    ("ImageId,fold,Fold\na.jpg,0,1\n", {"fold": 0}, r"split\.csv has several columns fold"),
    ("ImageId,fold\n", {}, r"split\.csv names no image"),
    (FOLDS, {"fold": 3}, r"fold: 3 is none of the 3 folds"),
    (None, {"part": "val"}, r"part: val needs a fold, as in `fold: 0`, or a split file"),
    (None, {"fold": 0, "part": "tarin"}, r"part: 'tarin' is not one of"),
])  # fmt: skip
def test_faults_name_the_row(select, text, options, message):
    with pytest.raises(UserError, match=message):
        select(text, **options)


def test_the_same_said_twice_is_no_fault(select):
    assert select("ImageId,fold\na.jpg,0\nb.jpg,1\na.jpg,0\n", fold=0, part="val") == ["a.jpg"]


@settings(max_examples=50)
@given(st.dictionaries(st.text("abcxyz09_-, \"'ä", min_size=1).map(str.strip).filter(bool), st.integers(0, 4), min_size=1))
def test_any_names_survive_a_file(tmp_path_factory, folds):
    import csv

    path = tmp_path_factory.mktemp("names") / "split.csv"
    with open(path, "w", newline="") as file:
        csv.writer(file).writerows([("ImageId", "fold"), *folds.items()])
    assert read_split_file(str(path)).folds == folds
    found = {
        fold: select_images(list(folds), {}, split=str(path), fold=fold, num_folds=5, part="val", seed=0)
        for fold in set(folds.values())
    }
    assert sorted(name for names in found.values() for name in names) == sorted(folds)
    assert all(folds[name] == fold for fold, names in found.items() for name in names)


def test_without_a_file_images_are_dealt_out_by_class(select):
    classes = {"a.jpg": {0}, "b.jpg": {0}, "c.jpg": {0}}
    options = {"split": None, "num_folds": 3, "seed": 0}
    folds = fold_of(NAMES, [frozenset(classes.get(name, ())) for name in NAMES], 3, 0)
    for fold in range(3):
        held = select_images(NAMES, classes, fold=fold, part="val", **options)
        assert held == [name for name, number in zip(NAMES, folds) if number == fold]
        assert len([name for name in held if name in classes]) == 1
        assert sorted(held + select_images(NAMES, classes, fold=fold, part="train", **options)) == NAMES
    assert select(fold=0) == NAMES


def test_steel_sheets_take_folds_and_parts(steel):
    (steel / "folds.csv").write_text("ImageId,fold\n" + "".join(f"{c}.jpg,{i % 4}\n" for i, c in enumerate("hgfedcba")))
    options = {"split": "folds.csv", "num_folds": 4, "fold": 1}
    assert names(opened(steel, **options, part="val")) == ["g.jpg", "c.jpg"]
    assert names(opened(steel, **options, part="train")) == [f"{c}.jpg" for c in "hfedba"]
    (steel / "parts.csv").write_text("ImageId,part\na.jpg,val\nb.jpg,train\nc.jpg,val\n")
    assert names(opened(steel, split="parts.csv", part="val")) == ["a.jpg", "c.jpg"]
    # An image has the same id in every part.
    ids = {record.name: record.im_id for record in opened(steel).records}
    for part in ("train", "val"):
        assert all(ids[record.name] == record.im_id for record in opened(steel, **options, part=part).records)


def test_names_that_are_no_utf8(steel):
    """As the operating system gives them: dealt out, read from a file, and named by messages."""
    odd, path = os.fsdecode(b"\xe9.jpg"), steel / "names.csv"
    shutil.copy(steel / "train_images" / "c.jpg", steel / "train_images" / odd)
    parts = [names(opened(steel, fold=fold, num_folds=3, part="val")) for fold in range(3)]
    assert sorted(name for part in parts for name in part) == sorted([*(f"{c}.jpg" for c in "abcdefgh"), odd])
    path.write_bytes(b"ImageId,fold\n\xe9.jpg,1\na.jpg,0\n")
    assert names(opened(steel, split="names.csv", num_folds=2, fold=1, part="val")) == [odd]
    (steel / "train_images" / odd).write_bytes(b"nothing")
    with pytest.raises(UserError, match=r"1 unreadable image: .*\\udce9\.jpg") as caught:
        opened(steel, cache=False)
    assert str(caught.value).encode()


def test_the_order_of_usual_names_is_the_same_for_ever() -> None:
    """Folds of a training that goes on must not change with the version."""
    assert hashed("0002cc93b.jpg", 0).hex()[:16] == "e78340756303470f"
    assert hashed("Größe ä.jpg", 3).hex()[:16] == "918d710ab171d1dc"


def coco_of(folder, **options) -> CocoJsonDataSet:
    return CocoJsonDataSet(str(folder), "instances.json", "images", **options).load()


def test_coco_takes_folds_and_parts(tmp_path):
    (tmp_path / "images").mkdir()
    content = coco_content()
    content["images"] = [{"id": 10 + i, "file_name": f"{i}.jpg", "height": HEIGHT, "width": WIDTH} for i in range(9)]
    shown = content["annotations"][0]
    content["annotations"] = [{**shown, "id": i, "image_id": 10 + i} for i in range(6)]
    write_coco(tmp_path, content)
    for i in range(9):
        write_jpeg(tmp_path / "images" / f"{i}.jpg", seed=i)
    parts = [coco_of(tmp_path, fold=fold, num_folds=3, part="val") for fold in range(3)]
    assert sorted(record.name for part in parts for record in part.records) == [f"{i}.jpg" for i in range(9)]
    assert [sum(bool(record.masks) for record in part.records) for part in parts] == [2, 2, 2]
    rest = coco_of(tmp_path, fold=0, num_folds=3, part="train")
    assert not {record.im_id for record in rest.records} & {record.im_id for record in parts[0].records}
    assert len(rest) == 6
    (tmp_path / "split.csv").write_text("ImageId,part\n8.jpg,val\n0.jpg,train\n3.jpg,val\n")
    assert [(r.im_id, r.name) for r in coco_of(tmp_path, split="split.csv", part="val").records] == [
        (18, "8.jpg"),
        (13, "3.jpg"),
    ]
    with pytest.raises(UserError, match="part: val needs a fold"):
        coco_of(tmp_path, part="val")


def test_coco_images_of_one_name_cannot_be_split(coco):
    content = json.loads((coco / "instances.json").read_text())
    content["images"][1]["file_name"] = content["images"][0]["file_name"]
    write_coco(coco, content)
    assert len(coco_of(coco)) == 2
    with pytest.raises(UserError, match="two images have the same file_name"):
        coco_of(coco, fold=0)


def test_blanks_that_are_part_of_a_known_name_stay(select):
    text = "ImageId,fold\n first.jpg,0\n  b.jpg ,1\n"
    assert select(text, known=[" first.jpg", "b.jpg"], fold=0, part="val") == [" first.jpg"]
    assert select(text, known=[" first.jpg", "b.jpg"], fold=1, part="val") == ["b.jpg"]


def test_split_files_in_utf_16_and_names_nearly_right(tmp_path):
    (tmp_path / "split.txt").write_text("a.jpg\nb.jpg\n", encoding="utf-16")
    assert list(read_split_file(str(tmp_path / "split.txt"), {"a.jpg", "b.jpg"}).rows) == ["a.jpg", "b.jpg"]
    (tmp_path / "split.txt").write_text("a.JPG\n")
    with pytest.raises(UserError, match=r"the data set has no image a\.JPG\. Did you mean 'a\.jpg'\?"):
        select_images(["a.jpg", "b.jpg"], {}, split=str(tmp_path / "split.txt"), fold=None, num_folds=5, part="all", seed=0)
