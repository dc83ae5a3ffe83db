"""Everything that can be wrong with iMaterialist's files: named by image and row, and counted."""

import json
import logging
import os
from pathlib import Path

import pytest
from fashion_data import (
    COLLAR,
    HEADER_2020,
    LABELS,
    ROWS_2019,
    SHIRT,
    content,
    opened,
    row,
    write_fashion,
    write_rows,
)
from tiny_data import HEIGHT, WIDTH, write_jpeg

from ppdet_ext.data.datasets import FashionDataSet
from ppdet_ext.errors import UserError

GOOD = row("b.jpg", SHIRT, "0")
TEXT = SHIRT.to_kaggle()


@pytest.fixture
def fashion(tmp_path):
    return write_fashion(tmp_path)


def names(dataset):
    return [record.name for record in dataset.records]


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (row("a.jpg", COLLAR, "7"), r"1 row of an unknown class \(known: 0 to 28\): a\.jpg class 7 \(row 3\)"),
        (row("a.jpg", COLLAR, "13_20_46"), r"1 row with unknown attributes: a\.jpg attributes 46 \(row 3\)"),
        (row("a.jpg", COLLAR, "13_20_20"), r"1 row naming an attribute twice: a\.jpg attributes 20, 20 \(row 3\)"),
        (row("a.jpg", COLLAR, "x"), r"1 row whose class cannot be read: a\.jpg ClassId 'x' \(row 3\)"),
        (row("a.jpg", COLLAR, "13__20"), r"class cannot be read: a\.jpg ClassId '13__20' \(row 3\)"),
        (row("a.jpg", COLLAR, ""), r"class cannot be read: a\.jpg ClassId '' \(row 3\)"),
        (row("a.jpg", COLLAR, "-1"), r"class cannot be read: a\.jpg ClassId '-1' \(row 3\)"),
        (("a.jpg", "", HEIGHT, WIDTH, "0"), r"1 row with a class but no pixels: a\.jpg \(row 3\)"),
        (("a.jpg", "1 2 3", HEIGHT, WIDTH, "0"), r"1 row whose EncodedPixels is no mask .*image a\.jpg, row 3: .*odd"),
        (("a.jpg", "1 x", HEIGHT, WIDTH, "0"), r"image a\.jpg, row 3: 'x' in EncodedPixels is not an integer"),
        (("a.jpg", "9 2 4 1", HEIGHT, WIDTH, "0"), r"image a\.jpg, row 3: .*ascending"),
        (("a.jpg", f"{HEIGHT * WIDTH} 2", HEIGHT, WIDTH, "0"), r"image a\.jpg, row 3: .*reaches beyond the 2048 pixels"),
        (
            ("a.jpg", TEXT, "tall", WIDTH, "0"),
            r"Height or Width is no whole number from 1 to 65535: a\.jpg 'tall', '64' \(row 3\)",
        ),
        (("a.jpg", TEXT, "", "", "0"), r"Height or Width is no whole number .*a\.jpg '', '' \(row 3\)"),
        (("a.jpg", TEXT, 0, WIDTH, "0"), r"Height or Width is no whole number .*a\.jpg '0', '64' \(row 3\)"),
        (("a.jpg", TEXT, "32.0", WIDTH, "0"), r"Height or Width is no whole number .*a\.jpg '32\.0', '64' \(row 3\)"),
        (("a.jpg", TEXT, 10**30, WIDTH, "0"), r"Height or Width is no whole number .*a\.jpg '1000"),
        (("a.jpg", TEXT, HEIGHT, 65536, "0"), r"Height or Width is no whole number .*a\.jpg '32', '65536'"),
        (("a.jpg", TEXT, "0" * 5000 + "9", WIDTH, "0"), r"Height or Width is no whole number .*a\.jpg '0000"),
        (("a.jpg", "1 2", HEIGHT), r"1 row with other than 5 fields: 'a\.jpg' \(row 3\) has 3 fields"),
        ((*row("a.jpg", COLLAR, "0"), "20"), r"1 row with other than 5 fields: 'a\.jpg' \(row 3\) has 6 fields"),
        (("a.jpg", "1 2", WIDTH, HEIGHT, "0"), r"a\.jpg is 32x64, annotated 64x32 \(height x width\) \(row 3\)"),
    ],
)
def test_a_faulty_row_is_named_and_its_image_left_out(fashion, bad, message, caplog):
    write_rows(fashion, [GOOD, bad])
    with pytest.raises(UserError, match=message) as caught:
        opened(fashion)
    assert "on_error: skip" in str(caught.value)
    with caplog.at_level(logging.WARNING, "ppdet_ext"):
        dataset = opened(fashion, on_error="skip")
    # Without that garment a.jpg would teach that it is background.
    assert names(dataset) == ["b.jpg", "c.jpg", "d.jpg"]
    assert dataset.records[0].masks == [SHIRT]
    assert "a.jpg" in caplog.text


