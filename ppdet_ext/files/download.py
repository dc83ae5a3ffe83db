"""Fetching weights by URL, once, and checking that they are what was meant."""

import hashlib
import http.client
import logging
import os
import re
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urldefrag, urlsplit

from tqdm import tqdm

from ppdet_ext.errors import UserError

from .atomic import digest
from .lock import locked

BLOCK = 1 << 20
TIMEOUT = 60
TRIES = 3
RANGE_REFUSED = 416
# Other ranks and other trainings wait for the one that downloads.
PATIENCE_SECONDS = 6 * 3600.0
KINDS = {"sha256": "SHA-256", "md5": "MD5"}
PPDET = ("ppdet://", "https://paddledet.bj.bcebos.com/")
logger = logging.getLogger("ppdet_ext")


def weights_folder() -> Path:
    """Where downloads are kept: $PPDET_EXT_CACHE, else the user's cache folder."""
    home = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "ppdet_ext"
    return Path(os.environ.get("PPDET_EXT_CACHE", home)) / "weights"


def is_url(text: str) -> bool:
    """Whether it is something that `fetch` takes, and no path."""
    return text.startswith(("http://", "https://", PPDET[0]))


@dataclass(frozen=True)
class _Download:
    """What is to be fetched: from where, to where, and the (first) digits of its checksum if they are known."""

    url: str
    target: Path
    kind: str = "sha256"
    digits: str = ""
    source: str = "name"

    @classmethod
    def of(cls, address: str) -> "_Download":
        url, fragment = urldefrag(address.replace(*PPDET, 1) if address.startswith(PPDET[0]) else address)
        name = Path(unquote(urlsplit(url).path)).name
        given = re.fullmatch(r"(sha256|md5)=([0-9a-f]{8,64})", fragment.lower())
        if fragment and not given:
            raise UserError(f"Weights {address}: '#{fragment}' is no checksum; write #sha256=… or #md5=… in hexadecimal.")
        named = re.search(r"-([0-9a-f]{8,64})\.\w+$", name)
        kind, digits = given.groups() if given else ("sha256", named[1] if named else "")
        # Without digits in it a name such as epoch_12.pth may be anybody's.
        apart = "" if named else (digits or hashlib.sha256(url.encode()).hexdigest())[:12]
        return cls(url, weights_folder() / apart / name, kind, digits, "URL" if given else "name")

    def check(self, path: Path) -> None:
        """UserError if the file's checksum is known to be another."""
        if not self.digits:
            return
        found = digest(path, self.kind)
        if not found.startswith(self.digits):
            raise UserError(
                f"Weights {self.url}: the {KINDS[self.kind]} of what was sent begins with {found[: len(self.digits)]}, "
                f"the {self.source} says {self.digits}. It is damaged or another file; delete {path} if it is there."
            )


def fetch(address: str) -> Path:
    """The file behind an http(s) or ppdet:// URL, downloaded at the first call and found in `weights_folder` from then on.

    Its checksum is looked at each time where it is known: by `#sha256=…` or `#md5=…` behind the URL, or by a name that ends in
    a hyphen and eight or more hexadecimal digits, as mmdetection's and torchvision's do: SHA-256 begins with them. A download
    that was cut off goes on where it was, if the checksum can show that the parts fit.

    Raises:
        UserError: the server does not answer or sends too little, the checksum differs, or the file cannot be written.
    """
    wanted = _Download.of(address)
    if not wanted.target.is_file():
        with locked(wanted.target.parent, PATIENCE_SECONDS, "downloading to", "PPDET_EXT_CACHE"):
            if not wanted.target.is_file():
                _download(wanted)
    wanted.check(wanted.target)
    return wanted.target


def _download(wanted: _Download) -> None:
    aside = wanted.target.with_name(f".{wanted.target.name}.part")
    try:
        logger.info("Downloading %s to %s", wanted.url, wanted.target)
        for left in reversed(range(TRIES if wanted.digits else 1)):
            try:
                _copy(wanted.url, aside, aside.stat().st_size if wanted.digits and aside.is_file() else 0)
                break
            except (OSError, http.client.HTTPException) as error:  # URLError is an OSError
                if isinstance(error, urllib.error.HTTPError) and error.code == RANGE_REFUSED:
                    # All of it had come, or more than there is.
                    aside.unlink(missing_ok=True)
                elif not aside.is_file():
                    raise
                if not left:
                    raise
        wanted.check(aside)
        os.replace(aside, wanted.target)
    except (OSError, ValueError, http.client.HTTPException) as error:
        if isinstance(error, UserError) or not wanted.digits:
            aside.unlink(missing_ok=True)
        if isinstance(error, UserError):
            raise
        raise UserError(
            f"Weights {wanted.url} could not be downloaded: {error}. Without a network: download it elsewhere and put it "
            f"at {wanted.target}, or give the path of a file in place of the URL."
        ) from error


def _copy(url: str, path: Path, begin: int) -> None:
    """Write what the URL gives to `path`, of which `begin` bytes are there already. OSError if it is cut off."""
    request = urllib.request.Request(url, headers={"Range": f"bytes={begin}-"} if begin else {})
    with urllib.request.urlopen(request, timeout=TIMEOUT) as source:
        begin = begin if source.status == http.client.PARTIAL_CONTENT else 0
        length = int(source.headers.get("Content-Length") or 0)
        total = begin + length
        options = {"unit": "B", "unit_scale": True, "desc": path.name[1:].removesuffix(".part"), "disable": None}
        with path.open("ab" if begin else "wb") as file, tqdm(total=total or None, initial=begin, **options) as bar:
            while block := source.read(BLOCK):
                file.write(block)
                bar.update(len(block))
            if length and file.tell() != total:
                raise OSError(f"{file.tell()} of {total} bytes came")
