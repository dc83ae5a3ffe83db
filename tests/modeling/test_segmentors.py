"""Segmentors of each decoder on an encoder of each family; classes, sizes and parts that do not go together; presence."""

import re
from pathlib import Path

import numpy as np
import paddle
import pytest
from segmentor_base import CLASSES, SegmentorTests, tiny
from smp_models import batch_of_random

from ppdet_ext.config.load import load_config
from ppdet_ext.errors import UserError
from ppdet_ext.host.build import build_model
from ppdet_ext.inference.protocol import Detector, MapDetector
from ppdet_ext.modeling.backbones import build_encoder
from ppdet_ext.modeling.segmentation import SemanticSegmentor
from ppdet_ext.modeling.segmentation.decoders import FPNDecoder, PSPDecoder, UNetDecoder
from ppdet_ext.modeling.segmentation.layers import conv, linear, resize, transposed_conv
from ppdet_ext.modeling.segmentation.losses import build_losses

CONFIG = "configs/unet/unet_resnet18_steel_sample.yml"


class TestOnResNet(SegmentorTests):
    encoder = "resnet18"


class TestOnEfficientNet(SegmentorTests):
    encoder = "efficientnet-b0"


@pytest.mark.slow
class TestOnSEResNeXt(SegmentorTests):
    encoder = "se_resnext50_32x4d"


def built(root: Path, *changes: str) -> SemanticSegmentor:
    return build_model(load_config(root / CONFIG, list(changes), training=False))


@pytest.mark.parametrize(
    ("decoder", "strides"),
    [
        ("UNetDecoder", [2, 4, 8, 16, 32]),
        ("UNetPlusPlusDecoder", [2, 4, 8, 16, 32]),
        ("FPNDecoder", [2, 4, 8, 16, 32]),
        ("PSPDecoder", [2, 4, 8]),
        ("LinknetDecoder", [2, 4, 8, 16, 32]),
        ("DeepLabV3Decoder", [2, 4, 8, 8, 8]),
        ("DeepLabV3PlusDecoder", [2, 4, 8, 16, 16]),
    ],
)
def test_one_key_changes_the_decoder_and_the_encoder_follows(root, decoder, strides):
    model = built(root, f"SemanticSegmentor.decoder={decoder}")
    assert type(model.decoder).__name__ == decoder
    assert [one.stride for one in model.encoder.out_shape] == strides
    assert isinstance(model, Detector)
    assert isinstance(model, MapDetector)
    assert [type(one).__name__ for one in model.losses] == ["BCE", "Dice"]


def test_parts_may_be_named_with_their_keys(root):
    own = "SemanticSegmentor.encoder={name: ResNetEncoder, norm_eval: true}"
    model = built(root, "SemanticSegmentor.decoder={name: FPNDecoder, merge: cat}", own)
    assert model.decoder.merge == "cat"
    assert all(one._use_global_stats for one in model.encoder.sublayers() if isinstance(one, paddle.nn.BatchNorm2D))


def test_the_pages_own_decoder(root, tmp_path):
    page = (root / "docs" / "segmentation.md").read_text()
    (program,) = re.findall(r"^```python\n(# parts/two_scales\.py\n.*?)^```$", page, re.S | re.M)
    (configuration,) = re.findall(r"^```yaml\n(_BASE_.*?)^```$", page, re.S | re.M)
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / "two_scales.py").write_text(program)
    (tmp_path / "own.yml").write_text(configuration)
    (tmp_path / "configs").symlink_to(root / "configs")
    # What a plugin registers stays as long as the process; so this class does, which nothing else names.
    model = build_model(load_config(tmp_path / "own.yml", training=False))
    assert type(model.decoder).__name__ == "TwoScalesDecoder"
    assert model.encoder.depth == 4
    assert model.logits(paddle.zeros([1, 3, 40, 72])).shape == [1, 4, 40, 72]


