"""Weights whose classes have the same names in another order: every head says of a name what it said before."""

import logging
from pathlib import Path

import numpy as np
import paddle
import pytest
from reference_model import small_model

from ppdet_ext.commands.average import mean_weights
from ppdet_ext.errors import UserError
from ppdet_ext.weights.class_rows import by_name
from ppdet_ext.weights.files.class_names import Classes
from ppdet_ext.weights.load import load_pretrained, load_weights, with_classes
from tests.support.engine_fakes import TinyModel
from tests.weights.foreign.smp_files import model_of

NAMES, TURNED = ("a", "b", "c", "d"), ("c", "a", "d", "b")
TURN = [NAMES.index(name) for name in TURNED]
OF_CLASS = {"stage_ious": (0.5,), "stage_box_stds": ((0.1, 0.1, 0.2, 0.2),), "stage_loss_weights": (1,)}
OF_CLASS |= {"class_agnostic": False, "interleaved": False}


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> pytest.LogCaptureFixture:
    """What is logged."""
    monkeypatch.setattr(logging.getLogger("ppdet_ext"), "propagate", True)
    return caplog


def saved(model: paddle.nn.Layer, path: Path, names: tuple[str, ...] = NAMES) -> Path:
    paddle.save(with_classes(model.state_dict(), Classes(names)), str(path))
    return path


def load(how: str, model: paddle.nn.Layer, path: Path, names: tuple[str, ...] = TURNED) -> None:
    if how == "weights":
        assert load_weights(model, path, names=names).classes == Classes(names)
    else:
        load_pretrained(model, path, names)


@pytest.mark.parametrize("how", ["weights", "pretrain_weights"])
@pytest.mark.parametrize("options", [{}, OF_CLASS])
def test_a_detectors_heads(how: str, options: dict, tmp_path: Path, said) -> None:
    before, after = (small_model(depth=18, **options) for _ in range(2))
    load(how, after, saved(before, tmp_path / "w.pdparams"))
    rng = np.random.default_rng(0)
    rois = paddle.to_tensor(rng.normal(size=(3, 32, 7, 7)).astype("f4"))
    maps = paddle.to_tensor(rng.normal(size=(2, 32, 6, 6)).astype("f4"))
    for old, new in zip(before.roi_head.box_heads, after.roi_head.box_heads):
        (logits, moves), (found, moved) = old(rois), new(rois)
        np.testing.assert_allclose(found.numpy(), logits.numpy()[:, [*TURN, 4]], atol=1e-6)
        expected = moves.numpy().reshape(3, 4, 4)[:, TURN].reshape(3, 16) if options else moves.numpy()
        np.testing.assert_allclose(moved.numpy(), expected, atol=1e-6)
    for old, new in zip(before.roi_head.mask_heads, after.roi_head.mask_heads):
        np.testing.assert_allclose(new.logits(maps).numpy(), old.logits(maps).numpy()[:, TURN], atol=1e-5)
    old, new = before.roi_head.semantic_head, after.roi_head.semantic_head
    np.testing.assert_allclose(
        new.logits(maps).numpy(), old.logits(maps).numpy()[:, [0, *(row + 1 for row in TURN)]], atol=1e-5
    )
    assert f"{tmp_path}/w.pdparams: a, b, c, d; the data set: c, a, d, b. They are matched by name" in said.text


@pytest.mark.parametrize("how", ["weights", "pretrain_weights"])
@pytest.mark.parametrize("task", ["multilabel", "multiclass"])
def test_a_segmentation_nets_heads(how: str, task: str, tmp_path: Path) -> None:
    options = [f"SemanticSegmentor.task={task}", "SemanticSegmentor.losses=null"]
    before, after = (model_of("unet_aux-resnet18", *options) for _ in range(2))
    load(how, after, saved(before, tmp_path / "w.pdparams"))
    image = paddle.to_tensor(np.random.default_rng(0).normal(size=(1, 3, 64, 64)).astype("f4"))
    with paddle.no_grad():
        (logits, presence), (found, there) = before.outputs(image), after.outputs(image)
    rows = TURN if task == "multilabel" else [0, *(row + 1 for row in TURN)]
    np.testing.assert_allclose(found.numpy(), logits.numpy()[:, rows], atol=1e-5)
    np.testing.assert_allclose(there.numpy(), presence.numpy()[:, TURN], atol=1e-5)


