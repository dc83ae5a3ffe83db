"""HTC, its ablations, its backbones and its baselines pass the tests of every architecture."""

import logging

import paddle
import pytest
from architecture_base import ArchitectureTests
from reference_model import cascade_mask_rcnn, mask_rcnn, random_batch, small_model


def stage_losses(stages: int) -> list[str]:
    return [f"loss_{kind}_stage{stage}" for stage in range(stages) for kind in ("bbox_cls", "bbox_reg", "mask")]


class TestHTC(ArchitectureTests):
    def build(self):
        return small_model()

    def test_loss_names(self, model):
        model.train()
        assert set(model(random_batch(2))) == {"loss", "loss_rpn_cls", "loss_rpn_reg", "loss_semantic", *stage_losses(3)}

    def test_a_branch_without_a_target_is_told_of_once(self, caplog, monkeypatch):
        monkeypatch.setattr(logging.getLogger("ppdet_ext"), "propagate", True)
        model, batch = self.build(), random_batch(2)
        model.train()
        model(batch)
        assert "semantic" not in caplog.text
        del batch["semantic"]
        for _ in range(2):
            assert float(model(batch)["loss_semantic"]) == 0
        assert caplog.text.count("The semantic branch has nothing to learn from") == 1


class TestWithoutSemanticBranch(ArchitectureTests):
    def build(self):
        return small_model(semantic=False)


class TestBoxesOnly(ArchitectureTests):
    def build(self):
        return small_model(with_mask=False)

    def test_needs_no_masks(self, model):
        model.train()
        batch = random_batch(2)
        del batch["gt_mask"]
        assert "loss_mask_stage0" not in model(batch)


class TestTwoStagesNarrowAndNotInterleaved(ArchitectureTests):
    def build(self):
        return small_model(
            depth=18,
            channels=16,
            stage_ious=(0.5, 0.6),
            stage_box_stds=((0.1, 0.1, 0.2, 0.2), (0.05, 0.05, 0.1, 0.1)),
            stage_loss_weights=(1.0, 0.5),
            interleaved=False,
            mask_info_flow=False,
            num_mask_convs=2,
            mask_channels=8,
            num_fcs=1,
        )


class TestResNeXtWithDCNv1(ArchitectureTests):
    def build(self):
        return small_model(channels=16, backbone={"groups": 4, "base_width": 4, "dcn_v1_stages": (1, 2, 3)})


class TestDCNv2(ArchitectureTests):
    def build(self):
        return small_model(channels=16, backbone={"dcn_v2_stages": (2, 3)})


class TestResNet101(ArchitectureTests):
    def build(self):
        return small_model(depth=101, channels=16, backbone={"norm_eval": False})


class TestCascadeMaskRCNN(ArchitectureTests):
    def build(self):
        return cascade_mask_rcnn()

    def test_loss_names(self, model):
        model.train()
        assert set(model(random_batch(2))) == {"loss", "loss_rpn_cls", "loss_rpn_reg", *stage_losses(3)}


class TestMaskRCNN(ArchitectureTests):
    def build(self):
        return mask_rcnn()

    def test_loss_names(self, model):
        model.train()
        assert set(model(random_batch(2))) == {"loss", "loss_rpn_cls", "loss_rpn_reg", *stage_losses(1)}


def test_stage_settings_must_agree_in_length():
    with pytest.raises(ValueError, match="one entry a stage"):
        small_model(stage_ious=(0.5,))


def test_semantic_feature_must_fit_the_pyramid():
    from ppdet_ext.modeling.detection import FusedSemanticHead, HTCRoIHead

    with pytest.raises(ValueError, match="32 channels, the pyramid 16"):
        HTCRoIHead(16, semantic_head=FusedSemanticHead(16, 4, channels=32))


def test_freezing_and_norm_eval():
    model = small_model()
    model.train()
    before = {k: v.numpy().copy() for k, v in model.backbone.state_dict().items()}
    optimizer = paddle.optimizer.SGD(0.01, parameters=[p for p in model.parameters() if not p.stop_gradient])
    model(random_batch(3))["loss"].backward()
    optimizer.step()
    moved = {k for k, v in model.backbone.state_dict().items() if (v.numpy() != before[k]).any()}
    assert not any(k.startswith(("conv1", "res2")) or k.endswith(("_mean", "_variance")) for k in moved)
    assert any(k.startswith("res3") and k.endswith("norm.weight") for k in moved)
