"""Whole networks against segmentation_models_pytorch's (SMP): tensors, inference, a training step, and a few more."""

import hashlib
import json
from functools import cache
from pathlib import Path

import paddle
import pytest
import smp_checks
from smp_checks import KEPT, Check, Fixture
from smp_models import NETWORKS, batch_of_random, build
from smp_recipe import FIXTURES, smp_name

KEYS = json.loads((FIXTURES / "network_keys.json").read_text())
TRAINED = [name for name in KEPT if not name.startswith(("unet_bilinear", "unet_depth4", "unet_gray", "deeplabv3plus_os8"))]
# Whose gradients float32 leaves uncertain: a transposed convolution before a norm, gates, few pixels under the norms.
EXACT = ("linknet-resnet18", "unet_scse-resnet18", "deeplabv3plus-resnet18", "unet-efficientnet-b0")
# Networks whose numbers are not known here, but whose tensors are; each has a decoder, or an encoder, of those that are known.
OTHERS = (
    *("deeplabv3plus-se_resnext50_32x4d", "unetplusplus-efficientnet-b0", "linknet-resnext50_32x4d", "pspnet-efficientnet-b0"),
    *("unet_scse-se_resnext50_32x4d", "fpn-senet154", "unet-efficientnet-b4"),
)


@cache
def kept() -> dict[str, Fixture]:
    return smp_checks.stored_networks()


def expect(checks: list[Check]) -> None:
    """All are within tolerance, and there are some."""
    assert checks
    assert [one for one in checks if not one.ok] == []


@pytest.mark.parametrize("name", KEYS)
def test_tensors_are_smps(name):
    with paddle.LazyGuard():
        model = build(name)
    state = model.state_dict()
    # Paddle keeps the matrices of linear layers transposed.
    shapes = {smp_name(key): value.shape[::-1] if len(value.shape) == 2 else value.shape for key, value in state.items()}
    lines = sorted(f"{key} {'x'.join(map(str, shape))}" for key, shape in shapes.items())
    assert len(lines) == KEYS[name]["tensors"]
    assert hashlib.sha256("\n".join(lines).encode()).hexdigest() == KEYS[name]["sha256"]


@pytest.mark.parametrize("name", KEPT)
def test_inference(name):
    expect(smp_checks.inference(name, kept()[name]))


@pytest.mark.parametrize("name", TRAINED)
def test_training_step(name):
    expect(smp_checks.training(name, kept()[name]))


@pytest.mark.slow
@pytest.mark.parametrize("name", EXACT)
def test_gradients_are_equal_where_rounding_is_out_of_the_way(name):
    expect(smp_checks.exact_gradients(name, kept()[name]))


@pytest.mark.slow
def test_five_steps_of_sgd_and_of_adam():
    expect(smp_checks.steps(kept()["unet-resnet18"]))


@pytest.mark.slow
@pytest.mark.parametrize("name", OTHERS)
def test_networks_whose_numbers_are_not_here_run(name):
    model = build(name)
    model.train()
    model(batch_of_random(2))["loss"].backward()
    without = [key for key, p in model.named_parameters() if not p.stop_gradient and p.grad is None]
    assert without == []


def test_every_kind_of_network_is_kept():
    assert {name.split("-")[0] for name in KEPT} >= NETWORKS.keys() - {"pspnet_depth5"}


@pytest.mark.slow
def test_whole_fixtures(shared: Path):
    """All networks, all values: some minutes; only where the fixtures lie beside the checkout."""
    folder = shared / "reference" / "smp" / "fixtures"
    if not folder.is_dir():
        pytest.skip("the whole fixtures are not beside the checkout")
    for name, fixture in smp_checks.whole_networks(folder).items():
        expect(smp_checks.inference(name, fixture))
        if "train/loss" in fixture:
            expect(smp_checks.training(name, fixture))
