"""A submission is put in place when it is whole and right, else the old one stays; long work shows how far it is."""

import logging
from pathlib import Path

import pytest
from submission_cases import found

from ppdet_ext.errors import UserError
from ppdet_ext.structures import Rle
from ppdet_ext.submission import Format
from ppdet_ext.submission import write as submit_file
from ppdet_ext.submission.write import MANY, write_submission

FORM = Format({"i": "{name}", "r": "{rle}", "c": "{class_id}"}, overlaps="all", empty={"c": 0})
IMAGES = [
    found("a.jpg", [(4, 0.9, Rle.full(2, 2)), (2, 0.8, Rle.full(2, 2))], [2, 4]),
    found("b.jpg", [], [2, 4]),
]


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> pytest.LogCaptureFixture:
    monkeypatch.setattr(logging.getLogger("ppdet_ext"), "propagate", True)
    caplog.set_level(logging.INFO, "ppdet_ext")
    return caplog


def test_written_and_summed_up(tmp_path: Path, log: pytest.LogCaptureFixture) -> None:
    output = tmp_path / "new" / "s.csv"
    assert write_submission(output, FORM, lambda: iter(IMAGES), 2, ["skirt", "bag"], [2, 4]).rows == 2
    assert output.read_text() == "i,r,c\na.jpg,1 4,4\nb.jpg,,0\n"
    assert [path.name for path in output.parent.iterdir()] == ["s.csv"]
    assert log.messages == [
        f"{output}: 2 rows, one for each instance found in 2 images: 1 with a mask, 1 blank",
        "Nothing found in 1 image; instances: skirt 0, bag 1",
        "No row for 1 instance: covered by others, or without a pixel at the size of the masks",
    ]


@pytest.mark.parametrize("cell", ["-1", "1 1", ""])
def test_any_cell_may_say_that_nothing_was_found(tmp_path: Path, cell: str) -> None:
    form = Format({"i": "{name}", "r": "{rle}"}, empty={"r": cell})
    assert write_submission(tmp_path / "s.csv", form, lambda: iter(IMAGES[1:]), 1, ["skirt", "bag"], [2, 4]).rows == 1
    assert (tmp_path / "s.csv").read_text() == f"i,r\nb.jpg,{cell}\n"


def test_many_images_show_progress(tmp_path: Path, log: pytest.LogCaptureFixture) -> None:
    images = [found(f"{number}.jpg", [], [2]) for number in range(MANY)]
    write_submission(tmp_path / "s.csv", FORM, lambda: iter(images), MANY, ["skirt"], [2])
    for title in ("Write", "Check"):
        assert any(message.startswith(f"{title}: [") and "eta" in message for message in log.messages)


def test_the_old_file_stays_when_the_new_one_is_wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    output = tmp_path / "s.csv"
    output.write_text("old")
    write = submit_file.write_table

    def write_less(path: Path, *rest: object) -> object:
        summary = write(path, *rest)
        path.write_text(path.read_text().replace("1 4", "1 3"))
        return summary

    monkeypatch.setattr(submit_file, "write_table", write_less)
    with pytest.raises(RuntimeError, match=r"the mask of a\.jpg, class 4, does not survive"):
        write_submission(output, FORM, lambda: iter(IMAGES), 2, ["skirt", "bag"], [2, 4])
    assert output.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["s.csv"]


def test_where_it_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="Choose another --output"):
        write_submission(tmp_path / "file" / "s.csv", FORM, lambda: iter(IMAGES), 2, ["skirt", "bag"], [2, 4])