def test_a_decoder_of_four_blocks_takes_four_features(root):
    model = built(root, "UNetDecoder.channels=[64,32,16,16]", "ResNetEncoder.name=resnet34")
    assert model.encoder.depth == model.decoder.depth == 4


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (["ResNetEncoder.depth=4"], r"UNetDecoder of 5 channels takes the image and 5 features, but the encoder gives 4"),
        (["ResNetEncoder.return_idx=[1,2,3,4]"], r"takes the image and 5 features, but the encoder gives 4"),
        (
            ["ResNetEncoder.output_stride=16"],
            r"UNetDecoder takes features of strides 2, 4, 8, 16, 32, but ResNetEncoder gives 2,",
        ),
        (["ResNetEncoder.name=resnet19"], r"there is no 'resnet19'. Did you mean 'resnet1"),
        (["ResNetEncoder.name=senet154"], r"senet154 is one of SENetEncoder; name that class instead"),
        (["UNetDecoder.attention=scce"], r"UNetDecoder.attention is 'scce'; expected scse or null"),
        (["SemanticSegmentor.task=multilable"], r"SemanticSegmentor.task is 'multilable'; expected multilabel, multiclass"),
        (["SemanticSegmentor.decoder=UnetDecoder"], r"names module 'UnetDecoder', not registered. Did you mean 'UNetDecoder'"),
        (["SemanticSegmentor.decoder=Unet"], r"'Unet', not registered. Did you mean 'UNetDecoder'\? There are Deep"),
        (["SemanticSegmentor.decoder=PSPNet"], r"Did you mean 'PSPDecoder'\?"),
        (["SemanticSegmentor.decoder=FPN"], r"FPN is no decoder. Did you mean 'FPNDecoder'\?"),
        (["SemanticSegmentor.decoder=SegformerDecoder"], r"'SegformerDecoder', not registered. There are DeepLabV3Decoder, "),
        (["SemanticSegmentor.decoder=UPerNet"], r"'UPerNet', not registered. There are DeepLabV3Decoder, "),
        (
            ["SemanticSegmentor.encoder=resnet34"],
            r"encoder names module 'resnet34', not registered. Did you mean ResNetEncoder, with ResNetEncoder.name=resnet34\?",
        ),
        (
            ["SemanticSegmentor.encoder={name: efficientnet_b0}"],
            r"Did you mean EfficientNetEncoder, with .*name=efficientnet-b0\?",
        ),
        (["SemanticSegmentor.encoder=ResNet"], r"ResNet is no encoder. Did you mean 'ResNetEncoder'\?"),
        (
            ["SemanticSegmentor.decoder=FPNDecoder", "FPNDecoder.channels=100"],
            r"channels is 100; group norm takes multiples of 32",
        ),
        (
            ["SemanticSegmentor.decoder=DeepLabV3Decoder", "DeepLabV3Decoder.output_stride=4"],
            r"output_stride is 4; it is 8 or 16",
        ),
        (["SemanticSegmentor.task=multiclass"], r"BCE takes multilabel targets, and the task is multiclass"),
        (["SemanticSegmentor.losses=[{Dise: {}}]"], r"'Dise' is not registered. Did you mean 'Dice'"),
        (["SemanticSegmentor.losses=[{Dice: {smoth: 1}}]"], r"unknown key .*smoth.*Did you mean 'smooth'"),
        (["SemanticSegmentor.losses=Dice"], r"expected a list of '- Name: \{…\}'"),
        (["SemanticSegmentor.decoder=ResNetEncoder"], r"SemanticSegmentor.decoder: ResNetEncoder is no decoder.* FPNDecoder, "),
        (["SemanticSegmentor.encoder=HTCResNet"], r"HTCResNet is no encoder. There are EfficientNetEncoder, R"),
        (["SemanticSegmentor.classifier={poling: avg}"], r"unknown key 'poling'. Did you mean 'pooling'"),
        (["SemanticSegmentor.classifier=3"], r"classifier is 3; expected true, false or"),
        (["SemanticSegmentor.classifier={pooling: mean}"], r"pooling is 'mean'; it is avg or max"),
        (["SemanticSegmentor.mask_threshold=50"], r"SemanticSegmentor\.mask_threshold: 50 is no number from 0 to 1"),
        (["SemanticSegmentor.score_threshold=-1"], r"SemanticSegmentor\.score_threshold: -1 is no number from 0 to 1"),
        (["UNetDecoder.channels=[64,32,16,8,4,4]"], r"UNetDecoder.channels has 6 numbers; it takes one for each of the enc"),
        (
            ["SemanticSegmentor.decoder=UNetPlusPlusDecoder", "UNetPlusPlusDecoder.channels=[8,0]"],
            r"PlusDecoder.channels: 0 is no whole",
        ),
        (
            ["SemanticSegmentor.decoder=DeepLabV3Decoder", "DeepLabV3Decoder.rates=[0,1]"],
            r"rates: 0 is no whole number of 1 or",
        ),
        (["UNetDecoder.channels=[64,32,16,8,-4]"], r"UNetDecoder.channels: -4 is no whole number of 1 or more"),
        *(
            (
                [f"SemanticSegmentor.decoder={decoder}", f"{decoder}.{key}={value}"],
                rf"{decoder}.{key}: {value} is no (whole )?number",
            )
            for decoder, key, value in [
                ("FPNDecoder", "pyramid_channels", 0),
                ("FPNDecoder", "dropout", 1.5),
                ("PSPDecoder", "channels", 0),
                ("PSPDecoder", "depth", 7),
                ("LinknetDecoder", "channels", 0),
                ("DeepLabV3Decoder", "channels", -3),
                ("DeepLabV3PlusDecoder", "low_channels", 0),
            ]
        ),
    ],
)
def test_parts_that_do_not_fit_are_one_message(root, changes, message):
    with pytest.raises(UserError, match=message):
        built(root, *changes)


