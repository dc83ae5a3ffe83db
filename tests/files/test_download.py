"""Weights by URL: fetched once, checked against the digits in the name, never half there."""

import hashlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from ppdet_ext.errors import UserError
from ppdet_ext.files.download import fetch, weights_folder
from ppdet_ext.weights.find import find_weights

CONTENT = bytes(range(256)) * 9000
DIGITS = hashlib.sha256(CONTENT).hexdigest()[:8]


@pytest.fixture
def server(tmp_path, monkeypatch) -> Iterator[tuple[str, list[str]]]:
    """A server's URL, and the paths asked of it; /short/ names announce a byte more than they send."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            if "/absent/" in self.path:
                self.send_error(404)
                return
            self.send_response(200)
            self.send_header("Content-Length", str(len(CONTENT) + ("/short/" in self.path)))
            self.end_headers()
            self.wfile.write(CONTENT)

        def log_message(self, *args):
            pass

    monkeypatch.setenv("PPDET_EXT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    http = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=http.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{http.server_port}", asked
    http.shutdown()
    http.server_close()


def test_second_call_asks_nothing(server):
    url, asked = server
    first = fetch(f"{url}/a/htc-{DIGITS}.pth")
    assert first.read_bytes() == CONTENT
    assert fetch(f"{url}/a/htc-{DIGITS}.pth") == first
    assert len(asked) == 1


def test_weights_may_be_such_a_url(server):
    assert find_weights(f"{server[0]}/htc.pth", theirs=True).read_bytes() == CONTENT
    assert find_weights(f"{server[0]}/htc.pth?download=true", theirs=True).name == "htc.pth"


def test_equal_names_of_different_places_are_different_files(server):
    url, asked = server
    first, second = fetch(f"{url}/one/epoch_12.pth"), fetch(f"{url}/two/epoch_12.pth")
    assert first != second
    assert asked == ["/one/epoch_12.pth", "/two/epoch_12.pth"]


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("htc-00000000.pth", "the name says 00000000"),
        ("absent/htc.pth", "404"),
        ("short/htc.pth", f"{len(CONTENT)} of {len(CONTENT) + 1} bytes"),
    ],
)
def test_what_went_wrong_is_said_and_nothing_is_left(server, path, message):
    with pytest.raises(UserError, match=message):
        fetch(f"{server[0]}/{path}")
    assert [file for file in weights_folder().rglob("*") if file.is_file()] == []


@pytest.mark.parametrize("url", ["http://127.0.0.1:9/htc.pth", "http://127.0.0.1:9/a b.pth"])
def test_no_server(url):
    with pytest.raises(UserError, match="could not be downloaded"):
        fetch(url)
