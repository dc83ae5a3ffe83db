"""Submission files: hand-made ones exactly, random ones read back, and every way the input can be wrong."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from submission_cases import found, plain

from ppdet_ext.commands.submit import find_format, known_formats
from ppdet_ext.data.formats import table as table_module
from ppdet_ext.errors import UserError
from ppdet_ext.structures import Detections, Rle
from ppdet_ext.submission import (
    Format,
    NamedDetections,
    Summary,
    check_table,
    images_of_results,
    read_table,
    rows_of,
    write_table,
)

IMAGES = {7: "a.jpg", 9: "b_2.jpg"}
CLASSES = list(range(46))  # of iMaterialist


def mask(seed: int, height: int = 20, width: int = 30) -> Rle:
    return Rle.from_bitmap(np.random.default_rng(seed).random((height, width)) < 0.3)


def result(image_id: int, class_id: int, rle: Rle, score: float = 0.9) -> dict:
    coded = rle.to_coco(text=True)
    return {"image_id": image_id, "category_id": class_id, "segmentation": coded, "score": score}


def box(y1: int, x1: int, y2: int, x2: int, height: int = 8, width: int = 8) -> Rle:
    bitmap = np.zeros((height, width), bool)
    bitmap[y1:y2, x1:x2] = True
    return Rle.from_bitmap(bitmap)


def lines_of(path: Path, name: str | Format, images: list[NamedDetections], class_ids: list[int]) -> list[str]:
    """What is written, which must read back."""
    form = name if isinstance(name, Format) else find_format(name)
    write_table(path / "s.csv", form, images, class_ids)
    check_table(path / "s.csv", form, images, class_ids)
    return (path / "s.csv").read_text().splitlines()


def severstal(
    path: Path, results: list[dict], names: dict[int, str], classes: int, name: str = "severstal_stage1"
) -> list[str]:
    class_ids = list(range(1, classes + 1))
    return lines_of(path, name, images_of_results(results, names, class_ids, 0.5), class_ids)


def test_stage_1_rows(tmp_path):
    first, second = mask(0), mask(1)
    lines = severstal(tmp_path, [result(9, 3, first), result(7, 1, second)], IMAGES, 4)
    assert lines[0] == "ImageId_ClassId,EncodedPixels"
    assert lines[1] == f"a.jpg_1,{second.to_kaggle()}"
    assert lines[2:7] == ["a.jpg_2,", "a.jpg_3,", "a.jpg_4,", "b_2.jpg_1,", "b_2.jpg_2,"]
    assert lines[7] == f"b_2.jpg_3,{first.to_kaggle()}"
    assert len(lines) == 9


def test_stage_2_rows(tmp_path):
    rle = mask(0)
    lines = severstal(tmp_path, [result(7, 2, rle)], IMAGES, 2, "severstal_stage2")
    assert lines == ["ImageId,EncodedPixels,ClassId", "a.jpg,,1", f"a.jpg,{rle.to_kaggle()},2", "b_2.jpg,,1", "b_2.jpg,,2"]


@pytest.mark.parametrize(
    ("name", "sample"),
    [("severstal_stage1", "sample_submission_stage1_head.csv"), ("severstal_stage2", "sample_submission_stage2.csv")],
)
def test_columns_are_those_of_the_contest(shared, tmp_path, name, sample):
    rows = (shared / "data/severstal" / sample).read_text().splitlines()
    names = list(
        dict.fromkeys(row.split(",")[0].removesuffix("_1") for row in rows[1:200] if "jpg_" not in row or "_1," in row)
    )
    written = severstal(tmp_path, [], dict(enumerate(names)), 4, name)
    assert written[0] == rows[0]
    if name == "severstal_stage1":
        keys = [row.split(",")[0] for row in written[1:]]
        assert keys[: len(rows[1:197])] == [row.split(",")[0] for row in rows[1:197]]


def test_imaterialist_2019_rows(tmp_path):
    """Masks at 512 x 512; in a class the higher score keeps shared pixels, other classes may share them; dummy rows."""
    left, right, all_ = box(0, 0, 8, 5), box(0, 3, 8, 8), Rle.full(8, 8)
    images = [
        found("a.jpg", [(0, 0.6, left), (0, 0.9, right), (10, 0.7, all_)], CLASSES),
        found("b.jpg", [], CLASSES),
        found("c.jpg", [(45, 0.9, box(2, 2, 4, 4)), (45, 0.8, box(2, 2, 4, 4))], CLASSES),
    ]
    inner = " ".join(f"{x * 512 + 129} 128" for x in range(128, 256))
    assert lines_of(tmp_path, "imaterialist_2019", images, CLASSES) == [
        "ImageId,EncodedPixels,ClassId",
        f"a.jpg,{3 * 64 * 512 + 1} {5 * 64 * 512},0",
        f"a.jpg,1 {512 * 512},10",
        f"a.jpg,1 {3 * 64 * 512},0",
        "b.jpg,,23",
        f"c.jpg,{inner},45",
    ]


def test_imaterialist_2020_rows(tmp_path):
    """The longest edge is 1024, of small images too; no masks overlap; names without suffix; attributes sorted."""
    images = [
        found("a.jpg", [(1, 0.6, Rle.full(4, 3), (9, 4)), (0, 0.9, box(0, 0, 4, 1, 4, 3))], CLASSES),
        found("b.v2.jpg", [], CLASSES),
        found("c.jpg", [(5, 0.5, Rle.full(2000, 3000))], CLASSES),
    ]
    assert lines_of(tmp_path, "imaterialist_2020", images, CLASSES) == [
        "ImageId,EncodedPixels,ClassId,AttributesIds",
        f"a,1 {256 * 1024},0,",
        f'a,{256 * 1024 + 1} {512 * 1024},1,"4,9"',
        "b.v2,,23,",
        f"c,1 {1024 * 682},5,",
    ]


def test_a_format_of_ones_own(tmp_path):
    """Airbus' ship contest: one row a ship, one class that is not written."""
    (tmp_path / "ships.yml").write_text('columns: {ImageId: "{name}", EncodedPixels: "{rle}"}\nempty: {EncodedPixels: ""}\n')
    ship = (1, 0.5, box(1, 1, 3, 2))
    images = [found("a.jpg", [ship] * 2, [1]), found("b.jpg", [], [1])]
    lines = lines_of(tmp_path, find_format(tmp_path / "ships.yml"), images, [1])
    assert lines == ["ImageId,EncodedPixels", "a.jpg,10 2", "a.jpg,10 2", "b.jpg,"]
    form = Format({"id": "img {name}", "rle": "{rle}", "s": "{score}", "by": "us"}, empty={"rle": -1})
    lines = lines_of(tmp_path, form, [*images[1:], found("a.jpg", [ship], [1])], [1])
    assert lines == ["id,rle,s,by", "img b.jpg,-1,,us", "img a.jpg,10 2,0.500000,us"]


