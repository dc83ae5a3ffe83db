"""HTC's numbers against mmdetection's, stage by stage, on the reference's own weights and inputs."""

import json
from pathlib import Path

import numpy as np
import paddle
import pytest
from mmdet_names import mmdet_name
from recipe import image, projection
from reference_model import TRAIN_SIZES, reference_model, training_truth

GOLDEN = Path(__file__).parent / "golden"
MODELS = ["tiny_a", "tiny_b"]
SIZE = np.array([[256, 320]], np.float32)


def close(ours, theirs, tolerance: float) -> None:
    assert np.abs(np.asarray(ours, np.float64) - theirs).max() <= tolerance


@pytest.fixture(scope="module", params=MODELS)
def inference(request):
    model = reference_model(request.param)
    model.eval()
    with paddle.no_grad():
        feats = model.neck(model.backbone({"image": paddle.to_tensor(image(7, 256, 320))}))
        return request.param, model, feats, dict(np.load(GOLDEN / f"{request.param}_infer.npz"))


def test_features(inference):
    name, model, feats, want = inference
    ours = feats[1].numpy()
    close(ours if "P3" in want else ours[:, :8], want.get("P3", want.get("P3_ch0_8")), 1e-4)
    if name == "tiny_a":
        with paddle.no_grad():
            _, feature = model.roi_head.semantic_head(feats)
        close(feature.numpy(), want["semantic_feat"], 5e-4)


def test_proposals(inference):
    _, model, feats, want = inference
    with paddle.no_grad():
        ours = model.rpn_head.proposals(*model.rpn_head(feats), SIZE)[0]
    theirs = want["rpn_post_boxes"][:, -4:]
    assert ours.shape == theirs.shape
    # Their order is not stable in float32; the set is.
    assert np.abs(ours[:, None] - theirs[None]).max(-1).min(0).max() <= 2e-3


@pytest.mark.parametrize("stage", [0, 1, 2])
def test_box_stage_on_its_own_rois(inference, stage):
    _, model, feats, want = inference
    with paddle.no_grad():
        features, _ = model.roi_head.features(feats)
        cls, reg = model.roi_head.box_heads[stage](features.pool(want[f"s{stage}_rois"], 7, 2))
    close(cls.numpy(), want[f"s{stage}_cls"], 3e-3)
    close(reg.numpy(), want[f"s{stage}_reg"], 1e-4)


def test_detections_and_masks(inference):
    _, model, _, want = inference
    batch = {
        "image": paddle.to_tensor(image(7, 256, 320)),
        "im_id": np.array([0]),
        "im_shape": SIZE,
        "scale_factor": np.ones((1, 2), np.float32),
        "origin_shape": np.array([[256, 320]]),
    }
    found = model(batch)[0]
    assert np.array_equal(found.labels, want["det_labels"])
    close(found.scores, want["det_scores"], 2e-4)
    close(found.boxes, want["det_boxes"], 1e-3)
    masks = np.unpackbits(want["masks_mean_packed"], axis=-1)[:, :, :320]
    differing = sum(int((mask.to_bitmap() != theirs).sum()) for mask, theirs in zip(found.masks, masks))
    assert differing <= 5  # of the pixels of some fifty masks; a probability may lie on the threshold


def test_mask_ensemble_of_the_last_stage_only_differs(inference):
    _, model, feats, want = inference
    rois = np.concatenate([np.zeros((len(want["det_boxes"]), 1)), want["det_boxes"]], 1).astype(np.float32)
    with paddle.no_grad():
        features, _ = model.roi_head.features(feats)
        mean = model.roi_head.mask_probabilities(features, rois, want["det_labels"])
        model.roi_head.mask_ensemble = "last"
        last = model.roi_head.mask_probabilities(features, rois, want["det_labels"])
    model.roi_head.mask_ensemble = "mean"
    close(mean, want["mask_prob_mean_lab"], 3e-4)
    assert np.abs(last - mean).max() > 0.1


