"""ppdet's architectures behind our batch and predictions: single steps, thresholds, and what must not end the process."""

import contextlib

import cv2
import numpy as np
import paddle
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ppdet_ext.config.load import load_config
from ppdet_ext.errors import DivergenceError, UserError
from ppdet_ext.host.build import architecture_of, build_model
from ppdet_ext.host.compat import mask_within_box
from ppdet_ext.host.registry import ADAPTERS, usable_architectures
from ppdet_ext.host.solov2 import _crop, _extent
from ppdet_ext.inference.protocol import Detector
from ppdet_ext.structures import Candidates, Rle
from tests.support.host_runs import MODELS, WITH_MASKS, batch_of, write_config


@pytest.fixture(scope="module", params=MODELS)
def name(request) -> str:
    return request.param


@pytest.fixture(scope="module")
def cfg(name: str, tmp_path_factory):
    return load_config(write_config(tmp_path_factory.mktemp(name), name))


@pytest.fixture
def model(cfg) -> paddle.nn.Layer:
    paddle.seed(0)
    return build_model(cfg)


@pytest.mark.parametrize("objects", [[2, 3], [0, 1], [0, 0]])
def test_a_step_has_finite_losses_and_gradients(model, objects: list[int]) -> None:
    losses = model(batch_of(objects))
    assert all(value.shape == [] and np.isfinite(float(value)) for value in losses.values())
    losses["loss"].backward()
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    assert gradients
    assert all(bool(paddle.isfinite(g).all()) for g in gradients)


def test_weights_are_those_of_ppdet_by_name(model, cfg) -> None:
    assert list(model.state_dict()) == list(model.model.state_dict())
    assert isinstance(model, Detector)
    assert type(model) is architecture_of(cfg)


def test_detections_lie_in_the_original_image_best_first(model, name: str) -> None:
    model.eval()
    batch = batch_of([1, 2])
    found = model.candidates(batch, model.settings)
    assert len(found) == 2
    for one in found:
        assert (one.height, one.width) == (128, 360)
        assert (one.probs is None) == (name not in WITH_MASKS)
        assert (np.diff(one.scores) <= 0).all()
        assert (one.boxes >= 0).all()
        assert (one.boxes <= [360, 128, 360, 128]).all()
        assert set(one.labels.tolist()) <= set(range(4))
    assert [detections.masks is None for detections in model(batch)] == [name not in WITH_MASKS] * 2
    assert sum(map(len, found)) > 0


def test_a_batch_is_its_images_one_by_one(model) -> None:
    model.eval()
    batch = batch_of([1, 2])
    together = model.candidates(batch, model.settings)
    for i, one in enumerate(together):
        alone = {key: value[i : i + 1] for key, value in batch.items() if key != "epoch"}
        (other,) = model.candidates(alone, model.settings)
        assert len(other) == len(one)
        np.testing.assert_allclose(other.boxes, one.boxes, atol=0.05)
        np.testing.assert_allclose(other.scores, one.scores, atol=1e-4)


def test_thresholds_are_read_passed_and_said(model, cfg) -> None:
    model.eval()
    adapter, settings = architecture_of(cfg), model.settings
    assert adapter.settings_from(cfg) == settings
    few = type(settings)(score_threshold=settings.score_threshold, nms_iou=settings.nms_iou, max_detections=1)
    assert all(len(one) <= 1 for one in model.candidates(batch_of([1, 2]), few))
    assert model.settings == settings
    sections = adapter.settings_sections(score_threshold=0.25, nms_iou=0.4, max_detections=7)
    said = adapter.settings_from(cfg.replaced(**sections))
    assert (said.score_threshold, said.max_detections) == (0.25, 7)


def test_nothing_found_is_an_empty_result(model) -> None:
    model.eval()
    nothing = type(model.settings)(score_threshold=0.9999)
    assert [len(one) for one in model.candidates(batch_of([1, 2]), nothing)] == [0, 0]


def test_values_that_are_not_finite_are_our_error_and_leave_the_process_alive(model) -> None:
    for key, parameter in model.named_parameters():
        if any(part in key for part in ("rpn_rois_delta", "solo_cate", "pred_reg")):
            parameter.set_value(paddle.full_like(parameter, float("nan")))
    with contextlib.suppress(DivergenceError):
        assert not np.isfinite(float(model(batch_of([1, 2]))["loss"]))
    model.eval()
    with pytest.raises(DivergenceError):
        model.candidates(batch_of([1, 2]), model.settings)


