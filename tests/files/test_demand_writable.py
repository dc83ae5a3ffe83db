"""Whether an output can be written is told before the work, not after it."""

import os
from pathlib import Path

import pytest

from ppdet_ext.errors import UserError
from ppdet_ext.files.atomic import demand_writable


def test_the_folder_is_made_and_nothing_is_left_in_it(tmp_path: Path) -> None:
    demand_writable(tmp_path / "new" / "deep" / "s.csv", "--output")
    assert list((tmp_path / "new" / "deep").iterdir()) == []
    (tmp_path / "s.csv").write_text("old")
    demand_writable(tmp_path / "s.csv", "--output")
    assert (tmp_path / "s.csv").read_text() == "old"


@pytest.mark.parametrize(("path", "message"), [
    ("/proc/none/s.csv", r"Cannot write /proc/none/s\.csv: .*Choose another --output\."),
    ("/proc/s.csv", r"Cannot write /proc/s\.csv: .*Choose another --output\."),
    ("file/s.csv", r"Cannot write .*file/s\.csv: file: File exists"),
    ("folder", r"--output .*folder is a folder; give the file to write"),
    ("pipe", r"--output .*pipe is a device or a pipe; give a file to write"),
    ("folder/" + 252 * "n", "Cannot write .*: File name too long"),
])  # fmt: skip
def test_what_cannot_be_written_is_refused(tmp_path: Path, path: str, message: str) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UserError, match=message):
        demand_writable(tmp_path / path, "--output")