@pytest.mark.parametrize(
    ("class_id", "attributes", "message"),
    [
        ("13_20", "", "ClassId '13_20', AttributesIds ''"),
        ("13", "20;45", "ClassId '13', AttributesIds '20;45'"),
        ("13", "20,45,20", r"attribute twice: a\.jpg attributes 20, 45, 20 \(row 2\)"),
        ("13", "20,46,47", r"a\.jpg attributes 46, 47 \(row 2\)"),
    ],
)
def test_faulty_attributes_of_2020(fashion, class_id, attributes, message):
    write_rows(fashion, [row("a", COLLAR, class_id, attributes)], HEADER_2020)
    with pytest.raises(UserError, match=message):
        opened(fashion)


def test_rows_of_an_image_must_agree_on_its_size(fashion, caplog):
    write_rows(fashion, [GOOD, row("a.jpg", SHIRT, "0"), ("a.jpg", "1 2", HEIGHT, WIDTH - 1, "0")])
    with pytest.raises(UserError, match=r"contradict another row of the image: a\.jpg 32x63, 32x64 in row 3 \(row 4\)"):
        opened(fashion)
    assert names(opened(fashion, on_error="skip")) == ["b.jpg", "c.jpg", "d.jpg"]


def test_a_repeated_row_is_dropped_but_its_image_is_whole_without_it(fashion, caplog):
    before = content(opened(fashion))
    write_rows(fashion, [*ROWS_2019, ROWS_2019[3]])
    with pytest.raises(UserError, match=r"1 row repeating another row: b\.jpg \(row 8 repeats row 5\)"):
        opened(fashion)
    with caplog.at_level(logging.WARNING, "ppdet_ext"):
        assert content(opened(fashion, on_error="skip")) == before
    assert "row 8 repeats row 5" in caplog.text


def test_the_same_mask_as_another_class_or_with_attributes_is_no_repetition(fashion):
    rows = [row(name, SHIRT, class_id) for name in ("a.jpg", "b.jpg") for class_id in ("0", "13", "13_20", "13_20_45")]
    write_rows(fashion, rows)
    assert [len(record.masks) for record in opened(fashion).records] == [4, 4, 0, 0]


def test_all_faults_are_counted_and_named_at_once(fashion, caplog):
    gone = [row(f"gone{i:02d}.jpg", SHIRT, "0") for i in range(12)]
    write_rows(fashion, [GOOD, *gone, row("a.jpg", SHIRT, "7"), ("", "1 2", HEIGHT, WIDTH, "0")])
    write_jpeg(fashion / "train" / "b.jpg", HEIGHT + 1, WIDTH)
    (fashion / "train" / "d.jpg").write_bytes(b"nothing")
    with pytest.raises(UserError) as caught:
        opened(fashion)
    text = str(caught.value)
    for part in (
        "1 row of an unknown class (known: 0 to 28): a.jpg class 7 (row 15)",
        "1 row without an image: row 16",
        "12 images named by the annotations but missing on disk: gone00.jpg (row 3); gone01.jpg (row 4)",
        f"gone09.jpg (row 12), and 2 more\n    Put them into {fashion}/train, or take them out of the annotations.",
        "1 image whose size contradicts the annotations: b.jpg is 33x64, annotated 32x64 (height x width) (row 2)\n"
        "    Use pictures of the annotated size, whose pixels the masks count, or correct height and width.",
        "1 unreadable or missing image",
        "d.jpg",
    ):
        assert part in text
    with caplog.at_level(logging.WARNING, "ppdet_ext"):
        dataset = opened(fashion, on_error="skip", check_images="exists")
    assert names(dataset) == ["b.jpg", "c.jpg"]
    assert "1 image left out altogether because of faulty rows: a.jpg" in caplog.text


