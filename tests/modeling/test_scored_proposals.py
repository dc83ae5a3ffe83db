"""Proposals with their scores, which ensembles merge."""

import numpy as np
import pytest
from recipe import image
from reference_model import reference_model


@pytest.fixture(scope="module")
def outputs():
    import paddle

    model = reference_model("tiny_b")
    model.eval()
    pixels = paddle.to_tensor(image(3, 96, 128, batch=2))
    with paddle.no_grad():
        return (
            model.rpn_head,
            model.rpn_head(model.feature_maps({"image": pixels})),
            np.array([[96, 128], [90, 120]], np.float32),
        )


def test_boxes_are_the_plain_proposals(outputs):
    rpn, maps, shapes = outputs
    scored = rpn.scored_proposals(*maps, shapes)
    for (boxes, scores), plain in zip(scored, rpn.proposals(*maps, shapes), strict=True):
        np.testing.assert_array_equal(boxes, plain)
        assert scores.shape == (len(boxes),)
        assert scores.dtype == np.float32
        assert len(boxes) > 10


def test_scores_fall_and_are_those_of_the_anchors(outputs):
    rpn, maps, shapes = outputs
    best = [max(1 / (1 + np.exp(-float(level[b].max()))) for level in maps[0]) for b in range(2)]
    for (_, scores), top in zip(rpn.scored_proposals(*maps, shapes), best):
        assert (np.diff(scores) <= 0).all()
        assert scores[0] == pytest.approx(top, abs=1e-6)
        assert scores[-1] >= 0
