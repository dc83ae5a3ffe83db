"""Ensembles of models and views: one is the model alone, several are their average."""

import gc
from dataclasses import replace

import numpy as np
import paddle
import pytest
from reference_model import small_model
from slow_ensemble import slow_ensemble
from view_cases import NATIVE, RESIZED, assert_same, batch_of, fixed, found_by, mirrored, model, picture, sample_with
from view_cases import alone as alone_of

from ppdet_ext.errors import DivergenceError, UserError
from ppdet_ext.inference.ensemble import Ensemble, Member
from ppdet_ext.inference.feature_passes import ViewFeatures
from ppdet_ext.inference.views import Views


@pytest.fixture(scope="module", params=["tiny_a", "tiny_mask"])
def any_model(request):
    """HTC, and Mask R-CNN with its boxes of each class."""
    return model(request.param)


@pytest.fixture(scope="module")
def htc():
    return model("tiny_a")


@pytest.fixture(scope="module")
def other():
    """Without semantic branch."""
    return model("tiny_b")


@pytest.fixture
def sample():
    return sample_with(picture(75, 110))


def test_one_view_of_one_member_is_the_model(any_model, sample):
    views = Views(RESIZED)
    alone = alone_of(any_model, batch_of(sample, views))
    assert len(alone) > 1
    assert_same(found_by([Member(any_model, views)], sample), alone)


def test_the_same_member_again_changes_nothing(any_model, sample):
    views = Views(RESIZED)
    once = found_by([Member(any_model, views)], sample)
    assert_same(found_by([Member(any_model, views)] * 2, sample), once)
    assert_same(found_by([Member(any_model, views), Member(any_model, views, weight=0.5)], sample), once, 1e-6)


def test_boxes_only(sample):
    paddle.seed(0)
    boxes_only, views = small_model(with_mask=False), Views(RESIZED)
    boxes_only.eval()
    alone = alone_of(boxes_only, batch_of(sample, views))
    assert_same(found_by([Member(boxes_only, views)], sample), alone)
    assert alone.probs is None


@pytest.mark.parametrize("width", [128, 110])
def test_the_mirrored_view_is_the_mirrored_pictures_prediction_mirrored_back(htc, width):
    pixels, views = picture(96, width), Views(NATIVE)
    expected = alone_of(htc, batch_of(sample_with(mirrored(pixels)), views))
    found = found_by([Member(htc, Views(NATIVE, (), None, ["horizontal"]))], sample_with(pixels))
    x1, y1, x2, y2 = expected.boxes.T
    boxes = np.stack([width - x2, y1, width - x1, y2], axis=1)
    assert_same(found, replace(expected, boxes=boxes, probs=expected.probs[:, :, ::-1]), 1e-5)


def test_a_symmetric_picture_in_two_flips_is_found_symmetric(htc, monkeypatch):
    half, views = picture(128, 80), Views(NATIVE, (), None, ["none", "horizontal"])
    sample = sample_with(np.concatenate([half, mirrored(half)], axis=1))
    left = np.array([[4, 8, 40, 60], [10, 60, 64, 110], [30, 4, 76, 50]], np.float32)
    right = np.stack([160 - left[:, 2], left[:, 1], 160 - left[:, 0], left[:, 3]], axis=1)
    proposals = [(np.concatenate([left, right]), np.linspace(1, 0.5, 6).astype(np.float32))]
    monkeypatch.setattr(htc.rpn_head, "scored_proposals", lambda *_: proposals)
    settings = replace(htc.settings, nms_iou=0.99, score_threshold=0.0)
    found = found_by([Member(htc, views)], sample, settings)
    alone = found_by([Member(htc, Views(NATIVE))], sample, settings)
    assert len(alone) == len(found) == 24
    assert not symmetric(alone), "the model alone does not see the sides alike"
    assert symmetric(found)


def symmetric(found) -> bool:
    """Whether each object has a mirror image at the other side of a picture of 160 px."""
    x1, y1, x2, y2 = found.boxes.T
    mirror = np.stack([160 - x2, y1, 160 - x1, y2], axis=1)
    for i in range(len(found)):
        apart = np.abs(mirror - found.boxes[i]).max(axis=1) + (found.labels != found.labels[i]) * 1e3
        j = int(apart.argmin())
        if apart[j] > 1e-2 or abs(found.scores[i] - found.scores[j]) > 1e-4:
            return False
        if np.abs(found.probs[i] - found.probs[j][:, ::-1]).max() > 1e-3:
            return False
    return True


@pytest.mark.parametrize("second", ["tiny_b", "tiny_mask"])
def test_two_members_in_two_views_each_agree_with_loops(sample, second):
    first, second = model("tiny_a"), model(second)
    first.rpn_head.limits[False], second.rpn_head.limits[False] = (150, 80), (100, 100)
    pair = [
        Member(first, Views(RESIZED, (), [fixed(150, 220), fixed(96, 160)], ["none"]), weight=2.0),
        Member(second, Views(NATIVE, (), None, ["vertical", "both"]), weight=0.5),
    ]
    found = found_by(pair, sample)
    boxes, scores, labels, probs = slow_ensemble(pair, sample)
    assert len(found) > 5
    np.testing.assert_array_equal(found.labels, labels)
    np.testing.assert_allclose(found.scores, scores, rtol=0, atol=1e-5)
    np.testing.assert_allclose(found.boxes, boxes, rtol=0, atol=1e-4)
    np.testing.assert_allclose(found.probs, probs, rtol=0, atol=1e-5)


