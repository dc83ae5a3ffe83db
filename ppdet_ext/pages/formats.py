"""How numbers are written on all pages. What is not known is an en dash, never "nan"."""

import math
import unicodedata

UNKNOWN = "–"
MINUS = "−"


def known(value: float | None) -> bool:
    """Whether there is a finite number."""
    return value is not None and math.isfinite(value)


def fixed(value: float | None, digits: int = 3) -> str:
    """0.294, −0.020; as pycocotools prints its figures."""
    if value is None or not math.isfinite(value):
        return UNKNOWN
    text = f"{value:.{digits}f}"
    # What rounds to nothing has no sign.
    return text.lstrip("-") if float(text) == 0 else text.replace("-", MINUS)


def signed(value: float | None, digits: int = 3) -> str:
    """+0.012, −0.020, and 0.000 without a sign."""
    text = fixed(value, digits)
    return f"+{text}" if value is not None and text[0] not in (MINUS, UNKNOWN) and float(text) != 0 else text


def count(value: float | None) -> str:
    """12,568."""
    return UNKNOWN if value is None or not math.isfinite(value) else f"{round(value):,}".replace("-", MINUS)


def percent(value: float | None, digits: int = 0) -> str:
    """A share of 1 as 29 %."""
    return UNKNOWN if value is None or not math.isfinite(value) else f"{fixed(value * 100, digits)} %"


def short(value: float | None) -> str:
    """Three significant digits without needless zeros: 1,234; 12.5; 0.003; 2.5e-05. For axes and hover texts."""
    if value is None or not math.isfinite(value):
        return UNKNOWN
    if abs(value) >= 1000 or float(value).is_integer():
        return count(value)
    return f"{value:.3g}".replace("-", MINUS, 1) if value < 0 else f"{value:.3g}"


def file_size(number: float) -> str:
    """Bytes as 812 B, 14.2 kB, 3.0 MB."""
    for unit in ("B", "kB", "MB"):
        if number < 1000:
            return f"{number:.0f} {unit}" if unit == "B" else f"{number:.1f} {unit}"
        number /= 1000
    return f"{number:.1f} GB"


def duration(seconds: float | None) -> str:
    """0.8 s, 42 s, 3 min 20 s, 2 h 05 min."""
    if seconds is None or not math.isfinite(seconds):
        return UNKNOWN
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def columns_of(text: str) -> int:
    """Columns that a text takes: two for each Chinese, Japanese or Korean character."""
    return sum(2 if unicodedata.east_asian_width(character) in "WF" else 1 for character in text)


def clipped(text: str, columns: int = 24) -> str:
    """The text in one line, with an ellipsis in its midst where it is longer: beginnings and endings tell names apart."""
    line = " ".join(text.split())
    if columns_of(line) <= columns:
        return line
    head, tail = line, line
    while columns_of(head) > (columns - 1) * 2 // 3:
        head = head[:-1]
    while columns_of(tail) > columns - 1 - columns_of(head):
        tail = tail[1:]
    return f"{head.rstrip()}…{tail.lstrip()}"
