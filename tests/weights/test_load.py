"""Loading weights: what fits, what does not, and files from strangers."""

import logging
import os
import pickle
from pathlib import Path

import numpy as np
import paddle
import pytest
from reference_model import small_model

from ppdet_ext.errors import UserError
from ppdet_ext.weights import load as weights
from ppdet_ext.weights.files.paddle_file import read_data_file
from ppdet_ext.weights.files.torch_writer import write_torch
from ppdet_ext.weights.find import find_weights
from ppdet_ext.weights.foreign.plan import foreign_state_dict
from ppdet_ext.weights.load import load_pretrained, load_weights, match_names
from tests.support.engine_fakes import TinyModel


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """Weights of a TinyModel in a folder `run`."""
    (tmp_path / "run").mkdir()
    path = tmp_path / "run" / "model_final.pdparams"
    paddle.save(TinyModel().state_dict(), str(path))
    return path


def pretend(arrays: dict[str, np.ndarray], path: Path) -> Path:
    paddle.save({name: paddle.to_tensor(value) for name, value in arrays.items()}, str(path))
    return path


@pytest.mark.parametrize("suffix", ["", ".pdparams", ".pdopt"])
def test_weights_load_with_and_without_suffix(saved: Path, suffix: str) -> None:
    model = TinyModel()
    assert load_weights(model, str(saved.with_suffix("")) + suffix).path == saved
    expected = paddle.load(str(saved))
    assert all(np.array_equal(tensor.numpy(), expected[name].numpy()) for name, tensor in model.state_dict().items())


def test_missing_file_offers_the_nearest(saved: Path) -> None:
    with pytest.raises(UserError, match=r"model_fina\.pdparams does not exist\. There is: .*run/model_final\.pdparams"):
        load_weights(TinyModel(), saved.parent / "model_fina")
    with pytest.raises(UserError, match=r"does not exist\. There is: .*run/model_final\.pdparams"):
        find_weights(saved.parent.parent / "ran" / "model_final")
    with pytest.raises(UserError, match="does not exist"):
        find_weights("no/such/folder/anywhere")


@pytest.mark.parametrize("keep", [0, 1, 10, 0.5, 0.95, -1])
def test_truncated_file_is_named(saved: Path, keep: float) -> None:
    content = saved.read_bytes()
    size = int(len(content) * keep) if isinstance(keep, float) else keep % len(content)
    saved.write_bytes(content[:size])
    with pytest.raises(UserError, match=r"model_final\.pdparams \(\d+ bytes\) is truncated or damaged"):
        load_weights(TinyModel(), saved)


def test_other_architecture_lists_what_differs(saved: Path) -> None:
    model = TinyModel(width=6)
    before = {name: tensor.numpy().copy() for name, tensor in model.state_dict().items()}
    with pytest.raises(UserError) as caught:
        load_weights(model, saved)
    assert "1 of the model's 8 tensors match, 7 differ" in str(caught.value)
    assert "first.weight: shape [3, 4] in the file, [3, 6] in the model" in str(caught.value)
    assert all(np.array_equal(tensor.numpy(), before[name]) for name, tensor in model.state_dict().items())


def test_at_most_ten_differences_are_listed(saved: Path) -> None:
    model = paddle.nn.Sequential(*(paddle.nn.Linear(1, 1) for _ in range(10)))
    with pytest.raises(UserError, match="and 18 more") as caught:
        load_weights(model, saved)
    assert len(str(caught.value).splitlines()) == 12


def test_pretrained_loads_what_fits_and_counts_the_rest(tmp_path: Path, caplog, monkeypatch) -> None:
    monkeypatch.setattr(logging.getLogger("ppdet_ext"), "propagate", True)
    caplog.set_level(logging.INFO, logger="ppdet_ext")
    model = TinyModel()
    arrays = {name: tensor.numpy() + 1 for name, tensor in model.state_dict().items()}
    arrays["last.weight"] = np.zeros((9, 9), "float32")
    arrays["classifier.bias"] = arrays.pop("last.bias")
    before = model.last.weight.numpy().copy()
    counts = load_pretrained(model, pretend(arrays, tmp_path / "w.pdparams"))
    assert counts == {"loaded": 6, "not_in_file": 1, "not_in_model": 1, "other_shape": 1}
    assert np.array_equal(model.first.weight.numpy(), arrays["first.weight"])
    assert np.array_equal(model.last.weight.numpy(), before)
    assert "6 tensors loaded" in caplog.text
    assert "last.weight: shape [9, 9]" in caplog.text


