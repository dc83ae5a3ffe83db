"""Weights by URL: fetched once, checked against the digits in the name, never half there."""

import hashlib
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from ppdet_ext.errors import UserError
from ppdet_ext.files import download
from ppdet_ext.files.download import fetch, weights_folder
from ppdet_ext.weights.find import find_weights

CONTENT = bytes(range(256)) * 9000
DIGITS = hashlib.sha256(CONTENT).hexdigest()[:8]


@pytest.fixture
def server(tmp_path, monkeypatch) -> Iterator[tuple[str, list[str]]]:
    """A server's URL, and the paths asked of it; /short/ names announce a byte more than they send.

    Of /torn/ names it sends half of what is asked for, the first two times; /whole/ names know nothing of ranges.
    """
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            if "/absent/" in self.path:
                self.send_error(404)
                return
            begin = 0 if "/whole/" in self.path else int(self.headers.get("Range", "bytes=0-")[6:-1])
            content = CONTENT[begin:]
            if not content:
                self.send_error(416)
                return
            self.send_response(206 if begin else 200)
            self.send_header("Content-Length", str(len(content) + ("/short/" in self.path)))
            self.end_headers()
            torn = ("/torn/" in self.path or "/whole/" in self.path) and asked.count(self.path) < 3
            self.wfile.write(content[: len(content) // 2] if torn else content)

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


@pytest.mark.parametrize("kind", ["sha256", "md5"])
def test_a_checksum_behind_the_url_is_looked_at(server, kind):
    url, asked = server
    right = hashlib.new(kind, CONTENT).hexdigest()
    file = fetch(f"{url}/model.pdparams#{kind}={right.upper()}")
    assert (file.read_bytes(), file.name, asked) == (CONTENT, "model.pdparams", ["/model.pdparams"])
    with pytest.raises(UserError, match=f"(SHA-256|MD5) of what was sent begins with {right[:8]}, the URL says 00000000"):
        fetch(f"{url}/model.pdparams#{kind}=00000000")
    for wrong in ("sha1=00000000", "sha256=xyz", "md5=00", "top"):
        with pytest.raises(UserError, match="is no checksum; write #sha256="):
            fetch(f"{url}/model.pdparams#{wrong}")


def test_a_file_put_there_by_hand_is_checked_too(server):
    url, asked = server
    target = weights_folder() / f"htc-{DIGITS}.pth"
    target.parent.mkdir(parents=True)
    target.write_bytes(CONTENT)
    assert fetch(f"{url}/htc-{DIGITS}.pth") == target
    target.write_bytes(CONTENT[:-1])
    with pytest.raises(UserError, match=f"delete {target}"):
        fetch(f"{url}/htc-{DIGITS}.pth")
    assert asked == []


@pytest.mark.parametrize("place", ["torn", "whole"])
def test_a_download_cut_off_goes_on_if_a_checksum_can_tell(server, place):
    url, asked = server
    assert fetch(f"{url}/{place}/htc-{DIGITS}.pth").read_bytes() == CONTENT
    assert len(asked) == 3
    with pytest.raises(UserError, match=f"of {len(CONTENT)} bytes"):
        fetch(f"{url}/{place}/htc.pth")
    assert [file.name for file in weights_folder().rglob("*") if file.is_file()] == [f"htc-{DIGITS}.pth"]


def test_what_earlier_tries_got_is_kept_for_the_next_call(server, monkeypatch):
    url, _ = server
    monkeypatch.setattr(download, "TRIES", 1)
    with pytest.raises(UserError, match="could not be downloaded"):
        fetch(f"{url}/torn/htc-{DIGITS}.pth")
    (part,) = weights_folder().glob(".*.part")
    assert part.stat().st_size == len(CONTENT) // 2
    monkeypatch.setattr(download, "TRIES", 3)
    assert fetch(f"{url}/torn/htc-{DIGITS}.pth").read_bytes() == CONTENT
    assert not part.exists()


def test_a_part_that_is_whole_or_longer_is_fetched_anew(server):
    url, asked = server
    part = weights_folder() / f".htc-{DIGITS}.pth.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(CONTENT)
    assert fetch(f"{url}/htc-{DIGITS}.pth").read_bytes() == CONTENT
    assert len(asked) == 2


def test_ranks_that_start_together_download_once(server):
    url, asked = server
    with ThreadPoolExecutor(4) as pool:
        files = list(pool.map(fetch, [f"{url}/htc-{DIGITS}.pth"] * 4))
    assert len(set(files)) == len(asked) == 1


def test_ppdets_own_addresses_are_known(server, monkeypatch):
    monkeypatch.setattr(download, "PPDET", ("ppdet://", f"{server[0]}/"))
    assert fetch("ppdet://models/a.pdparams").read_bytes() == CONTENT
    assert server[1] == ["/models/a.pdparams"]


@pytest.mark.parametrize("url", ["http://127.0.0.1:9/htc.pth", "http://127.0.0.1:9/a b.pth"])
def test_no_server(url):
    where = rf"could not be downloaded: .* Without a network: download it elsewhere and put it at {weights_folder()}/.*\.pth"
    with pytest.raises(UserError, match=where):
        fetch(url)
