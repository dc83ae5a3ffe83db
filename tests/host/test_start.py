"""What a training demands before its first step: weights under what is frozen, and a schedule that fits."""

import logging
import re
import shlex

import paddle
import pytest

from ppdet_ext.config.load import load_config
from ppdet_ext.errors import UserError
from ppdet_ext.host.build import build_optimizer
from ppdet_ext.host.start import FREEZING, demand_weights

R50, SAMPLE = "configs/htc/htc_r50_fpn_1x_coco.yml", "configs/htc/steel_sample.yml"
UNET = "configs/unet/unet_resnet18_steel_sample.yml"


@pytest.mark.parametrize(("config", "options", "said"), [
    (R50, ["pretrain_weights=null"],
     "HTCResNet keeps layers or batch norm as they are (freeze_at: 0, norm_eval: true)"),
    (SAMPLE, ["HTCResNet.norm_eval=true"], "-o HTCResNet.norm_eval=false"),
    (SAMPLE, ["HTCResNet.freeze_at=2"], "-o HTCResNet.freeze_at=-1"),
    (SAMPLE, ["HybridTaskCascade.backbone=ResNet"], "-o ResNet.freeze_at=-1 ResNet.freeze_norm=false"),
    (SAMPLE, ["HybridTaskCascade.backbone={name: ResNet, depth: 18}"],
     "-o HybridTaskCascade.backbone.freeze_at=-1 HybridTaskCascade.backbone.freeze_norm=false"),
    (SAMPLE, ["HybridTaskCascade.backbone=SwinTransformer", "SwinTransformer.frozen_stages=1"],
     "-o SwinTransformer.frozen_stages=-1"),
    (UNET, ["ResNetEncoder.norm_eval=true"], "-o ResNetEncoder.norm_eval=false"),
    (UNET, ["ResNetEncoder.freeze=true"], "ResNetEncoder keeps layers or batch norm as they are (freeze: true)"),
])  # fmt: skip
def test_frozen_without_weights_is_refused_with_a_cure_that_works(config: str, options: list[str], said: str) -> None:
    with pytest.raises(UserError) as caught:
        demand_weights(load_config(config, options))
    assert said in str(caught.value)
    assert "-o pretrain_weights=PATH" in str(caught.value)
    cure = shlex.split(str(caught.value).rpartition("-o ")[2])
    demand_weights(load_config(config, [*options, *cure]))
    demand_weights(load_config(config, [*options, "pretrain_weights=some/where"]))


@pytest.mark.parametrize("config", [SAMPLE, UNET, "configs/htc/steel.yml", "configs/htc/htc_r18_small_coco_mini.yml"])
def test_what_trains_from_scratch_is_let_through(config: str) -> None:
    demand_weights(load_config(config))


def test_the_keys_are_those_of_ppdets_backbones_and_ours() -> None:
    cfg = load_config(SAMPLE)
    assert {"freeze_at", "norm_eval"} <= set(cfg["HTCResNet"].schema)
    assert {"freeze_at", "freeze_norm"} <= set(cfg["ResNet"].schema)
    assert "frozen_stages" in cfg["SwinTransformer"].schema
    assert {"freeze", "norm_eval"} <= set(load_config(UNET)["ResNetEncoder"].schema)
    assert set(FREEZING) == {"freeze_at", "norm_eval", "freeze_norm", "frozen_stages", "freeze"}


@pytest.mark.parametrize(("steps", "warm_up"), [(2, "LinearWarmup {steps: 60"), (1, "LinearWarmup {steps: 500"),
                                                (3, "LinearWarmup {steps: 5, epochs: 20")])  # fmt: skip
def test_the_named_warm_up_fits(steps: int, warm_up: str) -> None:
    schedule = f"LearningRate.schedulers=[!PiecewiseDecay {{milestones: [14, 18]}}, !{warm_up}, start_factor: 0.1}}]"
    with pytest.raises(UserError, match="does not end before the first milestone") as caught:
        build_optimizer(load_config(SAMPLE, [schedule]), paddle.nn.Linear(1, 1), steps)
    cure = shlex.split(str(caught.value).rpartition("-o ")[2])
    assert re.fullmatch(r"LearningRate\.schedulers\.1\.steps=\d+", cure[0])
    assert build_optimizer(load_config(SAMPLE, [schedule, *cure]), paddle.nn.Linear(1, 1), steps)


def test_milestones_that_do_not_ascend_are_named() -> None:
    cfg = load_config(SAMPLE, ["LearningRate.schedulers.0.milestones=[18, 14]"])
    with pytest.raises(UserError, match=r"LearningRate\.schedulers\.0\.milestones are not ascending: \[18, 14\]\."):
        build_optimizer(cfg, paddle.nn.Linear(1, 1), 36)


def test_milestones_beyond_the_last_epoch_are_warned_of(caplog, monkeypatch) -> None:
    monkeypatch.setattr(logging.getLogger("ppdet_ext"), "propagate", True)
    build_optimizer(load_config(SAMPLE), paddle.nn.Linear(1, 1), 36)
    assert caplog.messages == []
    build_optimizer(load_config(SAMPLE, ["epoch=16"]), paddle.nn.Linear(1, 1), 36)
    build_optimizer(load_config(SAMPLE, ["epoch=12"]), paddle.nn.Linear(1, 1), 36)
    build_optimizer(load_config(SAMPLE, ["epoch=1"]), paddle.nn.Linear(1, 1), 36)
    assert "14, 18 are not reached in 1 epoch, so" in caplog.messages[2]
    assert "18 is not reached in 16 epochs" in caplog.messages[0]
    assert "14, 18 are not reached in 12 epochs" in caplog.messages[1]
    assert caplog.messages[1].endswith("-o LearningRate.schedulers.0.milestones=[8,11]")