@pytest.mark.parametrize("decoder", ["unet", "fpn", "pspnet"])
def test_padding_is_cropped_again(decoder):
    model = tiny("resnet18", decoder)
    model.eval()
    image = batch_of_random(1, 40, 72)["image"]
    stride = model.decoder.stride
    padded = paddle.nn.functional.pad(image, [0, -72 % stride, 0, -40 % stride])
    with paddle.no_grad():
        assert np.array_equal(model.logits(image).numpy(), model.logits(padded)[:, :, :40, :72].numpy())


def test_a_size_that_is_off_is_named_with_the_nearest_ones():
    model = tiny("resnet18", "fpn", pad=False)
    with pytest.raises(UserError, match=r"Images of 70x100 px: FPNDecoder .* multiples of 32.*to 64x96 or 96x128"):
        model.logits(paddle.zeros([1, 3, 70, 100]))
    assert tiny("resnet18", "unet", pad=False).logits(paddle.zeros([1, 3, 70, 100])).shape == [1, CLASSES, 70, 100]


def test_pictures_of_other_channels_are_named():
    with pytest.raises(UserError, match=r"images of 1 channels, but in_channels is 3"):
        tiny("resnet18", "unet").logits(paddle.zeros([1, 1, 64, 64]))
    with pytest.raises(UserError, match=r"images of 3 channels, but in_channels is 1; .* NormalizeToCHW makes grey ones"):
        build_encoder("resnet18", in_channels=1)({"image": paddle.zeros([1, 3, 64, 64])})


def test_a_batch_without_masks_names_the_transform():
    model = tiny("resnet18", "unet")
    with pytest.raises(UserError, match=r"ClassMasks"):
        model({"image": paddle.zeros([2, 3, 64, 64])})


# one class a pixel


def multiclass(**settings) -> SemanticSegmentor:
    return tiny("resnet18", "unet", task="multiclass", losses=build_losses([{"SoftCE": {}}], "multiclass"), **settings)


def disjoint(count: int = 2) -> dict:
    """A batch in which no pixel is of two classes."""
    batch = batch_of_random(count, classes=CLASSES)
    labels = np.random.default_rng(1).integers(0, CLASSES + 1, (count, 64, 64))
    masks = (labels[:, None] == np.arange(1, CLASSES + 1)[:, None, None]).astype(np.uint8)
    return {**batch, "class_masks": paddle.to_tensor(masks)}


def test_softmax_has_a_background_and_gives_maps_that_sum_to_less_than_one():
    model = multiclass()
    batch = disjoint()
    assert model(batch)["loss"] > 0
    model.eval()
    assert model.logits(batch["image"]).shape == [2, CLASSES + 1, 64, 64]
    (first, _) = model.class_maps(batch)
    assert first.shape == (CLASSES, 64, 64)
    assert first.sum(axis=0).max() < 1


def test_classes_beyond_what_is_ignored_are_refused():
    """255 in a target is ignored, and so would be a class of that number."""
    encoder = build_encoder("resnet18")
    decoder = UNetDecoder([3, *(one.channels for one in encoder.out_shape)], (8, 8, 8, 8, 8))
    assert SemanticSegmentor(encoder, decoder, 254, "multiclass").num_classes == 254
    with pytest.raises(UserError, match="multiclass has room for 254 classes, not 255"):
        SemanticSegmentor(encoder, decoder, 255, "multiclass")
    assert SemanticSegmentor(encoder, decoder, 300).num_classes == 300


