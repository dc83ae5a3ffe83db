"""A file is there completely or not at all, and of several writers the last one's."""

import contextlib
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ppdet_ext.errors import UserError
from ppdet_ext.files.atomic import replacing, write_atomic, write_atomically


@given(before=st.none() | st.binary(max_size=20), now=st.binary(max_size=20), durable=st.booleans())
def test_content_is_the_new_one_or_when_writing_fails_the_old_one(tmp_path_factory, before, now, durable) -> None:
    path = tmp_path_factory.mktemp("atomic") / "file"
    if before is not None:
        path.write_bytes(before)
    with contextlib.suppress(KeyboardInterrupt), replacing(path, durable=durable) as aside:
        aside.write_bytes(now)
        raise KeyboardInterrupt
    assert (path.read_bytes() if path.exists() else None) == before
    with replacing(path, durable=durable) as aside:
        aside.write_bytes(now)
    assert path.read_bytes() == now
    assert os.listdir(path.parent) == ["file"]


def test_writers_at_the_same_time_do_not_disturb_each_other(tmp_path: Path) -> None:
    contents = [bytes([number]) * 10**6 for number in range(8)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda content: write_atomically(tmp_path / "file", content), contents))
    assert (tmp_path / "file").read_bytes() in contents
    assert os.listdir(tmp_path) == ["file"]


def test_only_what_cannot_be_made_again_is_flushed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flushed: list[str] = []
    monkeypatch.setattr(os, "fsync", lambda handle: flushed.append(os.readlink(f"/proc/self/fd/{handle}")))
    write_atomically(tmp_path / "again", b"1")
    assert flushed == []
    write_atomic(tmp_path / "once", lambda aside: aside.write_bytes(b"1"))
    assert flushed == [str(tmp_path / ".once.part"), str(tmp_path)]


def test_a_folder_that_cannot_be_written_is_said_with_what_to_change(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"Cannot write .*file/x: .*Choose another output\."):
        write_atomic(tmp_path / "file" / "x", lambda aside: aside.write_bytes(b""), "output")


def test_a_pipe_or_device_is_not_replaced(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UserError, match=r"output .*pipe is a device or a pipe"):
        write_atomic(tmp_path / "pipe", lambda aside: aside.write_bytes(b""), "output")
    assert (tmp_path / "pipe").is_fifo()
