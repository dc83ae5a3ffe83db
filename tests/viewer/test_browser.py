"""The page in a real Chromium: load, filter, slide, drop, keys, accept, export. One browser and one server for all."""

import base64
import csv
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from browser import CHROMIUM, Browser, chromium
from viewer_cases import CLASSES, HEIGHT, NAMES, WIDTH, bright, items, session, write_sheet

from ppdet_ext.viewer.application import create_app
from ppdet_ext.viewer.catalogue import Item
from ppdet_ext.viewer.serving import make
from ppdet_ext.viewer.session import Session
from ppdet_ext.viewer.watching import FolderWatch

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed")
TILES = "[...document.querySelectorAll('.tile-picture:not([hidden])')]"


class Tab(NamedTuple):
    browser: Browser
    session: Session
    address: str
    folder: Path


@pytest.fixture(scope="module")
def tab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tab]:
    folder = tmp_path_factory.mktemp("page")
    own = session(folder, items(folder / "sheets"), model=bright(), mm_per_pixel=0.5)
    server = make(create_app(own), "127.0.0.1", 0)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    with chromium(1200, 800) as browser:
        browser.call("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(folder / "downloads"))
        yield Tab(browser, own, f"http://127.0.0.1:{server.port}/", folder)
    server.shutdown()
    own.stop()


@pytest.fixture
def page(tab: Tab) -> Iterator[Browser]:
    """The page, freshly loaded; no script may have failed at the end."""
    browser = tab.browser
    browser.errors.clear()
    browser.open("about:blank")
    browser.open(tab.address)
    browser.wait("document.documentElement.dataset.ready && document.querySelectorAll('.tile-picture path').length > 3")
    yield browser
    assert browser.errors == []


def names(page: Browser) -> list[str]:
    """Of the tiles, as they lie on the page."""
    places = "t => [parseFloat(t.style.top), parseFloat(t.style.left), t.querySelector('.called').textContent]"
    return [name for _, _, name in sorted(page.run(f"{TILES}.map({places})"))]


def numbers(page: Browser) -> str:
    return page.run("document.getElementById('numbers').textContent")


def choose(page: Browser, element: str, value: str) -> None:
    page.run(f"(e => {{ e.value = {value!r}; e.dispatchEvent(new Event('change')); }})(document.getElementById({element!r}))")


def slide(page: Browser, score: float) -> None:
    page.run(f"(e => {{ e.value = {score}; e.dispatchEvent(new Event('input')); }})(document.getElementById('score'))")


def shown_paths(page: Browser, within: str = ".tile-picture:not([hidden])") -> int:
    return page.run(f"document.querySelectorAll('{within} path.found:not(.off), {within} path.truth:not(.off)').length")


def rims(page: Browser) -> int:
    return page.run("document.querySelectorAll('.tile-picture:not([hidden]) path.rim:not(.off)').length")


def test_names_are_shown_as_they_are(page: Browser) -> None:
    assert sorted(names(page)) == sorted(NAMES)
    assert page.run("document.querySelector('.called b, .tile-picture script, #gallery i') === null")
    assert CLASSES[1] in page.run("document.getElementById('legend').textContent")


def test_the_slider_changes_masks_and_numbers_at_once(page: Browser) -> None:
    told = numbers(page)
    assert "(TP) 3" in told
    assert "(FP) 1" in told
    assert "(FN) 1" in told
    assert shown_paths(page) == 4
    slide(page, 0.7)
    assert shown_paths(page) == rims(page) == 2
    told = numbers(page)
    assert "(TP) 2" in told
    assert "(FP) 0" in told
    assert "(FN) 2" in told
    assert "F1 0.667" in told
    slide(page, 0)
    assert shown_paths(page) == 5
    assert "(FP) 2" in numbers(page)


def test_filters_and_order(page: Browser) -> None:
    choose(page, "what", "fn")
    page.wait(f"{TILES}.length === 1")
    assert names(page) == [NAMES[1]]
    choose(page, "what", "perfect")
    assert names(page) == [NAMES[0], NAMES[2], NAMES[3]]
    choose(page, "what", "all")
    choose(page, "sort", "worst")
    assert names(page)[0] == NAMES[1]
    choose(page, "part", "fold 1")
    assert names(page) == [NAMES[1], NAMES[3]]
    choose(page, "part", "")
    page.click("#legend li:nth-child(2) button")
    assert names(page) == [NAMES[1]]
    page.click("#clear")
    page.run("(e => { e.value = 'BOLD'; e.dispatchEvent(new Event('input')); })(document.getElementById('search'))")
    assert names(page) == [NAMES[1]]
    page.run("(e => { e.value = 'no such'; e.dispatchEvent(new Event('input')); })(document.getElementById('search'))")
    assert page.run("document.getElementById('none').textContent") == "No picture passes these filters."


def test_keys_through_pictures_and_objects(page: Browser, tab: Tab) -> None:
    for key in ("ArrowRight", "ArrowLeft", "Enter"):
        page.key(key)
    page.wait("document.querySelectorAll('.object').length === 2 && document.getElementById('image').naturalWidth === 120")
    assert page.run("document.getElementById('name').textContent") == NAMES[0]
    assert "10.0 × 8.0 mm" in page.run("document.querySelector('.object .says').textContent")
    page.key("j")
    assert page.run("document.querySelectorAll('.object')[0].classList.contains('chosen')")
    page.key("a")
    page.wait("document.querySelectorAll('.object.accepted').length === 1")
    # The next object has the next key.
    assert page.run("document.querySelectorAll('.object')[1].classList.contains('chosen')")
    page.key("r")
    page.wait("document.querySelectorAll('.object.rejected').length === 1")
    assert tab.session.decisions.counts(NAMES[0]) == (1, 1, 0)
    page.key("u")
    page.wait("document.querySelectorAll('.object.rejected').length === 0")
    page.key("n")
    page.wait("document.activeElement.tagName === 'TEXTAREA'")
    page.call("Input.insertText", text="ar j 1 <b>")
    page.key("Enter")
    page.wait("document.activeElement.tagName !== 'TEXTAREA'")
    page.wait(
        "document.querySelectorAll('.object').length === 2 && document.querySelector('.chosen textarea').value === 'ar j 1 <b>'"
    )
    page.wait("fetch('/api/objects/0').then((a) => a.json()).then((a) => Object.values(a[0].decisions).some((d) => d.note))")
    assert tab.session.decisions.counts(NAMES[0]) == (1, 0, 1)
    page.key("ArrowRight")
    page.wait(f"document.getElementById('name').textContent === {NAMES[1]!r}")
    page.key("Escape")
    assert page.run("document.getElementById('one').hidden")


def test_layers_zoom_and_the_smallest_object_under_the_pointer(page: Browser) -> None:
    page.click(".tile-picture:not([hidden])")
    page.wait("document.querySelectorAll('#drawing path.found').length === 2")
    for key, kind, number in (("1", "path", 0), ("2", "path.truth", 2), ("5", "path.found", 2), ("4", "clipPath", 1)):
        page.key(key)
        assert page.run(f"document.querySelectorAll('#drawing {kind}').length") == number, key
    page.key("3")
    page.key("z")
    assert page.run("Math.round(document.getElementById('canvas').getBoundingClientRect().width)") == 120
    page.key("f")
    wide = page.run("document.getElementById('canvas').getBoundingClientRect().width")
    assert wide > 500
    # A click on the second block.
    box = page.run("(b => [b.x, b.y, b.width])(document.getElementById('canvas').getBoundingClientRect())")
    at = {"x": box[0] + 70 / 120 * box[2], "y": box[1] + 18 / 120 * box[2], "button": "left", "clickCount": 1}
    for kind in ("mousePressed", "mouseReleased"):
        page.call("Input.dispatchMouseEvent", type=kind, **at)
    assert page.run("document.querySelectorAll('.object')[1].classList.contains('chosen')")


def test_a_dropped_picture_is_predicted(page: Browser, tab: Tab) -> None:
    content = base64.b64encode(write_sheet(tab.folder / "<img src=x onerror=alert(1)>.png", 30).read_bytes()).decode()
    page.run(f"""(() => {{
      const bytes = Uint8Array.from(atob("{content}"), (c) => c.charCodeAt(0)), given = new DataTransfer();
      given.items.add(new File([bytes], "<img src=x onerror=alert(1)>.png", {{ type: "image/png" }}));
      document.body.dispatchEvent(new DragEvent("drop", {{ dataTransfer: given, bubbles: true, cancelable: true }}));
    }})()""")
    page.wait("!document.getElementById('one').hidden && document.querySelectorAll('.object').length === 1")
    assert page.run("document.getElementById('name').textContent") == "dropped/<img src=x onerror=alert(1)>.png"
    assert "0.75" in page.run("document.querySelector('.object .says').textContent")
    assert page.run("document.querySelectorAll('#drawing path.found').length") == 1


def test_pictures_of_a_watched_folder_come_to_the_top(page: Browser, tab: Tab) -> None:
    folder = tab.folder / "line"
    folder.mkdir()
    watch = FolderWatch(folder, tab.session._take)
    choose(page, "sort", "newest")
    write_sheet(folder / "camera_1.jpg", 20)
    watch.look(settled=True)
    page.wait(f"{TILES}.length >= 5 && document.getElementById('numbers').textContent.includes('Right')")
    page.wait(f"{TILES}.some((t) => t.title === 'camera_1.jpg' && t.querySelector('.badge')?.textContent === '1')")
    assert names(page)[0] == "camera_1.jpg"


def test_another_server_at_the_port_is_noticed(page: Browser, tab: Tab) -> None:
    page.run("window.before = true")
    tab.session.token = "another"
    page.wait("!window.before && document.documentElement?.dataset.ready")


def test_what_was_accepted_is_saved(page: Browser, tab: Tab) -> None:
    own = tab.session
    key = page.run("fetch('/api/objects/1').then((a) => a.json()).then((a) => a[0].found[0].key)")
    own.decisions.decide(NAMES[1], key, {"verdict": "accepted"})
    page.key("e")
    page.click("#download")
    page.wait("document.getElementById('message').textContent.includes('is saved')")
    file = tab.folder / "downloads" / "accepted_csv.csv"
    for _ in range(100):
        if file.exists():
            break
        page.wait("new Promise((done) => setTimeout(() => done(true), 50))")
    rows = list(csv.DictReader(file.read_text(encoding="utf-8-sig").splitlines()))
    assert NAMES[1] in {row["image"] for row in rows}


def test_the_theme_is_kept(page: Browser, tab: Tab) -> None:
    page.theme("light")
    page.key("d")
    assert page.run("document.documentElement.dataset.theme") == "dark"
    dark = page.run("getComputedStyle(document.body).backgroundColor")
    page.open(tab.address)
    page.wait("document.documentElement.dataset.ready")
    assert page.run("getComputedStyle(document.body).backgroundColor") == dark
    page.key("d")


def test_twelve_thousand_pictures_are_forty_tiles(page: Browser, tab: Tab) -> None:
    file = tab.session.catalogue.items[0].file
    more = [tab.session.catalogue.items[0].__class__(f"more {n}", file, 48, 120, "more") for n in range(12_000)]
    added = tab.session.catalogue.add(more)
    try:
        page.open(tab.address)
        page.wait("document.documentElement.dataset.ready && document.querySelectorAll('.tile-picture').length > 5")
        page.run("document.getElementById('gallery').scrollTop = 1e9")
        page.wait(f"{TILES}.some((tile) => tile.querySelector('.called').textContent === 'more 11999')")
        assert page.run("document.querySelectorAll('.tile-picture').length") < 150
    finally:
        del tab.session.catalogue.items[-len(added) :]


def test_what_is_not_predicted_yet_is_said_and_mended_by_a_click(tab: Tab) -> None:
    own = session(tab.folder / "bare", [Item("0.jpg", tab.session.catalogue.items[0].file, HEIGHT, WIDTH, "")], model=bright())
    server = make(create_app(own), "127.0.0.1", 0)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    page = tab.browser
    page.open(f"http://127.0.0.1:{server.port}/")
    page.wait("!!document.querySelector('#numbers button')")
    assert "1 picture not predicted yet" in numbers(page)
    assert page.run("document.querySelector('.tile-picture:not([hidden]) .badge').title") == "not predicted yet"
    page.run("document.querySelector('#numbers button').click()")
    page.wait("!document.querySelector('#numbers button')")
    assert "not predicted" not in numbers(page)
    server.shutdown()
    own.stop()
