"""Checkpoints of segmentation_models_pytorch: every tensor finds its place, and the networks compute what theirs do."""

import logging
from pathlib import Path

import numpy as np
import paddle
import pytest
from smp_recipe import difference, image

from ppdet_ext.errors import UserError
from ppdet_ext.weights.files.tensor_file import without_wrappers
from ppdet_ext.weights.files.torch_writer import write_torch
from ppdet_ext.weights.foreign.encoders import encoder_shapes, fitting_encoder
from ppdet_ext.weights.foreign.plan import foreign_state_dict, make_plan
from ppdet_ext.weights.foreign.report import demand_exact, format_plan
from ppdet_ext.weights.load import load_pretrained, load_weights
from tests.weights.foreign.smp_files import DATA, SMP, file_shapes, model_of, our_shapes, values_of
from tests.weights.foreign.torch_files import name, older_checkpoint, tensor, text, zipped

NETWORKS = [what for what in SMP if not what.startswith("encoder_") and "Unet_scse" not in what]
ENCODERS = [what.removeprefix("encoder_") for what in SMP if what.startswith("encoder_")]


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> pytest.LogCaptureFixture:
    """What is logged."""
    monkeypatch.setattr(logging.getLogger("ppdet_ext"), "propagate", True)
    caplog.set_level(logging.INFO, logger="ppdet_ext")
    return caplog


@pytest.mark.parametrize("what", NETWORKS)
def test_every_tensor_of_a_network_has_its_place(what: str) -> None:
    file, model = file_shapes(what), our_shapes(what)
    plan = make_plan("w.pth", file, model)
    demand_exact("w.pth", plan, False, "", model)
    assert list(plan.mapped) == list(model)
    assert len(plan.mapped) + len(plan.skipped) == len(file)
    assert list(plan.adapted) == (["segmentation_head.0.weight"] if what.startswith("smp003_Unet") else [])


@pytest.mark.parametrize("encoder", ENCODERS)
def test_every_tensor_of_an_encoder_has_its_place(encoder: str) -> None:
    file = {name: shape for name, shape in SMP[f"encoder_{encoder}"].items() if not name.endswith("num_batches_tracked")}
    assert {f"encoder.{name}": shape for name, shape in encoder_shapes(encoder).items()} == file


@pytest.mark.parametrize("encoder", ["resnet18", "resnet101", "se_resnext50_32x4d", "efficientnet-b0"])
def test_an_encoder_is_known_by_its_shapes(encoder: str) -> None:
    shapes = encoder_shapes(encoder)
    assert fitting_encoder(shapes) == encoder
    name = next(iter(shapes))
    assert fitting_encoder({**shapes, name: (*shapes[name][:1], 9, *shapes[name][2:])}) == encoder
    assert fitting_encoder({name: (1, *shape[1:]) for name, shape in shapes.items()}) is None


@pytest.mark.parametrize("network", ["Unet", "FPN", "PSPNet", "Linknet"])
def test_a_checkpoint_of_2019_computes_what_it_did(network: str, tmp_path: Path) -> None:
    """Names of SMP 0.0.3, layout of torch before 1.6, values of the recipe by those names; logits of SMP 0.0.3."""
    what = f"smp003_{network}-resnet18"
    (tmp_path / "w.pth").write_bytes(older_checkpoint(values_of(what)))
    model = model_of(what)
    load_weights(model, tmp_path / "w.pth")
    with paddle.no_grad():
        found = model.logits(paddle.to_tensor(image("a"))).numpy()
    with np.load(DATA / "smp_logits.npz") as stored:
        expected = {f"a/logits{kind}": stored[f"smp003/{network}-resnet18/{kind}"] for kind in ("@", "#", ".shape")}
    assert difference(expected, "a/logits", found) < 5e-4


def test_scse_of_2019_is_refused() -> None:
    with pytest.raises(UserError, match=r"w\.pth is a Unet with scSE of segmentation_models_pytorch 0\.0\.x"):
        make_plan("w.pth", file_shapes("smp003_Unet_scse-resnet18"), our_shapes("unet_scse-resnet18"))


