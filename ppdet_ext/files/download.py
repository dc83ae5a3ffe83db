"""Fetching weights by URL, once."""

import hashlib
import http.client
import os
import re
import urllib.error
import urllib.request
from pathlib import Path
from urllib.parse import unquote, urlsplit

from tqdm import tqdm

from ppdet_ext.errors import UserError

BLOCK = 1 << 20
TIMEOUT = 60


def weights_folder() -> Path:
    """Where downloads are kept: $PPDET_EXT_CACHE, else the user's cache folder."""
    home = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "ppdet_ext"
    return Path(os.environ.get("PPDET_EXT_CACHE", home)) / "weights"


def fetch(url: str) -> Path:
    """The file behind an http(s) URL, downloaded at the first call and found in `weights_folder` from then on.

    Where the name ends in a hyphen and eight or more hexadecimal digits, as mmdetection's and torchvision's do, the content's
    SHA-256 must begin with them.

    Raises:
        UserError: the server does not answer or sends too little, the digits differ, or the file cannot be written.
    """
    name = Path(unquote(urlsplit(url).path)).name
    digits = re.search(r"-([0-9a-f]{8,64})\.\w+$", name)
    # Without digits a name such as epoch_12.pth may be anybody's.
    folder = weights_folder() if digits else weights_folder() / hashlib.sha256(url.encode()).hexdigest()[:12]
    target = folder / name
    if target.is_file():
        return target
    aside = target.with_name(f".{name}.{os.getpid()}.part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        digest = _copy(url, aside)
        if digits and not digest.startswith(digits[1]):
            raise UserError(f"Weights {url}: the SHA-256 of what was sent begins with {digest[:8]}, the name says {digits[1]}.")
        os.replace(aside, target)
    except (OSError, ValueError, http.client.HTTPException) as error:  # URLError is an OSError
        raise UserError(f"Weights {url} could not be downloaded to {target}: {error}") from error
    finally:
        aside.unlink(missing_ok=True)
    return target


def _copy(url: str, path: Path) -> str:
    """Write what the URL gives to `path`; its SHA-256. OSError if it is cut off."""
    digest = hashlib.sha256()
    with urllib.request.urlopen(url, timeout=TIMEOUT) as source, path.open("wb") as file:
        length = int(source.headers.get("Content-Length") or 0)
        with tqdm(total=length or None, unit="B", unit_scale=True, desc=path.name.strip("."), disable=None) as bar:
            while block := source.read(BLOCK):
                digest.update(block)
                file.write(block)
                bar.update(len(block))
        if length and file.tell() != length:
            raise OSError(f"{file.tell()} of {length} bytes came")
    return digest.hexdigest()
