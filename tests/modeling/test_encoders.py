"""Encoders against segmentation_models_pytorch's (SMP) maps, tensors and paddings; what each of them must do."""

import hashlib
import json

import numpy as np
import paddle
import pytest
from encoder_base import EncoderTests, maps
from smp_recipe import FIXTURES, difference, drop_connect_uniforms, fill, image, smp_name

from ppdet_ext.errors import UserError
from ppdet_ext.modeling.backbones import EfficientNetEncoder, ResNetEncoder, SENetEncoder, build_encoder
from ppdet_ext.modeling.backbones.cbam import CBAM
from ppdet_ext.modeling.backbones.efficientnet import _padding
from ppdet_ext.modeling.ops.gates import scale_channels, scale_images

KEYS = json.loads((FIXTURES / "encoder_keys.json").read_text())
# Name of a case in the fixtures -> encoder, settings.
CASES = {
    **{name: (name, {}) for name in ("resnet18", "resnet34", "resnet50", "resnext50_32x4d")},
    **{name: (name, {}) for name in ("se_resnet50", "se_resnext50_32x4d", "efficientnet-b0", "efficientnet-b3")},
    **{f"efficientnet-b{n},same": (f"efficientnet-b{n}", {"padding": "same"}) for n in (1, 2, 3, 4)},
    "resnet18@16": ("resnet18", {"output_stride": 16}),
    "resnet18@8": ("resnet18", {"output_stride": 8}),
    "efficientnet-b0@16": ("efficientnet-b0", {"output_stride": 16}),
    "resnet18,gray": ("resnet18", {"in_channels": 1}),
}
# Largest difference, in a map's standard deviations. torch's own float32 is up to 8e-5 off its float64.
TOLERANCE = 2e-4


@pytest.fixture(scope="module")
def stored() -> dict[str, np.ndarray]:
    with np.load(FIXTURES / "encoders.npz") as file:
        return {key: file[key] for key in file.files}


def filled(name: str, **settings):
    """An encoder with the recipe's weights."""
    encoder = build_encoder(name, **settings)
    fill(encoder, name, "encoder.")
    return encoder


def compare(stored: dict, case: str, tag: str, found: list[paddle.Tensor]) -> dict[str, float]:
    """Difference of each map that the fixtures have."""
    values = {key.removeprefix(case + "/"): value for key, value in stored.items() if key.startswith(f"{case}/{tag}/")}
    names = [name for i in range(1, 6) if (name := f"{tag}/f{i}") + "#" in values]
    assert names
    return {name: difference(values, name, found[int(name[-1]) - 1].numpy()) for name in names}


@pytest.mark.parametrize("case", CASES)
def test_maps_are_smps(stored, case):
    name, settings = CASES[case]
    encoder = filled(name, **settings)
    encoder.eval()
    for tag in ("a", "odd"):
        if f"{case}/{tag}/f5#" in stored:
            with paddle.no_grad():
                found = encoder({"image": paddle.to_tensor(image(tag, encoder.in_channels))})
            away = compare(stored, case, tag, found)
            assert max(away.values()) < TOLERANCE, away


def test_training_maps_are_smps(stored):
    encoder = filled("resnet18")
    encoder.train()
    away = compare(stored, "resnet18", "train", encoder({"image": paddle.to_tensor(image("b"))}))
    assert max(away.values()) < TOLERANCE, away


def test_blocks_are_dropped_as_smp_drops_them(stored):
    encoder = filled("efficientnet-b0")
    encoder.train()
    draws = drop_connect_uniforms(1, 16, 2)
    encoder.uniforms = lambda block, count: paddle.to_tensor(draws[block, :count])
    away = compare(stored, "efficientnet-b0", "train_drop_connect", encoder({"image": paddle.to_tensor(image("b"))}))
    assert max(away.values()) < TOLERANCE, away


@pytest.mark.parametrize("name", KEYS)
def test_tensors_are_smps(name):
    with paddle.LazyGuard():
        encoder = build_encoder(name)
    state = encoder.state_dict()
    lines = sorted(f"encoder.{smp_name(key)} {'x'.join(map(str, value.shape))}" for key, value in state.items())
    learned = sum(p.size for k, p in encoder.named_parameters() if not k.endswith(("._mean", "._variance")))
    assert list(encoder.channels) == KEYS[name]["channels"]
    assert (len(lines), learned) == (KEYS[name]["tensors"], KEYS[name]["parameters"])
    assert hashlib.sha256("\n".join(lines).encode()).hexdigest() == KEYS[name]["sha256"]


