"""Fonts that have the characters to be drawn, so that no name becomes a row of empty boxes."""

import logging
import os
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

from PIL import ImageFont

try:
    import matplotlib
    from matplotlib import font_manager
    from matplotlib.ft2font import FT2Font
except ImportError:
    # The runtime for exported models does without: Pillow's own font is all there is, and has ASCII.
    matplotlib = None  # type: ignore[assignment]

# Parts of file names of fonts that have Chinese, Japanese and Korean; they are looked at first.
LIKELY = ("cjk", "notosanssc", "wqy", "wenquanyi", "sourcehan", "simhei", "msyh", "pingfang", "droidsansfallback", "unifont")
_NO_MATPLOTLIB = "Install matplotlib, which brings a font of more scripts, and finds those that are installed"
logger = logging.getLogger("ppdet_ext")


def own_font() -> str:
    """DejaVu Sans, which matplotlib brings: Latin, Greek and Cyrillic; "" without it, for Pillow's own font."""
    if matplotlib is None:
        return ""
    return str(Path(matplotlib.get_data_path()) / "fonts/ttf/DejaVuSans-Bold.ttf")


@lru_cache(maxsize=1)
def system_fonts() -> tuple[str, ...]:
    """Files of the fonts that are installed, likely ones for many scripts first."""
    if matplotlib is None:
        return ()
    paths = sorted(font_manager.findSystemFonts())
    return tuple(sorted(paths, key=lambda path: not any(part in os.path.basename(path).lower() for part in LIKELY)))


@lru_cache(maxsize=256)
def _characters(path: str) -> frozenset[int]:
    """Code points that a font has glyphs for; none of a file that cannot be read."""
    if not path:
        return frozenset(range(0x21, 0x7F))
    try:
        return frozenset(FT2Font(path).get_charmap())
    except (OSError, RuntimeError, ValueError):
        return frozenset()


@lru_cache(maxsize=1024)
def font_file(text: str) -> str | None:
    """The first font that has every character of a text, None where no font has: our own one, then those installed."""
    needed = {ord(character) for character in text if not character.isspace()}
    if needed <= _characters(own_font()):
        return own_font()
    return next((path for path in system_fonts() if needed <= _characters(path)), None)


def font_of(text: str, size: int) -> ImageFont.FreeTypeFont:
    """A font of that many pixels for a text that `drawable` has made."""
    return _loaded(font_file(text) or own_font(), size)


@lru_cache(maxsize=16)
def _loaded(path: str, size: int) -> ImageFont.FreeTypeFont:
    font = ImageFont.truetype(path, size) if path else ImageFont.load_default(size)
    assert isinstance(font, ImageFont.FreeTypeFont)  # Pillow without FreeType has no truetype either
    return font


def drawable(text: str) -> str:
    """The text in one line, with "?" for each character that no one font can draw together with the others."""
    line = " ".join(text.split())
    if font_file(line) is not None:
        return line
    known = _characters(own_font())
    return "".join(character if ord(character) in known else "?" for character in line)


def drawable_names(class_names: Sequence[str], category_ids: Sequence[int]) -> list[str]:
    """Class names as pictures can show them: "class <id>" for one that no installed font has, which a warning says."""
    # Scores stand beside names.
    lost = [name for name in class_names if font_file(f"{name} 0123456789.") is None]
    if lost:
        logger.warning(
            "No installed font has the characters of %s (%d of %d classes); pictures show their ids. %s",
            ", ".join(lost[:3]),
            len(lost),
            len(class_names),
            "Install a font that has them, such as Noto Sans CJK (fonts-noto-cjk)" if matplotlib else _NO_MATPLOTLIB,
        )
    return [f"class {category_id}" if name in lost else name for name, category_id in zip(class_names, category_ids)]
