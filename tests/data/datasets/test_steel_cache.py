"""What was read from a CSV is kept, and never outlives its source."""

import os
from pathlib import Path

import pytest
from steel_data import opened
from tiny_data import HEIGHT, WIDTH, write_csv

from ppdet_ext.structures import Rle


def test_the_second_opening_uses_the_cache(steel, monkeypatch):
    first = opened(steel)
    monkeypatch.setattr("ppdet_ext.data.datasets.csv_base.read_instances", lambda *_: pytest.fail("the cache was not used"))
    second = opened(steel)
    for a, b in zip(first.records, second.records):
        assert (a.name, a.masks, a.labels.tolist(), a.boxes.tolist()) == (b.name, b.masks, b.labels.tolist(), b.boxes.tolist())


def test_a_changed_csv_or_size_is_not_taken_from_the_cache(steel):
    opened(steel)
    write_csv(steel, [("a.jpg", 1, "5 9")])
    assert opened(steel).records[0].masks == [Rle.from_kaggle("5 9", HEIGHT, WIDTH)]
    narrow = opened(steel, width=WIDTH // 2, check_images="exists").records[0]
    assert narrow.masks[0].size == (HEIGHT, WIDTH // 2)


def test_a_damaged_cache_file_is_built_again(steel, caplog):
    expected = opened(steel)
    files = list(Path(os.environ["PPDET_EXT_CACHE"]).glob("*.npz"))
    assert len(files) == 1
    files[0].write_bytes(files[0].read_bytes()[:100])
    again = opened(steel)
    assert [r.masks for r in again.records] == [r.masks for r in expected.records]
    assert "building it again" in caplog.text
    assert not list(files[0].parent.glob("*.part"))


def test_a_cache_that_cannot_be_written_does_no_harm(steel, monkeypatch):
    (steel / "a_file").write_text("")
    monkeypatch.setenv("PPDET_EXT_CACHE", str(steel / "a_file" / "below"))
    assert len(opened(steel)) == len(opened(steel)) == 8


def test_faults_are_kept_with_what_was_read(steel, caplog, monkeypatch):
    write_csv(steel, [("a.jpg", 1, "1 3"), ("b.jpg", 2, "1 2 3"), ("c.jpg", 9, "1 2")])
    caplog.set_level("WARNING", "ppdet_ext")
    names = [record.name for record in opened(steel, on_error="skip").records]
    (said,) = caplog.messages
    assert "row 3" in said
    assert "row 4" in said
    caplog.clear()
    monkeypatch.setattr("ppdet_ext.data.datasets.csv_base.read_instances", lambda *_: pytest.fail("the cache was not used"))
    assert [record.name for record in opened(steel, on_error="skip").records] == names == [f"{c}.jpg" for c in "adefgh"]
    assert caplog.messages == [said]