def test_nothing_found_without_a_row(tmp_path):
    lines = lines_of(tmp_path, Format({"i": "{name}", "r": "{rle}"}), [found("a.jpg", [], [1])], [1])
    assert lines == ["i,r"]
    form = Format({"i": "{name}", "c": "{class_id}", "r": "{rle}"}, rows="class")
    lines = lines_of(tmp_path, form, [found("a.jpg", [(4, 0.5, box(0, 0, 1, 1))], [2, 4])], [2, 4])
    assert lines == ["i,c,r", "a.jpg,4,1 1"]


def test_instances_of_one_class_are_merged(tmp_path):
    masks = [mask(seed) for seed in range(3)]
    lines = severstal(tmp_path, [result(7, 1, rle) for rle in masks], IMAGES, 1)
    expected = np.any([rle.to_bitmap() for rle in masks], axis=0)
    assert np.array_equal(Rle.from_kaggle(lines[1].split(",")[1], 20, 30).to_bitmap(), expected)
    assert lines[2] == "b_2.jpg_1,"


# test_submission_presets.py has the others.
OF_CLASS_IDS = [name for name in known_formats() if find_format(name).class_field == "class_id"]

detections = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 9), st.floats(0, 1, width=32)), max_size=6)


@settings(max_examples=60)
@given(st.lists(detections, min_size=1, max_size=3), st.sampled_from(OF_CLASS_IDS))
def test_random_detections_read_back_as_pixels_say(tmp_path_factory, images, name):
    """Against bitmaps: resized, without what better ones cover, united by class."""
    form, path = find_format(name), tmp_path_factory.mktemp("s") / "s.csv"
    results = [
        found(f"{i}.jpg", [(label, score, mask(seed)) for label, seed, score in objects], [0, 1, 2], (20, 30))
        for i, objects in enumerate(images)
    ]
    summary = write_table(path, form, results, [0, 1, 2])
    check_table(path, form, results, [0, 1, 2])
    size = form.mask_size(20, 30)
    read: dict[str, list[tuple[str, np.ndarray]]] = {form.image_name(name): [] for name, _ in results}
    for row in read_table(path, form):
        if row["rle"]:
            read[row["name"]].append((row["class_id"], Rle.from_kaggle(row["rle"], *size).to_bitmap() > 0))
    for name, objects in results:
        expected, own = _expected(objects, form, size), read[form.image_name(name)]
        assert [class_id for class_id, _ in own] == [class_id for class_id, _ in expected]
        assert all(np.array_equal(one, other) for (_, one), (_, other) in zip(own, expected))
    assert summary.masks == sum(map(len, read.values()))
    assert summary.instances.total() + summary.lost == sum(map(len, images))


