"""Pages: what is shared is escaped, and self-contained."""

import base64
import json
import re
import xml.etree.ElementTree as ElementTree

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jinja2 import UndefinedError

from ppdet_ext.pages import (
    Column,
    Layer,
    Panel,
    Row,
    Stored,
    Window,
    anchor,
    environment,
    jpeg_uri,
    json_script,
    panels,
    render,
    script,
    store,
    style,
    table,
    window_around,
)  # fmt: skip
from ppdet_ext.pages.charts import svg
from ppdet_ext.pages.colours import DARK, FIXED, LIGHT

EVIL = "</script><b>&\"'.jpg"


def contrast(a: str, b: str) -> float:
    """The contrast ratio of two colours (WCAG 2.2)."""

    def luminance(colour: str) -> float:
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    high, low = sorted((luminance(a), luminance(b)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("theme", [LIGHT, DARK], ids=["light", "dark"])
@pytest.mark.parametrize("ink", ["ink", "muted", "accent", "good", "bad", "prediction-text"])
@pytest.mark.parametrize("ground", ["page", "card", "raised"])
def test_texts_can_be_read(theme: dict[str, str], ink: str, ground: str) -> None:
    assert contrast(theme[ink], theme[ground]) >= 4.5


def test_every_colour_of_the_style_sheet_is_declared() -> None:
    used = set(re.findall(r"var\(--([\w-]+)\)", str(style())))
    assert used - {*FIXED, *LIGHT} == {"c", "v", "own", "rim", "wide"}
    assert LIGHT.keys() == DARK.keys()


def test_style_and_script_need_no_network() -> None:
    assert "url(" not in style()
    assert "@import" not in style()
    assert set(re.findall(r"https?://[^\s\"']+", str(script()))) == {"http://www.w3.org/2000/svg"}
    assert len(style()) + len(script()) < 40_000


def test_names_in_templates_are_escaped_and_missing_ones_are_errors() -> None:
    drawn = render("page.html", title=EVIL, brand="b", sections=[{"anchor": "a", "title": EVIL}])
    assert EVIL not in drawn
    assert drawn.count("&lt;/script&gt;&lt;b&gt;") == 3
    with pytest.raises(UndefinedError):
        render("page.html", title="t")
    assert environment().autoescape is True


def test_data_for_scripts_cannot_end_them() -> None:
    text = str(json_script("data", {"name": EVIL + "<!--"}))
    assert text.count("<") == 2
    assert json.loads(text[text.index(">") + 1 : text.rindex("<")]) == {"name": EVIL + "<!--"}


@given(st.text(max_size=40), st.text(max_size=40))
def test_anchors_are_plain_and_differ_where_names_do(a: str, b: str) -> None:
    assert re.fullmatch(r"[a-z0-9-]+", anchor(a) or "-")
    assert (anchor(a) == anchor(b)) == (a == b)


def test_a_table_sorts_by_values_not_by_their_texts() -> None:
    rows = [Row([EVIL, 0.25, float("nan")]), Row(["b", None, 1234.0], "anchor", dim=True)]
    drawn = ElementTree.fromstring(str(table([Column("class"), Column("AP", "help", bar=True), Column("n")], rows, "caption")))
    assert [cell.attrib.get("data-v") for cell in drawn.iter("td")] == ["0.25", "", "", "1234.0"]
    assert [cell.text for cell in drawn.iter("td")] == ["0.250", "–", "–", "1234.000"]
    assert [head.attrib.get("class") for head in drawn.iter("th") if head.attrib["scope"] == "col"] == [
        None,
        "number",
        "number",
    ]
    assert len(list(drawn.iter("button"))) == 3
    assert next(iter(drawn.iter("tr"))).attrib == {}
    assert [row.attrib.get("id") for row in drawn.iter("tr")] == [None, None, "anchor"]


def test_a_picture_is_a_jpeg_within_its_bounds() -> None:
    pixels = np.zeros((30, 200, 3), np.uint8)
    pixels[..., 0] = 200
    kind, data = jpeg_uri(pixels, longest=100).split(",")
    assert kind == "data:image/jpeg;base64"
    decoded = cv2.imdecode(np.frombuffer(base64.b64decode(data), np.uint8), cv2.IMREAD_COLOR)
    assert decoded.shape == (15, 100, 3)
    # Red stays red.
    assert decoded[0, 0, 2] > 150 > 60 > decoded[0, 0, 0]
    assert jpeg_uri(pixels) == jpeg_uri(pixels.copy())


def test_panels_show_one_stored_picture_and_escape_titles() -> None:
    uri = jpeg_uri(np.zeros((20, 60, 3), np.uint8))
    kept = str(store("image-3", [Stored(uri, Window(0, 0, 20, 60))], ["M0 0h5v5h-5z"]))
    assert '<g id="image-3-0"><use href="#image-3-0p" class="rim"/><path id="image-3-0p"' in kept
    shown = str(panels("image-3", Window(5, 10, 15, 30), [Panel("a", [Layer(0, "truth", EVIL)]), Panel("b", [], EVIL)], EVIL))
    assert kept.count("base64") == 1
    assert "base64" not in shown
    assert shown.count('href="#image-3-i0"') == 2
    assert shown.count('viewBox="10 5 20 10"') == 2
    assert EVIL not in shown
    for text in (kept, shown):
        ElementTree.fromstring(text)


@settings(max_examples=50)
@given(st.data(), st.integers(1, 300), st.integers(1, 300))
def test_a_window_holds_its_boxes_and_stays_inside(data: st.DataObject, height: int, width: int) -> None:
    x1, y1 = data.draw(st.floats(0, width - 1)), data.draw(st.floats(0, height - 1))
    x2, y2 = data.draw(st.floats(x1, width)), data.draw(st.floats(y1, height))
    window = window_around(np.array([[x1, y1, x2, y2]]), height, width, least=40)
    assert 0 <= window.y1 <= y1
    assert y2 <= window.y2 <= height
    assert 0 <= window.x1 <= x1
    assert x2 <= window.x2 <= width
    assert window.size[0] >= min(40, height)
    assert window.size[1] >= min(40, width)


@pytest.mark.parametrize("name", ["truth", "prediction"])
def test_outlines_stand_out_from_dark_sheets(name: str) -> None:
    assert contrast(FIXED[name], "#303030") >= 3


def test_on_small_screens_charts_move_sideways_and_keep_their_letters() -> None:
    assert "--own:540px" in svg.canvas(540, 240, "AP")
    assert ".sideways>svg.chart{min-width:calc(var(--own)*.9)}" in str(style()).partition("(max-width:900px)")[2]