@pytest.mark.parametrize("options", [{}, OF_CLASS])
def test_every_tensor_whose_shape_goes_by_the_classes_is_turned(options: dict) -> None:
    four, seven = (small_model(semantic=False, depth=18, classes=n, **options).state_dict() for n in (4, 7))
    of_classes = {name for name, value in four.items() if value.shape != seven[name].shape}
    values = {name: np.random.default_rng(0).normal(size=value.shape) for name, value in four.items()}
    turned = by_name("w", values, NAMES, TURNED)
    assert {name for name in values if turned[name] is not values[name]} == of_classes
    back = by_name("w", turned, TURNED, NAMES)
    assert all(np.array_equal(values[name], back[name]) for name in values)


def test_names_that_the_file_has_not_stay_at_the_models_start(tmp_path: Path, said) -> None:
    before, after = (small_model(semantic=False, depth=18, **OF_CLASS) for _ in range(2))
    start = {name: value.numpy().copy() for name, value in after.state_dict().items()}
    load_pretrained(after, saved(before, tmp_path / "w.pdparams"), ("b", "new", "a", "d"))
    old, new = before.state_dict(), after.state_dict()
    for name, background in (("box_heads.0.classify.weight", [4]), ("mask_heads.0.logits.weight", [])):
        file, begun, found = (np.asarray(one[f"roi_head.{name}"]) for one in (old, start, new))
        file, begun, found = (one.T if one.ndim == 2 else one for one in (file, begun, found))
        assert np.array_equal(found[[0, 2, 3, *background]], file[[1, 0, 3, *background]])
        assert np.array_equal(found[1], begun[1])
        assert not np.array_equal(begun[1], file[1])
    file, begun, found = (np.asarray(one["roi_head.box_heads.0.regress.weight"]) for one in (old, start, new))
    assert np.array_equal(found[:, :4], file[:, 4:8])
    assert np.array_equal(found[:, 4:8], begun[:, 4:8])
    assert "left at the model's own start: new" in said.text


def test_a_renamed_class_keeps_its_row_with_a_warning(tmp_path: Path, said) -> None:
    before, after = (small_model(semantic=False, depth=18) for _ in range(2))
    load_pretrained(after, saved(before, tmp_path / "w.pdparams"), ("a", "b", "c", "dent"))
    old, new = before.state_dict(), after.state_dict()
    assert all(np.array_equal(value.numpy(), new[name].numpy()) for name, value in old.items())
    assert "classes of other names, taken for the same one by one: a, b, c, d; the data set: a, b, c, dent" in said.text


@pytest.mark.parametrize("how", ["weights", "pretrain_weights"])
def test_what_cannot_be_matched_by_name_is_refused(how: str, tmp_path: Path) -> None:
    model = TinyModel()
    with pytest.raises(UserError, match=r"a, b, c, d; the data set: c, a, d, b\. They cannot .* this architecture does not"):
        load(how, model, saved(model, tmp_path / "w.pdparams"))
    model = small_model(semantic=False, depth=18)
    with pytest.raises(UserError, match=r"a, a, b, c; the data set: a, b, c, a.* for a name stands twice"):
        load(how, model, saved(model, tmp_path / "v.pdparams", ("a", "a", "b", "c")), ("a", "b", "c", "a"))


def test_a_file_without_heads_has_no_rows_to_match(tmp_path: Path, said) -> None:
    model = small_model(semantic=False, depth=18)
    body = {name: value for name, value in model.state_dict().items() if name.startswith("backbone.")}
    paddle.save(with_classes(body, Classes(NAMES)), str(tmp_path / "w.pdparams"))
    assert load_pretrained(model, tmp_path / "w.pdparams", TURNED)["loaded"] == len(body)
    assert "another order" not in said.text


def test_a_mean_is_of_the_same_classes(tmp_path: Path) -> None:
    before, after = (small_model(semantic=False, depth=18) for _ in range(2))
    files = [saved(before, tmp_path / "a.pdparams")]
    load("weights", after, files[0])
    files.append(saved(after, tmp_path / "b.pdparams", TURNED))
    own = {name: value.numpy() for name, value in before.state_dict().items()}
    found = mean_weights(files, {name: list(value.shape) for name, value in own.items()}, NAMES)
    assert all(np.array_equal(value, found[name]) for name, value in own.items())
