"""A training step against mmdetection's numbers: sampling, targets, losses, gradients; and four steps of SGD."""

from unittest.mock import patch

import pytest
from reference_checks import Check
from reference_training import TRAINED, Training, sgd
from reference_zoo import build

from ppdet_ext.modeling.ops import winograd


def bad(checks: list[Check]) -> list[Check]:
    """Those out of tolerance; AssertionError where there are none at all."""
    assert checks
    return [c for c in checks if not c.ok]


@pytest.fixture(scope="module", params=TRAINED)
def training(request):
    return Training(request.param)


def test_samples_of_all_stages_and_both_branches(training):
    checks = training.sampling()
    branches = 2 if training.name in ("tiny_a", "tiny_b", "tiny_c") else 1
    stages = 1 if training.name == "tiny_mask" else 3
    assert len([c for c in checks if c.key.endswith("_inds")]) == 2 * branches * stages
    assert len([c for c in checks if c.key.endswith("_flat")]) == 4
    assert len([c for c in checks if c.key.endswith("_mask_targets_packed")]) == stages
    assert bad(checks) == []


def test_boxes_targets_and_outputs(training):
    assert bad(training.tensors()) == []


def test_losses(training):
    assert bad(training.loss_checks()) == []


def test_gradients(training):
    assert bad(training.gradient_checks()) == []


def test_stored_statistics_stay_as_they_were(training):
    before, after = build(training.name).state_dict(), training.model.state_dict()
    stored = [k for k in after if k.endswith(("_mean", "_variance"))]
    assert stored
    assert all((after[k].numpy() == before[k].numpy()).all() for k in stored)


@pytest.mark.parametrize("name", TRAINED)
def test_four_steps_of_sgd(name):
    assert bad(sgd(name)) == []


def test_gradients_through_fast_convolutions():
    with patch.multiple(winograd, MIN_CHANNELS=1, MIN_CELLS=1):  # the tiny models are too narrow and small otherwise
        training = Training("tiny_b")
    assert bad(training.loss_checks() + training.gradient_checks()) == []
