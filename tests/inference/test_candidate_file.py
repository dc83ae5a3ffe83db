"""Stored candidates with probability maps and presence come back as they were; damaged files are predicted again."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ppdet_ext.inference.candidate_file import load, pack, quantised, restored, save, unpack
from ppdet_ext.structures import Candidates


def drawn(seed: int, classes: int = 3, told: bool = True) -> Candidates:
    rng = np.random.default_rng(seed)
    height, width = rng.integers(2, 30, 2)
    maps = (rng.random((classes, height, width)) * rng.choice([0, 0.5, 1], (classes, 1, 1))).astype(np.float32)
    maps[:, : rng.integers(0, height)] = 0
    return Candidates.of_class_maps(maps, rng.random(classes, np.float32) if told else None)


def assert_same(one: Candidates, other: Candidates) -> None:
    assert (one.height, one.width) == (other.height, other.width)
    for key in ("boxes", "scores", "labels", "presence"):
        np.testing.assert_array_equal(getattr(one, key), getattr(other, key))
    assert [(m.box, m.stored) for m in one.maps] == [(m.box, m.stored) for m in other.maps]


@given(st.lists(st.integers(0, 2**31), max_size=5), st.booleans())
@settings(max_examples=40)
def test_maps_and_presence_come_back(seeds: list[int], told: bool) -> None:
    found = [(i * 7, quantised(drawn(seed, told=told))) for i, seed in enumerate(seeds)]
    again = unpack(pack(found))
    assert [im_id for im_id, _ in again] == [im_id for im_id, _ in found]
    for (_, one), (_, other) in zip(found, again):
        if one.maps or any(each.maps for _, each in found):
            assert_same(one, other)
            assert restored(one) is one


def test_files(tmp_path) -> None:
    found = [(3, quantised(drawn(1))), (5, quantised(drawn(2)))]
    path = tmp_path / "candidates.npz"
    save(path, found)
    for (_, one), (_, other) in zip(found, load(path)):
        assert_same(one, other)
        threshold = 0.4
        assert one.masks(threshold) == other.masks(threshold)
    with np.load(path) as stored:
        arrays = dict(stored)
    arrays["map_bytes"] = arrays["map_bytes"][:-1]
    np.savez(path, **arrays)
    assert load(path) is None


def test_what_cannot_be_stored() -> None:
    with pytest.raises(ValueError, match="quantised"):
        pack([(1, drawn(1))])
    with pytest.raises(ValueError, match="some images only"):
        pack([(1, quantised(drawn(1))), (2, quantised(drawn(2, told=False)))])