@pytest.mark.parametrize("what", ["unet_aux-resnet18", "linknet-efficientnet-b0", "pspnet-se_resnext50_32x4d"])
def test_there_and_back_is_the_same_bits(what: str, tmp_path: Path) -> None:
    original = values_of(what)
    write_torch(tmp_path / "w.pth", {}, original.items())
    model = model_of(what)
    load_weights(model, tmp_path / "w.pth")
    back = dict(foreign_state_dict({name: tensor.numpy() for name, tensor in model.state_dict().items()}))
    assert set(back) == set(original)
    assert all(value.dtype == original[name].dtype and np.array_equal(value, original[name]) for name, value in back.items())


def test_wrappers_of_trainings_are_taken_off() -> None:
    """Lightning's, with the normalization and the loss that the module has beside the network."""
    what = "unet-resnet18"
    file = {f"model.{name}": shape for name, shape in file_shapes(what).items()}
    beside = {"mean": (1, 3, 1, 1), "std": (1, 3, 1, 1), "loss_fn.pos_weight": (4,)}
    names, outside = without_wrappers([*file, *beside])
    shapes = {short: {**file, **beside}[name] for short, name in names.items()}
    plan = make_plan("w.ckpt", shapes, our_shapes(what), outside)
    demand_exact("w.ckpt", plan, False, "")
    assert [name for name in plan.skipped if not name.endswith("num_batches_tracked")] == list(beside)
    assert make_plan("w.pth", {**file_shapes(what), "mean": (3,)}, our_shapes(what)).left_over == ["mean"]


@pytest.mark.parametrize("prefix", ["unet.", "module.seg_model.", "model.inner.net_2."])
def test_a_module_may_call_its_network_anything(prefix: str) -> None:
    what = "unet-resnet18"
    file = {f"{prefix}{name}": shape for name, shape in file_shapes(what).items()}
    names, outside = without_wrappers([*file, "mean"])
    assert {short: file[name] for short, name in names.items() if name != "mean"} == file_shapes(what)
    assert outside == {"mean"}
    # Of two networks none is the one.
    two = [f"{own}.{name}" for own in ("student", "teacher") for name in file_shapes(what)]
    assert list(without_wrappers(two)[0]) == two


def test_averaged_models_and_timms_resnets_are_read() -> None:
    what = "unet-resnet18"
    file = {f"module.{name}".replace("encoder.", "encoder.model."): shape for name, shape in file_shapes(what).items()}
    names, outside = without_wrappers([*file, "n_averaged"])
    shapes = {short: {**file, "n_averaged": ()}[name] for short, name in names.items()}
    plan = make_plan("w.pth", shapes, our_shapes(what), outside)
    demand_exact("w.pth", plan, False, "")
    assert "n_averaged" in plan.skipped


def test_deeplabs_earlier_names_are_read() -> None:
    """Its decoder was a list: the pyramid, a convolution, a norm."""
    what, earlier = (
        "deeplabv3-resnet18",
        {"decoder.aspp.": "decoder.0.", "decoder.conv.": "decoder.1.", "decoder.bn.": "decoder.2."},
    )
    file = {}
    for key, shape in file_shapes(what).items():
        now = next((now for now in earlier if key.startswith(now)), "")
        file[earlier.get(now, "") + key.removeprefix(now)] = shape
    assert file.keys() != file_shapes(what).keys()
    demand_exact("w.pth", make_plan("w.pth", file, our_shapes(what)), False, "")


def test_another_number_of_classes_is_said_and_left_out_in_pretraining(tmp_path: Path, said) -> None:
    write_torch(tmp_path / "w.pth", {}, values_of("unet_aux-resnet18").items())
    model = model_of("unet_aux-resnet18", "num_classes=3", "TrainDataset=null", "EvalDataset=null", "TestDataset=null")
    with pytest.raises(UserError, match=r"it has 4 outputs, the configured model 3 \(.*background\)\. Set num_classes"):
        load_weights(model, tmp_path / "w.pth")
    counts = load_pretrained(model, tmp_path / "w.pth")
    assert (counts["not_in_file"], counts["not_in_model"], counts["other_shape"]) == (0, 0, 4)
    assert "classes differ (4 and 3); left at the model's own start: segmentation_head.0.weight" in said.text