def test_classes_that_overlap_under_softmax_name_the_image():
    batch = disjoint()
    batch["class_masks"][1, :2, 5:7, 5:8] = 1
    with pytest.raises(UserError, match=r"1\.jpg: 6 px are of more than one class.*smaller_on_top"):
        multiclass()(batch)


def test_ignored_pixels_teach_nothing():
    for model in (multiclass(), tiny("resnet18", "unet")):
        batch = disjoint()
        batch["class_masks"][:, :, :, 32:] = 255
        model.train()
        first = float(model(batch)["loss"])
        model.segmentation_head[0].register_forward_post_hook(_shift_right_half)
        assert float(model(batch)["loss"]) == pytest.approx(first, rel=1e-6)


def _shift_right_half(layer, inputs, output):
    return paddle.concat([output[:, :, :, :32], output[:, :, :, 32:] + 3], axis=3)


# the head that tells classes of the whole image


def test_presence_is_trained_and_told():
    model = tiny("resnet18", "unet", classifier={"pooling": "max", "dropout": 0.1})
    batch = batch_of_random(2, classes=CLASSES)
    losses = model(batch)
    assert set(losses) == {"loss_bce", "loss_presence", "loss"}
    model.eval()
    likely = model.presence(batch)
    assert likely.shape == (2, CLASSES)
    maps, same = model.maps_and_presence(batch)
    assert np.array_equal(likely, same)
    assert np.array_equal(maps[0], model.class_maps(batch)[0])
    found = model.candidates(batch, model.settings)
    assert all(np.array_equal(one.presence, own) for one, own in zip(found, likely))


def test_presence_without_a_head_names_the_key():
    with pytest.raises(UserError, match=r"SemanticSegmentor.classifier: true"):
        tiny("resnet18", "unet").presence(batch_of_random(1))


# layers


@pytest.mark.parametrize("size", [(10, 14), (5, 7), (9, 20), (3, 4)])
def test_nearest_resizing_is_paddles_to_the_bit(size):
    rng = np.random.default_rng(0)
    x, weights = (paddle.to_tensor(rng.normal(size=(2, 3, *own)).astype(np.float32)) for own in ((5, 7), size))
    found = []
    for resized in (resize, lambda x, size: paddle.nn.functional.interpolate(x, size=list(size), mode="nearest")):
        own = x.clone().detach()
        own.stop_gradient = False
        out = resized(own, size)
        (out * weights).sum().backward()
        found.append((out.numpy(), own.grad.numpy()))
    assert np.array_equal(found[0][0], found[1][0])
    assert np.abs(found[0][1] - found[1][1]).max() < 1e-6


# initial weights


def test_initial_weights_have_smps_bounds():
    paddle.seed(1)
    for layer, bound in (
        (conv(48, 64, 3), (6 / (48 * 9)) ** 0.5),
        (conv(48, 64, 3, start="xavier"), (6 / ((48 + 64) * 9)) ** 0.5),
        (conv(48, 64, 3, start="torch"), (1 / (48 * 9)) ** 0.5),
        (conv(64, 64, 3, groups=64, start="torch"), (1 / 9) ** 0.5),
        (transposed_conv(32), (1 / (32 * 16)) ** 0.5),
        (linear(512, 40), (6 / 552) ** 0.5),
        (linear(512, 40, "torch"), (1 / 512) ** 0.5),
    ):
        largest = float(layer.weight.abs().max())
        assert 0.97 * bound < largest <= bound
        assert float(layer.weight.std()) == pytest.approx(bound / 3**0.5, rel=0.05)


def test_heads_and_decoders_start_as_smps_do():
    body = build_encoder("resnet18")
    channels = [3, *(one.channels for one in body.out_shape)]
    unet, fpn = UNetDecoder(channels), FPNDecoder(channels)
    assert float(fpn.p5.bias.abs().max()) == 0
    assert all(float((part.weight - 1).abs().max()) == 0 for name, part in unet.named_sublayers() if name.endswith("conv1.1"))
    assert float(PSPDecoder(channels[:4]).psp.blocks[0].pool[1][0].bias.abs().max()) == 0
    deeplab = tiny("resnet18", "deeplabv3plus")
    assert 0 < float(deeplab.segmentation_head[0].bias.abs().max()) <= 0.25
    assert float(tiny("resnet18", "linknet").segmentation_head[0].bias.abs().max()) == 0
