"""The site: every page is in its navigation, links become the site's, and MkDocs, where it is installed, builds it strictly."""

import importlib.util
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
CONFIG = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))
# What a browser would fetch by itself.
REMOTE = re.compile(r"<(?:script|link|img|iframe|source)\b[^>]*?\b(?:src|href)\s*=\s*[\"']?(?:https?:)?//[^>\s]*", re.I)


@pytest.fixture(scope="module")
def hooks() -> ModuleType:
    spec = importlib.util.spec_from_file_location("site_hooks", ROOT / "docs" / "site" / "hooks.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def entries(nav: Any) -> Iterator[str]:
    """The pages of a navigation."""
    if isinstance(nav, str):
        yield nav
    for one in nav if isinstance(nav, list) else nav.values() if isinstance(nav, dict) else ():
        yield from entries(one)


def test_every_page_is_in_the_navigation_once(hooks: ModuleType) -> None:
    docs = ROOT / "docs"
    pages = [str(path.relative_to(docs)) for path in docs.rglob("*.md")]
    pages += [f"{path.stem}.md" for path in docs.glob("*.ipynb")] + list(hooks.OUTSIDE.values())
    assert sorted(entries(CONFIG["nav"])) == sorted(pages)


def test_nothing_is_fetched_from_other_hosts() -> None:
    assert CONFIG["theme"]["font"] is False
    assert "analytics" not in CONFIG["extra"]
    assert CONFIG["plugins"] == ["search"]
    assert not any("//" in str(one) for key in ("extra_css", "extra_javascript") for one in CONFIG.get(key, []))


class Page:
    """What a hook sees of MkDocs' page."""

    def __init__(self, place: str) -> None:
        self.file = type("File", (), {"src_uri": place})


@pytest.mark.parametrize(
    ("place", "text", "expected"),
    [
        ("splits.md", "[a](../CONTRIBUTING.md#rules)", "[a](outside/CONTRIBUTING.md#rules)"),
        ("splits.md", "[`f`](../ppdet_ext/errors.py)", "`f`"),
        ("splits.md", "[this](../configs/htc)", "this (`configs/htc`)"),
        ("reference/steps.md", "[a](../../dataset/README.md)", "[a](../outside/dataset.md)"),
        ("outside/dataset.md", "[a](../docs/own_data.md#the-split)", "[a](../own_data.md#the-split)"),
        ("outside/README.md", "![a](docs/images/predictions.jpg)", "![a](../images/predictions.jpg)"),
        ("outside/README.md", "[a](docs/tutorial.ipynb)", "[a](../tutorial.md)"),
        ("index.md", "[a](https://arxiv.org/abs/1901.07518)", "[a](https://arxiv.org/abs/1901.07518)"),
        ("index.md", "as follows:\n- a\n- b", "as follows:\n\n- a\n- b"),
        ("index.md", "```\nas follows:\n- [a](../README.md)\n```", "```\nas follows:\n- [a](../README.md)\n```"),
    ],
)
def test_pages_of_the_repository_become_pages_of_the_site(hooks: ModuleType, place: str, text: str, expected: str) -> None:
    assert hooks.on_page_markdown(text, Page(place), None, None) == expected


def test_anchors_are_those_of_github(hooks: ModuleType) -> None:
    assert hooks.github_anchor("Where is …?") == "where-is-"
    assert hooks.github_anchor("`Rle.area`, in px") == "rlearea-in-px"


def test_a_notebook_becomes_a_page(hooks: ModuleType, tmp_path: Path) -> None:
    cells = [
        {"cell_type": "markdown", "source": ["# Title\n", "Text."]},
        {"cell_type": "code", "source": ["1 + 1"], "outputs": [{"data": {"text/plain": ["2"]}}]},
        {"cell_type": "code", "source": ["!ls"], "outputs": []},
    ]
    file = tmp_path / "a.ipynb"
    file.write_text(json.dumps({"cells": cells}), encoding="utf-8")
    expected = "# Title\nText.\n\n```python\n1 + 1\n```\n\n```text\n2\n```\n\n```bash\n!ls\n```\n"
    assert hooks.page_of(file) == expected


@pytest.mark.slow
def test_mkdocs_builds_it_strictly(tmp_path: Path) -> None:
    pytest.importorskip("material", reason="pip install -r requirements-docs.txt")
    # Quiet, it would not count its warnings.
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")]
    done = subprocess.run(command, cwd=ROOT, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    built = {str(page.relative_to(tmp_path / "site")): page for page in (tmp_path / "site").rglob("*.html")}
    assert len(built) > 45
    assert [found for page in built.values() for found in REMOTE.findall(page.read_text(encoding="utf-8"))] == []