def test_the_encoder_of_another_file_is_named(tmp_path: Path) -> None:
    model = our_shapes("unet-resnet18")
    with pytest.raises(
        UserError, match=r"its encoder is resnet34, the configured one resnet18: .*ResNetEncoder\.name=resnet34"
    ):
        demand_exact("w.pth", make_plan("w.pth", file_shapes("unet-resnet34"), model), False, "", model)
    with pytest.raises(UserError, match=r"\(encoder: EfficientNetEncoder, EfficientNetEncoder\.name=efficientnet-b0\)"):
        demand_exact("w.pth", make_plan("w.pth", file_shapes("unet-efficientnet-b0"), model), False, "", model)
    # The decoder is another, not the encoder.
    with pytest.raises(UserError) as caught:
        demand_exact("w.pth", make_plan("w.pth", file_shapes("fpn-resnet18"), model), False, "", model)
    assert "its encoder is" not in str(caught.value)


def test_the_channels_of_another_u_net_are_named() -> None:
    """SMP's default U-Net into a thinner one: each tensor is named once, and the key to change with its value."""
    model = dict(our_shapes("unet-resnet18"))
    own = (8, *list(model["decoder.blocks.0.conv1.0.weight"])[1:])
    model["decoder.blocks.0.conv1.0.weight"] = own
    with pytest.raises(UserError) as caught:
        demand_exact("w.pth", make_plan("w.pth", file_shapes("unet-resnet18"), model), False, "", model)
    first, second = str(caught.value).splitlines()
    assert first.endswith(
        "1 differ; its U-Net has the channels [256,128,64,32,16], the configured one [8,128,64,32,16]: "
        "set UNetDecoder.channels=[256,128,64,32,16]:"
    )
    assert second == f"  decoder.blocks.0.conv1.0.weight is [256, 768, 3, 3] in the file, {list(own)} in the model"


@pytest.mark.parametrize(
    ("file", "model", "hint"),
    [
        (
            "fpn-resnet18",
            "unet-resnet18",
            "its decoder is FPNDecoder, the configured one UNetDecoder: set SemanticSegmentor.deco",
        ),
        ("unet-resnet18", "unetplusplus-resnet18", "its decoder is UNetDecoder, the configured one UNetPlusPlusDecoder: set "),
        ("linknet-resnet18", "pspnet-resnet18", "its decoder is LinknetDecoder, the configured one PSPDecoder: set "),
        (
            "deeplabv3plus-resnet18",
            "deeplabv3-resnet18",
            "its decoder is DeepLabV3PlusDecoder, the configured one DeepLabV3Deco",
        ),
        ("unet_scse-resnet18", "unet-resnet18", "its decoder has scSE: set UNetDecoder.attention=scse"),
        ("unet-resnet18", "unet_scse-resnet18", "its decoder has no scSE: set UNetDecoder.attention=null"),
    ],
)
def test_the_decoder_of_another_file_is_named(file: str, model: str, hint: str) -> None:
    with pytest.raises(UserError) as caught:
        demand_exact("w.pth", make_plan("w.pth", file_shapes(file), our_shapes(model)), False, "", our_shapes(model))
    assert f"; {hint}" in str(caught.value).splitlines()[0]


