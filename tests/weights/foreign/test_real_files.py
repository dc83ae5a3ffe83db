"""Files that torch itself wrote (by make_fixtures.py), read without it."""

from pathlib import Path

import numpy as np
import pytest

from ppdet_ext.weights.files.tensor_file import open_tensors

DATA = Path(__file__).parent / "data"
GRID = np.arange(24, dtype="f4").reshape(4, 6)
# bfloat16 keeps eight bits: 0.1 becomes 0.1001 there.
EXPECTED = {
    "plain": GRID,
    "transposed": GRID.T,
    "part": GRID[1:3, 2:5],
    "parameter": np.array([0.5, np.nan], "f4"),
    "half": np.array([0.1, -2], "f2"),
    "brain": np.array([[0.10009765625], [-2]], "f4"),
    "double": np.array([0.1]),
    "count": np.array(7),
    "small": np.array([-3, 3], "i1"),
    "flags": np.array([True, False, True]),
    "empty": np.zeros((0, 3), "f4"),
}


@pytest.mark.parametrize("name", ["zip", "legacy", "protocol4"])
def test_every_kind_of_tensor_is_read_as_torch_wrote_it(name: str) -> None:
    with open_tensors(DATA / f"{name}.pth") as file:
        assert file.shapes == {key: value.shape for key, value in EXPECTED.items()}
        for key, value in EXPECTED.items():
            found = file.read(key)
            assert found.dtype == value.dtype
            assert np.array_equal(found, value, equal_nan=value.dtype.kind == "f")
            assert found.flags.c_contiguous
        assert file.notes == []


def test_a_runners_checkpoint_is_read_past_its_logs_and_optimizer() -> None:
    with open_tensors(DATA / "mmengine.pth") as file:
        assert {name: file.read(name).tolist() for name in file.shapes} == {"weight": [[0.25] * 3] * 2, "bias": [-1, -1]}
        assert file.notes == [
            "not read: 'message_hub', 'ema_state_dict', 'optimizer', 'param_schedulers'",
            "state_dict holds the averaged weights, as mmengine saves them; ema_state_dict the others",
        ]


def test_a_file_may_have_been_written_without_checksums(tmp_path: Path) -> None:
    """torch.serialization.set_crc32_options(False) leaves them 0."""
    content = bytearray((DATA / "zip.pth").read_bytes())
    at = content.index(b"PK\x01\x02")
    while content[at : at + 4] == b"PK\x01\x02":
        content[at + 16 : at + 20] = bytes(4)
        at += 46 + sum(int.from_bytes(content[at + field : at + field + 2], "little") for field in (28, 30, 32))
    (tmp_path / "w.pth").write_bytes(content)
    with open_tensors(tmp_path / "w.pth") as file:
        assert np.array_equal(file.read("plain"), GRID)


def test_storage_views_of_torch_before_0_4(tmp_path: Path) -> None:
    """Such a file names a storage and a part of it."""
    from tests.weights.foreign.torch_files import legacy, number, one, tensor, text

    view = b"(" + text("7") + number(1) + number(2) + b"t"
    (tmp_path / "old.pth").write_bytes(legacy(one(tensor(view=view, size=(2,), stride=(1,)))))
    with open_tensors(tmp_path / "old.pth") as file:
        assert file.read("w").tolist() == [2, 3]
