"""Presence of classes in images, beside plain counting."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ppdet_ext.errors import UserError
from ppdet_ext.evaluation import PresenceF1
from ppdet_ext.evaluation.presence import area_under_roc
from ppdet_ext.structures import Candidates, Detections, Record

NAMES, IDS = ["pits", "scratch"], [1, 2]


def started(labels: list[list[int]], **options) -> PresenceF1:
    metric = PresenceF1(**options)
    metric.start([Record(i, "", f"{i}.jpg", 4, 6, labels=np.array(own, np.int64)) for i, own in enumerate(labels)], NAMES, IDS)
    return metric


def test_f1_of_a_classifier() -> None:
    metric = started([[0], [0, 0], [], [1]])
    for im_id, presence in enumerate(([0.9, 0.5], [0.4, 0.1], [0.7, 0.2], [0.1, 0.9])):
        metric.update(im_id, Candidates.of_presence(4, 6, np.array(presence, np.float32)).detections())
    numbers = metric.compute()
    # Of pits one of two is found, and once in vain; of scratches the one, and once in vain.
    assert numbers["PresenceF1"] == pytest.approx([(0.5 + 2 / 3) / 2, 0.5, 2 / 3])
    assert numbers["precision"] == pytest.approx([0.5, 0.5, 0.5])
    assert numbers["recall"] == pytest.approx([0.75, 0.5, 1.0])
    assert numbers["accuracy"] == pytest.approx([0.625, 0.5, 0.75])
    assert numbers["AUC"] == pytest.approx([0.875, 0.75, 1.0])
    assert metric.named(numbers)["PresenceF1"] == pytest.approx({"all": (0.5 + 2 / 3) / 2, "pits": 0.5, "scratch": 2 / 3})
    assert [line.split()[0] for line in metric.summary.splitlines()] == ["class", "mean", "pits", "scratch"]


def test_what_steps_have_left_is_found_at_threshold_0() -> None:
    for threshold, f1 in ((0.5, 0.0), (0.0, 1.0)):
        metric = started([[0], []], threshold=threshold)
        low = Candidates.of_presence(4, 6, np.array([0.3, 0.2], np.float32)).detections()
        metric.update(0, low.select(low.labels == 0))
        metric.update(1, Detections.empty(4, 6, with_masks=False))
        assert metric.compute()["PresenceF1"] == [f1, f1, -1.0]
    with pytest.raises(UserError, match=r"PresenceF1\.threshold: 2 is no number from 0 to 1"):
        PresenceF1(2)


@given(pairs=st.lists(st.tuples(st.integers(0, 5), st.booleans()), min_size=1, max_size=20))
def test_area_under_roc_is_the_share_of_pairs(pairs: list[tuple[int, bool]]) -> None:
    scores, truth = np.array([score for score, _ in pairs], np.float32), np.array([there for _, there in pairs])
    won = [(high > low) + (high == low) / 2 for high in scores[truth] for low in scores[~truth]]
    assert area_under_roc(scores, truth) == pytest.approx(np.mean(won) if won else -1)