@pytest.mark.parametrize(
    ("own", "others", "hint"),
    [
        (
            "unet-resnet18",
            ["SemanticSegmentor.decoder=FPNDecoder"],
            "its decoder is UNetDecoder, the configured one FPNDecoder",
        ),
        ("unet-resnet18", ["ResNetEncoder.name=resnet34"], "its encoder is resnet18, the configured one resnet34"),
        ("unet-resnet18", ["SemanticSegmentor.classifier=true"], "it has no head that classifies images: set Semantic"),
        (
            "unet-resnet18",
            ["SemanticSegmentor.task=multiclass", "SemanticSegmentor.losses=[SoftCE: {}]"],
            r"it has 4 outputs, the configured model 5 \(with task: multiclass one more than classes, the background\)",
        ),
    ],
)
def test_own_weights_of_another_network_are_told_alike(own: str, others: list[str], hint: str, tmp_path: Path) -> None:
    paddle.save(model_of(own).state_dict(), str(tmp_path / "own.pdparams"))
    with pytest.raises(UserError, match=rf"is of another architecture or class count: .* differ; {hint}"):
        load_weights(model_of(own, *others), tmp_path / "own.pdparams")


def test_parts_that_are_not_here_are_told() -> None:
    """MAnet's center beside blocks that are called as U-Net's; an encoder of other names."""
    file = {**file_shapes("unet-resnet18"), "decoder.center.top_conv.weight": (64, 512, 1, 1)}
    file = {name.replace("encoder.", "encoder.features."): shape for name, shape in file.items()}
    with pytest.raises(UserError, match="; its encoder is none of those here; its decoder is none of those here:"):
        demand_exact("w.pth", make_plan("w.pth", file, our_shapes("unet-resnet18")), False, "", our_shapes("unet-resnet18"))


def test_another_number_of_outputs_of_the_head_for_images_is_told() -> None:
    model = our_shapes("unet_aux-resnet18")
    file = {**file_shapes("unet_aux-resnet18"), "classification_head.3.weight": (1, 512), "classification_head.3.bias": (1,)}
    with pytest.raises(UserError, match=r"its head that classifies images has another number of outputs\. -o pretrain_weig"):
        demand_exact("w.pth", make_plan("w.pth", file, model), False, "", model)


def test_a_head_that_the_model_lacks_is_named() -> None:
    model = our_shapes("unet-resnet18")
    with pytest.raises(UserError, match=r"2 differ; it has a head .* SemanticSegmentor\.classifier=true adds:\n"):
        demand_exact("w.pth", make_plan("w.pth", file_shapes("unet_aux-resnet18"), model), False, "", model)


def test_smps_encoders_of_timm_are_refused_in_one_message() -> None:
    file = {"encoder.conv_stem.weight": (32, 3, 3, 3), "encoder.blocks.0.0.conv_dw.weight": (32, 1, 3, 3)}
    head = {"segmentation_head.0.weight": (4, 16, 3, 3)}
    with pytest.raises(
        UserError, match=r"w\.pth is of a segmentation net on one of SMP's timm-efficientnet-\* or tu-\* encoders"
    ):
        make_plan("w.pth", {**file, **head}, our_shapes("unet-resnet18"))
    with pytest.raises(UserError, match=r"w\.pth is of a segmentation net on one of SMP's tu-\* encoders with squeeze"):
        make_plan("w.pth", {"encoder.layer1.0.se.fc1.weight": (16, 256, 1, 1), **head}, our_shapes("unet-resnet18"))


def test_a_network_pretrains_another_decoder_and_a_detector() -> None:
    plan = make_plan("w.pth", file_shapes("unet-resnet18"), our_shapes("fpn-resnet18"))
    assert list(plan.mapped)[100:] == ["segmentation_head.0.bias"]
    assert all(name.startswith("encoder.") for name in list(plan.mapped)[:100])
    from tests.weights.foreign.reference_shapes import our_shapes as detector

    plan = make_plan("w.pth", file_shapes("unet-resnet50"), detector("htc/htc_r50_fpn_1x_coco"))
    assert plan.backbone_only
    assert (plan.missing, plan.left_over, plan.other_shape) == ([], [], [])
    assert "the segmentation net's decoder and heads" in plan.skipped.values()


B1 = "unet-efficientnet-b1"


@pytest.fixture(scope="module")
def b1() -> dict[str, np.ndarray]:
    """Tensors of a Unet on EfficientNet-B1, whose decoder is B0's."""
    decoder = SMP["unet-efficientnet-b0"]
    SMP.setdefault(B1, decoder)
    return values_of(B1)


