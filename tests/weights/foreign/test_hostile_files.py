"""Whatever a file holds, nothing of it is run, memory stays small, and the refusal names the file and the fault."""

import os
import tracemalloc
from pathlib import Path

import pytest

from ppdet_ext.errors import UserError
from ppdet_ext.weights.files.tensor_file import open_tensors
from tests.weights.foreign.hostile_files import hostile_files
from tests.weights.foreign.torch_files import GOOD, legacy, zipped

FILES = hostile_files()
MEMORY = 8 << 20


def read_all(path: Path) -> dict[str, list]:
    with open_tensors(path) as file:
        return {name: file.read(name).tolist() for name in file.shapes}


@pytest.fixture
def sentinel(tmp_path: Path, monkeypatch) -> Path:
    """The file that every command in the hostile pickles would make."""
    monkeypatch.chdir(tmp_path)
    return tmp_path / "executed"


def test_the_builders_make_sound_files(tmp_path: Path) -> None:
    """Else the refusals below might have other causes."""
    for content in (zipped(GOOD), legacy(GOOD)):
        (tmp_path / "good.pth").write_bytes(content)
        assert read_all(tmp_path / "good.pth") == {"w": [[1, 2], [3, 4]]}


@pytest.mark.parametrize("what", FILES)
def test_refused_by_name_without_running_anything(what: str, sentinel: Path, tmp_path: Path) -> None:
    content, why = FILES[what]
    path = tmp_path / "stranger.pth"
    path.write_bytes(content)
    tracemalloc.start()
    try:
        with pytest.raises(UserError, match=why) as caught:
            read_all(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert "stranger.pth" in str(caught.value)
    assert len(str(caught.value)) < 1000
    assert not sentinel.exists()
    assert peak < MEMORY


@pytest.mark.parametrize("content", [zipped(GOOD), legacy(GOOD)], ids=["zip", "legacy"])
def test_cut_anywhere_it_is_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "cut.pth"
    for size in range(len(content)):
        path.write_bytes(content[:size])
        with pytest.raises(UserError, match=r"cut\.pth"):
            read_all(path)


@pytest.mark.parametrize("content", [zipped(GOOD), legacy(GOOD)], ids=["zip", "legacy"])
def test_every_byte_changed_it_is_read_or_refused(content: bytes, sentinel: Path, tmp_path: Path) -> None:
    path = tmp_path / "changed.pth"
    refusals = []
    for at in range(len(content)):
        for flip in (0x01, 0x80, 0xFF):
            changed = bytearray(content)
            changed[at] ^= flip
            path.write_bytes(changed)
            try:
                read_all(path)
            except UserError as error:
                refusals.append(str(error))
    assert len(refusals) > len(content)
    assert all("changed.pth" in text for text in refusals)
    assert not sentinel.exists()


def test_folders_pipes_and_absent_files_are_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.pth")
    (tmp_path / "folder.pth").mkdir()
    for name in ("pipe.pth", "folder.pth", "/dev/zero"):
        with pytest.raises(UserError, match="no ordinary file"):
            read_all(tmp_path / name)
    with pytest.raises(UserError, match=r"absent\.pth does not exist"):
        read_all(tmp_path / "absent.pth")
