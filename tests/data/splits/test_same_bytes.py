"""Files of the same bytes."""

from pathlib import Path

import pytest

from ppdet_ext.data.splits import duplicates as module
from ppdet_ext.data.splits.duplicates import same_bytes
from ppdet_ext.errors import UserError


def test_copies_share_a_group_and_only_files_of_one_size_are_read(tmp_path: Path, monkeypatch) -> None:
    contents = [b"abc", b"abd", b"abc", b"longer", b"", b"", b"abd"]
    files = [tmp_path / f"{place}.jpg" for place in range(len(contents))]
    for file, content in zip(files, contents):
        file.write_bytes(content)
    read, key = [], module.content_key
    monkeypatch.setattr(module, "content_key", lambda file: read.append(Path(file).name) or key(file))
    assert same_bytes(list(map(str, files))).tolist() == [0, 1, 0, 2, 3, 3, 1]
    assert "3.jpg" not in read


def test_a_file_that_is_gone(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"gone\.jpg cannot be read: No such file"):
        same_bytes([str(tmp_path / "gone.jpg")])
