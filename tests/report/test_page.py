"""The report's page: one file, with all that the report says, whatever the names, the classes and the pictures are."""

import json
import re
import shutil
import subprocess
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from report_samples import EVIL, empty, example, grey, hostile, many_pictures, of_classes

from ppdet_ext.errors import UserError
from ppdet_ext.report.page import page_text, read_pixels, write_page
from ppdet_ext.report.page.write import TITLES

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


class Tags(HTMLParser):
    """Elements of a page, with their attributes; each is closed where its parent is."""

    VOID = {"meta", "input", "br", "link", "img"}

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def ids(self) -> list[str]:
        return [attributes["id"] or "" for _, attributes in self.found if "id" in attributes]

    def links(self) -> set[str]:
        return {attributes["href"] or "" for _, attributes in self.found if "href" in attributes}


@pytest.fixture(scope="module")
def page() -> str:
    return page_text(example(), grey)


REPORTS = {
    "example": example,
    "empty": empty,
    "empty images": lambda: empty(12),
    "one class": lambda: of_classes(1),
    "350 classes": lambda: of_classes(350),
    "hostile": hostile,
    "boxes": lambda: replace(example(), head=replace(example().head, primary="bbox"), quality=None),
}


@pytest.mark.parametrize("kind", REPORTS)
@pytest.mark.parametrize("pixels", [grey, None], ids=["pictures", "none"])
def test_a_page_is_whole_self_contained_and_small(kind: str, pixels: object) -> None:
    text = page_text(REPORTS[kind](), pixels)  # type: ignore[arg-type]
    tags = Tags(text)
    assert tags.open == []
    assert len(tags.ids()) == len(set(tags.ids()))
    # Links lead to places in the page, or are pictures in it.
    assert {link for link in tags.links() if not link.startswith("data:image/jpeg;base64,")} <= {
        f"#{one}" for one in tags.ids()
    }
    assert set(re.findall(r"https?://[^\s\"'<]+", text)) == {"http://www.w3.org/2000/svg"}
    assert not {"link", "iframe", "img", "object", "base"} & {tag for tag, _ in tags.found}
    assert len(text.encode()) < 3_000_000
    assert not re.search(r">\s*(nan|None|inf)\b", text)


def test_sections_stand_in_their_order_and_in_the_contents(page: str) -> None:
    tags = Tags(page)
    sections = [attributes["id"] for tag, attributes in tags.found if tag == "section"]
    assert sections == list(TITLES)
    assert [link.removeprefix("#") for link in re.findall(r'<li><a href="([^"]+)">', page)][: len(TITLES)] == list(TITLES)


def test_sections_without_data_are_left_out_or_say_why() -> None:
    text = page_text(empty(), None)
    sections = [attributes["id"] for tag, attributes in Tags(text).found if tag == "section"]
    assert sections == ["head", "pictures", "label_errors"]
    assert "This page was made without pictures." in text
    assert "No annotation looks faulty." in text
    assert "There are no pictures to show." in page_text(empty(), grey)


def test_numbers_of_the_report_are_on_the_page(page: str) -> None:
    report = example()
    head = page.split('<section id="classes">')[0]
    for value in (0.412, 0.671, 0.440, 0.450, 0.660):
        assert f'<span class="value">{value:.3f}</span>' in head
    for kind in report.head.numbers.values():
        assert all(f">{value:.3f}<" in head for value in kind.values() if value is not None)
    for row in report.classes:
        numbers = row.numbers["segm"]
        assert f'id="class-{row.label}"' in page
        assert f'data-v="{numbers.ap!r}"' in page
    for sentence in report.words:
        assert f'{sentence.text} <a href="#{sentence.section}">' in page


def test_the_summary_names_the_annotated_classes_and_the_best_checkpoint(page: str) -> None:
    report = example()
    assert "<dd>52 of 2 classes, beside 1 crowd</dd>" in page
    assert "epoch 5 by mask AP (checkpoint epoch_4, counted from 0)" in page
    lacking = [replace(report.classes[0], instances=0), *report.classes[1:]]
    assert "<dd>52, of 1 of the 2 classes, beside 1 crowd</dd>" in page_text(replace(report, classes=lacking), grey)


def test_a_model_that_finds_nothing_right_gets_a_sentence_for_curves() -> None:
    report = example()
    nothing = [
        replace(one, precision50=[0.0] * 101, precision75=[0.0] * 101, precision_mean=[0.0] * 101)
        for one in report.curves.curves
    ]
    section = page_text(replace(report, curves=replace(report.curves, curves=nothing)), None).split('<section id="curves">')[1]
    assert "No detection is right at IoU .50" in section.split("</section>")[0]
    assert "data-lines" not in section.split("</section>")[0]


def test_names_are_data_everywhere() -> None:
    text = page_text(hostile(), grey)
    assert EVIL not in text
    assert "49" not in re.findall(r"`(\d+)", text)
    assert text.count("</script>") == 1
    assert "<u>" not in text
    assert not [attributes for _, attributes in Tags(text).found for name in attributes if name.startswith("on")]


def test_the_same_report_gives_the_same_bytes(page: str) -> None:
    assert page_text(example(), grey) == page


def test_the_only_time_is_the_reports_own(page: str) -> None:
    assert set(re.findall(r"20\d\d-\d\d-\d\d", page)) == {example().head.made[:10]}