def test_scores_are_averaged_and_not_multiplied(htc, sample, monkeypatch):
    certain, views = model("tiny_a"), Views(RESIZED)
    cascade = certain.roi_head.cascade
    monkeypatch.setattr(certain.roi_head, "cascade", lambda *args: (cascade(*args)[0], [s * 0 + 1 for s in cascade(*args)[1]]))
    once = found_by([Member(htc, views)], sample)
    both = found_by([Member(htc, views), Member(certain, views, weight=3.0)], sample)
    assert both.scores[0] == pytest.approx((once.scores[0] + 3) / 4, abs=1e-6)


def test_nothing_found_is_an_empty_result_and_costs_no_third_pass(sample, monkeypatch):
    strict, views = model("tiny_a"), Views(NATIVE, (), None, ["none", "horizontal"])
    calls, pyramid = [], strict.pyramid
    monkeypatch.setattr(strict, "pyramid", lambda batch: calls.append(1) or pyramid(batch))
    found = found_by([Member(strict, views)], sample, replace(strict.settings, score_threshold=1.0))
    assert len(found) == 0
    assert found.probs.shape == (0, 28, 28)
    assert len(calls) == 3


@pytest.mark.parametrize(("flips", "expected"), [(["none"], 1), (["none", "horizontal"], 4), (["none", "vertical", "both"], 7)])
def test_features_are_computed_n_then_twice_n_less_one_times(htc, sample, monkeypatch, flips, expected):
    total, pyramid = [], htc.pyramid
    monkeypatch.setattr(htc, "pyramid", lambda batch: total.append(1) or pyramid(batch))
    found_by([Member(htc, Views(RESIZED, (), None, flips))], sample)
    assert len(total) == expected


def test_one_views_features_live_at_a_time(htc, other, sample, monkeypatch):
    alive = []
    for built in (htc, other):
        pyramid = built.pyramid

        def watched(batch, pyramid=pyramid):
            alive.append(sum(isinstance(thing, ViewFeatures) and hasattr(thing, "features") for thing in gc.get_objects()))
            return pyramid(batch)

        monkeypatch.setattr(built, "pyramid", watched)
    views = Views(RESIZED, (), None, ["none", "horizontal"])
    gc.disable()  # they must go by themselves, before the next are made
    try:
        found_by([Member(htc, views), Member(other, views)], sample)
    finally:
        gc.enable()
    assert alive == [0] * 10


def test_modes_are_switched_together(htc, other):
    ensemble = Ensemble([Member(htc, Views(NATIVE)), Member(other, Views(NATIVE))])
    assert not ensemble.training
    ensemble.train()
    assert ensemble.training
    assert other.training
    ensemble.eval()
    assert not htc.training
    assert not other.training
    assert ensemble.settings == htc.settings


def test_divergence_names_the_member(sample):
    broken = model("tiny_b")
    broken.rpn_head.deltas.bias.set_value(np.full(broken.rpn_head.deltas.bias.shape, np.nan, np.float32))
    with pytest.raises(DivergenceError, match=r"second.pdparams: the region proposal network"):
        found_by([Member(model(), Views(NATIVE)), Member(broken, Views(NATIVE), name="second.pdparams")], sample)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: small_model(classes=5), r"Ensemble member 2 \(b.pdparams\) has 5 classes, the first member 4"),
        (
            lambda: small_model(with_mask=False),
            r"member 2 \(b.pdparams\) has no masks, the first member some; set with_mask",
        ),
        (lambda: small_model(mask_size=7), r"has masks of 14 cells, the first member of 28.*HTCRoIHead.mask_size"),
        (lambda: paddle.nn.Linear(1, 1), r"is Linear, which cannot be averaged; members are HybridTaskCascade"),
    ],
)
def test_members_that_do_not_fit_together_are_refused(htc, build, message):
    with pytest.raises(UserError, match=message):
        Ensemble([Member(htc, Views(NATIVE), name="a.pdparams"), Member(build(), Views(NATIVE), name="b.pdparams")])


@pytest.mark.parametrize("weight", [0.0, -1.0, float("nan"), float("inf")])
def test_weights_are_above_0(htc, weight):
    with pytest.raises(UserError, match="give a number above 0"):
        Ensemble([Member(htc, Views(NATIVE), weight=weight)])


def test_members_read_pictures_alike(htc):
    turned = Views([{"ReadImage": {"exif": False}}, NATIVE[1]])
    with pytest.raises(UserError, match=r"ReadImage\.exif"):
        Ensemble([Member(htc, Views(NATIVE)), Member(htc, turned)])


def test_an_ensemble_has_members():
    with pytest.raises(UserError, match="at least one member"):
        Ensemble([])
