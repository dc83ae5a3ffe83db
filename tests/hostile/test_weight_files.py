"""Whatever a `.pdparams` or `.pdopt` holds, nothing of it is run, and the refusal names the file and what it asked for."""

import os
import pickle
import re
import subprocess
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import paddle
import pytest

from ppdet_ext.errors import UserError
from ppdet_ext.weights.files.paddle_file import read_data_file
from tests.hostile.forgeries import forgeries, optimizers
from tests.hostile.opcodes import PROTOCOL, array, call, fraction, number, one, schedule, text, whole
from tests.hostile.payloads import CANARY, SOURCE, appeared, payloads

PAYLOADS, FORGERIES, OPTIMIZERS = payloads(), forgeries(), optimizers()
MEMORY = 8 << 20


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Working directory, with a module that a file may try to import."""
    (tmp_path / f"{CANARY}.py").write_text(SOURCE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def refusal(path: Path) -> str:
    """What the file is refused with."""
    tracemalloc.start()
    try:
        with pytest.raises(UserError) as caught:
            read_data_file(path)
        assert tracemalloc.get_traced_memory()[1] < MEMORY
    finally:
        tracemalloc.stop()
    return str(caught.value)


@pytest.mark.parametrize(
    ("what", "suffix"),
    [(what, ".pdparams") for what in (*PAYLOADS, *FORGERIES)] + [(what, ".pdopt") for what in OPTIMIZERS],
    ids=lambda value: value.replace(" ", "-"),
)
def test_refused_by_name_without_running_anything(what: str, suffix: str, folder: Path) -> None:
    content, why = (PAYLOADS | FORGERIES | OPTIMIZERS)[what]
    path = folder / f"stranger{suffix}"
    path.write_bytes(content)
    before = sorted(folder.iterdir())
    message = refusal(path)
    assert re.search(why, message), message
    assert str(path) in message
    assert message.isprintable()
    assert len(message) < 600 + len(str(path))
    assert appeared(folder) == []
    assert sorted(folder.iterdir()) == before


def test_the_same_payloads_do_fire_through_plain_pickle(folder: Path) -> None:
    """Else the refusals above would prove nothing."""
    for index, (content, _) in enumerate(PAYLOADS.values()):
        (folder / f"{index}.pkl").write_bytes(content)
    done = subprocess.run(
        [sys.executable, "-m", "tests.hostile.fire", str(folder), str(len(PAYLOADS))],
        capture_output=True,
        text=True,
        timeout=100,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])},
    )
    assert done.returncode == 0, done.stderr
    fired = dict(line.split(": ") for line in done.stdout.splitlines())
    assert [what for index, what in enumerate(PAYLOADS) if not fired[str(index)]] == []


def test_the_builders_make_sound_files(folder: Path) -> None:
    """Else the refusals above might have other causes; paddle reads the same."""
    (folder / "w.pdparams").write_bytes(one(array()))
    assert read_data_file(folder / "w.pdparams")["w"].tolist() == [1, 2] == paddle.load("w.pdparams")["w"].tolist()
    nested = b"}(" + text("last_lr") + fraction(0.1) + text("last_epoch") + number(3) + b"u"
    (folder / "w.pdopt").write_bytes(schedule(last_epoch=number(3), last_lr=fraction(0.1), LinearWarmup_LR=nested))
    numbers = {"last_epoch": 3, "last_lr": 0.1}
    assert read_data_file(folder / "w.pdopt") == {"LR_Scheduler": {**numbers, "LinearWarmup_LR": numbers}}
    parts = b"}(" + text("slices") + b"](" + text("x@@.0") + text("x@@.1") + b"e" + text("OriginShape") + b"K\x04K\x01\x86u"
    table = text("UnpackBigParamInfor@@") + b"}" + text("x") + parts + b"s"
    (folder / "x.pdparams").write_bytes(PROTOCOL + b"}(" + text("x@@.0") + array() + text("x@@.1") + array() + table + b"u.")
    assert (
        read_data_file(folder / "x.pdparams")["x"].tolist() == [[1], [2], [1], [2]] == paddle.load("x.pdparams")["x"].tolist()
    )


def test_harmless_oddities_are_read(folder: Path) -> None:
    """What no pickler writes, and nothing comes of: state of an OrderedDict, a value remembered under a huge number."""
    odd = call("collections.OrderedDict") + b"}" + text("__class__") + b"Nsb", b"}r\xff\xff\xff\xff"
    for value in odd:
        (folder / "w.pdparams").write_bytes(whole(value))
        assert read_data_file(folder / "w.pdparams") == {}


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of what paddle writes of a model and an optimizer, in every protocol."""
    out = tmp_path_factory.mktemp("saved")
    model = paddle.nn.Sequential(paddle.nn.Linear(3, 40), paddle.nn.BatchNorm1D(40), paddle.nn.Linear(40, 50))
    rate = paddle.optimizer.lr.LinearWarmup(paddle.optimizer.lr.PiecewiseDecay([3], [0.1, 0.01]), 2, 0.0, 0.1)
    optimizer = paddle.optimizer.Adam(rate, parameters=model.parameters())
    model(paddle.rand([4, 3])).sum().backward()
    optimizer.step()
    kinds = {"half": paddle.ones([2], "float16"), "truth": paddle.to_tensor([True, False]), "none": paddle.zeros([0, 4])}
    contents = {
        "model.pdparams": {**model.state_dict(), **kinds, "number": paddle.to_tensor(3.5)},
        "model.pdopt": {**optimizer.state_dict(), "last_epoch": 3, "master_weights": {"w": paddle.ones([2])}},
    }
    for protocol in (2, 3, 4):
        for name, content in contents.items():
            paddle.save(content, str(out / f"{protocol}_{name}"), protocol=protocol)
    return out