class TestResNet(EncoderTests):
    name = "resnet18"


class TestSEResNeXt(EncoderTests):
    name = "se_resnext50_32x4d"


class TestEfficientNet(EncoderTests):
    name = "efficientnet-b0"


def test_nominal_paddings_of_strided_blocks():
    # as the reference was read: (left, right) of the four depthwise convolutions with stride 2
    expected = {
        "b0": [(0, 1), (1, 2), (0, 1), (1, 2)],
        "b1": [(0, 1), (1, 2), (0, 1), (2, 2)],
        "b2": [(0, 1), (2, 2), (1, 1), (2, 2)],
        "b3": [(0, 1), (2, 2), (0, 1), (2, 2)],
        "b4": [(0, 1), (2, 2), (0, 1), (1, 2)],
        "b5": [(0, 1), (1, 2), (1, 1), (2, 2)],
        "b6": [(0, 1), (1, 2), (0, 1), (2, 2)],
        "b7": [(0, 1), (1, 2), (1, 1), (1, 2)],
    }
    for name, wanted in expected.items():
        for padding, pads in (("nominal", wanted), ("same", [(0, 1), (1, 2), (0, 1), (1, 2)])):
            with paddle.LazyGuard():
                encoder = EfficientNetEncoder(name=f"efficientnet-{name}", padding=padding)
            strided = [b._depthwise_conv for b in encoder._blocks if list(b._depthwise_conv._stride) == [2, 2]]
            assert [tuple(layer._updated_padding[:2]) for layer in strided] == pads, (name, padding)
            assert list(encoder._conv_stem._updated_padding) == [0, 1, 0, 1]


def test_padding_of_a_size_is_the_references(stored):
    for key, padding in stored.items():
        if key.endswith("padding_ltrb"):
            size, kernel = (int(part.strip("k")) for part in key.split("/")[1].split("_")[2:])
            before, after = _padding(size, kernel, 2)
            assert [before, before, after, after] == padding.tolist(), key


def test_drop_connect_leaves_out_blocks_at_its_rate():
    encoder = EfficientNetEncoder("efficientnet-b0", drop_connect=0.5)
    last = next(block for block in reversed(list(encoder._blocks)) if block.has_shortcut)
    paddle.seed(0)
    kept = last.drop(4000).numpy()
    keep = 1 - 0.5 * 14 / 16
    assert set(np.unique(kept)) == {0, np.float32(1 / keep)}
    assert kept.mean() == pytest.approx(1, abs=0.05)
    assert all(block.drop is None for block in EfficientNetEncoder(drop_connect=0)._blocks)


def test_cbam_is_its_formula():
    layer = CBAM(32)
    layer.eval()
    rng = np.random.default_rng(0)
    for value in layer.state_dict().values():
        value.set_value((rng.normal(size=value.shape) * 0.5).astype(np.float32) ** 2)
    x = rng.normal(size=(2, 32, 9, 8)).astype(np.float32)

    def sigmoid(v):
        return 1 / (1 + np.exp(-v))

    state = {key: value.numpy() for key, value in layer.state_dict().items()}
    mlp = [state[f"ChannelGate.mlp.{i}.{kind}"] for i in (1, 3) for kind in ("weight", "bias")]
    gate = sum(np.maximum(pool @ mlp[0] + mlp[1], 0) @ mlp[2] + mlp[3] for pool in (x.mean((2, 3)), x.max((2, 3))))
    y = x * sigmoid(gate)[:, :, None, None]
    summary = np.pad(np.stack([y.max(1), y.mean(1)], 1), ((0, 0), (0, 0), (3, 3), (3, 3)))
    windows = np.lib.stride_tricks.sliding_window_view(summary, (7, 7), axis=(2, 3))
    space = np.einsum("bchwij,cij->bhw", windows, state["SpatialGate.spatial.conv.weight"][0])
    shift, scale = state["SpatialGate.spatial.bn._mean"], state["SpatialGate.spatial.bn._variance"]
    space = (space - shift) / np.sqrt(scale + 1e-5) * state["SpatialGate.spatial.bn.weight"]
    space = sigmoid(space + state["SpatialGate.spatial.bn.bias"])
    np.testing.assert_allclose(layer(paddle.to_tensor(x)).numpy(), y * space[:, None], rtol=2e-5, atol=2e-6)


