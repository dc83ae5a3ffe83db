"""ClassId and AttributesIds: whatever ids are written comes back, whatever is no list of ids is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ppdet_ext.data.formats.label_descriptions import parse_class

IDS = st.integers(0, 10**6)


@given(IDS, st.lists(IDS, max_size=8))
def test_both_formats_give_back_what_was_written(category, attributes):
    in_2019 = "_".join(map(str, [category, *attributes]))
    in_2020 = str(category), ",".join(map(str, attributes))
    assert parse_class(in_2019) == parse_class(*in_2020) == (category, tuple(attributes))


@given(
    st.text(alphabet="0123456789_,.- x٣²+", max_size=12), st.one_of(st.none(), st.text(alphabet="0123456789_,- x", max_size=9))
)
def test_whatever_is_understood_reads_the_same_when_written_again(class_id, attributes):
    try:
        category, numbers = parse_class(class_id, attributes)
    except ValueError:
        return
    assert set(class_id) <= set("0123456789_ ")
    written = [int(part) for part in class_id.split("_")]
    if attributes is not None:
        written += [int(part) for part in attributes.split(",") if attributes.strip()]
    assert [category, *numbers] == written


@pytest.mark.parametrize("text", ["", " ", "_", "6_", "_6", "6__7", "6,7", "-6", "+6", "6.0", "1e3", "٣", "six", "6_x", "²"])
def test_what_is_no_class_is_refused(text):
    with pytest.raises(ValueError):
        parse_class(text)


@pytest.mark.parametrize(("class_id", "attributes"), [("13_20", ""), ("13", "20_45"), ("13", "20,"), ("13", ",20"), ("", "20")])
def test_what_is_no_class_of_2020_is_refused(class_id, attributes):
    with pytest.raises(ValueError):
        parse_class(class_id, attributes)
