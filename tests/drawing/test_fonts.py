"""Names in any script are drawn, or replaced by their class's id: never as empty boxes."""

from pathlib import Path

import numpy as np
import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen

from ppdet_ext.drawing import fonts
from ppdet_ext.drawing.detections import draw_detections
from ppdet_ext.structures import Detections

SCRATCH = "划痕"


def write_font(path: Path, characters: str) -> str:
    """A font in which each of these characters is a black square; its .notdef is blank."""
    names = [".notdef", *(f"u{ord(one):x}" for one in characters)]
    pen = TTGlyphPen(None)
    pen.moveTo((50, 0))
    for corner in ((50, 900), (950, 900), (950, 0)):
        pen.lineTo(corner)
    pen.closePath()
    square = pen.glyph()
    builder = FontBuilder(1000, isTTF=True)
    builder.setupGlyphOrder(names)
    builder.setupCharacterMap({ord(one): name for one, name in zip(characters, names[1:])})
    builder.setupGlyf({name: TTGlyphPen(None).glyph() if name == ".notdef" else square for name in names})
    builder.setupHorizontalMetrics(dict.fromkeys(names, (1000, 0)))
    builder.setupHorizontalHeader(ascent=900, descent=-100)
    builder.setupNameTable({"familyName": "Squares", "styleName": "Regular"})
    builder.setupOS2(sTypoAscender=900, usWinAscent=900, usWinDescent=100)
    builder.setupPost()
    builder.save(path)
    return str(path)


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch):
    """Makes these files all the fonts there are beside matplotlib's own."""

    def install(*paths: str) -> None:
        monkeypatch.setattr(fonts, "system_fonts", lambda: paths)
        fonts.font_file.cache_clear()

    yield install
    fonts.font_file.cache_clear()


def drawn(name: str) -> np.ndarray:
    box = np.array([[10, 40, 100, 90]], np.float32)
    one = Detections(100, 200, box, np.array([0.9], np.float32), np.array([0]), None)
    return draw_detections(np.zeros((100, 200, 3), np.uint8), one, [name], boxes=False)


def test_latin_needs_no_installed_font(installed):
    installed()
    assert fonts.font_file("scratch 0.91") == fonts.own_font()
    assert fonts.drawable_names(["scratch", "Kratzer größer", "царапина"], [1, 2, 3]) == [
        "scratch",
        "Kratzer größer",
        "царапина",
    ]


def test_an_installed_font_is_found_by_its_characters(installed, tmp_path, caplog):
    wrong = write_font(tmp_path / "latin_cjk.ttf", "abc")
    right = write_font(tmp_path / "squares.ttf", SCRATCH + "0123456789.")
    installed(wrong, right)
    assert fonts.font_file(f"{SCRATCH} 0.90") == right
    assert fonts.drawable_names(["pit", SCRATCH], [1, 2]) == ["pit", SCRATCH]
    assert not caplog.records
    # Six squares on a plate, and no hollow box, whose inside would be the plate's colour again.
    plate = drawn(SCRATCH)
    assert (plate == 255).all(axis=2).any()
    assert not np.array_equal(plate, drawn("??"))


def test_without_such_a_font_ids_are_drawn_and_one_warning_says_so(installed, caplog, monkeypatch):
    installed()
    monkeypatch.setattr(fonts.logger.parent, "propagate", True)
    assert fonts.drawable_names(["pit", SCRATCH, "裂纹"], [1, 7, 9]) == ["pit", "class 7", "class 9"]
    assert [record.getMessage() for record in caplog.records] == [
        f"No installed font has the characters of {SCRATCH}, 裂纹 (2 of 3 classes); pictures show their ids. Install a font "
        "that has them, such as Noto Sans CJK (fonts-noto-cjk)"
    ]


def test_what_no_font_has_is_a_question_mark_and_never_an_empty_box(installed):
    installed()
    assert fonts.drawable(f"pit {SCRATCH}\n0.90") == "pit ?? 0.90"
    assert np.array_equal(drawn(SCRATCH), drawn("??"))


def test_a_damaged_font_is_passed_over(installed, tmp_path):
    (tmp_path / "noto.ttf").write_bytes(b"no font")
    installed(str(tmp_path / "noto.ttf"), str(tmp_path / "missing.ttf"))
    assert fonts.font_file(SCRATCH) is None
