"""Keys of per-class settings: which class they mean, and which keys are written for a class."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ppdet_ext.errors import UserError
from ppdet_ext.postprocess import class_keys, label_of, per_class

NAMES = st.lists(st.sampled_from(["default", "0", "1", "2", "5", "hat", "shoe", "x"]), min_size=1, max_size=7)


@settings(max_examples=300)
@given(NAMES, st.data())
def test_a_written_key_means_its_class_and_no_class_goes_without_need(names, data) -> None:
    ids = data.draw(st.lists(st.integers(0, 9), min_size=len(names), max_size=len(names), unique=True))
    keys = class_keys(names, ids)
    for label, key in enumerate(keys):
        if key is not None:
            assert label_of(key, names, ids, "k") == label
            assert per_class({key: 1}, names, ids, "k", 0).tolist() == [float(i == label) for i in range(len(names))]
        else:
            assert names[label] == "default" or names.count(names[label]) > 1
            assert str(ids[label]) in names
    found = [key for key in keys if key is not None]
    assert len(set(found)) == len(found)


def test_names_win_over_ids() -> None:
    names, ids = ["default", "5", "hat"], [5, 1, 9]
    assert [label_of(key, names, ids, "k") for key in (5, "5", 1, 9, "hat", "default")] == [1, 1, 1, 2, 2, 0]
    assert class_keys(names, ids) == [None, "5", "hat"]
    assert class_keys(["default", "hat"], [5, 1]) == ["5", "hat"]
    # "default" in a mapping is the value of the others, whatever classes are called.
    assert per_class({"default": 1, "5": 2}, names, ids, "k", 0).tolist() == [1, 2, 1]


def test_a_name_of_several_classes_is_refused() -> None:
    names, ids = ["hat", "shoe", "hat"], [1, 2, 3]
    with pytest.raises(UserError, match="k: 2 classes are named 'hat'; give their category ids"):
        label_of("hat", names, ids, "k")
    assert class_keys(names, ids) == ["1", "shoe", "3"]
    assert per_class({"1": 4, 3: 5}, names, ids, "k", 0).tolist() == [4, 0, 5]
