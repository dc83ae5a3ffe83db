"""Charts: well formed, within their edges, with the values that they were given."""

import json
import math
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markupsafe import Markup

from ppdet_ext.pages import charts
from ppdet_ext.pages.charts import Axis, Bar, Group, Interval, Mark, Part, Point, Series
from ppdet_ext.pages.charts.scale import Scale, range_of, spread

EVIL = "</script><b>&\"'\n覆盖"
X = [0.0, 0.25, 0.5, 1.0]


def all_kinds(name: str) -> dict[str, Markup]:
    """One of each kind, with that name wherever there is one."""
    return {
        "lines": charts.lines(name, [Series(name, X, [1, 0.5, None, 0])], Axis(name), Axis(name), marks=[Mark(0.5, 0.5, name)]),
        "two lines": charts.lines(name, [Series(name, X, X), Series(name, X, X, dashed=True, dots=True)], Axis("x"), Axis("y")),
        "bars": charts.bars(name, [Bar(name, [Part(1, title=name), Part(2)], name, "#a"), Bar("b", [Part(-1)], "−1")]),
        "histogram": charts.histogram(name, [0, 1, 2], [Group(name, [3, 0]), Group("b", [1, 0])], name, verticals=[(1, name)]),
        "scatter": charts.scatter(name, [Point(0.5, 0.5, name, link="#a")], Axis(name), Axis(name), diagonal=True),
        "intervals": charts.intervals(name, [Interval(name, 0.1, -0.1, 0.3)]),
        "heat map": charts.heat_map(name, [[0, 0.5], [None, 1]], title=lambda i, j: name),
        "matrix": charts.matrix(
            name, [name, "b"], [name, "b"], [[1, 0], [2, 3]],
            rows_are="a", columns_are="b", strength=lambda i, j: 0.5, link=lambda i, j: "#a",
        ),
    }  # fmt: skip


@pytest.mark.parametrize("kind", sorted(all_kinds("a")))
def test_names_are_data(kind: str) -> None:
    chart = all_kinds(EVIL)[kind]
    tree = ElementTree.fromstring(str(chart))
    assert "<b>" not in str(chart)
    assert "</script>" not in str(chart)
    # A name may be made shorter, never another one.
    assert any("</script>" in text for text in tree.itertext())


@pytest.mark.parametrize("kind", sorted(all_kinds("a")))
def test_same_arguments_same_bytes(kind: str) -> None:
    assert all_kinds("a")[kind] == all_kinds("a")[kind]


def test_lines_hand_their_values_to_the_pointer() -> None:
    chart = charts.lines("l", [Series("a", X, [1, 0.5, None, 0]), Series("b", [0, 1], [0, 1])], Axis("recall"), Axis("y"))
    told = json.loads(ElementTree.fromstring(str(chart)).attrib["data-lines"])
    assert told["x"] == "recall"
    a, b = told["lines"]
    assert (a[0], a[4], a[5]) == ("a", ["0", "0.25", "1"], ["1", "0.5", "0"])
    assert (b[4], b[5]) == (["0", "1"], ["0", "1"])
    left, right, top, bottom = told["edges"]
    assert (a[2][0], a[2][-1], a[3][0], a[3][-1]) == (left, right, top, bottom)


def test_a_gap_lifts_the_pen_and_faint_lines_are_not_read() -> None:
    chart = charts.lines("l", [Series("a", X, [1, math.nan, 0.5, 0]), Series("far", X, X, faint=True)], Axis("x"), Axis("y"))
    (line,) = re.findall(r'd="([^"]*)" class="line" style', str(chart))
    assert line.count("M") == 2
    assert "far" not in json.loads(ElementTree.fromstring(str(chart)).attrib["data-lines"])


def test_links_in_a_chart_are_there_for_readers() -> None:
    roles = {
        ElementTree.fromstring(str(charts.bars("b", [Bar("a", [Part(1)], link=link)]))).attrib["role"] for link in (None, "#a")
    }
    assert roles == {"img", "group"}


def test_a_bar_is_as_long_as_its_value() -> None:
    chart = charts.bars("b", [Bar("a", [Part(1.0)]), Bar("b", [Part(0.5), Part(0.25)])], highest=1.0)
    one, half, quarter = (float(width) for width in re.findall(r'width="([\d.]+)" height="14', str(chart)))
    assert half == pytest.approx(one / 2, abs=0.2)
    assert quarter == pytest.approx(one / 4, abs=0.2)


def test_a_matrix_says_what_its_cells_are_without_colour() -> None:
    table = ElementTree.fromstring(str(all_kinds("pit")["matrix"])).find("table")
    assert table is not None
    cells = [["".join(cell.itertext()) for cell in row.findall("td")] for row in table.findall("tr")]
    assert cells == [[], ["1", "·"], ["2", "3"]]
    assert [cell.attrib["title"] for cell in table.iter("td")][2] == "b → pit: 2"


@pytest.mark.parametrize(
    "empty",
    [
        lambda: charts.lines("l", [], Axis("x"), Axis("y")),
        lambda: charts.lines("l", [Series("a", [], [])], Axis("x"), Axis("y")),
        lambda: charts.bars("b", []),
        lambda: charts.bars("b", [Bar("a", [Part(0.0)])]),
        lambda: charts.histogram("h", [0, 1], [Group("a", [0])], "x"),
        lambda: charts.scatter("s", [], Axis("x"), Axis("y")),
        lambda: charts.intervals("i", []),
        lambda: charts.heat_map("m", []),
        lambda: charts.heat_map("m", [[None]]),
    ],
)
def test_nothing_to_draw_is_drawn_all_the_same(empty: Callable[[], Markup]) -> None:
    assert "nan" not in str(empty())
    ElementTree.fromstring(str(empty()))


@given(st.lists(st.floats(-1e9, 1e9), min_size=1, max_size=20), st.booleans())
def test_ticks_are_round_and_within_the_range(values: list[float], zero: bool) -> None:
    low, high = range_of(values, zero=zero)
    assert low <= min(values) + 1e-8 * (high - low)
    assert high >= max(values) - 1e-8 * (high - low)
    ticks = charts.nice_ticks(low, high)
    assert 2 <= len(ticks) <= 12
    assert all(low - 1e-6 * abs(high - low) <= tick <= high + 1e-6 * abs(high - low) for tick in ticks)


@given(st.floats(1e-3, 1e6), st.floats(1.5, 1e6))
def test_a_scale_of_powers_reaches_from_edge_to_edge(low: float, factor: float) -> None:
    scale = Scale(low, low * factor, 10, 110, log=True)
    assert scale(low) == pytest.approx(10)
    assert scale(low * factor) == pytest.approx(110)
    assert scale(low * math.sqrt(factor)) == pytest.approx(60)


@given(st.lists(st.floats(0, 200), max_size=8))
def test_labels_keep_apart_and_in_order(places: list[float]) -> None:
    moved = spread(places, 13, 0, 300)
    order = sorted(range(len(places)), key=lambda i: places[i])
    assert all(moved[b] - moved[a] >= 13 - 1e-6 for a, b in zip(order, order[1:]))
