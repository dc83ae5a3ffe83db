"""The templates' environment: everything is escaped, a name that is not there is an error, numbers have their formats.

A page is one file that needs no network: the style sheet, the script and the pictures are inside it.
"""

import hashlib
import re
from functools import lru_cache
from pathlib import Path
from typing import Any

import jinja2
from jinja2.utils import htmlsafe_json_dumps
from markupsafe import Markup

from . import formats
from .colours import css_variables

FOLDER = Path(__file__).parent
STATIC, TEMPLATES = FOLDER / "static", FOLDER / "templates"
FILTERS = {
    "fixed": formats.fixed, "signed": formats.signed, "count": formats.count, "percent": formats.percent,
    "short": formats.short, "file_size": formats.file_size, "duration": formats.duration, "clipped": formats.clipped,
}  # fmt: skip


@lru_cache(maxsize=8)
def environment(*folders: Path) -> jinja2.Environment:
    """Templates of `folders`, then of this room. They have formats as filters, and style, script and json_script."""
    loader = jinja2.FileSystemLoader([*map(str, folders), str(TEMPLATES)])
    made = jinja2.Environment(
        loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    made.filters.update(FILTERS)
    made.globals.update(style=style, script=script, json_script=json_script)
    return made


def render(template: str, *folders: Path, **values: Any) -> str:
    """A template filled in. The same values give the same bytes."""
    return environment(*folders).get_template(template).render(**values)


@lru_cache(maxsize=1)
def style() -> Markup:
    """The style sheet of all pages, with the colours of both themes."""
    return Markup(css_variables() + (STATIC / "style.css").read_text(encoding="utf-8"))


@lru_cache(maxsize=1)
def script() -> Markup:
    """The script of all pages: theme, sorted tables, values under the pointer, layers."""
    return Markup((STATIC / "page.js").read_text(encoding="utf-8"))


def json_script(name: str, value: Any) -> Markup:
    """Data for a script, in an element of that id; no text in it can end the element."""
    return Markup('<script type="application/json" id="{}">{}</script>').format(name, htmlsafe_json_dumps(value))


def anchor(*words: object) -> str:
    """An id for the page's links, of letters, digits and hyphens, that differs where the words differ."""
    text = "-".join(map(str, words))
    plain = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")
    if plain == text:
        return plain
    # Names that look alike in plain letters ("a b", "a/b") are told apart by what they are made of.
    return f"{plain[:40]}-{hashlib.sha256(text.encode('utf-8', 'surrogatepass')).hexdigest()[:6]}".lstrip("-")
