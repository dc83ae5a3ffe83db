"""Encoders trained on ImageNet, as torchvision, timm, Cadene and SMP store them, in segmentation nets, classifiers and HTC."""

import logging
from pathlib import Path

import numpy as np
import paddle
import pytest
from reference_model import small_model

from ppdet_ext.config.load import load_config
from ppdet_ext.errors import UserError
from ppdet_ext.host.build import build_model
from ppdet_ext.weights.files.torch_writer import write_torch
from ppdet_ext.weights.foreign.encoders import encoder_names
from ppdet_ext.weights.foreign.plan import make_plan
from ppdet_ext.weights.load import load_pretrained, load_weights
from tests.weights.foreign.smp_files import SMP, encoder_class, model_of, our_shapes, stored_shapes, value_of, values_of

TIMM = stored_shapes("timm")
CLASSIFIER = {"fc.weight": np.zeros((10, 512), "f4"), "fc.bias": np.zeros(10, "f4")}


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> pytest.LogCaptureFixture:
    """What is logged."""
    monkeypatch.setattr(logging.getLogger("ppdet_ext"), "propagate", True)
    caplog.set_level(logging.INFO, logger="ppdet_ext")
    return caplog


@pytest.mark.parametrize(("file", "encoder", "note"), [
    ("resnet34", "resnet34", ""),
    ("resnext50_32x4d", "resnext50_32x4d", ""),
    ("legacy_seresnext50_32x4d", "se_resnext50_32x4d", ""),
    ("seresnext50_32x4d", "se_resnext50_32x4d", "a pixel apart"),
    ("tf_efficientnet_b0", "efficientnet-b0", "with padding 'same'"),
    ("efficientnet_b3", "efficientnet-b3", "another epsilon"),
])  # fmt: skip
def test_timms_names_and_shapes_are_an_encoders(file: str, encoder: str, note: str) -> None:
    SMP.setdefault(f"unet-{encoder}", SMP["unet-resnet50"])
    model = our_shapes(f"unet-{encoder}")
    plan = make_plan("w.pth", TIMM[file], model)
    assert (plan.missing, plan.left_over, plan.other_shape) == ([], [], [])
    assert list(plan.mapped) == [name for name in model if name.startswith("encoder.")]
    # No two parts of equal shape changed places.
    assert len(set(plan.mapped.values())) == len(plan.mapped)
    assert "the image classifier's last layer" in plan.skipped.values()
    assert [note in line for line in plan.naming.notes] == ([True] if note else [])


@pytest.mark.parametrize(("theirs", "ours"), [
    ("conv_stem.weight", "_conv_stem.weight"),
    ("bn1.running_mean", "_bn0.running_mean"),
    ("blocks.0.0.conv_dw.weight", "_blocks.0._depthwise_conv.weight"),
    ("blocks.0.0.conv_pw.weight", "_blocks.0._project_conv.weight"),
    ("blocks.0.0.bn2.bias", "_blocks.0._bn2.bias"),
    ("blocks.1.1.conv_pw.weight", "_blocks.2._expand_conv.weight"),
    ("blocks.1.1.bn1.weight", "_blocks.2._bn0.weight"),
    ("blocks.1.1.bn2.weight", "_blocks.2._bn1.weight"),
    ("blocks.1.1.conv_pwl.weight", "_blocks.2._project_conv.weight"),
    ("blocks.1.1.bn3.weight", "_blocks.2._bn2.weight"),
    ("blocks.6.0.se.conv_reduce.bias", "_blocks.15._se_reduce.bias"),
    ("bn2.weight", "_bn1.weight"),
])  # fmt: skip
def test_names_of_timms_efficientnet(theirs: str, ours: str) -> None:
    assert encoder_names(TIMM["tf_efficientnet_b0"])[theirs] == ours


def file_of(encoder: str, prefix: str = "") -> dict[str, np.ndarray]:
    """An encoder with the recipe's values under SMP's names."""
    return {name.replace("encoder.", prefix, 1): value_of(name, shape, encoder)
            for name, shape in SMP[f"encoder_{encoder}"].items()}  # fmt: skip