def test_boxes_far_out_do_not_end_the_process(tmp_path) -> None:
    model = build_model(load_config(write_config(tmp_path, "faster_rcnn_r18_fpn")))
    feats = [paddle.zeros([1, 64, 16, 16])] * 4
    for value in (float("nan"), float("inf"), 1e9):
        with pytest.raises(DivergenceError):
            model.bbox_head.roi_extractor(feats, [paddle.to_tensor([[0.0, 0.0, value, 4.0]])], paddle.to_tensor([1]))


def test_pictures_too_small_for_the_assigner_are_named(tmp_path) -> None:
    model = build_model(load_config(write_config(tmp_path, "ppyoloe_crn_tiny"), ["PPYOLOEHead.static_assigner.topk=13"]))
    with pytest.raises(UserError, match="64x192 px have fewer cells of 32 px than the 13"):
        model(batch_of([1]))


@pytest.mark.slow
def test_an_image_learnt_by_heart_is_found_where_it_is_annotated(tmp_path) -> None:
    paddle.seed(0)
    model = build_model(load_config(write_config(tmp_path, "ppyoloe_crn_tiny")))
    batch = batch_of([2]) | {"epoch": 5}
    image = np.random.default_rng(1).normal(0, 0.3, (1, 3, 64, 192)).astype(np.float32)
    for channel, (x1, y1, x2, y2) in enumerate(batch["gt_bbox"][0].astype(int)):
        image[0, channel, y1:y2, x1:x2] += 2
    batch["image"] = paddle.to_tensor(image)
    clip = paddle.nn.ClipGradByGlobalNorm(5.0)
    optimizer = paddle.optimizer.Adam(1e-3, parameters=model.parameters(), grad_clip=clip)
    for _ in range(90):
        model(batch)["loss"].backward()
        optimizer.step()
        optimizer.clear_grad()
    model.eval()
    (found,) = model.candidates(batch, model.settings)
    best = found.boxes[:2][np.argsort(found.labels[:2])]
    # The batch's scale_factor is a half: boxes are of the original image.
    np.testing.assert_allclose(best, 2 * batch["gt_bbox"][0], atol=6)
    assert sorted(found.labels[:2].tolist()) == [0, 1]
    assert found.scores[1] > 0.5


@pytest.mark.parametrize(("architecture", "words"), [
    ("RetinaNet", ["architecture of ppdet that has no adapter", "MaskRCNN", "HybridTaskCascade"]),
    ("MaskRCN", ["not registered", "Did you mean 'MaskRCNN'?"]),
])  # fmt: skip
def test_other_architectures_are_refused_when_the_configuration_is_checked(tmp_path, architecture, words) -> None:
    with pytest.raises(UserError) as caught:
        load_config(write_config(tmp_path, "mask_rcnn_r18_fpn"), [f"architecture={architecture}"])
    assert all(word in str(caught.value) for word in words)


def test_every_adapter_is_tested_here() -> None:
    assert set(ADAPTERS) == {"CascadeRCNN", "FasterRCNN", "MaskRCNN", "PPYOLOE", "SOLOv2"}
    assert {*ADAPTERS, "HybridTaskCascade"} <= set(usable_architectures())


def test_a_mask_of_solov2_comes_back_from_its_box() -> None:
    y, x = np.mgrid[:16, :48]
    probs = np.exp(-(((y - 7) / 4) ** 2 + ((x - 20) / 9) ** 2)).astype(np.float32)
    box = np.array(_extent(probs, 0.5, np.array([64.0, 180.0])), np.float32)
    found = Candidates(64, 180, box[None], np.ones(1, np.float32), np.zeros(1, np.int64), _crop(probs, box)[None])
    whole = cv2.resize(probs, (192, 64), interpolation=cv2.INTER_LINEAR)[:, :180] >= 0.5
    truth = Rle.from_bitmap(whole.astype(np.uint8))
    assert tuple(box) == truth.box
    assert found.detections(0.5).masks[0].iou(truth) > 0.97
    assert _extent(probs, 1.5, np.array([64.0, 180.0])) == (0, 0, 0, 0)


@given(st.tuples(*[st.floats(-20, 60)] * 4), st.integers(1, 12))
def test_mask_targets_are_the_pixels_at_the_centres_of_the_cells(ends: tuple, cells: int) -> None:
    bitmap = (np.random.default_rng(3).random((24, 40)) < 0.5).astype(np.uint8)
    x1, y1, x2, y2 = ends
    target = mask_within_box(Rle.from_bitmap(bitmap), np.array(ends), cells)
    for i in range(cells):
        for j in range(cells):
            y, x = (int(np.floor(a + (k + 0.5) / cells * (b - a))) for a, b, k in ((y1, y2, i), (x1, x2, j)))
            inside = 0 <= y < 24 and 0 <= x < 40
            assert target[i, j] == (bitmap[y, x] if inside else 0)
