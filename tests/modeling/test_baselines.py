"""What sets Cascade Mask R-CNN and Mask R-CNN apart from HTC."""

import numpy as np
import paddle
import pytest
from reference_model import cascade_mask_rcnn, mask_rcnn, random_batch, small_model

from ppdet_ext.config.load import load_config
from ppdet_ext.host.build import build_model
from ppdet_ext.modeling.detection import HTCRPNHead, HybridTaskCascade
from ppdet_ext.modeling.detection.assignment import RoISample
from ppdet_ext.modeling.detection.box_head import BoxHead
from ppdet_ext.modeling.detection.ground_truth import GroundTruth
from ppdet_ext.modeling.ops.boxes import decode, encode, multiclass_nms, nms
from ppdet_ext.modeling.ops.loss_functions import smooth_l1

STDS = (0.1, 0.1, 0.2, 0.2)


def boxes_of(rng: np.random.Generator, n: int) -> np.ndarray:
    corner = rng.uniform(0, 60, (n, 2))
    return np.concatenate([corner, corner + rng.uniform(8, 30, (n, 2))], 1).astype(np.float32)


def settings_of(model: HybridTaskCascade) -> dict:
    """What a detector's rules are, widths apart."""
    rpn, roi = model.rpn_head, model.roi_head
    names = ("interleaved", "mask_info_flow", "mask_ensemble", "loss_weights", "score_threshold", "nms_iou", "max_detections")
    return {
        **{name: getattr(roi, name) for name in names},
        "semantic": roi.semantic_head,
        "assigners": [sampler.assigner for sampler in roi.samplers],
        "boxes": [(head.class_agnostic, head.stds.tolist(), head.beta) for head in roi.box_heads],
        "masks": [head.merge is None for head in roi.mask_heads],
        "rpn": (rpn.inside_only, rpn.smooth_l1_beta, rpn.limits, rpn.assigner),
    }


@pytest.mark.parametrize(("narrow", "name"), [(cascade_mask_rcnn, "cascade_mask_rcnn"), (mask_rcnn, "mask_rcnn")])
def test_shipped_configuration_has_the_settings_tested_here(root, narrow, name):
    with paddle.LazyGuard():
        shipped = build_model(load_config(root / "configs" / name / f"{name}_r50_fpn_1x_coco.yml"))
    assert settings_of(shipped) == settings_of(narrow())


def test_class_specific_loss_sees_the_deltas_of_each_boxs_own_class():
    rng = np.random.default_rng(0)
    head = BoxHead(8, 3, 16, 1, class_agnostic=False, stds=STDS, beta=0.0)
    assert head.regress.weight.shape[1] == 12
    objects, boxes = boxes_of(rng, 2), boxes_of(rng, 5)
    truth = [GroundTruth(objects, np.array([2, 0]), None, 100, 100), GroundTruth(objects[:1], np.array([1]), None, 100, 100)]
    samples = [
        RoISample(boxes[:3], np.array([1, 0]), np.zeros(2, bool)),
        RoISample(boxes[3:], np.array([0]), np.zeros(1, bool)),
    ]
    cls, reg = (rng.standard_normal(s).astype(np.float32) for s in ((5, 4), (5, 12)))
    loss_cls, loss_reg = head.losses(paddle.to_tensor(cls), paddle.to_tensor(reg), samples, truth)
    own = np.stack([reg[0, 0:4], reg[1, 8:12], reg[3, 4:8]])
    goal = np.concatenate([encode(boxes[:2], objects[[1, 0]], STDS), encode(boxes[3:4], objects[:1], STDS)])
    assert float(loss_reg) == pytest.approx(np.abs(own - goal).sum() / 5, rel=1e-5)
    log_p = cls - np.log(np.exp(cls).sum(1, keepdims=True))
    assert float(loss_cls) == pytest.approx(-log_p[np.arange(5), [0, 2, 3, 1, 3]].mean(), rel=1e-5)


def test_class_specific_boxes_are_decoded_class_by_class():
    rng = np.random.default_rng(1)
    head = BoxHead(8, 3, 16, 1, class_agnostic=False, stds=STDS)
    boxes, deltas = boxes_of(rng, 4), rng.standard_normal((4, 12)).astype(np.float32)
    out = head.decode(boxes, deltas, 80, 90)
    for k in range(3):
        np.testing.assert_array_equal(out[:, k], decode(boxes, deltas[:, 4 * k : 4 * k + 4], STDS, 80, 90))


def test_nms_of_class_specific_boxes():
    rng = np.random.default_rng(2)
    boxes, scores = boxes_of(rng, 90).reshape(30, 3, 4), rng.random((30, 3)).astype(np.float32)
    index, labels, best = multiclass_nms(boxes, scores, 0.3, 0.5, 1000)
    for k in range(3):
        rows = np.flatnonzero(scores[:, k] > 0.3)
        want = rows[nms(boxes[rows, k], scores[rows, k], 0.5)]
        assert np.array_equal(index[labels == k], want)
        assert np.array_equal(best[labels == k], scores[want, k])