def test_padded_image_with_scale_factor():
    want = dict(np.load(GOLDEN / "tiny_a_padded.npz"))
    model = reference_model("tiny_a")
    model.eval()
    batch = {
        "image": paddle.to_tensor(image(7, 256, 320, 1, [(250, 310)])),
        "im_id": np.array([0]),
        "im_shape": np.array([[250, 310]], np.float32),
        "scale_factor": np.full((1, 2), 1.25, np.float32),
        "origin_shape": np.array([[200, 248]]),
    }
    found = model(batch)[0]
    assert np.array_equal(found.labels, want["det_labels"])
    close(found.boxes, want["det_boxes"], 1e-3)
    close(found.scores, want["det_scores"], 2e-4)
    masks = np.unpackbits(want["masks_mean_packed"], axis=-1)[:, :, :248]
    assert sum(int((m.to_bitmap() != t).sum()) for m, t in zip(found.masks, masks)) <= 5


@pytest.fixture(scope="module", params=MODELS)
def training(request):
    arrays = dict(np.load(GOLDEN / f"{request.param}_train.npz"))
    want = json.loads((GOLDEN / f"{request.param}_train.json").read_text())
    model = reference_model(request.param)
    model.train()
    truth = training_truth(arrays)
    feats = model.neck(model.backbone({"image": paddle.to_tensor(image(8, 256, 320, 2, TRAIN_SIZES))}))
    shapes = np.array(TRAIN_SIZES, np.float32)
    losses = model.rpn_head.losses(*model.rpn_head(feats), [t.boxes for t in truth], shapes, [None, None])
    semantic = paddle.to_tensor(np.stack([arrays["seg0"], arrays["seg1"]])) if request.param == "tiny_a" else None
    proposals = [arrays["proposals0"], arrays["proposals1"]]
    losses.update(model.roi_head.losses(feats, proposals, truth, semantic))
    paddle.add_n([x.reshape([]) for x in losses.values()]).backward()
    return request.param, model, losses, arrays, want


def test_losses(training):
    name, _, losses, _, want = training
    pairs = {"loss_rpn_cls": "loss_rpn_cls", "loss_rpn_reg": "loss_rpn_bbox"}
    for s in range(3):
        pairs |= {f"loss_bbox_cls_stage{s}": f"s{s}.loss_cls", f"loss_bbox_reg_stage{s}": f"s{s}.loss_bbox"}
        pairs[f"loss_mask_stage{s}"] = f"s{s}.loss_mask"
    if name == "tiny_a":
        pairs["loss_semantic"] = "loss_semantic_seg"
    assert set(pairs) == set(losses)
    for ours, theirs in pairs.items():
        assert float(losses[ours]) == pytest.approx(want["losses"][theirs], rel=1e-5), ours


def test_gradients(training):
    _, model, _, _, want = training
    errors = []
    for key, value in model.named_parameters():
        name = mmdet_name(key)
        if name not in want["grads"]:
            assert key.endswith(("_mean", "_variance")), key
            continue
        theirs = want["grads"][name]
        if theirs is None:
            assert value.grad is None, f"{key} is frozen in the reference"
            continue
        grad = value.grad.numpy().astype(np.float64)
        grad = grad.T if grad.ndim == 2 else grad
        if theirs["norm"] == 0:
            assert np.abs(grad).max() < 1e-6, key
            continue
        errors.append(abs(np.linalg.norm(grad) - theirs["norm"]) / theirs["norm"])
        along = grad.ravel() @ projection(name, grad.size)
        assert abs(along - theirs["proj"]) <= 5e-2 * theirs["norm"], key
    assert np.median(errors) <= 1e-3
    assert max(errors) <= 1e-2


def test_stored_statistics_stay_as_they_were(training):
    name, model, *_ = training
    before = reference_model(name).state_dict()
    after = model.state_dict()
    assert all(np.array_equal(after[k].numpy(), before[k].numpy()) for k in after if k.endswith(("_mean", "_variance")))


def test_first_sample_of_each_stage(training):
    _, model, _, arrays, _ = training
    truth = training_truth(arrays)
    for b in range(2):
        sample = model.roi_head.samplers[0](arrays[f"proposals{b}"], truth[b].boxes)
        close(sample.boxes, arrays[f"s0_bbox_img{b}_priors"], 0)
        assert np.array_equal(sample.object_index, arrays[f"s0_bbox_img{b}_pos_gt"])
        assert np.array_equal(sample.is_object, arrays[f"s0_bbox_img{b}_pos_is_gt"].astype(bool))