def test_efficientnets_padding_is_that_of_its_time(b1: dict[str, np.ndarray], tmp_path: Path, said) -> None:
    """Legacy layout: SMP 0.2.1's padding and logits. Today's layout: the other. What is configured wins."""
    (tmp_path / "old.pth").write_bytes(older_checkpoint(b1))
    write_torch(tmp_path / "new.pth", {}, b1.items())
    model = model_of(B1)
    load_weights(model, tmp_path / "old.pth")
    assert model.encoder.padding == "same"
    assert "was made with 'same' (it is laid out as torch before 1.6 did" in said.text
    assert "-o EfficientNetEncoder.padding=nominal switches it" in said.text
    with paddle.no_grad():
        found = model.logits(paddle.to_tensor(image("a"))).numpy()
    with np.load(DATA / "smp_logits.npz") as stored:
        expected = {f"a/logits{kind}": stored[f"smp021/Unet-efficientnet-b1/{kind}"] for kind in ("@", "#", ".shape")}
    assert difference(expected, "a/logits", found) < 5e-4
    load_weights(model, tmp_path / "new.pth")
    assert model.encoder.padding == "nominal"
    with paddle.no_grad():
        assert np.abs(model.logits(paddle.to_tensor(image("a"))).numpy() - found).max() > 0.01 * found.std()
    configured = model_of(B1, "EfficientNetEncoder.padding=nominal")
    load_weights(configured, tmp_path / "old.pth")
    assert configured.encoder.padding == "nominal"
    assert said.records[-1].levelname == "WARNING"


def test_training_goes_by_the_configured_padding(b1: dict[str, np.ndarray], tmp_path: Path, said) -> None:
    (tmp_path / "old.pth").write_bytes(older_checkpoint(b1))
    model = model_of(B1)
    load_pretrained(model, tmp_path / "old.pth")
    assert model.encoder.padding == "nominal"
    assert said.records[-1].levelname == "WARNING"
    assert "-o EfficientNetEncoder.padding=same switches it" in said.text


def test_the_table_says_what_was_changed() -> None:
    what = "smp003_Unet-resnet18"
    text_ = format_plan(make_plan("w.pth", file_shapes(what), our_shapes(what)))
    assert "segmentation_head.0.weight: a 1×1 kernel becomes the middle of a 3×3 one" in text_
    assert text_.endswith("missing 0, left over 0")


def test_two_names_of_a_file_that_mean_the_same_are_refused(tmp_path: Path) -> None:
    model = our_shapes("unet-resnet18")
    file = {"decoder.final_conv.weight": (4, 16, 1, 1), "segmentation_head.0.weight": (4, 16, 3, 3)}
    with pytest.raises(UserError, match=r"are the same tensor, segmentation_head\.0\.weight"):
        make_plan("w.pth", file, model)


def test_lightnings_hyperparameters_are_passed_over(tmp_path: Path) -> None:
    from ppdet_ext.weights.files.tensor_file import open_tensors

    hyper = name("pytorch_lightning.utilities.parsing.AttributeDict") + b")R" + b"(" + text("lr") + b"K\x01u"
    inside = b"}(" + text("model.w") + tensor() + b"u"
    (tmp_path / "last.ckpt").write_bytes(
        zipped(b"\x80\x02}(" + text("hyper_parameters") + hyper + text("state_dict") + inside + b"u.")
    )
    with open_tensors(tmp_path / "last.ckpt") as file:
        assert file.shapes == {"w": (2, 2)}


def test_catalysts_checkpoint_is_read(tmp_path: Path) -> None:
    from ppdet_ext.weights.files.tensor_file import open_tensors

    inside = b"}(" + text("module.encoder.conv1.weight") + tensor() + b"u"
    pickled = b"\x80\x02}(" + text("model_state_dict") + inside + text("optimizer_state_dict") + b"}u."
    (tmp_path / "best.pth").write_bytes(zipped(pickled))
    with open_tensors(tmp_path / "best.pth") as file:
        assert file.shapes == {"encoder.conv1.weight": (2, 2)}
