"""TensorBoard's files: as tensorboardX writes them, whole and damaged, and without what comes again."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ppdet_ext.files.event_file import EventFile, Scalars, crc32c, encoded, event_files, forget, framed, read_events

# By tensorboardX 2.6.5: add_scalar("train/loss", 0.5, 300, walltime=1.0), add_scalar("eval/segm/AP", 0.25, 7, walltime=2.0).
THEIRS = bytes.fromhex(
    "1800000000000000a37f4b2209aa92216fcac2da411a0d627261696e2e4576656e743a32f257c97c"
    "2100000000000000017becf609000000000000f03f10ac022a130a110a0a747261696e2f6c6f7373150000003fc59976c6"
    "220000000000000078113dfd09000000000000004010072a150a130a0c6576616c2f7365676d2f4150150000803ee38d0e94"
)
WRITTEN = [Scalars(300, {"train/loss": 0.5}, 1.0), Scalars(7, {"eval/segm/AP": 0.25}, 2.0)]


def test_the_bytes_are_tensorboards(tmp_path: Path) -> None:
    assert crc32c(b"123456789") == 0xE3069283  # the check value of CRC-32C
    assert THEIRS.endswith(b"".join(framed(encoded(one)) for one in WRITTEN))
    (tmp_path / "theirs").write_bytes(THEIRS)
    assert list(read_events(tmp_path / "theirs")) == WRITTEN


@settings(max_examples=30)
@given(
    st.lists(
        st.tuples(
            st.integers(0, 2**40), st.dictionaries(st.text(min_size=1), st.floats(width=32, allow_nan=False), min_size=1)
        ),
        max_size=5,
    )
)
def test_what_is_written_is_read(tmp_path_factory: pytest.TempPathFactory, scalars: list[tuple[int, dict[str, float]]]) -> None:
    folder = tmp_path_factory.mktemp("events")
    written = EventFile(folder)
    written.begin(3)
    for step, values in scalars:
        written.add(step, values)
    written.close()
    (path,) = event_files(folder)
    assert [(one.step, one.values) for one in read_events(path)] == scalars


@pytest.mark.parametrize("damage", ["cut", "flipped", "long"])
def test_damaged_ends_are_left_out(damage: str, tmp_path: Path) -> None:
    data = bytearray(THEIRS)
    if damage == "cut":
        data = data[:-3]
    elif damage == "flipped":
        data[-10] ^= 1
    else:
        data += b"\xff" * 40
    (tmp_path / "damaged").write_bytes(data)
    assert list(read_events(tmp_path / "damaged")) == WRITTEN[: 2 if damage == "long" else 1]


def test_what_comes_again_is_taken_out_of_files_that_have_it(tmp_path: Path) -> None:
    for first in (0, 30, 60):
        file = EventFile(tmp_path)
        for step in range(first, first + 30, 10):
            file.add(step, {"loss": step})
        file.close()
    old = [path.read_bytes() for path in event_files(tmp_path)]
    forget(tmp_path, lambda step, name: step >= 40 and name == "loss")
    paths = event_files(tmp_path)
    assert [[one.step for one in read_events(path)] for path in paths] == [[0, 10, 20], [30]]
    assert paths[0].read_bytes() == old[0]
    EventFile(tmp_path).close()
    assert event_files(tmp_path)[:2] == paths  # a new file is the last one, also within the same second
