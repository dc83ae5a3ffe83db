"""Segmentors on two processes over gloo: the same gradients as on one rank, and the same parameters after every step."""

import numpy as np
import pytest
import segmentor_ranks
import two_ranks

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def ranks(module_path):
    process = two_ranks.start(module_path, "segmentor_ranks")
    try:
        return two_ranks.results(process, module_path)
    finally:
        process.kill()


def test_two_ranks_of_one_and_two_images_are_one_rank_with_all_three(ranks):
    losses, gradients = ranks[0]["whole"]
    for name, whole in losses.items():
        assert np.mean([found["half"][0][name] for found in ranks]) == pytest.approx(whole, rel=1e-5)
    for name, whole in gradients.items():
        for found in ranks:
            away = np.abs(found["half"][1][name].astype(np.float64) - whole).max()
            assert away < 1e-5 * np.abs(whole).max() + 1e-9, name


@pytest.mark.parametrize("case", [case for case in segmentor_ranks.CASES if case.startswith("steps")])
def test_parameters_stay_identical(ranks, case):
    digests = [found[case] for found in ranks]
    assert digests[0] == digests[1]
    assert len(set(digests[0])) == segmentor_ranks.STEPS, "every step moves them"
