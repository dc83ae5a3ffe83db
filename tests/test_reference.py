"""docs/reference is what docs/site/make_reference.py makes of the code, and says what every key does."""

import importlib
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def generator() -> ModuleType:
    sys.path.insert(0, str(ROOT / "docs" / "site"))
    return importlib.import_module("make_reference")


def test_every_key_has_a_meaning(generator: ModuleType) -> None:
    parts = dict(generator.all_parts())
    assert len(parts) > 60
    missing = {name: keys for name, cls in parts.items() if (keys := generator.without_meaning(cls))}
    assert missing == {}, "add `key: what it does` to the docstring of the class or of its base"


def test_every_registered_part_has_its_place(generator: ModuleType) -> None:
    shown = {name for page in generator.pages().values() for name in page.parts}
    registered = {
        name for kind in generator.KINDS.values() for name, cls in kind.items() if cls.__module__.startswith("ppdet_ext.")
    }
    assert registered | set(generator.our_modules()) <= shown


def test_the_pages_are_fresh(generator: ModuleType) -> None:
    texts = generator.written()
    folder = ROOT / "docs" / "reference"
    on_disk = {path.name: path.read_text(encoding="utf-8") for path in folder.glob("*.md")}
    stale = sorted(name for name in texts.keys() | on_disk.keys() if texts.get(name) != on_disk.get(name))
    assert stale == [], "run: python docs/site/make_reference.py"


def test_what_a_docstring_says_is_found(generator: ModuleType) -> None:
    class Base:
        """What it is.

        Args:
            size, shape: of it, and
                so on. colour: red | blue.
        """

    class Part(Base):
        """A part of *that*.

        speed: in m/s.
        """

        def __init__(self, size: int, shape: str = "", colour: str | None = None, speed: float = 1.0) -> None:
            """size: not this one."""

    text = generator.section("Part", Part)
    assert "| `size` | int | required | not this one. |" in text
    assert '| `shape` | str | `""` | of it, and so on. |' in text
    assert r"| `colour` | str or null | `null` | red \| blue. |" in text
    assert "| `speed` | float | `1.0` | in m/s. |" in text
    assert r"A part of \*that\*." in text
    assert generator.without_meaning(Part) == []


def test_the_library_page_tells_arguments_and_properties(generator: ModuleType) -> None:
    text = generator.written()["library.md"]
    assert "| `overrides` | of the configuration," in text
    assert "### Predictor.classes\n\n```text\nclasses: tuple[str, ...]\n```" in text
    assert "| `streams` | batches of a list" in text.split("## runtime.Predictor")[1]
    assert "### runtime.Predictor.predict" not in text
