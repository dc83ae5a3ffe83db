"""Files we write: `.pth` as torch lays it out, and the ones of safetensors that we read."""

import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from safetensors.numpy import save_file

from ppdet_ext.errors import UserError
from ppdet_ext.weights.files.tensor_file import open_tensors
from ppdet_ext.weights.files.torch_writer import write_torch

ARRAYS = st.sampled_from(["<f4", "<i8"]).flatmap(lambda kind: arrays(kind, array_shapes(min_dims=0, max_dims=4, min_side=0)))
NAMES = st.text(st.characters(codec="utf-8", categories=["L", "N"]), min_size=1, max_size=20)


@given(tensors=st.dictionaries(NAMES, ARRAYS, min_size=1, max_size=5))
def test_what_is_written_is_read_bit_for_bit(tensors: dict[str, np.ndarray], tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("w") / "w.pth"
    write_torch(path, {"CLASSES": ["scratch", "crazing"], "epoch": -1}, tensors.items())
    with open_tensors(path) as file:
        assert list(file.shapes) == list(tensors)
        for name, value in tensors.items():
            found = file.read(name)
            assert (found.dtype, found.shape, found.tobytes()) == (value.dtype, value.shape, value.tobytes())


def test_the_archive_is_sound_and_its_tensors_can_be_mapped(tmp_path: Path) -> None:
    write_torch(tmp_path / "w.pth", {}, {"a": np.ones(3, "f4"), "b": np.zeros((), "i8")}.items())
    with zipfile.ZipFile(tmp_path / "w.pth") as archive:
        assert archive.testzip() is None
        assert archive.read("archive/byteorder") == b"little"
        assert archive.read("archive/data/0") == np.ones(3, "f4").tobytes()
        content = (tmp_path / "w.pth").read_bytes()
        assert all(content.index(archive.read(f"archive/data/{i}"), info.header_offset) % 64 == 0
                   for i, info in enumerate(archive.infolist()[:2]))  # fmt: skip


def test_other_types_are_refused_before_they_are_written_wrongly(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="w is float64"):
        write_torch(tmp_path / "w.pth", {}, [("w", np.zeros(1))])
    with pytest.raises(TypeError, match="float is not written"):
        write_torch(tmp_path / "w.pth", {"lr": 0.5}, [])


def test_safetensors_are_read_bfloat16_too(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    save_file({"module.a": np.arange(6, dtype="f4").reshape(2, 3), "b": np.array([1.5, -2], "f2")}, path)
    with open_tensors(path) as file:
        assert file.shapes == {"a": (2, 3), "b": (2,)}
        assert file.read("a").tolist() == [[0, 1, 2], [3, 4, 5]]
        assert file.read("b").dtype == np.float16
    # 0x3FC0 and 0xC000 are 1.5 and -2 in bfloat16.
    header = b'{"b":{"dtype":"BF16","shape":[1,2],"data_offsets":[0,4]}}'
    path.write_bytes(len(header).to_bytes(8, "little") + header + np.array([0x3FC0, 0xC000], "<u2").tobytes())
    with open_tensors(path) as file:
        assert file.read("b").tolist() == [[1.5, -2]]


@pytest.mark.parametrize("content", [b"", b"\x10", b"\x02\0\0\0\0\0\0\0{}", b"\x20\0\0\0\0\0\0\0{}"])
def test_damaged_safetensors_are_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "w.safetensors").write_bytes(content)
    with (
        pytest.raises(UserError, match=r"w\.safetensors \(.*: (it is no sound|its table of tensors is empty)"),
        open_tensors(tmp_path / "w.safetensors"),
    ):
        pass
