"""Submission files: both formats, merged instances, exact round trips, and every way the input can be wrong."""

import csv
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ppdet_ext.errors import UserError
from ppdet_ext.inference import submission
from ppdet_ext.inference.submission import STYLES, merge_results, read_submission, write_kaggle_submission
from ppdet_ext.structures import Rle

IMAGES = {7: "a.jpg", 9: "b_2.jpg"}


def mask(seed: int, height: int = 20, width: int = 30) -> Rle:
    return Rle.from_bitmap(np.random.default_rng(seed).random((height, width)) < 0.3)


def result(image_id: int, class_id: int, rle: Rle, score: float = 0.9) -> dict:
    coded = rle.to_coco(text=True)
    return {"image_id": image_id, "category_id": class_id, "segmentation": coded, "score": score}


def test_stage_1_rows(tmp_path):
    first, second = mask(0), mask(1)
    out = tmp_path / "new" / "sub.csv"
    assert write_kaggle_submission([result(9, 3, first), result(7, 1, second)], IMAGES, 4, out) == 8
    lines = out.read_text().splitlines()
    assert lines[0] == "ImageId_ClassId,EncodedPixels"
    assert lines[1] == f"a.jpg_1,{second.to_kaggle()}"
    assert lines[2:7] == ["a.jpg_2,", "a.jpg_3,", "a.jpg_4,", "b_2.jpg_1,", "b_2.jpg_2,"]
    assert lines[7] == f"b_2.jpg_3,{first.to_kaggle()}"
    assert len(lines) == 9


def test_stage_2_rows(tmp_path):
    rle = mask(0)
    write_kaggle_submission([result(7, 2, rle)], IMAGES, 2, tmp_path / "s.csv", style="classid")
    expected = ["ImageId,EncodedPixels,ClassId", "a.jpg,,1", f"a.jpg,{rle.to_kaggle()},2", "b_2.jpg,,1", "b_2.jpg,,2"]
    assert (tmp_path / "s.csv").read_text().splitlines() == expected


@pytest.mark.parametrize(
    ("style", "sample"),
    [("imageid_classid", "sample_submission_stage1_head.csv"), ("classid", "sample_submission_stage2.csv")],
)
def test_columns_are_those_of_the_contest(shared, tmp_path, style, sample):
    path = shared / "data/severstal" / sample
    rows = path.read_text().splitlines()
    names = list(
        dict.fromkeys(row.split(",")[0].removesuffix("_1") for row in rows[1:200] if "jpg_" not in row or "_1," in row)
    )
    write_kaggle_submission([], dict(enumerate(names)), 4, tmp_path / "s.csv", style=style)
    written = (tmp_path / "s.csv").read_text().splitlines()
    assert written[0] == rows[0]
    if style == "imageid_classid":
        keys = [row.split(",")[0] for row in written[1:]]
        assert keys[: len(rows[1:197])] == [row.split(",")[0] for row in rows[1:197]]


def test_instances_of_one_class_are_merged(tmp_path):
    masks = [mask(seed) for seed in range(3)]
    write_kaggle_submission([result(7, 1, rle) for rle in masks], IMAGES, 1, tmp_path / "s.csv")
    found = read_submission((tmp_path / "s.csv").read_text(), "imageid_classid")
    expected = np.any([rle.to_bitmap() for rle in masks], axis=0)
    assert np.array_equal(Rle.from_kaggle(found["a.jpg", 1], 20, 30).to_bitmap(), expected)
    assert found["b_2.jpg", 1] == ""


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from([7, 9]), st.integers(1, 3), st.integers(0, 9), st.floats(0, 1)), max_size=8),
    st.sampled_from(sorted(STYLES)),
    st.floats(0, 1),
)
def test_what_is_written_reads_back(tmp_path_factory, entries, style, threshold):
    out = tmp_path_factory.mktemp("s") / "s.csv"
    results = [result(image, class_id, mask(seed), score) for image, class_id, seed, score in entries]
    assert write_kaggle_submission(results, IMAGES, 3, out, style=style, score_threshold=threshold) == 6
    found = read_submission(out.read_text(), style)
    for (name, class_id), text in found.items():
        bitmap = np.zeros((20, 30), bool)
        for image, k, seed, score in entries:
            if IMAGES[image] == name and k == class_id and score >= threshold:
                bitmap |= mask(seed).to_bitmap() > 0
        assert np.array_equal(Rle.from_kaggle(text, 20, 30).to_bitmap() > 0, bitmap)


def test_low_scores_and_empty_masks_leave_blanks(tmp_path):
    entries = [result(7, 1, mask(0), 0.49), result(7, 2, Rle.empty(20, 30), 0.99), result(9, 1, mask(1), 0.5)]
    write_kaggle_submission(entries, IMAGES, 2, tmp_path / "s.csv", score_threshold=0.5)
    found = read_submission((tmp_path / "s.csv").read_text(), "imageid_classid")
    assert [bool(text) for text in found.values()] == [False, False, True, False]


