"""Class names travel with the weights, and nobody who loads tensors by name minds them."""

import logging
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import paddle
import pytest
from hypothesis import given
from hypothesis import strategies as st
from ppdet.utils.checkpoint import load_pretrain_weight, load_weight
from safetensors.numpy import save_file

from ppdet_ext.errors import UserError
from ppdet_ext.inference.classes import class_list, compare_classes
from ppdet_ext.weights.files.class_names import CLASSES, Classes, class_entry, classes_in_entry, classes_in_meta, meta_of
from ppdet_ext.weights.files.paddle_file import read_data_file
from ppdet_ext.weights.files.torch_writer import write_torch
from ppdet_ext.weights.find import stored_classes
from ppdet_ext.weights.load import load_pretrained, load_weights, with_classes
from tests.support.engine_fakes import TinyModel

KNOWN = Classes(("Riß", "锌层", "pit"), (7, 3, 12))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Weights of a TinyModel with three names."""
    paddle.save(with_classes(TinyModel().state_dict(), KNOWN), str(tmp_path / "w.pdparams"))
    return tmp_path / "w.pdparams"


@given(names=st.lists(st.text(), min_size=1), data=st.data())
def test_there_and_back(names: list[str], data: st.DataObject) -> None:
    ids = data.draw(st.sampled_from([(), tuple(range(len(names)))]))
    classes = Classes(tuple(names), ids)
    assert classes_in_entry(class_entry(classes)[CLASSES]) == classes


def test_names_come_back_and_stand_in_no_reader_s_way(file: Path) -> None:
    assert stored_classes(file) == KNOWN
    assert load_weights(TinyModel(), file).classes == KNOWN
    assert load_pretrained(TinyModel(), file)["not_in_model"] == 0
    assert set(read_data_file(file)) == set(TinyModel().state_dict())
    assert CLASSES not in read_data_file(file, with_names=True)["StructuredToParameterName@@"]


def test_the_other_entries_are_the_same_bytes_and_files_equal(file: Path, tmp_path: Path) -> None:
    state = TinyModel().state_dict()
    for name, classes in (("plain", None), ("a", KNOWN), ("b", KNOWN)):
        paddle.ones([3]) + 1  # generated names count on
        paddle.save(with_classes(state, classes), str(tmp_path / name))
    plain, named = paddle.load(str(tmp_path / "plain")), paddle.load(str(tmp_path / "a"))
    assert list(named) == [*plain, CLASSES]
    assert all(np.array_equal(named[key].numpy(), value.numpy()) for key, value in plain.items())
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


@pytest.mark.parametrize("load", [load_weight, load_pretrain_weight])
def test_plain_ppdet_loads_the_file(file: Path, load) -> None:
    model, expected = TinyModel(), paddle.load(str(file))
    load(model, str(file))
    assert all(np.array_equal(tensor.numpy(), expected[name].numpy()) for name, tensor in model.state_dict().items())


@pytest.mark.parametrize("entry", [
    np.zeros(3, "f4"), np.frombuffer(b"{}", "u1"), np.frombuffer(b'{"names": ["a"], "ids": [1, 2]}', "u1"),
    np.frombuffer(b'{"names": [1], "ids": []}', "u1"), np.frombuffer(b"\xff\xfe", "u1"), np.frombuffer(b"[" * 99_999, "u1"),
])  # fmt: skip
def test_an_entry_of_something_else_is_refused(entry: np.ndarray, tmp_path: Path) -> None:
    paddle.save({"w": paddle.ones([1]), CLASSES: paddle.to_tensor(entry)}, str(tmp_path / "w.pdparams"))
    with pytest.raises(UserError, match=r"w\.pdparams: its ClassNames@@ holds no class names"):
        read_data_file(tmp_path / "w.pdparams")


@pytest.mark.parametrize(("meta", "expected"), [
    ({"CLASSES": ("a", "b")}, ("a", "b")),
    ({"dataset_meta": {"classes": ["a"], "palette": [[1, 2, 3]]}}, ("a",)),
    ({"dataset_meta": {"CLASSES": ("c",)}, "CLASSES": None}, ("c",)),
    ({"CLASSES": [1, 2]}, None), ({"CLASSES": []}, None), ({}, None), (None, None), ({"dataset_meta": "x"}, None),
])  # fmt: skip
def test_meta_of_mmdetection(meta: object, expected: tuple[str, ...] | None) -> None:
    found = classes_in_meta(meta)
    assert (found.names if found else None) == expected


def test_files_of_mmdetection_bring_their_names(tmp_path: Path) -> None:
    write_torch(tmp_path / "w.pth", meta_of(["a", "Ä"]), [("w", np.ones(1, "f4"))])
    save_file({"w": np.ones(1, "f4")}, tmp_path / "w.safetensors", {"CLASSES": '["a", "Ä"]'})
    save_file({"w": np.ones(1, "f4")}, tmp_path / "without.safetensors", {"CLASSES": "nonsense"})
    assert stored_classes(tmp_path / "w.pth") == stored_classes(tmp_path / "w.safetensors") == Classes(("a", "Ä"))
    assert stored_classes(tmp_path / "without.safetensors") is None


@pytest.fixture
def logged(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> pytest.LogCaptureFixture:
    monkeypatch.setattr(logging.getLogger("ppdet_ext"), "propagate", True)
    return caplog


def config(**values: object) -> SimpleNamespace:
    """What `class_list` looks at of a configuration."""
    return SimpleNamespace(get=values.get, **values)


def test_weights_name_the_classes_where_no_data_set_does(file: Path, logged: pytest.LogCaptureFixture) -> None:
    unread = SimpleNamespace(num_classes=0, load=lambda: None)
    assert class_list(config(num_classes=3, weights=str(file), EvalDataset=unread)) == (list(KNOWN.names), [7, 3, 12], False)
    member = {"Ensemble": [{"weights": str(file)}], "weights": None}
    assert class_list(config(num_classes=3, **member))[0] == list(KNOWN.names)
    assert "class 1" not in logged.text
    data = SimpleNamespace(num_classes=3, class_names=["x", "y", "z"], category_ids=[1, 2, 3])
    assert class_list(config(num_classes=3, weights=str(file), EvalDataset=data)) == (["x", "y", "z"], [1, 2, 3], False)


@pytest.mark.parametrize("weights", [None, "absent", "{file}"])
def test_classes_are_numbered_with_a_warning_where_nothing_names_them(weights, file: Path, logged) -> None:
    cfg = config(num_classes=2, weights=weights and weights.format(file=file))
    assert class_list(cfg) == (["class 1", "class 2"], [1, 2], True)
    assert "Neither annotations nor weights tell the names" in logged.text


def test_other_names_are_a_warning_the_same_in_another_order_are_matched_by_others(logged: pytest.LogCaptureFixture) -> None:
    compare_classes(["square", "bar", "circle"], ["circle", "square", "bar"], "w.pdparams", "EvalDataset")
    assert not logged.records
    compare_classes(["a", "b"], ["a", "c"], "w.pdparams")
    assert logged.records[-1].levelname == "WARNING"
    before = len(logged.records)
    compare_classes(["a", "b"], ["a", "b"], "w.pdparams")
    compare_classes([], ["a", "b"], "w.pdparams")
    assert len(logged.records) == before
