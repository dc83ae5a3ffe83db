"""The learning rate follows the number of images of a step."""

import pytest
from ppdet.core.workspace import create, global_config

from ppdet_ext.config.load import load_config
from ppdet_ext.host.learning_rate import scale_learning_rate


@pytest.mark.parametrize(("config", "images", "rate"), [
    ("configs/htc/steel.yml", 2, 0.0025),
    ("configs/htc/steel.yml", 8, 0.01),
    ("configs/htc/htc_r50_fpn_1x_coco.yml", 16, 0.02),
    ("configs/htc/htc_x101_64x4d_fpn_20e_coco.yml", 8, 0.01),
    ("configs/htc/steel_sample.yml", 4, 0.02),
])  # fmt: skip
def test_shipped_configs_have_the_references_rate_for_any_batch(config: str, images: int, rate: float) -> None:
    cfg = load_config(config)
    assert scale_learning_rate(0.02, cfg.base_batch_size, images) == pytest.approx(rate, rel=1e-12)
    schedule = create("LearningRate")(1000)
    for _ in range(600):  # beyond the warm-up
        schedule.step()
    assert schedule() == pytest.approx(rate, rel=1e-6)


def test_without_the_key_the_rate_is_as_configured() -> None:
    load_config("configs/htc/steel.yml", ["base_batch_size=null", "LearningRate.base_lr=0.3"])
    assert scale_learning_rate(0.3, None, 7) == 0.3
    assert global_config["LearningRate"]["base_lr"] == 0.3


def test_the_configured_rate_is_what_a_checkpoint_compares() -> None:
    cfg = load_config("configs/htc/steel.yml")
    for _ in range(2):
        assert scale_learning_rate(0.02, cfg.base_batch_size, 4) == 0.005
    assert cfg.resolved["LearningRate"]["base_lr"] == 0.02