def test_pictures_are_stored_once_and_shown_often(page: str) -> None:
    report = example()
    shown = {one.image for group in report.pictures.groups for one in group.examples}
    assert page.count('<image id="image-') == len(shown)
    assert page.count('class="shot"') == sum(len(group.examples) for group in report.pictures.groups)


def test_differences_are_pixel_for_pixel(page: str) -> None:
    # 50 x 30 annotated and 46 x 35 found share 46 x 30 px; the note adds the objects beside.
    assert re.search(r"1,380 px right, 4 px of another class, 610 px too many, 716 px missed", page)
    kinds = set(re.findall(r'class="layer (tp|fp|fn|mixed)"', page))
    assert kinds == {"tp", "fp", "fn", "mixed"}


@pytest.mark.parametrize(("most", "note"), [(15_000_000, ""), (3_150_000, "640 px"), (3_040_000, "6 examples each")])
def test_a_page_keeps_its_bound_and_says_what_it_costs(most: int, note: str) -> None:
    text = page_text(many_pictures(10, 160, 1000), grey, most)
    assert len(text.encode()) <= most
    assert ("To keep the page below" in text) == bool(note)
    assert note in text


def test_boxes_without_masks_are_drawn_by_their_verdict() -> None:
    text = page_text(many_pictures(10, 96, 160), grey)
    assert 'class="layer fp outline focus"' in text
    assert "px right" not in text


def test_pictures_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    report = example()
    text = page_text(report, read_pixels)
    assert f"None of the {len(report.pictures.images)} pictures could be read, such as /data/sheet 3.jpg." in text
    first, *others = report.pictures.images
    file = tmp_path / "sheet.png"
    Image.fromarray(np.zeros((first.height, first.width, 3), np.uint8)).save(file)
    mixed = replace(report, pictures=replace(report.pictures, images=[replace(first, file=str(file)), *others]))
    assert f"{len(others)} picture could not be read." in page_text(mixed, read_pixels)
    assert read_pixels(replace(first, file=str(file), height=50)) is None


def test_many_classes_are_summed_up() -> None:
    text = page_text(of_classes(350), None)
    assert "330 others" in text
    assert text.count('id="class-') == 350


def test_a_folder_in_the_place_of_the_file_is_said(tmp_path: Path) -> None:
    write_page(example(), None, tmp_path / "new" / "report.html")
    assert (tmp_path / "new" / "report.html").read_text(encoding="utf-8").startswith("<!doctype html>")
    with pytest.raises(UserError, match=r"Cannot write .* Choose another --output"):
        write_page(example(), None, tmp_path / "new")


SCRIPT = """
<script>
const told = {};
const cells = (column) => [...document.querySelectorAll("#classes tbody tr")].map((row) => row.cells[column].textContent);
const isShown = (one) => getComputedStyle(one).display !== "none";
const shown = (selector) => [...document.querySelectorAll(selector)].filter(isShown).length;
const heads = [...document.querySelectorAll("#classes thead button")];
told.before = cells(0);
heads[4].click(); told.byAp = cells(0); told.sort = heads[4].closest("th").getAttribute("aria-sort");
heads[4].click(); told.reversed = cells(0);
heads[0].click(); told.byName = cells(0);
told.truth = shown("#pictures .truth");
document.dispatchEvent(new KeyboardEvent("keydown", { key: "t" }));
told.hidden = shown("#pictures .truth"); told.others = shown("#label_errors .truth");
document.dispatchEvent(new KeyboardEvent("keydown", { key: "t" })); told.again = shown("#pictures .truth");
const background = () => getComputedStyle(document.body).backgroundColor;
told.light = background(); document.getElementById("theme").click(); told.dark = background();
const chart = document.querySelector("#curves svg[data-lines]"), box = chart.getBoundingClientRect();
chart.dispatchEvent(new PointerEvent("pointermove", { clientX: box.left + box.width / 3, clientY: box.top + box.height / 2 }));
told.reading = document.querySelector(".reading").textContent; told.read = !document.querySelector(".reading").hidden;
const picture = document.querySelector("#pictures svg.picture"), wide = picture.getBoundingClientRect().width;
picture.dispatchEvent(new MouseEvent("click", { bubbles: true }));
told.larger = picture.getBoundingClientRect().width > 2 * wide;
told.stays = document.documentElement.scrollWidth <= innerWidth;
document.body.append(Object.assign(document.createElement("output"), { id: "told", textContent: JSON.stringify(told) }));
</script>
"""


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed")
def test_a_browser_sorts_hides_layers_reads_values_and_turns_dark(page: str, tmp_path: Path) -> None:
    file = tmp_path / "report.html"
    file.write_text(page.replace("</body>", SCRIPT + "</body>"), encoding="utf-8")
    flags = ("--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}", "--window-size=1300,900")
    done = subprocess.run([str(CHROMIUM), *flags, "--dump-dom", file.as_uri()], capture_output=True, text=True, timeout=120)
    (found,) = re.findall(r'<output id="told">(.*?)</output>', done.stdout)
    told = json.loads(found.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&"))
    names = example().head.class_names
    assert told["before"] == names
    assert told["byAp"] == names[::-1]
    assert told["sort"] == "descending"
    assert told["reversed"] == names
    assert told["byName"] == sorted(names)
    assert told["hidden"] == 0 < told["truth"] == told["again"]
    assert told["others"] == 0
    assert told["light"] != told["dark"]
    assert told["read"]
    assert told["reading"].startswith("recall 0.")
    assert names[0] in told["reading"]
    assert told["larger"]
    assert told["stays"]