def test_detections_of_mask_rcnn_are_boxes_of_their_own_class():
    paddle.seed(0)
    model = mask_rcnn()
    model.eval()
    head = model.roi_head.box_heads[0]
    # Class 2 wins everywhere, and moves its boxes half a width to the right.
    head.classify.weight.set_value(paddle.zeros_like(head.classify.weight))
    head.classify.bias.set_value(np.array([0, 0, 9, 0, 0], np.float32))
    head.regress.weight.set_value(paddle.zeros_like(head.regress.weight))
    head.regress.bias.set_value(np.repeat(np.eye(4, dtype=np.float32)[2] * 5, 4) * np.tile([1, 0, 0, 0], 4).astype(np.float32))
    batch, proposal = random_batch(0), np.array([[20, 30, 40, 60]], np.float32)
    with paddle.no_grad():
        features, _ = model.roi_head.features(model.neck(model.backbone(batch)))
        ((boxes, _, labels, masks),) = model.roi_head.detect(features, [proposal], batch["im_shape"], model.settings)
    assert labels.tolist() == [2]
    np.testing.assert_allclose(boxes, [[30, 30, 50, 60]], atol=1e-4)
    assert masks.shape == (1, 28, 28)


def test_l1_loss():
    a, b = paddle.to_tensor([0.0, 1.0, -2.0]), paddle.to_tensor([0.5, 1.0, 1.0])
    assert float(smooth_l1(a, b, 0.0)) == pytest.approx(3.5)
    assert float(smooth_l1(a, b, 1e-6)) == pytest.approx(3.5, abs=1e-4)


@pytest.mark.parametrize("model", [cascade_mask_rcnn, mask_rcnn])
def test_masks_learn_from_the_box_heads_own_samples(model, monkeypatch):
    model = model()
    model.train()
    drawn, used = [], []
    head = model.roi_head
    sample, mask_loss = head._sample, head.mask_loss_of
    monkeypatch.setattr(head, "_sample", lambda *a: drawn.append(sample(*a)) or drawn[-1])
    monkeypatch.setattr(head, "mask_loss_of", lambda stage, f, s, t: used.append(s) or mask_loss(stage, f, s, t))
    model(random_batch(3))
    assert len(drawn) == len(head.box_heads)
    assert all(a is b for a, b in zip(used, drawn))


def test_mask_heads_of_cascade_mask_rcnn_are_apart():
    model = cascade_mask_rcnn()
    assert all(head.merge is None for head in model.roi_head.mask_heads)
    model.train()
    losses = model(random_batch(3))
    losses["loss_mask_stage2"].backward()
    learning = {k.split(".")[1] for k, p in model.roi_head.mask_heads.named_parameters(prefix="x") if p.grad is not None}
    assert learning == {"2"}


def test_low_quality_matches_are_off_in_cascade_mask_rcnn_alone():
    assert [s.assigner.low_quality for s in cascade_mask_rcnn().roi_head.samplers] == [False] * 3
    assert [s.assigner.low_quality for s in mask_rcnn().roi_head.samplers] == [True]


def test_anchors_over_the_edge_learn_where_wanted():
    sizes, objects = [(16, 24), (8, 12), (4, 6), (2, 3), (1, 2)], np.zeros((0, 4), np.float32)
    settings = {"num_samples": 10**6, "channels": 8}
    inside = HTCRPNHead(**settings).targets(sizes, objects, 40, 70, None)[1]
    every = HTCRPNHead(**settings, inside_only=False).targets(sizes, objects, 40, 70, None)[1]
    # 40 × 70 px are padded to 64 × 96: all cells of the pyramid, where the batch is no larger.
    assert len(every) == 3 * sum(h * w for h, w in sizes)
    assert len(inside) < len(every)
    # In a batch of 96 × 160 px, those of the image's own padding: at stride 64, 1 × 2 cells of 2 × 3.
    larger = [(24, 40), (12, 20), (6, 10), (3, 5), (2, 3)]
    within = HTCRPNHead(**settings, inside_only=False).targets(larger, objects, 40, 70, None)[1]
    assert len(within) == len(every)
    centres = np.concatenate([_centres(*size, 4 << k) for k, size in enumerate(larger)])[within]
    assert (centres < [96, 64]).all()


def _centres(height: int, width: int, stride: int) -> np.ndarray:
    y, x = np.mgrid[:height, :width] * stride
    return np.repeat(np.stack([x, y], -1).reshape(-1, 2), 3, axis=0)


@pytest.mark.parametrize("settings", [{}, {"stage_ious": (0.5,), "stage_box_stds": (STDS,), "stage_loss_weights": (1.0,)}])
def test_class_specific_boxes_need_one_stage_that_is_not_interleaved(settings):
    with pytest.raises(ValueError, match="single stage"):
        small_model(False, class_agnostic=False, **settings)