@pytest.mark.parametrize(
    ("prefix", "more"), [("", CLASSIFIER), ("encoder.", {}), ("module.encoder.", {}), ("model.", CLASSIFIER)]
)
def test_an_encoder_is_loaded_whatever_its_prefix(prefix: str, more: dict, tmp_path: Path, said) -> None:
    more = {f"{prefix}{name}": value for name, value in more.items()}
    write_torch(tmp_path / "w.pth", {}, {**file_of("resnet18", prefix), **more}.items())
    model = model_of("unet-resnet18")
    head = model.segmentation_head[0].weight.numpy().copy()
    counts = load_pretrained(model, tmp_path / "w.pth")
    assert (counts["loaded"], counts["not_in_model"], counts["other_shape"]) == (100, 0, 0)
    expected = file_of("resnet18")
    assert np.array_equal(model.encoder.layer4[1].bn2._variance.numpy(), expected["layer4.1.bn2.running_var"])
    assert np.array_equal(model.segmentation_head[0].weight.numpy(), head)
    with pytest.raises(UserError, match="holds a backbone alone; use it by -o pretrain_weights="):
        load_weights(model, tmp_path / "w.pth")


@pytest.mark.parametrize("channels", [1, 2, 4])
def test_other_numbers_of_input_channels_are_made_of_three(channels: int, tmp_path: Path, said) -> None:
    """As SMP: the sum for one, else each channel in turn by 3/n."""
    values = file_of("resnet18")
    write_torch(tmp_path / "w.pth", {}, values.items())
    model = model_of("unet-resnet18", f"ResNetEncoder.in_channels={channels}")
    load_pretrained(model, tmp_path / "w.pth")
    found, three = model.encoder.conv1.weight.numpy(), values["conv1.weight"]
    if channels == 1:
        assert np.allclose(found[:, 0], three.sum(1), atol=1e-6)
    else:
        assert all(np.allclose(found[:, i], three[:, i % 3] * 3 / channels, atol=1e-6) for i in range(channels))
    # An image without change between its channels gives the same map.
    plain = np.random.default_rng(0).normal(size=(1, 1, 8, 8)).astype("f4")
    maps = [paddle.nn.functional.conv2d(paddle.to_tensor(np.repeat(plain, w.shape[1], 1)), paddle.to_tensor(w)).numpy()
            for w in (three, found)]  # fmt: skip
    assert channels != 1 or np.allclose(*maps, atol=1e-4)
    assert "its three input channels become the model's number" in said.text


def test_a_whole_network_starts_one_of_grey_pictures_but_is_none(tmp_path: Path, said) -> None:
    write_torch(tmp_path / "unet.pth", {}, values_of("unet-resnet18").items())
    model = model_of("unet-resnet18", "ResNetEncoder.in_channels=1")
    counts = load_pretrained(model, tmp_path / "unet.pth")
    assert (counts["not_in_file"], counts["not_in_model"], counts["other_shape"]) == (0, 0, 0)
    three = values_of("unet-resnet18")["encoder.conv1.weight"]
    assert np.allclose(model.encoder.conv1.weight.numpy()[:, 0], three.sum(1), atol=1e-6)
    assert "its three input channels become the model's number" in said.text
    with pytest.raises(UserError, match=r"encoder\.conv1\.weight is \[64, 3, 7, 7\] in the file, \[64, 1, 7, 7\] in the model"):
        load_weights(model, tmp_path / "unet.pth")


def test_weights_of_another_encoder_are_one_message(tmp_path: Path) -> None:
    write_torch(tmp_path / "resnet34.pth", {}, {**file_of("resnet34"), **CLASSIFIER}.items())
    with pytest.raises(UserError) as caught:
        load_pretrained(model_of("unet-resnet18"), tmp_path / "resnet34.pth")
    text = str(caught.value)
    write_torch(tmp_path / "unet.pth", {}, values_of("unet-resnet34").items())
    with pytest.raises(UserError, match=r"unet\.pth: .* its encoder is resnet34, the configured one resnet18"):
        load_pretrained(model_of("unet-resnet18"), tmp_path / "unet.pth")
    paddle.save(model_of("fpn-resnet34").state_dict(), str(tmp_path / "ours.pdparams"))
    with pytest.raises(UserError, match=r"ours\.pdparams: .* its encoder is resnet34, the configured one resnet18"):
        load_pretrained(model_of("unet-resnet18"), tmp_path / "ours.pdparams")
    assert "resnet34.pth: the backbone differs from the model's; its encoder is resnet34, the configured one resnet18" in text
    assert "(ResNetEncoder.name=resnet34)" in text
    assert len(text.splitlines()) == 12