def _expected(objects: Detections, form: Format, size: tuple[int, int]) -> list[tuple[str, np.ndarray]]:
    kept: list[tuple[int, np.ndarray]] = []
    taken: dict[int, np.ndarray] = {}
    for i in sorted(range(len(objects)), key=lambda i: -objects.scores[i]):
        bitmap, class_id = objects.masks[i].resize(*size).to_bitmap() > 0, int(objects.labels[i])
        group = class_id if form.overlaps == "same_class" else -1
        before = taken.get(group, np.zeros(size, bool))
        taken[group] = before | bitmap
        kept.append((class_id, bitmap if form.overlaps == "keep" else bitmap & ~before))
    if form.rows == "class":
        united = {k: [bitmap for class_id, bitmap in kept if class_id == k] for k in (0, 1, 2)}
        kept = [(k, np.any(bitmaps, axis=0)) for k, bitmaps in united.items() if bitmaps]
    return [(str(class_id), bitmap) for class_id, bitmap in kept if bitmap.any()]


def test_low_scores_and_empty_masks_leave_blanks(tmp_path):
    entries = [result(7, 1, mask(0), 0.49), result(7, 2, Rle.empty(20, 30), 0.99), result(9, 1, mask(1), 0.5)]
    lines = severstal(tmp_path, entries, IMAGES, 2)
    assert [not line.endswith(",") for line in lines[1:]] == [False, False, True, False]


def test_from_a_json_file(tmp_path):
    path = tmp_path / "mask.json"
    path.write_text(json.dumps([{**result(7, 1, mask(0)), "attributes": [5, 2]}]))
    assert [plain(image) for image in images_of_results(path, IMAGES, [1], 0.5)] == [
        plain(found("a.jpg", [(1, 0.9, mask(0), (5, 2))], [1])),
        plain(found("b_2.jpg", [], [1])),
    ]


def test_a_very_large_mask_survives(tmp_path):
    checkers = Rle.from_bitmap(np.indices((300, 300)).sum(0) % 2)
    csv.field_size_limit(131072)
    assert len(checkers.to_kaggle()) > csv.field_size_limit()
    assert severstal(tmp_path, [result(7, 1, checkers)], {7: "a.jpg"}, 1)[1] == f"a.jpg_1,{checkers.to_kaggle()}"


def test_names_with_commas_quotes_and_line_breaks_survive(tmp_path):
    names = {1: 'a,"b".jpg', 2: "c_1\n.jpg"}
    severstal(tmp_path, [result(1, 1, mask(0))], names, 1, "severstal_stage2")
    rows = read_table(tmp_path / "s.csv", find_format("severstal_stage2"))
    assert [row["name"] for row in rows] == ['a,"b".jpg', "c_1\n.jpg"]


def test_summary_counts(tmp_path):
    twice = [(3, 0.9, box(0, 0, 4, 4)), (3, 0.8, box(0, 0, 4, 4)), (1, 0.7, box(0, 0, 8, 8))]
    images = [found("a.jpg", twice, [1, 2, 3]), found("b.jpg", [], [1, 2, 3])]
    apart = write_table(tmp_path / "s.csv", find_format("imaterialist_2019"), images, [1, 2, 3])
    assert apart == Summary(rows=3, masks=2, images=2, empty=1, instances={1: 1, 3: 1}, lost=1)
    united = write_table(tmp_path / "s.csv", find_format("severstal_stage1"), images, [1, 2, 3])
    assert united == Summary(rows=6, masks=2, images=2, empty=1, instances={1: 1, 3: 2}, lost=0)


