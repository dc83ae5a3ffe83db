"""Who may ask the page what, and that names stay names."""

import io
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from viewer_cases import NAMES, Page, bright, session, write_sheet

from ppdet_ext.viewer import sources
from ppdet_ext.viewer.security import is_loopback, is_ours
from ppdet_ext.viewer.sources import shown_name


@pytest.fixture
def page(tmp_path: Path) -> Page:
    return Page(session(tmp_path, model=bright()))


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example:5678", "localhost.evil.example", "10.0.0.7:5678", ""])
def test_a_host_of_another_name_gets_nothing(page: Page, host: str) -> None:
    """A name server that gives out 127.0.0.1 for a name of its own is refused."""
    for address in ("/", "/api/index", "/picture/0", "/thumb/0"):
        answer = page.get(address, Host=host)
        assert answer.status_code in (400, 421), (host, address)
        assert b"a.jpg" not in answer.data


@pytest.mark.parametrize("host", ["127.0.0.1:9", "localhost", "localhost:5678", "[::1]:5678"])
def test_this_machines_names_are_right_at_any_port(page: Page, host: str) -> None:
    # ssh -L forwards another port.
    assert page.get("/api/state", Host=host).status_code == 200


def test_another_address_is_right_only_where_it_was_asked_for() -> None:
    assert not is_ours("10.0.0.7:5678", "127.0.0.1")
    assert is_ours("10.0.0.7:5678", "0.0.0.0")
    assert is_ours("[fe80::1]:5678", "::")
    assert not is_ours("evil.example", "0.0.0.0")
    assert is_loopback("127.0.0.1")
    assert is_loopback("localhost")
    assert not is_loopback("0.0.0.0")
    assert not is_loopback("camera-pc")


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "http://127.0.0.1:8080"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"X-Ppdet-View": ""},
    ],
)
def test_another_site_changes_nothing(page: Page, headers: dict[str, str]) -> None:
    key = page.objects(0)["found"][0]["key"]
    for address, content in (
        ("/api/decide", {"number": 0, "key": key, "verdict": "accepted"}),
        ("/api/predict", {"all": True}),
        ("/api/export", {"format": "csv", "choice": "labels"}),
    ):
        assert page.post(address, content, **headers).status_code == 403, address
    assert page.post("/api/drop?name=a.png", data=b"\x89PNG", **headers).status_code == 403
    assert page.session.decisions.names() == []
    assert page.session.worker.waiting == 0
    assert not list(page.session.folder.glob("dropped/*"))


def test_another_site_may_link_here_and_no_more(page: Page) -> None:
    foreign = {"Sec-Fetch-Site": "cross-site"}
    assert page.get("/", **foreign).status_code == 200
    assert page.get("/api/index", **foreign).status_code == 403
    assert page.get("/picture/0", **foreign).status_code == 403


def test_nothing_is_changed_by_a_get(page: Page) -> None:
    for address in ("/api/decide", "/api/predict", "/api/drop", "/api/export"):
        assert page.get(address).status_code == 405


def test_pictures_have_numbers_and_no_paths(page: Page) -> None:
    pictures = [
        "/picture/../state",
        "/picture/a.jpg",
        "/picture/-1",
        "/picture//etc/passwd",
        "/picture/99",
        f"/picture/{10**30}",
    ]
    for address in (*pictures, "/thumb/%2e%2e%2fx", "/view.py", "/..%2fview.js", "/static/view.js"):
        assert page.get(address).status_code in (404, 308), address
    assert page.get("/api/pictures?ids=-1,99,x,..,1e3").get_json() == []


def test_every_answer_says_that_nothing_in_it_is_code(page: Page) -> None:
    for address in ("/", "/view.js", "/api/index", "/picture/0", "/nowhere"):
        headers = page.get(address).headers
        policy = headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "http" not in policy
        assert not re.search(r"script-src[^;]*unsafe", policy)
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
        assert "Access-Control-Allow-Origin" not in headers


def test_names_are_data(page: Page) -> None:
    answer = page.get("/api/index")
    assert answer.mimetype == "application/json"
    assert answer.get_json()["pictures"]["name"] == list(NAMES)
    # The page's own HTML has a title alone from outside.
    page.session.title = "</title><script>alert(1)</script>"
    assert "<script>alert" not in page.get("/").text


def test_scripts_never_make_html_of_text(root: Path) -> None:
    static = list((root / "ppdet_ext" / "viewer" / "static").iterdir())
    assert sum(file.stat().st_size for file in static) < 60_000
    for file in (file for file in static if file.suffix == ".js"):
        text = file.read_text(encoding="utf-8")
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|new Function|srcdoc", text), file
        assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", text), file


def test_a_dropped_name_leads_nowhere(page: Page, tmp_path: Path) -> None:
    content = write_sheet(tmp_path / "x.png", 30).read_bytes()
    answer = page.post("/api/drop?name=..%2F..%2F..%2Fetc%2F%3Cb%3E.png", data=content)
    item = page.session.catalogue.get(answer.get_json()["number"])
    assert item is not None
    assert item.name == "dropped/<b>.png"
    assert Path(item.file).parent == page.session.folder / "dropped"
    assert re.fullmatch(r"[0-9a-f]{16}\.png", Path(item.file).name)


@pytest.mark.parametrize(
    ("name", "shown"),
    [("C:\\dir\\a.jpg", "a.jpg"), ("..", "picture"), ("", "picture"), ("a\nb\x00.jpg", "a_b_.jpg"), ("x" * 400, "x" * 150)],
)
def test_names_as_they_are_shown(name: str, shown: str) -> None:
    assert shown_name(name) == shown


def test_what_is_no_picture_is_refused_and_not_kept(page: Page, tmp_path: Path) -> None:
    whole = write_sheet(tmp_path / "x.jpg", 30).read_bytes()
    for content, fault in (
        (b"<script>", "is no picture"),
        (b"", "is no picture"),
        (b"\x89PNG but not", "a.jpg"),
        (whole[:400], "truncated"),
    ):
        answer = page.post("/api/drop?name=a.jpg", data=content)
        assert answer.status_code == 400
        assert fault in answer.get_json()["error"]
        assert str(tmp_path) not in answer.get_json()["error"]
    assert not list(page.session.folder.glob("dropped/*"))


def test_uploads_have_a_limit(page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ppdet_ext.viewer.application.UPLOAD_BYTES", 1000)
    assert page.post("/api/drop?name=a.png", data=b"\x89PNG" + b"0" * 1000).status_code == 413
    assert page.post("/api/decide", data=b'{"number": 0, "key": "' + b"0" * (1 << 20) + b'"}').status_code in (400, 413)


def test_a_bomb_is_told_by_its_header(page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "MOST_PIXELS", 10_000)
    stream = io.BytesIO()
    Image.fromarray(np.zeros((200, 200), np.uint8)).save(stream, "PNG")
    answer = page.post("/api/drop?name=bomb.png", data=stream.getvalue())
    assert answer.status_code == 400
    assert "200x200 pixels" in answer.get_json()["error"]
    assert not list(page.session.folder.glob("dropped/*"))


@pytest.mark.parametrize("content", [None, [], {"number": 0}, {"number": True, "key": "x"}, {"number": "0", "key": "x"}])
def test_a_decision_that_is_none_is_refused(page: Page, content: object) -> None:
    assert page.post("/api/decide", content).status_code == 400
    assert page.post("/api/decide", {"number": 0, "key": "nothing", "verdict": "accepted"}).status_code == 409
