"""Backbones of ppdet and of segmentation nets under HTC: two steps of each, narrower, and weights of a classifier."""

import logging

import numpy as np
import paddle
import pytest

from ppdet_ext.config.load import load_config
from ppdet_ext.host.build import build_model
from ppdet_ext.weights.load import load_pretrained
from tests.support.host_runs import ROOT, batch_of

pytestmark = pytest.mark.slow
NARROW = {
    "htc_swin_t_small_heads_steel_sample": {
        "SwinTransformer.embed_dim": 12,
        "SwinTransformer.depths": [1, 1, 1, 1],
        "SwinTransformer.num_heads": [1, 2, 3, 6],
    },
    "htc_r50vd_small_heads_steel_sample": {"ResNet.depth": 18},
    "htc_efficientnet_b0_small_heads_steel_sample": {"EfficientNetEncoder.drop_connect": 0.1},
    "htc_se_resnext50_steel": {"SENetEncoder.name": "se_resnet50", "FPN.out_channel": 64, "FusedSemanticHead.channels": 64},
}


@pytest.fixture(params=NARROW)
def model(request) -> paddle.nn.Layer:
    overrides = [f"{key}={value}" for key, value in NARROW[request.param].items()]
    cfg = load_config(ROOT / "configs" / "htc" / f"{request.param}.yml", overrides)
    paddle.seed(0)
    return build_model(cfg)


def test_two_steps_train_all_of_the_backbone(model) -> None:
    optimizer = paddle.optimizer.AdamW(1e-3, parameters=model.parameters())
    batch = batch_of([2, 3]) | {"semantic": paddle.zeros([2, 64, 192], "uint8")}
    losses = []
    for _ in range(2):
        values = model(batch)
        values["loss"].backward()
        without = [name for name, p in model.backbone.named_parameters() if p.grad is None and not p.stop_gradient]
        assert not without or all("norm" in name for name in without)
        optimizer.step()
        optimizer.clear_grad()
        losses.append(float(values["loss"]))
    assert np.isfinite(losses).all()
    assert losses[1] < losses[0] < 200


def test_a_classifiers_file_of_ppdet_fits_by_the_ends_of_its_names(model, tmp_path, caplog, monkeypatch) -> None:
    monkeypatch.setattr(logging.getLogger("ppdet_ext"), "propagate", True)
    state = {name: tensor + 1 for name, tensor in model.backbone.state_dict().items()}
    paddle.save({**state, "fc.weight": paddle.zeros([3, 3])}, str(tmp_path / "classifier.pdparams"))
    counts = load_pretrained(model, tmp_path / "classifier.pdparams")
    assert (counts["loaded"], counts["not_in_model"]) == (len(state), 1)
    for name, tensor in model.backbone.state_dict().items():
        np.testing.assert_array_equal(tensor.numpy(), state[name].numpy())
