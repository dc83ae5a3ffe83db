"""What a person has decided on objects: accepted, rejected, of another class, a note. One file, whole at any time."""

from __future__ import annotations

import hashlib
import json
import logging
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ppdet_ext.errors import UserError, nearest
from ppdet_ext.files.atomic import write_atomic
from ppdet_ext.structures import Rle

ACCEPTED, REJECTED = "accepted", "rejected"
VERDICTS = (ACCEPTED, REJECTED)
FILE = "decisions.json"
MOST_NOTE = 2000  # characters
PICTURE = "picture"  # in place of an object's key: the whole picture
_FORMAT = 1
logger = logging.getLogger("ppdet_ext")


def object_key(class_name: str, mask: Rle | None, box: np.ndarray) -> str:
    """Twelve hexadecimal digits that tell an object of a picture: its class and pixels, whatever its place in a list."""
    shape = mask.counts if mask is not None else np.round(np.asarray(box, np.float64), 1).tobytes()
    return hashlib.sha256(class_name.encode(errors="surrogateescape") + b"\0" + shape).hexdigest()[:12]


class Decisions:
    """Decisions by picture and object, kept in a file that is written anew, aside, after each.

    Args:
        file: where they are kept; what is there is read.
        class_names: that an object may be said to be of.

    Raises: UserError for a file that is no such, which is left as it is.
    """

    def __init__(self, file: Path, class_names: Sequence[str]) -> None:
        self.file, self.class_names = file, list(class_names)
        self._lock = threading.Lock()
        self._by_picture: dict[str, dict[str, dict[str, str]]] = _read(file) if file.exists() else {}

    def of(self, name: str) -> dict[str, dict[str, str]]:
        """{key: {"verdict", "note", "class"}} of a picture, each part where there is one."""
        return self._by_picture.get(name, {})

    def names(self) -> list[str]:
        """Pictures that something was decided on."""
        return list(self._by_picture)

    def counts(self, name: str) -> tuple[int, int, int]:
        """How many objects of a picture are accepted, rejected, and have a note."""
        own = list(self.of(name).values())
        verdicts = [one.get("verdict") for one in own]
        return verdicts.count(ACCEPTED), verdicts.count(REJECTED), sum(bool(one.get("note")) for one in own)

    def decide(self, name: str, key: str, changes: dict[str, Any]) -> dict[str, str]:
        """Note `changes` ("verdict", "note", "class") on an object; "" or None takes one back. Returns what now holds.

        Raises: UserError for a verdict, a note or a class that is none, or where the file cannot be written; then nothing
            has changed.
        """
        own = {part: self._checked(part, value) for part, value in changes.items()}
        with self._lock:
            before = self._by_picture
            picture = dict(before.get(name, {}))
            picture[key] = {part: text for part, text in (picture.get(key, {}) | own).items() if text}
            picture = {key: one for key, one in picture.items() if one}
            after = {other: parts for other, parts in before.items() if other != name} | ({name: picture} if picture else {})
            self._write(after)
            self._by_picture = after
            return picture.get(key, {})

    def _checked(self, part: str, value: Any) -> str:
        text = "" if value is None else value
        if not isinstance(text, str):
            raise UserError(f"{part} is {value!r}; expected a text.")
        known = {"verdict": VERDICTS, "class": self.class_names}.get(part)
        if known is not None and text and text not in known:
            raise UserError(f"There is no {part} {text!r}.{nearest(text, known)}")
        if part not in ("verdict", "class", "note"):
            raise UserError(f"There is no {part!r}.{nearest(part, ('verdict', 'class', 'note'))}")
        if len(text) > MOST_NOTE:
            raise UserError(f"The note has {len(text)} characters; {MOST_NOTE} are the most.")
        return text

    def _write(self, pictures: dict[str, dict[str, dict[str, str]]]) -> None:
        # A name that is no UTF-8 is written with its odd bytes escaped, and read back so.
        text = json.dumps({"format": _FORMAT, "pictures": pictures}, indent=0, ensure_ascii=True)
        write_atomic(self.file, lambda aside: aside.write_text(text, encoding="utf-8"), "--output_dir")


def _read(file: Path) -> dict[str, dict[str, dict[str, str]]]:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        found = {
            str(name): {str(key): {str(part): str(text) for part, text in one.items()} for key, one in own.items()}
            for name, own in content["pictures"].items()
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f"{file} holds no decisions ({type(error).__name__}: {error}). Move it away to begin anew, or give another "
            "--output_dir."
        ) from error
    number = sum(map(len, found.values()))
    logger.info("%s: %d decisions on %d pictures are taken up again", file, number, len(found))
    return found
