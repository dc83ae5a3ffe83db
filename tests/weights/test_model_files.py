"""Whole models and TorchScript: their tensors are read as state_dict() names them, nothing of their code is run."""

import io
import json
import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ppdet_ext.errors import UserError
from ppdet_ext.weights.files.opening import Refused
from ppdet_ext.weights.files.tensor_file import open_tensors, without_wrappers
from tests.weights.foreign.torch_files import VALUES, legacy, name, tensor, text, zipped

DATA = Path(__file__).parent / "data"


def read_all(path: Path) -> dict[str, np.ndarray]:
    with open_tensors(path) as file:
        return {key: file.read(key) for key in file.shapes}


@pytest.fixture(scope="module")
def expected() -> dict[str, np.ndarray]:
    """What torch's state_dict() holds."""
    return read_all(DATA / "net_state.pth")


@pytest.mark.parametrize(("kind", "layout"), [
    ("zip", "zip"), ("protocol4", "zip"), ("legacy", "legacy"), ("wrapped", "zip"), ("script", "script"),
])  # fmt: skip
def test_a_whole_model_is_its_state_dict(kind: str, layout: str, expected: dict[str, np.ndarray]) -> None:
    with open_tensors(DATA / f"net_{kind}.pth") as file:
        found = {key: file.read(key) for key in file.shapes}
        assert file.origin.layout == layout
        assert "it is a whole model, " in file.notes[-1]
    if kind == "script":
        # TorchScript has one name for a module that is registered twice, and knows no buffers that are not saved.
        found = {key.replace("attention.passing", "passing"): value for key, value in found.items()}
        found = {key: value for key, value in found.items() if "passing" not in key}
        assert set(found) >= {key for key in expected if not key.startswith("again.")}
    else:
        assert list(found) == list(expected)
    assert all(np.array_equal(value, expected[key]) for key, value in found.items())


def test_names_of_wrapping_modules_are_taken_off() -> None:
    names, outside = without_wrappers(["model.module.a", "model.module.b", "model.c", "mean"])
    assert names == {"a": "model.module.a", "b": "model.module.b", "c": "model.c", "mean": "mean"}
    assert outside == {"mean"}
    assert without_wrappers(["module.a", "b"]) == ({"a": "module.a", "b": "b"}, frozenset())
    assert without_wrappers(["model.a", "b", "c"])[0] == {"model.a": "model.a", "b": "b", "c": "c"}
    with pytest.raises(Refused, match="same tensor by name"):
        without_wrappers(["model.a", "model.b", "model.c", "a"])


@pytest.mark.parametrize("key", ["state_dict", "model_state_dict", "model", "net"])
def test_the_network_is_found_in_a_runners_checkpoint(key: str, tmp_path: Path) -> None:
    inside = b"}(" + text("module.w") + tensor() + b"u"
    pickled = b"\x80\x02}(" + text("epoch") + b"K\x03" + text(key) + inside + b"u."
    (tmp_path / "w.pth").write_bytes(zipped(pickled))
    with open_tensors(tmp_path / "w.pth") as file:
        assert file.shapes == {"w": (2, 2)}
        assert file.notes == ["not read: 'epoch'"]


# Hostile ones, in opcodes.
def part(full: str, state: bytes) -> bytes:
    return name(full) + b")\x81}(" + state + b"ub"


def module(modules: bytes = b"}", parameters: bytes = b"}", full: str = "strange.Net", more: bytes = b"") -> bytes:
    return part(full, text("_parameters") + parameters + text("_buffers") + b"}" + text("_modules") + modules + more)


GOOD = b"\x80\x02" + module(parameters=b"}" + text("w") + tensor() + b"s") + b"."


def attribute(value: bytes) -> bytes:
    """A sound module with one more attribute."""
    return b"\x80\x02" + module(parameters=b"}" + text("w") + tensor() + b"s", more=text("x") + value) + b"."


def nested(levels: int) -> bytes:
    """A module of two modules, the same one, of two modules …: 2^levels by name. A list holds them all."""
    held = module(parameters=b"}" + text("w") + tensor() + b"s") + b"q\x00"
    pairs = [b"}(" + text("a") + b"h" + bytes([level]) + text("b") + b"h" + bytes([level]) + b"u" for level in range(levels)]
    held += b"".join(module(modules=pair) + b"q" + bytes([level + 1]) for level, pair in enumerate(pairs[:-1]))
    root = text("held") + b"](" + held + b"e" + text("_parameters") + b"}" + text("_modules") + pairs[-1]
    return b"\x80\x02" + part("strange.Net", root) + b"."


