"""The page put together and written."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from ppdet_ext.data.images.decode import read_image_of
from ppdet_ext.data.images.depth import AS_SHOWN, Reading
from ppdet_ext.errors import UserError
from ppdet_ext.files.atomic import write_atomic
from ppdet_ext.pages import render
from ppdet_ext.report.schema import Report
from ppdet_ext.report.schema_objects import Picture

from .classes import class_section, curve_section
from .errors import confusion_section, error_section
from .objects import breakdown_section, calibration_section, quality_section
from .outcome import compare_section, competition_sections, label_error_section
from .pictures import Album
from .summary import head_section, run_section

TEMPLATES = Path(__file__).resolve().parents[1] / "templates"
Pixels = Callable[[Picture], "np.ndarray | None"]
MOST_BYTES = 15_000_000
TITLES = {
    "head": "Summary",
    "words": "In words",
    "runs": "Training",
    "classes": "Classes",
    "curves": "Precision and recall",
    "confusion": "Confusion",
    "errors": "Errors",
    "breakdown": "Size and place",
    "calibration": "Calibration",
    "quality": "Mask quality",
    "pictures": "Pictures",
    "label_errors": "Likely label errors",
    "competition": "Competition",
    "compare": "Comparison",
}


def read_pixels(picture: Picture, reading: Reading = AS_SHOWN) -> np.ndarray | None:
    """The picture of a report, (h, w, 3) uint8 RGB; None where its file is no longer there or not as it was."""
    try:
        pixels = read_image_of(picture.file, (picture.height, picture.width), reading)
    except UserError:
        return None
    return pixels if pixels.shape[:2] == (picture.height, picture.width) else None


def write_page(report: Report, pixels: Pixels | None, file: Path, setting: str = "--output") -> None:
    """Write the page of a report.

    Args:
        report: all that is shown; may be one that `read_report` has read.
        pixels: gives a picture of `report.pictures`, such as `read_pixels`; None, or one that gives None, leaves pictures out.
        file: of the page; written whole or not at all.
        setting: what the user changes to have it written elsewhere.

    Raises: UserError where it cannot be written.
    """
    text = page_text(report, pixels)
    write_atomic(file, lambda aside: aside.write_text(text, encoding="utf-8"), setting)


def page_text(report: Report, pixels: Pixels | None, most_bytes: int = MOST_BYTES) -> str:
    """The page. The same report and pixels give the same text; with pictures it has at most about `most_bytes` bytes.

    Pictures are made smaller, and then fewer, until it does; the page says so.
    """
    album = Album.of(report, pixels, most_bytes)
    shown = {
        "head": head_section(report),
        "words": report.words,
        "runs": run_section(report),
        "classes": class_section(report, album),
        "curves": curve_section(report),
        "confusion": confusion_section(report, album),
        "errors": error_section(report, album),
        "breakdown": breakdown_section(report),
        "calibration": calibration_section(report),
        "quality": quality_section(report),
        "pictures": album,
        "label_errors": label_error_section(report, album),
        "competition": competition_sections(report),
        "compare": compare_section(report),
    }
    contents = [{"anchor": key, "title": title} for key, title in TITLES.items() if shown[key] or key == "pictures"]
    return render("report.html", TEMPLATES, title=report.head.title, brand="Report", sections=contents, report=report, **shown)
