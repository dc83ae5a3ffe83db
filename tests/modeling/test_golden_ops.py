"""Single operations against the reference's values."""

from pathlib import Path

import numpy as np
import paddle
import paddle.nn.functional as F
import pytest

from ppdet_ext.modeling.detection.anchors import AnchorGrid
from ppdet_ext.modeling.detection.mask_targets import mask_targets
from ppdet_ext.modeling.detection.semantic_head import FusedSemanticHead
from ppdet_ext.modeling.ops.boxes import decode, encode, multiclass_nms, nms
from ppdet_ext.modeling.ops.layers import add_bias
from ppdet_ext.modeling.ops.loss_functions import smooth_l1
from ppdet_ext.modeling.ops.roi_align import Pyramid

STDS = [(1, 1, 1, 1), (0.1, 0.1, 0.2, 0.2), (0.05, 0.05, 0.1, 0.1), (0.033, 0.033, 0.067, 0.067)]


@pytest.fixture(scope="module")
def golden() -> dict:
    return dict(np.load(Path(__file__).parent / "golden" / "ops.npz"))


@pytest.mark.parametrize("size", [7, 14])
def test_roi_align_and_its_gradient(golden, size):
    feature = paddle.to_tensor(golden["ra_feat"], stop_gradient=False)
    out = Pyramid([feature], [8]).pool(golden["ra_rois"], size)
    np.testing.assert_allclose(out.numpy(), golden[f"ra_out{size}"], atol=1e-5)
    out.backward(paddle.to_tensor(golden[f"ra_g{size}"]))
    np.testing.assert_allclose(feature.grad.numpy(), golden[f"ra_dx{size}"], atol=1e-5)


@pytest.mark.parametrize("threshold", [0.5, 0.7])
def test_nms(golden, threshold):
    kept = nms(golden["nms_boxes"], golden["nms_scores"], threshold)
    assert np.array_equal(kept, golden[f"nms_keep{int(threshold * 10):02d}"])


def test_multiclass_nms(golden):
    scores = golden["mc_scores"][:, :-1]
    index, labels, best = multiclass_nms(golden["nms_boxes"], scores, 0.05, 0.5, 100)
    assert np.array_equal(labels, golden["mc_lab"])
    np.testing.assert_allclose(best, golden["mc_det"][:, 4], atol=1e-7)
    np.testing.assert_allclose(golden["nms_boxes"][index], golden["mc_det"][:, :4], atol=1e-5)


@pytest.mark.parametrize("k", range(4))
def test_box_coder_clamps_both_sides_and_clips(golden, k):
    moved = decode(golden["coder_priors"], golden["coder_deltas"], STDS[k], 90, 100)
    np.testing.assert_allclose(moved, golden[f"coder_dec{k}"], atol=1e-4)


@pytest.mark.parametrize("level", range(5))
def test_anchors(golden, level):
    grid = AnchorGrid()
    np.testing.assert_allclose(grid.base(level), golden[f"anchor_base{level}"], atol=1e-4)
    anchors = grid.level(level, 256 >> (level + 2), 320 >> (level + 2))
    np.testing.assert_allclose(anchors[:9], golden[f"anchor_lvl{level}_head"], atol=1e-4)
    np.testing.assert_allclose(anchors[-6:], golden[f"anchor_lvl{level}_tail"], atol=1e-4)


def test_mask_targets(golden):
    bitmaps = np.unpackbits(golden["mt_gm"], axis=-1)[:, :, :100]
    out = mask_targets(golden["mt_boxes"], golden["mt_inds"], lambda k: bitmaps[k])
    assert np.array_equal(out, golden["mt_out"])


def test_semantic_loss_divides_by_ignored_pixels_too(golden):
    head = FusedSemanticHead(8, 4, 5, 8, stride=1)
    loss = head.loss(paddle.to_tensor(golden["ce_logits"]), paddle.to_tensor(golden["ce_labels"]))
    assert float(loss) == pytest.approx(float(golden["ce_seg"]), rel=1e-6)
    assert abs(float(loss) - float(golden["ce_seg_if_mean_over_valid"])) > 0.1