def test_a_classifier_of_as_many_classes_is_taken_whole(tmp_path: Path) -> None:
    """A ResNet of torchvision that was trained further: means of the last features, a linear layer. Others give the encoder."""
    rng = np.random.default_rng(0)
    fc = {"fc.weight": rng.normal(size=(4, 512)).astype("f4"), "fc.bias": rng.normal(size=4).astype("f4")}
    write_torch(tmp_path / "four.pth", {}, {**file_of("resnet18"), **fc}.items())
    write_torch(tmp_path / "thousand.pth", {}, {**file_of("resnet18"), **CLASSIFIER}.items())
    whole = ["ResNetEncoder.depth=5", "ImageClassifier.pooling=avg"]
    model = build_model(load_config("configs/classifier/classifier_resnet18_steel_sample.yml", whole, training=False))
    model.eval()
    load_weights(model, tmp_path / "four.pth")
    images = paddle.to_tensor(rng.normal(size=(2, 3, 64, 64)).astype("f4"))
    with paddle.no_grad():
        means = model.encoder({"image": images})[-1].numpy().mean((2, 3))
        assert np.allclose(model.logits(images).numpy(), means @ fc["fc.weight"].T + fc["fc.bias"], atol=1e-4)
    assert load_pretrained(model, tmp_path / "four.pth")["not_in_file"] == 0
    with pytest.raises(UserError, match="holds a backbone alone"):
        load_weights(model, tmp_path / "thousand.pth")
    assert load_pretrained(model, tmp_path / "thousand.pth")["not_in_file"] == 2
    with pytest.raises(UserError, match="holds a backbone alone"):
        load_weights(model_of("unet-resnet18"), tmp_path / "four.pth")


def test_an_encoder_that_is_not_here_is_told(tmp_path: Path) -> None:
    """timm's MobileNetV3, by its stem."""
    stem = {"conv_stem.weight": np.zeros((16, 3, 3, 3), "f4"), "blocks.0.0.conv_exp.weight": np.zeros((8, 16, 1, 1), "f4")}
    write_torch(tmp_path / "mobile.pth", {}, stem.items())
    with pytest.raises(UserError, match=r"mobile\.pth: .*; it is none of those here \(efficientnet-b0, .* resnet18, "):
        load_pretrained(model_of("unet-resnet18"), tmp_path / "mobile.pth")


def test_an_encoder_of_smp_serves_an_htc(tmp_path: Path) -> None:
    model = small_model(depth=18, classes=4)
    shapes = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    from ppdet_ext.weights.foreign.mmdet import mmdet_shapes

    rng = np.random.default_rng(0)
    file = {name.replace("backbone.", "encoder."): rng.normal(size=shape).astype("f4")
            for name, shape in mmdet_shapes(shapes).items() if name.startswith("backbone.")}  # fmt: skip
    write_torch(tmp_path / "w.pth", {}, file.items())
    counts = load_pretrained(model, tmp_path / "w.pth")
    assert (counts["loaded"], counts["not_in_model"], counts["other_shape"]) == (len(file), 0, 0)
    assert np.array_equal(model.backbone.conv1.conv1.conv.weight.numpy(), file["encoder.conv1.weight"])


def test_an_htc_on_one_of_the_encoders_takes_its_weights() -> None:
    """A detector's backbone may be any encoder; its names are those of the encoder."""
    model = {f"backbone.{name}": shape for name, shape in our_encoder("efficientnet-b0").items()}
    plan = make_plan("w.pth", TIMM["tf_efficientnet_b0"], {**model, "neck.fpn_res3_sum.weight": [8, 8, 3, 3]})
    assert (list(plan.mapped), plan.missing, plan.left_over) == (list(model), [], [])


def our_encoder(name: str) -> dict[str, list[int]]:
    """Names and shapes of one of our encoders."""
    shapes = our_shapes(f"unet-{name}")
    return {key.removeprefix("encoder."): shape for key, shape in shapes.items() if key.startswith("encoder.")}


def test_attention_that_was_added_keeps_its_start() -> None:
    model = our_shapes("unet-resnet34", "ResNetEncoder.attention=cbam")
    plan = make_plan("w.pth", TIMM["resnet34"], model)
    assert (plan.missing, plan.left_over) == ([], [])
    assert sum(".cbam." in name for name in plan.fresh) > 0


def test_every_encoder_of_the_tests_has_its_class() -> None:
    assert {encoder_class(what.split("-", 1)[1]) for what in SMP if not what.startswith("encoder_")} == {
        "ResNetEncoder", "SENetEncoder", "EfficientNetEncoder"}  # fmt: skip