def test_truncated_pictures_are_found_unless_only_looked_for(fashion):
    path = fashion / "train" / "c.jpg"
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(UserError, match=r"1 unreadable image: .*c\.jpg: the JPEG is truncated"):
        opened(fashion)
    assert len(opened(fashion, check_images="exists")) == 4
    os.remove(path)
    with pytest.raises(UserError, match=r"missing on disk: c\.jpg"):
        opened(fashion, check_images="exists")
    assert len(opened(fashion, check_images="none")) == 4


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the file is empty"),
        ("ImageId,EncodedPixels,Height,Width,ClassId\n", "no rows"),
        (
            "ImageId,ClassId,EncodedPixels\na.jpg,1,1 2\n",
            "found the columns ImageId,ClassId,EncodedPixels; expected ImageId,Enc",
        ),
        ('ImageId,EncodedPixels,Height,Width,ClassId\na.jpg,"1 2,32,64,0\n', r"not a CSV file \(row 2"),
    ],
)
def test_a_bad_csv_is_named_with_its_fault(fashion, text, message):
    (fashion / "train.csv").write_text(text)
    with pytest.raises(UserError, match=rf"train\.csv.*{message}"):
        opened(fashion)


def test_binary_rubbish_is_no_csv(fashion):
    (fashion / "train.csv").write_bytes(b"\x89PNG\r\n\xff\xfe\x00\x80,\xff\n\x80\x81\n")
    with pytest.raises(UserError, match=r"train\.csv: not a CSV"):
        opened(fashion)


def changed(section: str, position: int, **values) -> str:
    entries = json.loads(json.dumps(LABELS))
    entries[section][position].update(values)
    return json.dumps(entries)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not a JSON file"),
        ("[]", "no `categories`"),
        ('{"categories": []}', "no `categories`"),
        (changed("categories", 1, id="0"), r"entry 1 of categories .* needs a whole number `id` and a `name`"),
        (changed("attributes", 2, name=None), r"entry 2 of attributes"),
        (changed("categories", 2, id=28), r"the id 28 is used twice in categories \(collar; dress\)"),
        ('{"categories": [3]}', r"entry 0 of categories \(3\)"),
    ],
)
def test_faulty_label_descriptions_are_named(fashion, text, message):
    (fashion / "label_descriptions.json").write_text(text)
    with pytest.raises(UserError, match=rf"label_descriptions\.json.*{message}"):
        opened(fashion)


def test_missing_files_say_where_to_get_them(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = Path("dataset/fashion")

    def message(**options):
        with pytest.raises(UserError) as caught:
            opened(folder, **options)
        text = str(caught.value)
        for part in (
            "kaggle competitions download -c imaterialist-fashion-2019-FGVC6",
            "kaggle competitions download -c imaterialist-fashion-2020-fgvc7",
            "dataset/README.md",
        ):
            assert part in text
        return text.splitlines()[0]

    assert message() == "Data set folder dataset/fashion does not exist."
    with pytest.raises(UserError, match=r"Data set folder .* does not exist"):
        _ = FashionDataSet(str(folder)).num_classes
    folder.mkdir(parents=True)
    assert message() == "Image folder dataset/fashion/train does not exist."
    (folder / "train").mkdir()
    assert "label_descriptions.json, which names the classes (or set class_names), does not exist" in message()
    assert message(class_names=["hat"]) == "Annotation file dataset/fashion/train.csv does not exist."


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"part": "test"}, "part: 'test' is not one of train, val, all"),
        ({"on_error": "ignore"}, "on_error"),
        ({"check_images": "yes"}, "check_images"),
        ({"fold": 5}, "fold: 5"),
        ({"part": "val"}, "needs a fold"),
    ],
)
def test_wrong_settings_are_found_at_once(options, message):
    with pytest.raises(UserError, match=message):
        FashionDataSet("nowhere", **options)


def test_nothing_left_is_an_error(fashion):
    write_rows(fashion, [("a.jpg", "", "", "", "")])
    with pytest.raises(UserError, match="no image is left"):
        opened(fashion, allow_empty=False)