@pytest.mark.parametrize("protocol", [2, 3, 4])
@pytest.mark.parametrize("numpy_1", [False, True], ids=["numpy 2", "numpy 1"])
def test_what_paddle_writes_is_read_as_paddle_reads_it(saved: Path, tmp_path: Path, protocol: int, numpy_1: bool) -> None:
    for name in ("model.pdparams", "model.pdopt"):
        content = (saved / f"{protocol}_{name}").read_bytes()
        theirs = paddle.load(str(saved / f"{protocol}_{name}"), return_numpy=True)
        for module in (b"multiarray", b"numeric") if numpy_1 else ():
            old, new = b"numpy._core." + module, b"numpy.core." + module
            content = content.replace(b"\x8c" + bytes([len(old)]) + old, b"\x8c" + bytes([len(new)]) + new)
            content = content.replace(b"c" + old, b"c" + new)
        if protocol == 4 and numpy_1:  # its first frame has become shorter
            start = content.index(b"\x95") + 1
            first = int.from_bytes(content[start : start + 8], "little")
            content = content[:start] + (first - 1).to_bytes(8, "little") + content[start + 8 :]
        (tmp_path / name).write_bytes(content)
        ours = read_data_file(tmp_path / name)
        assert list(ours) == list(theirs)
        for key, value in theirs.items():
            np.testing.assert_equal(ours[key], value, err_msg=key)
            assert type(ours[key]) is type(value)


@pytest.mark.parametrize("protocol", [2, 4])
def test_cut_anywhere_it_is_refused(saved: Path, tmp_path: Path, protocol: int) -> None:
    content = (saved / f"{protocol}_model.pdopt").read_bytes()
    path = tmp_path / "cut.pdopt"
    for size in range(0, len(content), 37):
        path.write_bytes(content[:size])
        with pytest.raises(UserError, match=r"cut\.pdopt \(\d+ bytes\) is truncated or damaged"):
            read_data_file(path)


@pytest.mark.parametrize("protocol", [2, 4])
def test_bit_flipped_it_is_read_or_refused(saved: Path, folder: Path, protocol: int) -> None:
    """A bit of a number or a name cannot be told from another one; whatever else is hit is refused."""
    content = (saved / f"{protocol}_model.pdopt").read_bytes()
    path = folder / "flipped.pdopt"
    said = []
    for at in range(0, len(content), 41):
        changed = bytearray(content)
        changed[at] ^= 1 << at % 8
        path.write_bytes(changed)
        try:
            read_data_file(path)
        except UserError as error:
            said.append(str(error))
    assert len(said) > 10
    assert all("flipped.pdopt" in message for message in said)
    assert appeared(folder) == []


def test_folders_pipes_links_and_absent_files_are_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.pdparams")
    (tmp_path / "folder.pdparams").mkdir()
    (tmp_path / "loop.pdparams").symlink_to("loop.pdparams")
    said = {
        "pipe.pdparams": "no ordinary file",
        "folder.pdparams": "no ordinary file",
        "/dev/zero": "no ordinary file",
        "loop.pdparams": "symbolic links",
        "absent.pdparams": "does not exist",
    }
    for name, why in said.items():
        with pytest.raises(UserError, match=f"{Path(name).name}.*{why}"):
            read_data_file(tmp_path / name)


def test_every_kind_of_pickled_container_of_numpy_is_read(tmp_path: Path) -> None:
    """By columns, read-only, in protocol 5, and as numpy's single numbers."""
    table = np.arange(6, dtype="f4").reshape(2, 3)
    frozen = np.arange(3.0)
    frozen.flags.writeable = False
    content = {"columns": np.asfortranarray(table), "frozen": frozen, "number": np.float64(2.5), "long": np.arange(9999)}
    for protocol in (2, 3, 4, 5):
        (tmp_path / "w.pdparams").write_bytes(pickle.dumps(content, protocol=protocol))
        found = read_data_file(tmp_path / "w.pdparams")
        np.testing.assert_equal(found, content)
        assert all(found[name].flags.writeable for name in ("columns", "frozen", "long"))