def test_pretrained_backbone_fits_by_the_end_of_the_name(tmp_path: Path) -> None:
    model = paddle.nn.Sequential(("backbone", TinyModel()), ("head", paddle.nn.Linear(2, 2)))
    arrays = {name: tensor.numpy() + 2 for name, tensor in model.backbone.state_dict().items()}
    assert load_pretrained(model, pretend(arrays, tmp_path / "w.pdparams"))["loaded"] == 8
    assert np.array_equal(model.backbone.first.weight.numpy(), arrays["first.weight"])
    # The longest fitting name wins.
    shape = np.zeros((3, 4), "float32")
    assert match_names(model.state_dict(), {"weight": shape, "first.weight": shape})["backbone.first.weight"] == "first.weight"


def test_pretrained_with_less_than_half_matching_is_refused(tmp_path: Path) -> None:
    model = TinyModel()
    arrays = {name: tensor.numpy() for name, tensor in list(model.state_dict().items())[:3]}
    arrays.update({f"other.{i}": np.zeros(2, "float32") for i in range(5)})
    before = model.first.weight.numpy().copy()
    arrays["first.weight"] = before + 1
    with pytest.raises(UserError, match="only 3 of 8 tensors fit the model, fewer than half"):
        load_pretrained(model, pretend(arrays, tmp_path / "w.pdparams"))
    assert np.array_equal(model.first.weight.numpy(), before)


class _Boom:
    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self):
        return os.mkdir, (self.path,)


def test_malicious_pickle_is_refused_by_name_and_does_not_run(tmp_path: Path) -> None:
    target = tmp_path / "made"
    path = tmp_path / "w.pdparams"
    path.write_bytes(pickle.dumps({"first.weight": _Boom(str(target))}))
    with pytest.raises(UserError, match=r"asks for (posix|nt)\.mkdir, which is not data; refused"):
        load_weights(TinyModel(), path)
    assert not target.exists()


@pytest.mark.parametrize("payload", [
    b"cos\nsystem\n(S'true'\ntR.",
    b"cbuiltins\neval\n(S'1'\ntR.",
    b"cnumpy.testing._private.utils\nrunstring\n(S'x'\ntR.",
    b"c_codecs\nencode\n(S'x'\nS'rot13'\ntR.",
    b"cppdet_ext.weights.files.paddle_file\nread_data_file\n(S'x'\ntR.",
])  # fmt: skip
def test_every_callable_but_the_few_for_arrays_is_refused(tmp_path: Path, payload: bytes) -> None:
    path = tmp_path / "w.pdparams"
    path.write_bytes(payload)
    with pytest.raises(UserError, match=r"not data|damaged"):
        read_data_file(path)


@pytest.mark.parametrize("content", [[1, 2], {"a": "text"}, {}, "x"])
def test_files_without_tensors_are_refused(tmp_path: Path, content: object) -> None:
    path = tmp_path / "w.pdparams"
    path.write_bytes(pickle.dumps(content))
    with pytest.raises(UserError, match=r"expected a table|holds no table"):
        load_weights(TinyModel(), path)


@pytest.mark.parametrize("protocol", [2, 3, 4])
def test_reads_what_paddle_writes_in_every_protocol(tmp_path: Path, protocol: int) -> None:
    model = TinyModel()
    path = tmp_path / "w.pdparams"
    paddle.save(model.state_dict(), str(path), protocol=protocol)
    content = read_data_file(path)
    assert {name: value.tolist() for name, value in content.items()} == {
        name: tensor.numpy().tolist() for name, tensor in model.state_dict().items()}  # fmt: skip


def test_other_float_types_are_cast(tmp_path: Path) -> None:
    model = TinyModel()
    arrays = {name: tensor.numpy().astype("float64") for name, tensor in model.state_dict().items()}
    load_weights(model, pretend(arrays, tmp_path / "w.pdparams"))
    assert model.first.weight.dtype == paddle.float32


def arrays_of(model: paddle.nn.Layer) -> dict[str, np.ndarray]:
    return {name: tensor.numpy().copy() for name, tensor in model.state_dict().items()}


@pytest.fixture(scope="module")
def donor() -> dict[str, np.ndarray]:
    """Weights of a small HTC of four classes, by mmdetection's names."""
    return dict(foreign_state_dict(arrays_of(small_model(depth=18, classes=4))))


@pytest.fixture
def said(caplog, monkeypatch) -> pytest.LogCaptureFixture:
    """What is logged."""
    monkeypatch.setattr(logging.getLogger("ppdet_ext"), "propagate", True)
    caplog.set_level(logging.INFO, logger="ppdet_ext")
    return caplog


def test_weights_may_be_a_file_of_mmdetection(donor: dict[str, np.ndarray], tmp_path: Path) -> None:
    write_torch(tmp_path / "w.pth", {}, donor.items())
    model = small_model(depth=18, classes=4)
    assert load_weights(model, tmp_path / "w.pth").path == tmp_path / "w.pth"
    assert all(np.array_equal(value, donor[name]) for name, value in foreign_state_dict(arrays_of(model)))
    with pytest.raises(UserError, match=r"w_\.pth does not exist\. There is: .*/w\.pth"):
        load_weights(model, tmp_path / "w_.pth")


