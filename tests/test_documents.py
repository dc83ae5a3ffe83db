"""The pages: links lead somewhere, the README is short and says the same in Chinese, what pages show in Python runs."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

import ppdet_ext
from ppdet_ext.data.formats.rle_presets import PRESETS
from ppdet_ext.data.labels.formats import FORMATS
from ppdet_ext.data.labels.writers import WRITERS

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), ROOT / "dataset" / "README.md"])
LINK = re.compile(r"\]\(([^)\s]+)\)")
NUMBER_WORDS = {"seven": 7, "七": 7}


def without_code(page: Path) -> str:
    return re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.S)


def anchors_of(page: Path) -> set[str]:
    """The anchors that a page's headings get."""
    headings = re.findall(r"^#+ (.+)$", without_code(page), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for link in LINK.findall(without_code(page)):
        if "://" in link:
            continue
        name, _, anchor = link.partition("#")
        target = page.parent / name if name else page
        assert target.exists(), link
        assert not anchor or anchor in anchors_of(target), link


def test_every_page_is_found_from_the_readme() -> None:
    """By links: at most three of them."""
    found = {ROOT / "README.md"}
    for _ in range(3):
        links = [
            (page, link.partition("#")[0])
            for page in found
            if page.suffix == ".md"
            for link in LINK.findall(without_code(page))
        ]
        found |= {(page.parent / name).resolve() for page, name in links if name and "://" not in name}
    assert [str(page.relative_to(ROOT)) for page in PAGES if page not in found] == []


class TestReadme:
    """README.md and README_cn.md, side by side."""

    english, chinese = ((ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "README_cn.md"))

    def test_it_is_short(self) -> None:
        assert len(self.english.splitlines()) <= 120
        assert len(self.chinese.splitlines()) <= 120

    def test_the_headings_correspond(self) -> None:
        levels = [
            re.findall(r"^(#+) ", re.sub(r"```.*?```", "", text, flags=re.S), re.M) for text in (self.english, self.chinese)
        ]
        assert levels[0] == levels[1]
        assert len(levels[0]) > 5

    def test_commands_and_programs_are_the_same(self) -> None:
        """But for the comments behind them."""
        blocks = [re.findall(r"```(.*?)```", text, re.S) for text in (self.english, self.chinese)]
        bare = [[re.sub(r" *#.*", "", block) for block in found] for found in blocks]
        assert bare[0] == bare[1]
        assert sum(block.count("\n") for block in bare[0]) > 15

    def test_links_are_the_same(self) -> None:
        links = [sorted(LINK.findall(text)) for text in (self.english, self.chinese)]
        others = [["README_cn.md"], ["README.md"]]
        assert [[link for link in found if link not in other] for found, other in zip(links, others)] == [
            [link for link in links[0] if link not in others[0]]
        ] * 2

    def test_figures_are_the_same(self) -> None:
        rows = ["\n".join(re.findall(r"^\| \[\*\*.*", text, re.M)) for text in (self.english, self.chinese)]
        figures = [sorted(re.findall(r"\d+(?:[.,]\d+)*", text)) for text in rows]
        assert figures[0] == figures[1]
        assert len(figures[0]) > 15

    @pytest.mark.parametrize(
        ("english", "chinese", "number"),
        [
            (r"CSVs of (\d+) contests", r"(\d+) 个竞赛的 CSV", len(PRESETS)),
            (r"(\d+) formats told by content", r"按内容识别 (\d+) 种格式", len(FORMATS)),
            (r"\[(\w+) written\]", r"\[可写出(.)种格式\]", len(WRITERS)),
        ],
    )
    def test_counts_are_right(self, english: str, chinese: str, number: int) -> None:
        for text, pattern in ((self.english, english), (self.chinese, chinese)):
            (found,) = re.findall(pattern, text)
            assert int(NUMBER_WORDS.get(found, found)) == number


@pytest.mark.parametrize(
    ("said", "page", "there"),
    [
        ("a training step 14.6 s, mmdetection 35.1 s", "speed.md", "HTC: 14.6 s, 3.9 GB | mmdetection's HTC: 35.1 s"),
        ("inference 4.4 s, mmdetection 10.6 s", "speed.md", "HTC: 4.4 s, 1.9 GB | mmdetection's HTC: 10.6 s"),
        ("0.8 % of the sample's training time", "speed.md", "| 0.8 %; a save 0.10 s |"),
        ("0.042 ms for a row of steel, 6.4 times", "speed.md", "| 0.042 ms a row | decode + `pycocotools.encode`: 6.4 × |"),
        ("1,362 and 33,369 comparisons, none", "reference_numbers.md", "1362 comparisons, 0 out of tolerance."),
        ("1,362 and 33,369 comparisons, none", "smp_numbers.md", "33369 comparisons, 0 out of tolerance."),
        ("0.082 as trained", "pipeline.md", "| 1. as trained | 0.0804 | – | 0.0816 |"),
        ("0.355 tuned", "pipeline.md", "| 0.3552 |"),
        ("0.391 with six views", "pipeline.md", "| 0.3914 |"),
        ("0.412 with three models", "pipeline.md", "| 0.4121 |"),
        ("an environment of 343 MB", "runtime.md", "has 343 MB"),
        (
            "at val2017's size 0.98 s of CPU, pycocotools 30.6 s",
            "speed.md",
            "| 3.5 s; 0.98 s of CPU | pycocotools: 79 s; 30.6 s of CPU; the same bits |",
        ),
        ("the steel sample's page: 1.4 MB, made in 2 s", "report.md", "| steel sample | 24, 4 | 18 | 1.4 MB | 2 |"),
    ],
)
def test_figures_of_the_readme_stand_where_they_were_measured(said: str, page: str, there: str) -> None:
    assert said in (ROOT / "README.md").read_text(encoding="utf-8")
    assert there in (ROOT / "docs" / page).read_text(encoding="utf-8")


def test_the_citation_is_of_this_version() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert (citation["cff-version"], citation["license"]) == ("1.2.0", "Apache-2.0")
    assert citation["version"] == ppdet_ext.__version__
    assert all(one.keys() >= {"title", "type", "authors"} for one in [citation, *citation["references"]])


def test_python_of_the_segmentation_page_runs() -> None:
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "segmentation.md").read_text(), re.S)
    # Those that begin with the name of a file are plugins, which another test loads.
    (block,) = [block for block in blocks if not block.startswith("# ")]
    names: dict[str, Any] = {}
    exec(block, names)
    assert names["logits"].shape == [2, 4, 64, 96]
