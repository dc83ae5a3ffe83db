"""What is predicted already, kept on disk while a submission is made, so that a killed run goes on."""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from ppdet_ext.structures import Rle

from .rows import ImageResult, Instance

Header = Mapping[str, Any]
EARLIER = ".earlier"


class Journal:
    """A folder with a file `rank_<k>.jsonl` of each rank: a line with the header, then a line for each image that is done.

    A line is appended when its image is done, and handed to the system at once, so that a process may be killed at any moment:
    at worst the last line is torn, and then its image does not count.

    Args:
        folder: of this journal; nothing else is in it.
        header: JSON-able; all that determines the results. Files of another header do not count.
    """

    def __init__(self, folder: Path, header: Header) -> None:
        self.folder, self.header = folder, header

    def differences(self) -> list[str]:
        """Keys in which the headers of files that are there differ from this one's."""
        differing: set[str] = set()
        for path in self._files():
            # A file whose first line is torn holds nothing.
            other = next((line["header"] for _, line in _lines(path)), self.header)
            differing.update(key for key in {*other, *self.header} if other.get(key) != self.header.get(key))
        return sorted(differing)

    def set_aside(self) -> Path:
        """Move the files to the folder `<folder>.earlier`, in place of what is there; returns that folder."""
        earlier = self.folder.with_name(self.folder.name + EARLIER)
        earlier.mkdir(exist_ok=True)
        for old in earlier.glob("rank_*.jsonl"):
            old.unlink()
        for path in self._files():
            os.replace(path, earlier / path.name)
        return earlier

    def index(self) -> dict[str, tuple[Path, int]]:
        """Where the line of each image that is done is: its file and offset in bytes."""
        places: dict[str, tuple[Path, int]] = {}
        for path in self._files():
            for offset, line in _lines(path):
                if offset:
                    places.setdefault(line["image"], (path, offset))
        return places

    def read(self, names: Sequence[str]) -> Iterator[ImageResult]:
        """The results of these images, one at a time. KeyError for one that is not done."""
        places = self.index()
        opened: dict[Path, BinaryIO] = {}
        try:
            for name in names:
                path, offset = places[name]
                if path not in opened:
                    opened[path] = path.open("rb")
                opened[path].seek(offset)
                yield _decode(json.loads(opened[path].readline()))
        finally:
            for stream in opened.values():
                stream.close()

    def writer(self, rank: int) -> "JournalWriter":
        """For appending to the file of a rank."""
        return JournalWriter(self.folder / f"rank_{rank}.jsonl", self.header)

    def remove(self) -> None:
        """Delete it."""
        for path in self._files():
            path.unlink()
        self.folder.rmdir()

    def _files(self) -> list[Path]:
        return sorted(self.folder.glob("rank_*.jsonl"))


class JournalWriter:
    """Appends to one file of a journal; a context manager."""

    def __init__(self, path: Path, header: Header) -> None:
        self._stream = path.open("ab")
        whole = 0
        for offset, line in _lines(path):
            whole = offset + line["bytes"]
        # What follows a torn line would be lost with it.
        self._stream.truncate(whole)
        if not whole:
            self._append({"header": dict(header)})

    def __enter__(self) -> "JournalWriter":
        return self

    def __exit__(self, *_: object) -> None:
        self._stream.close()

    def add(self, image: ImageResult) -> None:
        """Note an image that is done."""
        self._append(_encode(image))

    def _append(self, content: Mapping[str, Any]) -> None:
        self._stream.write(json.dumps(content, separators=(",", ":")).encode() + b"\n")
        self._stream.flush()


def _lines(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """(offset, content with its length as "bytes") of each whole line, until one is torn."""
    offset = 0
    with path.open("rb") as stream:
        for text in stream:
            try:
                content = json.loads(text) if text.endswith(b"\n") else None
            except ValueError:
                content = None
            if not isinstance(content, dict) or not isinstance(
                content.get("image" if offset else "header"), str if offset else dict
            ):
                return
            yield offset, {**content, "bytes": len(text)}
            offset += len(text)


def _encode(image: ImageResult) -> dict[str, Any]:
    size = image.instances[0].mask.size if image.instances else None
    found = [[one.class_id, one.score, one.mask.counts.decode(), list(one.attributes)] for one in image.instances]
    return {"image": image.name, "size": size, "instances": found}


def _decode(line: Mapping[str, Any]) -> ImageResult:
    found = [
        Instance(class_id, score, Rle(*line["size"], counts.encode()), tuple(attributes))
        for class_id, score, counts, attributes in line["instances"]
    ]
    return ImageResult(line["image"], found)