def test_weights_of_mmdetection_must_fit_exactly(donor: dict[str, np.ndarray], tmp_path: Path) -> None:
    write_torch(tmp_path / "w.pth", {}, donor.items())
    model = small_model(depth=18, classes=3)
    before = arrays_of(model)
    with pytest.raises(UserError, match=r"it has 4 classes, the configured model 3\. Set num_classes to the file's\."):
        load_weights(model, tmp_path / "w.pth")
    assert all(np.array_equal(value, before[name]) for name, value in arrays_of(model).items())


def test_pretrained_leaves_class_heads_at_their_start_and_names_them(donor, tmp_path: Path, said) -> None:
    write_torch(tmp_path / "w.pth", {}, donor.items())
    model = small_model(depth=18, classes=3)
    before = arrays_of(model)
    counts = load_pretrained(model, tmp_path / "w.pth")
    after = arrays_of(model)
    assert counts == {"loaded": len(after) - 12, "not_in_file": 0, "not_in_model": 0, "other_shape": 12}
    fresh = [name for name in after if "classify" in name or ("mask_heads" in name and "logits" in name)]
    assert all(np.array_equal(after[name], before[name]) for name in fresh)
    assert not np.array_equal(after["roi_head.box_heads.0.fcs.0.weight"], before["roi_head.box_heads.0.fcs.0.weight"])
    assert f"classes differ (4 and 3); left at the model's own start: {', '.join(fresh)}" in said.text


def test_pretrained_of_another_detector_loads_what_fits(donor, tmp_path: Path, said) -> None:
    """Without the semantic branch, as Cascade Mask R-CNN is."""
    write_torch(tmp_path / "w.pth", {}, donor.items())
    counts = load_pretrained(small_model(semantic=False, depth=18, classes=4), tmp_path / "w.pth")
    assert (counts["not_in_file"], counts["not_in_model"], counts["other_shape"]) == (0, 22, 0)


@pytest.mark.parametrize(("prefix", "classifier"), [("", "fc"), ("backbone.", "head.fc")])
def test_pretrained_may_be_an_image_classifier(donor, prefix: str, classifier: str, tmp_path: Path, said) -> None:
    held = {prefix + name.removeprefix("backbone."): value for name, value in donor.items() if name.startswith("backbone.")}
    held |= {f"{classifier}.weight": np.zeros((10, 512), "f4"), f"{classifier}.bias": np.zeros(10, "f4")}
    write_torch(tmp_path / "resnet.pth", {}, held.items())
    model = small_model(depth=18, classes=4)
    counts = load_pretrained(model, tmp_path / "resnet.pth")
    assert counts["loaded"] == sum(name.startswith("backbone.") for name in model.state_dict())
    assert "2 tensors skipped: the image classifier's last layer" in said.text
    assert np.array_equal(model.backbone.conv1.conv1.conv.weight.numpy(), donor["backbone.conv1.weight"])


def test_a_backbone_of_another_width_is_refused(donor, tmp_path: Path) -> None:
    held = {name.removeprefix("backbone."): value for name, value in donor.items() if name.startswith("backbone.")}
    held["conv1.weight"] = np.zeros((64, 3, 7, 7), "f4")
    write_torch(tmp_path / "resnet.pth", {}, held.items())
    with pytest.raises(UserError, match=r"the backbone differs .*:\n  backbone\.conv1.*\[64, 3, 7, 7\] in the file"):
        load_pretrained(small_model(depth=18, classes=4), tmp_path / "resnet.pth")


def test_pretrained_of_another_network_is_refused(tmp_path: Path) -> None:
    write_torch(tmp_path / "w.pth", {}, ((f"layer.{i}", np.zeros(2, "f4")) for i in range(5)))
    with pytest.raises(UserError, match="only 0 of 5 tensors fit the model, fewer than half"):
        load_pretrained(small_model(depth=18, classes=4), tmp_path / "w.pth")


def test_conversion_for_pretraining_is_kept_until_file_or_model_changes(donor, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("PPDET_EXT_CACHE", str(tmp_path / "cache"))
    conversions, convert = [], weights.read_planned
    monkeypatch.setattr(weights, "read_planned", lambda *planned: conversions.append(1) or convert(*planned))
    write_torch(tmp_path / "w.pth", {}, donor.items())
    models = [small_model(depth=18, classes=4) for _ in range(2)]
    for model in models:
        load_pretrained(model, tmp_path / "w.pth")
        assert len(conversions) == 1
        assert all(np.array_equal(value, donor[name]) for name, value in foreign_state_dict(arrays_of(model)))
    load_pretrained(small_model(depth=18, classes=3), tmp_path / "w.pth")
    assert len(conversions) == 2
    write_torch(tmp_path / "w.pth", {}, ((name, value + 1) for name, value in donor.items()))
    load_pretrained(models[0], tmp_path / "w.pth")
    assert len(conversions) == 3