def test_a_resnet_with_cbam_has_it_before_each_addition_and_trains_it():
    encoder = ResNetEncoder("resnet18", attention="cbam")
    plain = set(ResNetEncoder("resnet18").state_dict())
    added = {key.split(".cbam.")[0] for key in encoder.state_dict() if key not in plain}
    assert added == {f"layer{stage}.{block}" for stage in (1, 2, 3, 4) for block in (0, 1)}
    maps(encoder, batch=2)[-1].mean().backward()
    assert [k for k, p in encoder.named_parameters() if not p.stop_gradient and p.grad is None] == []


@pytest.mark.parametrize("shape", [(1, 3, 4, 5), (2, 3, 4, 5)])
def test_gates_and_their_gradients(shape):
    rng = np.random.default_rng(0)
    for scale, count in ((scale_channels, shape[0] * shape[1]), (scale_images, shape[0])):
        x, g, factors = rng.normal(size=shape), rng.normal(size=shape), rng.normal(size=count)
        tensors = [paddle.to_tensor(v.astype(np.float32), stop_gradient=False) for v in (x, factors)]
        given = tensors[1].reshape(list(shape[:2])) if scale is scale_channels else tensors[1]
        out = scale(tensors[0], given)
        (out * paddle.to_tensor(g.astype(np.float32))).sum().backward()
        full = factors.reshape([*shape[:2], 1, 1] if scale is scale_channels else [-1, 1, 1, 1])
        np.testing.assert_allclose(out.numpy(), x * full, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(tensors[0].grad.numpy(), g * full, rtol=1e-5, atol=1e-6)
        axes = (2, 3) if scale is scale_channels else (1, 2, 3)
        np.testing.assert_allclose(tensors[1].grad.numpy(), (x * g).sum(axes).ravel(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: build_encoder("resnet5"), "there is no 'resnet5'. Did you mean"),
        (lambda: ResNetEncoder(name="se_resnet50"), "se_resnet50 is one of SENetEncoder"),
        (lambda: SENetEncoder(name="se_resnet5"), "Did you mean 'se_resnet50'"),
        (lambda: ResNetEncoder(name="resnet18", output_stride=4), "output_stride: 4 is not one of 8, 16, 32"),
        (lambda: ResNetEncoder(name="resnet18", depth=6), "depth: 6 is no whole number from 1 to 5"),
        (lambda: ResNetEncoder(name="resnet18", depth=3, return_idx=[1, 2, 3]), "return_idx .with depth 3.: 3 is no whole"),
        (lambda: ResNetEncoder(name="resnet18", attention="cbma"), "attention: 'cbma' is not one of cbam"),
        (lambda: EfficientNetEncoder(padding="old"), "padding: 'old' is not one of nominal, same"),
        (lambda: EfficientNetEncoder(drop_connect=1.0), "drop_connect: 1.0 is no number from 0 to 0.99"),
        (lambda: maps(_one_channel()), "images of 3 channels, but in_channels is 1"),
    ],
)
def test_settings_that_cannot_be(build, message):
    with paddle.LazyGuard(), pytest.raises(UserError, match=message):
        build()


def _one_channel():
    encoder = ResNetEncoder(name="resnet18", in_channels=1)
    forward = encoder.forward
    encoder.forward = lambda inputs: forward({"image": paddle.zeros([1, 3, 32, 32])})
    return encoder


def test_the_statistics_of_one_part_more_are_gathered_as_smp_gathers_them():
    encoder = EfficientNetEncoder("efficientnet-b0", depth=3)
    means = {name: value.numpy() for name, value in encoder.state_dict().items() if name.endswith("_mean")}
    encoder.train()
    picture = paddle.to_tensor(image("b"))
    encoder({"image": picture})[-1].sum().backward()
    moved = {name for name, value in encoder.state_dict().items() if name in means and (value.numpy() != means[name]).any()}
    blocks = {int(name.split(".")[1]) for name in moved if name.startswith("_blocks.")}
    assert blocks == set(range(9)), "f3 is block 4's, f4 block 8's"
    assert all(p.grad is None for p in encoder._blocks[5].parameters())
