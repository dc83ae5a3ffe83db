"""Templates of submissions: those that come along, and every way one can be wrong."""

import re

import pytest

from ppdet_ext.commands.submit import find_format, known_formats
from ppdet_ext.data.formats.rle_presets import PRESETS
from ppdet_ext.errors import UserError
from ppdet_ext.submission import Format

COLUMNS = {"i": "{name}", "r": "{rle}", "c": "{class_id}"}


def test_formats_that_come_along():
    classes = ["imaterialist_2019", "imaterialist_2020", "severstal_stage1", "severstal_stage2"]
    assert sorted([*classes, *(set(PRESETS) - {"severstal", *classes})]) == known_formats()
    for name in known_formats():
        form = find_format(name)
        assert form.fields >= {"name", form.mask_field}
        assert name not in classes or form.fields >= {"rle", "class_id"}


@pytest.mark.parametrize(("height", "width", "size"), [
    (2000, 3000, (682, 1024)), (3000, 2000, (1024, 682)), (10, 20, (512, 1024)), (7, 7, (1024, 1024)), (1, 5000, (1, 1024)),
])  # fmt: skip
def test_longest_edge(height, width, size):
    assert Format(COLUMNS, size={"longest": 1024}).mask_size(height, width) == size
    assert Format(COLUMNS, size=[3, 5]).mask_size(height, width) == (3, 5)
    assert Format(COLUMNS).mask_size(height, width) == (height, width)


@pytest.mark.parametrize(("tree", "message"), [
    ([], "a submission template needs columns"),
    ({"rows": "class"}, "a submission template needs columns"),
    ({"columns": COLUMNS, "colums": 1}, "unknown key 'colums'. Did you mean 'columns'?"),
    ({"columns": COLUMNS, "frobnicate": 1}, "unknown key 'frobnicate'. There are columns, rows, size, empty"),
    ({"columns": COLUMNS, "overlaps": "sameclass"}, "overlaps is one of keep, same_class, all, not 'sameclass'. Did you mean"),
    ({"columns": COLUMNS, "rows": 3}, "rows is one of class, instance, image, not 3"),
    ({"columns": COLUMNS, "image_suffix": ["keep"]}, "image_suffix is one of keep, drop"),
    ({"columns": {}}, "columns is a mapping"),
    ({"columns": {**COLUMNS, "x": {"class_id": None}}}, "columns.x is a text in quotes"),
    ({"columns": {**COLUMNS, "x": "{clas_id}"}}, "columns.x: unknown field in '{clas_id}'. There are {name}, {rle}"),
    ({"columns": {**COLUMNS, "x": "{name.__class__}"}}, "columns.x: unknown field"),
    ({"columns": {**COLUMNS, "x": "{score:.2f}"}}, "columns.x: unknown field"),
    ({"columns": {**COLUMNS, "x": "{name!r}"}}, "columns.x: unknown field"),
    ({"columns": {**COLUMNS, "x": "{name"}}, "columns.x: '{name' is no text with fields"),
    ({"columns": {**COLUMNS, "x": "{name}{score}"}}, "needs a separator"),
    ({"columns": {**COLUMNS, "x": "{name} {name}"}}, "has a field twice"),
    ({"columns": {"i": "{name}"}}, "with rows: instance one of the columns must hold {rle}"),
    ({"columns": {"i": "{name}", "r": "{rle}"}, "rows": "class"}, "must hold {class_id}"),
    ({"columns": {**COLUMNS, "s": "{score}"}, "rows": "class"}, "{score} is an instance's"),
    ({"columns": COLUMNS, "rows": "image"}, "{class_id} is an instance's; rows: image has several"),
    ({"columns": {"i": "{name}", "p": "{predictions}"}}, "{predictions} are all instances of an image: rows: image"),
    ({"columns": COLUMNS, "labels": "id"}, "labels is one of ids, names"),
    ({"columns": COLUMNS, "file_pattern": "("}, "file_pattern: '(' is no regular expression"),
    ({"columns": COLUMNS, "size": [512]}, "size is full, [height, width] or"),
    ({"columns": COLUMNS, "size": [512, 0]}, "size is full"),
    ({"columns": COLUMNS, "size": [512.0, 512]}, "size is full"),
    ({"columns": COLUMNS, "size": [512, 10**6]}, "size is full"),
    ({"columns": COLUMNS, "size": {"longest": True}}, "size is full"),
    ({"columns": COLUMNS, "size": {"shortest": 5}}, "size is full"),
    ({"columns": COLUMNS, "size": "small"}, "size is full"),
    ({"columns": COLUMNS, "empty": "row"}, "an image with nothing has no class"),
    ({"columns": COLUMNS, "empty": "nothing"}, "empty is row, none or a mapping"),
    ({"columns": COLUMNS, "empty": {"d": 1}}, "empty: there is no column 'd'"),
    ({"columns": COLUMNS, "empty": {"c": [1]}}, "empty.c is a text or a number"),
    ({"columns": COLUMNS, "empty": {"r": -1}}, "empty needs a cell for c"),
    ({"columns": COLUMNS, "empty": {"i": "x", "c": 0}}, "empty.i: this column holds {name}, which tells the images apart"),
    ({"columns": {"r": "{rle}", "i": "{name}_{class_id}"}, "empty": {"r": ""}}, "this column holds {name} and {class_id}"),
    ({"columns": {"r": "{rle}", "i": "{name}_{class_id}"}, "rows": "class", "empty": {"i": 0}}, "Use empty: none or row."),
])  # fmt: skip
def test_bad_templates(tree, message):
    with pytest.raises(UserError, match=re.escape(message)):
        Format.from_tree(tree, "mine.yml")


def test_unknown_names_and_bad_files(tmp_path):
    with pytest.raises(UserError, match=r"'severstal_stage3'. Did you mean 'severstal_stage\d'\? There are airbus, .*_2019,"):
        find_format("severstal_stage3")
    with pytest.raises(UserError, match="Did you mean 'imaterialist_2020'"):
        find_format(tmp_path / "imaterialist_220.yml")
    (tmp_path / "bad.yml").write_text("columns: {a: {name}\n")
    with pytest.raises(UserError, match=r"bad\.yml:\d: not a valid configuration"):
        find_format(tmp_path / "bad.yml")


def test_two_images_of_one_name():
    Format(COLUMNS).check_names(["a.jpg", "a.png"])
    with pytest.raises(UserError, match=r"a\.jpg and a\.png: two images of one name, 'a'"):
        Format(COLUMNS, image_suffix="drop").check_names(["a.jpg", "b.jpg", "a.png"])


def test_a_name_that_is_not_utf_8():
    with pytest.raises(UserError, match=r"'bad\\udcff\.jpg': the picture's name is not UTF-8"):
        Format(COLUMNS).check_names(["ä.jpg", b"bad\xff.jpg".decode(errors="surrogateescape")])