BAD_ENTRIES = [
    ({"image_id": 8}, "image_id 8 is not one of the 2 images"),
    ({"image_id": None}, "image_id None"),
    ({"image_id": []}, r"image_id \[\]"),
    ({"category_id": 0}, "category_id 0 is not one of the classes 1 to 4"),
    ({"category_id": 5}, "category_id 5"),
    ({"category_id": "x"}, "category_id 'x'"),
    ({"category_id": True}, "category_id True"),
    ({"score": float("nan")}, "score nan"),
    ({"score": "high"}, "no COCO result"),
    ({"attributes": ["x"]}, "no COCO result"),
    ({"segmentation": {"size": [20, 30]}}, "not a COCO RLE"),
    ({"segmentation": [[1, 2, 3]]}, "not a COCO RLE"),
    ({"segmentation": {"size": [2, 2], "counts": [1, 2, 3, 4, 5]}}, "not a COCO RLE"),
    ({"segmentation": mask(0, 10, 10).to_coco(text=True)}, r"mask of \(10, 10\)"),
]


@pytest.mark.parametrize(("change", "message"), BAD_ENTRIES)
def test_bad_entries_are_named(change, message):
    entries = [result(7, 1, mask(0)), {**result(7, 1, mask(1)), **change}]
    with pytest.raises(UserError, match=f"results, entry 1: .*{message}"):
        images_of_results(entries, IMAGES, [1, 2, 3, 4], 0.5)


@pytest.mark.parametrize("key", ["image_id", "category_id", "segmentation", "score"])
def test_missing_keys_are_named(key):
    entry = result(7, 1, mask(0))
    del entry[key]
    for wrong in (entry, key):
        with pytest.raises(UserError, match="entry 0: no COCO result"):
            images_of_results([wrong], IMAGES, [1], 0.5)


@pytest.mark.parametrize(
    ("text", "message"),
    [('[{"image_id": 7, "categ', "no complete JSON"), ("", "no complete JSON"), ('{"a": 1}', "a dict, not a list")],
)
def test_bad_json_files(tmp_path, text, message):
    path = tmp_path / "mask.json"
    path.write_text(text)
    with pytest.raises(UserError, match=message):
        images_of_results(path, IMAGES, [1], 0.5)
    with pytest.raises(UserError, match=r"cannot read .*none\.json"):
        images_of_results(tmp_path / "none.json", IMAGES, [1], 0.5)


def _one_image() -> list[NamedDetections]:
    return [found("a.jpg", [(1, 0.9, box(0, 0, 8, 4)), (2, 0.8, box(0, 4, 8, 8))], [1, 2])]


STAGE_2 = "ImageId,EncodedPixels,ClassId\n"
TAMPERED = [
    (STAGE_2 + "a.jpg,1 32,1\n", "None is where the submission should have a row of a.jpg"),
    (STAGE_2 + "b.jpg,1 32,1\na.jpg,33 32,2\n", "b.jpg is where"),
    (STAGE_2 + "a.jpg,1 32,2\na.jpg,33 32,2\n", "class 2 is where a.jpg should have class 1"),
    (STAGE_2 + "a.jpg,1 31,1\na.jpg,33 32,2\n", "a.jpg, class 1, does not survive"),
    (STAGE_2 + "a.jpg,1 32,1\na.jpg,33 33,2\n", "does not read back"),
    (STAGE_2 + "a.jpg,1 32,1\na.jpg,33 32,2\na.jpg,,3\n", "a row too many"),
    (STAGE_2 + "a.jpg,1 32,1\na.jpg,33 x,2\n", "row 3: EncodedPixels is '33 x'"),
    (STAGE_2 + "a.jpg,1 32,1\na.jpg,33 32\n", "row 3: 2 cells, not 3"),
    ("ImageId,ClassId\na.jpg,1\n", "the columns are ImageId, ClassId, not"),
    ("", "the columns are"),
]


@pytest.mark.parametrize(("text", "message"), TAMPERED)
def test_what_is_not_the_submission_is_noticed(tmp_path, text, message):
    (tmp_path / "s.csv").write_text(text)
    with pytest.raises(RuntimeError, match=message):
        check_table(tmp_path / "s.csv", find_format("severstal_stage2"), _one_image(), [1, 2])


def test_overlaps_and_unknown_classes_are_noticed(tmp_path, monkeypatch):
    images = [found("a.jpg", [(1, 0.9, box(0, 0, 8, 5)), (1, 0.8, box(0, 4, 8, 8))], [0, 1])]
    form = find_format("imaterialist_2019")
    with pytest.raises(RuntimeError, match=r"class number 2 of a\.jpg is none of the data set's 1"):
        lines_of(tmp_path, form, images, [1])
    form.overlaps = "keep"
    overlapping = rows_of(*images[0], form, [0, 1])
    form.overlaps = "same_class"
    monkeypatch.setattr(table_module, "rows_of", lambda *_: overlapping)
    with pytest.raises(RuntimeError, match=r"masks of a\.jpg overlap"):
        lines_of(tmp_path, form, images, [0, 1])