def call(full: str) -> bytes:
    return name(full) + b"(" + text("touch executed") + b"tR"


def looped() -> bytes:
    """A module that holds itself."""
    return b"\x80\x02" + name("strange.Net") + b")\x81q\x01}(" + text("_parameters") + b"}" + text("_modules") + b"}" + (
        text("again") + b"h\x01s" + b"ub.")  # fmt: skip


HOSTILE = {
    "posix.system in a model": (zipped(attribute(call("posix.system"))), r"posix\.system, which is not data; refused"),
    "builtins.eval in a model": (zipped(attribute(call("builtins.eval"))), r"builtins\.eval"),
    "subprocess in an older model": (
        legacy(attribute(call("subprocess.Popen"))),
        r"subprocess\.Popen",
    ),
    "our own function in a model": (
        zipped(attribute(call("ppdet_ext.files.download.fetch"))),
        r"ppdet_ext\.files\.download\.fetch",
    ),
    "INST in a model": (zipped(attribute(b"(" + text("touch executed") + b"iposix\nsystem\n")), "INST|pickle opcode|damaged"),
    "call of a part": (zipped(attribute(part("strange.X", b"") + b"(" + text("x") + b"tR")), "calls a Part"),
    "state of a tensor": (zipped(attribute(tensor() + b"}b")), "gives state to a StoredTensor"),
    "items for a part as a set": (zipped(attribute(part("strange.X", b"") + b"(" + text("x") + b"\x90")), "else than a set"),
    "an object that is no module": (zipped(b"\x80\x02" + part("strange.X", b"") + b"."), r"strange\.X, which is not data"),
    "a call of a stranger": (zipped(b"\x80\x02" + call("strange.make") + b"."), r"strange\.make, which is not data"),
    "a storage of another type in a model": (
        zipped(b"\x80\x02" + module(parameters=b"}" + text("w") + tensor(kind="torch.QUInt8Storage") + b"s") + b"."),
        "QUInt8Storage",
    ),
    "modules without end": (zipped(nested(40)), "beyond what a model has"),
    "a module in itself": (zipped(looped()), "beyond what a model has"),
    "TorchScript without tensors": (
        zipped(
            b"\x80\x02" + part("__torch__.Net", text("training") + b"\x89") + b".", {"data/0": VALUES, "constants.pkl": b"."}
        ),
        r"constants of its program \(torch\.jit\.freeze\)",
    ),
    "a model without tensors": (zipped(b"\x80\x02" + module() + b"."), "is empty"),
    "a tensor beyond its storage": (
        zipped(b"\x80\x02" + module(parameters=b"}" + text("w") + tensor(size=(9, 9)) + b"s") + b"."),
        "reaches beyond storage",
    ),
    "a name with an escape sequence": (
        zipped(b"\x80\x02" + module(parameters=b"}" + text("w\x1b[2J") + tensor() + b"s") + b"."),
        "names are printable",
    ),
    "TorchScript that asks for Python": (
        zipped(
            b"\x80\x02" + part("__torch__.Net", text("x") + call("posix.system")) + b".",
            {"data/0": VALUES, "constants.pkl": b"."},
        ),
        r"posix\.system",
    ),
    "TorchScript that asks for a class": (
        zipped(
            b"\x80\x02" + part("__torch__.Net", text("x") + call("torch.hub.load")) + b".",
            {"data/0": VALUES, "constants.pkl": b"."},
        ),
        r"torch\.hub\.load",
    ),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_strange_models_are_refused_and_nothing_is_run(what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    content, why = HOSTILE[what]
    (tmp_path / "stranger.pth").write_bytes(content)
    with pytest.raises(UserError, match=why) as caught:
        read_all(tmp_path / "stranger.pth")
    assert "stranger.pth" in str(caught.value)
    assert len(str(caught.value)) < 1000
    assert not (tmp_path / "executed").exists()


def test_the_builders_make_sound_models(tmp_path: Path) -> None:
    """Else the refusals above might have other causes."""
    for content in (zipped(GOOD), legacy(GOOD), zipped(attribute(call("strange.make"))), zipped(nested(3))):
        (tmp_path / "w.pth").write_bytes(content)
        assert next(iter(read_all(tmp_path / "w.pth").values())).tolist() == [[1, 2], [3, 4]]


def padded(stride: bytes, sides: tuple[int, int]) -> bytes:
    """A convolution with a static padding, as EfficientNet's are."""
    pad = part("torch.nn.modules.padding.ZeroPad2d", text("_parameters") + b"}" + text("_modules") + b"}" + text("padding")
               + b"(" + b"".join(b"K" + bytes([side]) for side in (*sides, *sides)) + b"t")  # fmt: skip
    inner = b"}" + text("static_padding") + pad + b"s"
    return module(modules=inner, parameters=b"}" + text("w") + tensor() + b"s", more=text("stride") + stride)


@pytest.mark.parametrize(("strides", "expected"), [
    ([(b"K\x02K\x02\x86", (0, 1))], "same"),
    ([(b"K\x02K\x02\x86", (0, 1)), (b"](K\x02K\x02e", (2, 2))], "nominal"),
    ([(b"K\x02K\x02\x86", (0, 1)), (b"K\x01K\x01\x86", (1, 1))], "same"),
    ([(b"K\x01K\x01\x86", (1, 1))], None),
    ([(text("2"), (1, 1))], None),
])  # fmt: skip
def test_a_whole_model_tells_efficientnets_padding(strides: list, expected: str | None, tmp_path: Path) -> None:
    """In the older releases every convolution of stride 2 pads at the right alone, whatever its size."""
    inner = b"}(" + b"".join(text(f"c{i}") + padded(*one) for i, one in enumerate(strides)) + b"u"
    (tmp_path / "w.pth").write_bytes(zipped(b"\x80\x02" + module(modules=inner) + b"."))
    with open_tensors(tmp_path / "w.pth") as file:
        assert file.origin.padding == expected
        assert list(file.shapes) == [f"c{i}.w" for i in range(len(strides))]


def script_json(model: Any, method: int = zipfile.ZIP_STORED) -> bytes:
    """An archive as torch 1.0 to 1.2 wrote TorchScript, its program compressed."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("net/model.json", json.dumps(model), method)
        archive.writestr("net/code/net.py", "op_version_set = 0\n" * 100, zipfile.ZIP_DEFLATED)
        archive.writestr("net/tensors/0", struct.pack("<6f", *range(6)))
    return stream.getvalue()


def described(**changes: Any) -> dict[str, Any]:
    found = {"dims": ["2", "2"], "offset": "1", "strides": ["2", "1"], "dataType": "FLOAT", "data": {"key": "tensors/0"}}
    return found | changes


def model_json(*tensors: dict[str, Any], **changes: Any) -> dict[str, Any]:
    inner = {"name": "inner", "parameters": [{"isBuffer": False, "tensorId": "0", "name": "w"}]}
    return {"protoVersion": "6", "mainModule": {"name": "net", "submodules": [inner]}, "tensors": list(tensors), **changes}


def test_torchscript_of_2019_is_read(tmp_path: Path) -> None:
    (tmp_path / "w.pth").write_bytes(script_json(model_json(described())))
    with open_tensors(tmp_path / "w.pth") as file:
        assert file.shapes == {"inner.w": (2, 2)}
        assert file.read("inner.w").tolist() == [[1, 2], [3, 4]]
        assert file.origin.layout == "old script"


@pytest.mark.parametrize(("model", "why"), [
    ([], "model.json is damaged"),
    ({}, "model.json is damaged"),
    (model_json(described(dims=["3", "3"])), "reaches beyond storage"),
    (model_json(described(dims=["-2", "2"])), "where a whole number belongs"),
    (model_json(described(dims=["9" * 5000, "2"])), "where a whole number belongs"),
    (model_json(described(strides=["0", "0"])), "reaches beyond|holds something"),
    (model_json(described(dataType="STRING")), "of type 'STRING'"),
    (model_json(described(data={"key": "../../etc/passwd"})), "in storage '../../etc/passwd'"),
    (model_json(described(), described(dataType="DOUBLE")), "described in two ways"),
    (model_json(), "refers to tensor 0 of 0"),
    (model_json(described(), mainModule=[]), "no tree of modules"),
    (model_json(described(), mainModule={"submodules": 3}), "no list under submodules"),
    (model_json(described(), mainModule={}), "is empty"),
])  # fmt: skip
def test_old_torchscript_that_is_no_such_is_refused(model: Any, why: str, tmp_path: Path) -> None:
    if "strides" in json.dumps(model) and '"0", "0"' in json.dumps(model):
        model["tensors"][0]["dims"] = ["9", "9"]
    (tmp_path / "w.pth").write_bytes(script_json(model))
    with pytest.raises(UserError, match=why):
        read_all(tmp_path / "w.pth")


def test_a_compressed_description_is_refused(tmp_path: Path) -> None:
    (tmp_path / "w.pth").write_bytes(script_json(model_json(described()), zipfile.ZIP_DEFLATED))
    with pytest.raises(UserError, match="is compressed"):
        read_all(tmp_path / "w.pth")
