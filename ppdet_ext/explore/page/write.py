"""The page put together and written."""

from __future__ import annotations

from pathlib import Path

from markupsafe import Markup

from ppdet_ext.explore.advice import option_line
from ppdet_ext.explore.analysis import Explored
from ppdet_ext.files.atomic import write_atomic
from ppdet_ext.pages import anchor, render

from .album import Read, album
from .sections import (
    class_section,
    fit_section,
    histograms,
    leak_table,
    odd_table,
    place_section,
    problem_table,
    size_table,
    tiles,
    together_section,
)

TEMPLATES = Path(__file__).resolve().parents[1] / "templates"
TITLES = {
    "head": "Summary",
    "advice": "What to look at",
    "classes": "Classes",
    "shapes": "Sizes and shapes",
    "places": "Where objects lie",
    "together": "Together",
    "images": "Images",
    "leaks": "Shared images",
    "problems": "Faults",
    "suspicious": "Suspicious",
    "fit": "Anchors and resizing",
    "pictures": "Pictures",
}


def write_page(explored: Explored, read: Read | None, file: Path, setting: str = "--output") -> None:
    """Write the page. read: as of `page_text`. Raises: UserError where it cannot be written, naming the `setting`."""
    text = page_text(explored, read)
    # Names that are no text have their odd bytes written out.
    write_atomic(file, lambda aside: aside.write_text(text, encoding="utf-8", errors="backslashreplace"), setting)


def page_text(explored: Explored, read: Read | None) -> str:
    """The page; the same data give the same text. read: gives an image's pixels (h, w, 3) uint8 RGB, None where it cannot;
    without it there are no pictures."""
    facts = explored.facts
    shown = album(explored, read)
    groups = [
        (one.name, anchor("pictures", one.label, one.name), pictures, one.objects)
        for one in facts.classes
        if (pictures := shown.groups.get(f"class-{one.label}"))
    ]
    values = {
        "advice": facts.advice,
        "classes": class_section(facts) if facts.classes else None,
        "shapes": histograms(facts, "objects"),
        "places": place_section(facts),
        "together": together_section(facts),
        "problems": problem_table(facts),
        "suspicious": facts.suspicious,
        "fit": fit_section(facts),
    }
    always = ("head", "images", "leaks", "pictures", "advice")
    sections = [{"anchor": key, "title": title} for key, title in TITLES.items() if key in always or values.get(key)]
    return render(
        "explore.html",
        TEMPLATES,
        title=facts.head.title,
        brand="Data set",
        sections=sections,
        facts=facts,
        tiles=tiles(facts),
        images={"charts": histograms(facts, "images"), "sizes": size_table(facts), "odd": odd_table(facts)},
        leaks=leak_table(facts),
        leak_pictures=[shown.groups[key] for key in sorted(shown.groups) if key.startswith("leak-")],
        album=shown,
        groups=groups,
        option_line=lambda options: Markup.escape(option_line(options)),
        **values,
    )
