"""What was read from a CSV is kept, and never outlives its source."""

import json
import os
from pathlib import Path

import pytest
from fashion_data import LABELS, ROWS_2019, SHIRT, content, opened, row, write_fashion, write_rows

from ppdet_ext.errors import UserError


@pytest.fixture
def fashion(tmp_path):
    return write_fashion(tmp_path)


def forbid_parsing(monkeypatch):
    monkeypatch.setattr("ppdet_ext.data.fashion.read_instances", lambda *_: pytest.fail("the cache was not used"))


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


def test_faulty_rows_are_never_cached(fashion, caplog):
    write_rows(fashion, [*ROWS_2019, row("a.jpg", SHIRT, "7")])
    for _ in range(2):
        caplog.clear()
        opened(fashion, on_error="skip")
        assert "row 8" in caplog.text


def test_the_order_of_the_rows_is_kept_over_many_images_and_batches(fashion, monkeypatch):
    rows = [row("b.jpg", SHIRT, "13"), *ROWS_2019]
    write_rows(fashion, rows)
    whole = content(opened(fashion))
    monkeypatch.setattr("ppdet_ext.data.fashion_instances._BATCH", 2)
    assert content(opened(fashion, cache=False)) == whole
    assert [mask.area for record in opened(fashion).records for mask in record.masks] == [600, 40, 600, 600, 360, 40, 25]