def test_from_a_json_file(tmp_path):
    path = tmp_path / "mask.json"
    path.write_text(json.dumps([result(7, 1, mask(0))]))
    write_kaggle_submission(path, IMAGES, 1, tmp_path / "one.csv")
    write_kaggle_submission([result(7, 1, mask(0))], IMAGES, 1, tmp_path / "two.csv")
    assert (tmp_path / "one.csv").read_text() == (tmp_path / "two.csv").read_text()


def test_a_very_large_mask_survives(tmp_path):
    checkers = Rle.from_bitmap(np.indices((300, 300)).sum(0) % 2)
    csv.field_size_limit(131072)
    assert len(checkers.to_kaggle()) > csv.field_size_limit()
    write_kaggle_submission([result(7, 1, checkers)], {7: "a.jpg"}, 1, tmp_path / "s.csv")
    found = read_submission((tmp_path / "s.csv").read_text(), "imageid_classid")
    assert Rle.from_kaggle(found["a.jpg", 1], 300, 300) == checkers


def test_names_with_commas_and_quotes_survive(tmp_path):
    names = {1: 'a,"b".jpg', 2: "c_1.jpg"}
    write_kaggle_submission([result(1, 1, mask(0))], names, 1, tmp_path / "s.csv", style="classid")
    found = read_submission((tmp_path / "s.csv").read_text(), "classid")
    assert list(found) == [('a,"b".jpg', 1), ("c_1.jpg", 1)]


BAD_ENTRIES = [
    ({"image_id": 8}, "image_id 8 is not one of the 2 images"),
    ({"image_id": None}, "image_id None"),
    ({"category_id": 0}, "category_id 0 is not one of the classes 1 to 4"),
    ({"category_id": 5}, "category_id 5"),
    ({"category_id": "x"}, "category_id 'x'"),
    ({"category_id": True}, "category_id True"),
    ({"score": float("nan")}, "score nan"),
    ({"score": "high"}, "no COCO result"),
    ({"segmentation": {"size": [20, 30]}}, "not a COCO RLE"),
    ({"segmentation": [[1, 2, 3]]}, "not a COCO RLE"),
    ({"segmentation": {"size": [2, 2], "counts": [1, 2, 3, 4, 5]}}, "not a COCO RLE"),
    ({"segmentation": mask(0, 10, 10).to_coco(text=True)}, r"mask of \(10, 10\)"),
]


@pytest.mark.parametrize(("change", "message"), BAD_ENTRIES)
def test_bad_entries_are_named(tmp_path, change, message):
    entries = [result(7, 1, mask(0)), {**result(7, 1, mask(1)), **change}]
    with pytest.raises(UserError, match=f"results, entry 1: .*{message}"):
        write_kaggle_submission(entries, IMAGES, 4, tmp_path / "s.csv")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("key", ["image_id", "category_id", "segmentation", "score"])
def test_missing_keys_are_named(key):
    entry = result(7, 1, mask(0))
    del entry[key]
    with pytest.raises(UserError, match=f"entry 0: no COCO result.*{key}"):
        merge_results([entry], IMAGES, 4, 0.5)


@pytest.mark.parametrize(
    ("text", "message"),
    [('[{"image_id": 7, "categ', "no complete JSON"), ("", "no complete JSON"), ('{"a": 1}', "a dict, not a list")],
)
def test_bad_json_files(tmp_path, text, message):
    path = tmp_path / "mask.json"
    path.write_text(text)
    with pytest.raises(UserError, match=message):
        write_kaggle_submission(path, IMAGES, 4, tmp_path / "s.csv")


def test_a_missing_file_and_an_unwritable_one(tmp_path):
    with pytest.raises(UserError, match=r"cannot read .*mask\.json"):
        write_kaggle_submission(tmp_path / "mask.json", IMAGES, 4, tmp_path / "s.csv")
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot write the submission"):
        write_kaggle_submission([], IMAGES, 4, tmp_path / "file" / "s.csv")


def test_unknown_style_and_doubled_names(tmp_path):
    with pytest.raises(UserError, match="'stage3' is unknown; choose one of imageid_classid, classid"):
        write_kaggle_submission([], IMAGES, 4, tmp_path / "s.csv", style="stage3")
    with pytest.raises(UserError, match="two images of one name"):
        write_kaggle_submission([], {1: "a.jpg", 2: "a.jpg"}, 4, tmp_path / "s.csv")


def test_an_old_file_survives_a_failure(tmp_path, monkeypatch):
    out = tmp_path / "s.csv"
    out.write_text("old")
    monkeypatch.setattr(submission, "_format", lambda *_: "ImageId_ClassId,EncodedPixels\na.jpg_1,1 5\n")
    with pytest.raises(RuntimeError, match="reads back as 1 rows, not 2"):
        write_kaggle_submission([], IMAGES, 1, out)
    assert out.read_text() == "old"


def test_a_mask_that_changes_on_the_way_is_noticed(tmp_path, monkeypatch):
    monkeypatch.setattr(submission, "_format", lambda *_: "ImageId_ClassId,EncodedPixels\na.jpg_1,1 5\nb_2.jpg_1,\n")
    with pytest.raises(RuntimeError, match="round trip"):
        write_kaggle_submission([result(7, 1, mask(0))], IMAGES, 1, tmp_path / "s.csv")
