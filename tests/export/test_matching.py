"""Objects of two lists are told to be the same, whatever their order."""

import numpy as np
import pytest

from ppdet_ext.export.matching import match, object_differences


def objects(seed: int, count: int = 12) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    corner = rng.uniform(0, 200, (count, 2))
    return {
        "boxes": np.concatenate([corner, corner + rng.uniform(10, 40, (count, 2))], axis=1).astype(np.float32),
        "scores": rng.uniform(0.1, 1, count).astype(np.float32),
        "labels": rng.integers(0, 3, count),
        "image": np.sort(rng.integers(0, 2, count)),
        "probs": rng.uniform(0, 1, (count, 4, 4)).astype(np.float32),
    }


@pytest.mark.parametrize("seed", range(3))
def test_another_order_is_no_difference_and_a_shift_is_told(seed):
    a = objects(seed)
    order = np.random.default_rng(seed).permutation(len(a["scores"]))
    b = {name: value[order] for name, value in a.items()}
    rows, columns = match(a, b)
    np.testing.assert_array_equal(order[columns], rows)
    assert all(found == (0, 0) for found in object_differences(a, b).values())
    b["boxes"] = b["boxes"] + np.float32(0.25)
    found = object_differences(a, b)
    assert found["boxes"] == pytest.approx((0.25, 0.25), abs=1e-4)
    assert found["unmatched"] == (0, 0)


@pytest.mark.parametrize("name", ["labels", "image"])
def test_another_class_or_image_is_another_object(name):
    a = objects(0)
    b = {**a, name: a[name] + 5}
    assert object_differences(a, b)["unmatched"] == (1, 1)


def test_nothing_found_by_one_or_both():
    a, nothing = objects(0), {name: value[:0] for name, value in objects(0).items()}
    assert object_differences(a, nothing)["unmatched"] == (1, 1)
    assert all(found == (0, 0) for found in object_differences(nothing, nothing).values())
