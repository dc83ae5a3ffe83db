"""How numbers are written."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ppdet_ext.pages import formats

NUMBERS = st.one_of(st.none(), st.floats(), st.integers(-(10**12), 10**12))


@pytest.mark.parametrize(
    ("written", "text"),
    [
        (formats.fixed(0.29449), "0.294"),
        (formats.fixed(-0.02), "−0.020"),
        (formats.fixed(-0.0001), "0.000"),
        (formats.signed(0.012), "+0.012"),
        (formats.signed(-0.0001), "0.000"),
        (formats.count(12568), "12,568"),
        (formats.percent(0.294), "29 %"),
        (formats.short(0.25), "0.25"),
        (formats.short(-2.5), "−2.5"),
        (formats.short(1234.0), "1,234"),
        (formats.file_size(812), "812 B"),
        (formats.file_size(3_040_000), "3.0 MB"),
        (formats.duration(0.84), "0.8 s"),
        (formats.duration(200), "3 min 20 s"),
        (formats.duration(7500), "2 h 05 min"),
        (formats.clipped("a  b\nc"), "a b c"),
        (formats.clipped("a class with a very long name of 3", 12), "a class…of 3"),
    ],
)
def test_numbers_and_names_as_people_write_them(written: str, text: str) -> None:
    assert written == text


@given(NUMBERS)
def test_what_is_not_known_is_a_dash_and_nothing_else(value: float | None) -> None:
    unknown = value is None or not math.isfinite(value)
    for write in (formats.fixed, formats.signed, formats.count, formats.percent, formats.short, formats.duration):
        assert (write(value) == formats.UNKNOWN) == unknown


@settings(max_examples=40)
@given(st.text(max_size=60), st.integers(6, 30))
def test_a_clipped_name_is_no_longer_than_asked(name: str, columns: int) -> None:
    assert formats.columns_of(formats.clipped(name, columns)) <= columns
