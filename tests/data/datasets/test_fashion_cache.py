"""What was read from a CSV is kept, and never outlives its source."""

import json
import os
import shutil
from pathlib import Path

import pytest
from fashion_data import LABELS, ROWS_2019, SHIRT, content, opened, row, write_fashion, write_rows

from ppdet_ext.errors import UserError


@pytest.fixture
def fashion(tmp_path):
    return write_fashion(tmp_path)


def forbid_parsing(monkeypatch):
    monkeypatch.setattr("ppdet_ext.data.datasets.csv_base.read_instances", lambda *_: pytest.fail("the cache was not used"))


def test_the_second_opening_uses_the_cache(fashion, monkeypatch):
    before = content(opened(fashion))
    forbid_parsing(monkeypatch)
    assert content(opened(fashion)) == before
    # Choices are made from the same cache.
    assert len(opened(fashion, drop_attributed=True, allow_empty=False, min_instance_area=3)) == 2


def test_without_cache_nothing_is_kept(fashion):
    opened(fashion, cache=False)
    assert not list(Path(os.environ["PPDET_EXT_CACHE"]).glob("*"))


def test_a_byte_changed_in_the_middle_is_noticed(fashion):
    path = fashion / "train.csv"
    opened(fashion)
    before = path.stat()
    changed = path.read_bytes().replace(b"a.jpg,99 20", b"a.jpg,99 21")
    path.write_bytes(changed)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (path.stat().st_size, path.stat().st_mtime_ns) == (before.st_size, before.st_mtime_ns)
    assert opened(fashion).records[0].masks[0].area == SHIRT.area + 1


def test_other_labels_make_it_anew(fashion):
    opened(fashion)
    for change in ({"categories": LABELS["categories"][1:]}, {"attributes": LABELS["attributes"][1:]}):
        (fashion / "label_descriptions.json").write_text(json.dumps({**LABELS, **change}))
        with pytest.raises(UserError, match="unknown"):
            opened(fashion)


def test_a_damaged_cache_file_is_built_again(fashion, caplog):
    before = content(opened(fashion))
    (file,) = Path(os.environ["PPDET_EXT_CACHE"]).glob("*.npz")
    file.write_bytes(file.read_bytes()[:100])
    assert content(opened(fashion)) == before
    assert "building it again" in caplog.text


def test_faults_are_kept_with_what_was_read(fashion, caplog, monkeypatch):
    faulty = [row("a.jpg", SHIRT, "7"), row("c.jpg", SHIRT, "13_45_45"), ROWS_2019[0], ("", "1 2", 32, 64, "0")]
    write_rows(fashion, [*ROWS_2019, *faulty])
    caplog.set_level("WARNING", "ppdet_ext")
    before = content(opened(fashion, on_error="skip"))
    (said,) = caplog.messages
    for part in (
        "1 row of an unknown class (known: 0 to 28): a.jpg class 7 (row 8)",
        "1 row repeating another row: b.jpg (row 10 repeats row 2)",
        "1 row without an image: row 11",
        "2 images left out altogether because of faulty rows: a.jpg; c.jpg",
    ):
        assert part in said
    caplog.clear()
    forbid_parsing(monkeypatch)
    assert content(opened(fashion, on_error="skip")) == before
    assert caplog.messages == [said]
    with pytest.raises(UserError) as caught:
        opened(fashion)
    assert "a.jpg class 7 (row 8)" in str(caught.value)
    assert "left out altogether" not in str(caught.value)


@pytest.fixture
def beside(fashion, monkeypatch):
    """The cache where it is unless $PPDET_EXT_CACHE says otherwise."""
    monkeypatch.delenv("PPDET_EXT_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(fashion / "home"))
    return fashion / ".cache"


@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o002, 0o664), (0o077, 0o600)])
def test_who_may_read_the_data_may_read_the_cache(fashion, beside, mask, mode):
    former = os.umask(mask)
    try:
        opened(fashion)
    finally:
        os.umask(former)
    assert [file.stat().st_mode & 0o777 for file in beside.iterdir()] == [mode]


def test_what_an_earlier_csv_left_goes_and_nothing_else(fashion, beside):
    opened(fashion)
    (first,) = beside.iterdir()
    shutil.copy(fashion / "train.csv", fashion / "other.csv")
    opened(fashion, anno_path="other.csv")
    opened(fashion, class_names=[str(i) for i in range(29)])
    (beside / "mine.npz").write_text("")
    before = set(beside.iterdir())
    assert len(before) == 4
    for rows in (ROWS_2019[1:], ROWS_2019[2:]):
        write_rows(fashion, rows)
        opened(fashion)
        assert len(set(beside.iterdir()) - before) == 1
    assert before - set(beside.iterdir()) == {first}


def test_a_common_cache_folder_keeps_what_may_be_others(fashion):
    opened(fashion)
    write_rows(fashion, ROWS_2019[1:])
    opened(fashion)
    assert len(list(Path(os.environ["PPDET_EXT_CACHE"]).iterdir())) == 2


def test_a_copy_of_the_folder_uses_its_cache(fashion, beside, tmp_path_factory, monkeypatch):
    """As on another machine that has it under another path."""
    before = content(opened(fashion))
    copy = tmp_path_factory.mktemp("copy") / "data"
    shutil.copytree(fashion, copy)
    forbid_parsing(monkeypatch)
    assert content(opened(copy)) == before


def test_the_order_of_the_rows_is_kept_over_many_images_and_batches(fashion, monkeypatch):
    rows = [row("b.jpg", SHIRT, "13"), *ROWS_2019]
    write_rows(fashion, rows)
    whole = content(opened(fashion))
    monkeypatch.setattr("ppdet_ext.data.formats.packed_masks._BATCH", 2)
    assert content(opened(fashion, cache=False)) == whole
    assert [mask.area for record in opened(fashion).records for mask in record.masks] == [600, 40, 600, 600, 360, 40, 25]