def test_smooth_l1(golden):
    p, t = paddle.to_tensor(golden["sl_p"]), paddle.to_tensor(golden["sl_t"])
    for beta, name in ((1.0, "sl_b1"), (1 / 9, "sl_b9")):
        assert float(smooth_l1(p, t, beta)) / 30 == pytest.approx(float(golden[name]), rel=1e-5)


def test_encode_is_the_inverse_of_decode():
    rng = np.random.default_rng(0)
    corner, size = rng.uniform(10, 60, (50, 2)), rng.uniform(5, 30, (50, 2))
    boxes = np.concatenate([corner, corner + size], 1).astype(np.float32)
    goal = boxes + rng.uniform(-2, 2, boxes.shape).astype(np.float32)
    back = decode(boxes, encode(boxes, goal, STDS[1]), STDS[1], 200, 200)
    np.testing.assert_allclose(back, goal, atol=1e-3)


@pytest.mark.parametrize(("images", "channels"), [(1, 5), (3, 5), (1, 32), (3, 32)])
def test_bias_is_added_to_the_last_bit_and_learns(images, channels):
    rng = np.random.default_rng(0)
    shapes = [images, channels, 4, 6], [channels]
    x, b = (paddle.to_tensor(rng.standard_normal(s).astype(np.float32), stop_gradient=False) for s in shapes)
    out, exact = add_bias(x, b), x.numpy().astype(np.float64) + b.numpy()[:, None, None]
    apart = np.abs(out.numpy() - exact) - np.spacing(np.abs(exact).astype(np.float32)) / 2
    # From eight channels on Paddle uses vector instructions, in which Intel's 1/√1 is 1 + 2⁻²³; then the product is rounded.
    assert (apart <= (2**-22 * np.abs(x.numpy()) if images > 1 and channels >= 8 else 0)).all()
    upstream = rng.standard_normal(out.shape).astype(np.float32)
    out.backward(paddle.to_tensor(upstream))
    np.testing.assert_allclose(x.grad.numpy(), upstream, atol=1e-6)
    np.testing.assert_allclose(b.grad.numpy(), upstream.sum((0, 2, 3)), atol=1e-4)


@pytest.mark.parametrize("k", range(4))
def test_box_encoder(golden, k):
    objects = decode(golden["coder_priors"], golden["coder_enc0"], STDS[0], 1e4, 1e4)  # the deltas of unit stds lead to them
    keep = (objects > 0).all(axis=1)
    assert keep.sum() >= 3
    deltas = encode(golden["coder_priors"], objects, STDS[k])
    np.testing.assert_allclose(deltas[keep], golden[f"coder_enc{k}"][keep], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("key", ["ip_bilinear_ac", "ip_bilinear_ac_down"])
def test_resizing_of_the_semantic_branch(golden, key):
    goal = golden[key]
    out = F.interpolate(paddle.to_tensor(golden["ip_x"]), goal.shape[2:], mode="bilinear", align_corners=True)
    np.testing.assert_allclose(out.numpy(), goal, atol=1e-6)


def test_pooled_twice_as_fine_and_averaged(golden):
    np.testing.assert_allclose(F.avg_pool2d(paddle.to_tensor(golden["ap_x"]), 2).numpy(), golden["ap_y"], atol=1e-6)
    pyramid = Pyramid([paddle.to_tensor(golden["ra_feat"])], [8])
    merged = F.avg_pool2d(paddle.to_tensor(golden["ra_out14"]), 2)
    np.testing.assert_allclose(pyramid.pool(golden["ra_rois"], 7, merge=2).numpy(), merged.numpy(), atol=1e-5)


def test_labels_are_taken_at_every_eighth_pixel(golden):
    whole, small = (np.where(golden[k] == 255, 255, golden[k] % 5).astype(np.int64)[None] for k in ("seg_in", "seg_div8"))
    logits = paddle.to_tensor(np.random.default_rng(0).standard_normal((1, 5, *small.shape[1:])).astype(np.float32))
    fine, coarse = (FusedSemanticHead(8, 4, 5, 8, stride=s) for s in (8, 1))
    loss = float(fine.loss(logits, paddle.to_tensor(whole)))
    assert loss == pytest.approx(float(coarse.loss(logits, paddle.to_tensor(small))), rel=1e-6)
