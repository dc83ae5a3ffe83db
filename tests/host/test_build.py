"""The learning rate follows the number of images of a step; any number of configurations live side by side."""

import logging
from itertools import permutations

import paddle
import pytest
from ppdet.core.workspace import global_config

from ppdet_ext.config.load import load_config
from ppdet_ext.host import Config, workspace
from ppdet_ext.host.build import build_model, build_optimizer, scaled_rate

SMALL = "configs/htc/steel_sample.yml"


@pytest.mark.parametrize(("config", "images", "rate"), [
    ("configs/htc/steel.yml", 2, 0.0025),
    ("configs/htc/steel.yml", 8, 0.01),
    ("configs/htc/htc_r50_fpn_1x_coco.yml", 16, 0.02),
    ("configs/htc/htc_x101_64x4d_fpn_20e_coco.yml", 8, 0.01),
    ("configs/htc/steel_sample.yml", 4, 0.02),
])  # fmt: skip
def test_shipped_configs_have_the_references_rate_for_any_batch(config: str, images: int, rate: float) -> None:
    cfg = load_config(config)
    assert scaled_rate(0.02, cfg.base_batch_size, images) == pytest.approx(rate, rel=1e-12)
    schedule, _ = build_optimizer(cfg, paddle.nn.Linear(1, 1), 1000, scaled_rate(0.02, cfg.base_batch_size, images))
    for _ in range(600):  # beyond the warm-up
        schedule.step()
    assert schedule() == pytest.approx(rate, rel=1e-6)
    assert cfg.resolved["LearningRate"]["base_lr"] == 0.02, "the configured rate is what a checkpoint compares"


def test_without_the_key_the_rate_is_as_configured() -> None:
    cfg = load_config("configs/htc/steel.yml", ["base_batch_size=null", "LearningRate.base_lr=0.3"])
    assert scaled_rate(0.3, cfg.base_batch_size, 7) == 0.3
    schedule, _ = build_optimizer(cfg, paddle.nn.Linear(1, 1), 1000)
    assert schedule.values[-2] == pytest.approx(0.03)


def test_a_rate_for_one_image_is_told_of_one(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    caplog.set_level(logging.INFO, "ppdet_ext")
    monkeypatch.setattr(logging.getLogger("ppdet_ext"), "propagate", True)
    scaled_rate(0.02, 16, 1)
    assert "Learning rate 0.00125 for 1 image a step (base_lr 0.02 is for 16)" in caplog.text


def two() -> list[Config]:
    """An HTC of three classes and one of five, of other widths and depths."""
    return [
        load_config(
            SMALL,
            ["num_classes=3", "FPN.out_channel=16", "FusedSemanticHead.channels=16", "HTCRoIHead.fc_channels=24", *NO_DATA],
        ),
        load_config(
            SMALL, ["num_classes=5", "FPN.out_channel=32", "FusedSemanticHead.channels=32", "HTCResNet.depth=34", *NO_DATA]
        ),
    ]


def width(channels: int) -> list[str]:
    return [f"FPN.out_channel={channels}", f"FusedSemanticHead.channels={channels}"]


NO_DATA = ["TrainDataset=null", "EvalDataset=null", "TestDataset=null"]


def shapes(cfg: Config) -> dict[str, list[int]]:
    return {name: list(tensor.shape) for name, tensor in build_model(cfg).state_dict().items()}


def test_two_configurations_live_side_by_side() -> None:
    """Each builds what it would have built alone, in any order, with its own classes, which ppdet shares by a global."""
    alone = [shapes(cfg) for cfg in two()]
    assert alone[0] != alone[1]
    assert [one["roi_head.box_heads.0.classify.weight"][1] for one in alone] == [4, 6]
    for order in permutations(range(2)):
        together = two()
        for which in (*order, *order):
            assert shapes(together[which]) == alone[which]


def test_the_workspace_is_put_back_even_after_a_failure() -> None:
    before = {key: dict(value) if isinstance(value, dict) else value for key, value in global_config.items()}
    cfg = load_config(SMALL)

    def fail() -> None:
        with workspace(cfg):
            assert global_config["num_classes"] == 4
            assert global_config["HTCResNet"]["depth"] == 18
            global_config["HTCResNet"]["depth"] = 101
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert {key: dict(value) if isinstance(value, dict) else value for key, value in global_config.items()} == before
    assert cfg["HTCResNet"]["depth"] == 18


def test_a_value_gives_another_instead_of_changing() -> None:
    cfg = load_config(SMALL)
    other = cfg.replaced(HTCRoIHead={"nms_iou": 0.9}, epoch=3)
    assert (other["HTCRoIHead"]["nms_iou"], other.resolved["HTCRoIHead"]["nms_iou"], other.epoch) == (0.9, 0.9, 3)
    assert (cfg["HTCRoIHead"]["nms_iou"], cfg.epoch) == (0.5, 20)
    assert other["HTCRoIHead"]["fc_channels"] == cfg["HTCRoIHead"]["fc_channels"] == 256
    with pytest.raises(TypeError):
        cfg["epoch"] = 3
    with pytest.raises(AttributeError):
        cfg.epoch = 3
    with pytest.raises(AttributeError, match="has no key 'epochs'"):
        _ = cfg.epochs
    data = object()
    assert cfg.replaced(TrainDataset=data).TrainDataset is data
    assert cfg.replaced(TrainDataset=data).resolved == cfg.resolved
