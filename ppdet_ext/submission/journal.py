"""What is predicted already, kept on disk while a submission is made, so that a killed run goes on."""

import contextlib
import json
import logging
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from ppdet_ext.data.formats.table import NamedDetections
from ppdet_ext.errors import UserError
from ppdet_ext.structures import Detections, Rle

Header = Mapping[str, Any]
# What tells whether an image's file is the one that was predicted: height, width, bytes.
Source = tuple[int, int, int]
EARLIER = ".earlier_"
logger = logging.getLogger("ppdet_ext")


class Journal:
    """A folder with a file `rank_<k>.jsonl` of each rank: a line with the header, then a line for each image that is done.

    A line is appended when its image is done, and handed to the system at once, so that a process may be killed at any moment:
    at worst the last line is torn, and then its image does not count.

    Args:
        folder: of this journal; nothing else is in it.
        header: JSON-able; all that determines the results but for the images' content. Files of another header do not count.
        sources: of all images, by name. Lines of another source do not count.
        class_ids: by label; lines hold them.
    """

    def __init__(self, folder: Path, header: Header, sources: Mapping[str, Source], class_ids: Sequence[int]) -> None:
        self.folder, self.header, self.sources, self.class_ids = folder, header, sources, list(class_ids)

    def differences(self) -> list[str]:
        """Keys in which the headers of files that are there differ from this one's."""
        differing: set[str] = set()
        for path in self._files():
            # A file whose first line is torn holds nothing.
            other = next((line["header"] for _, line in _lines(path)), self.header)
            differing.update(key for key in {*other, *self.header} if other.get(key) != self.header.get(key))
        return sorted(differing)

    def set_aside(self) -> Path:
        """Move the files to a new folder `<folder>.earlier_<number>`; returns it. UserError when that fails."""
        number = max(self._earlier(), default=0) + 1
        aside = self.folder.with_name(f"{self.folder.name}{EARLIER}{number}")
        with _writing(aside):
            aside.mkdir()
            for path in self._files():
                os.replace(path, aside / path.name)
        return aside

    def take_back(self) -> Path | None:
        """Where nothing is done, move back the files of this header that were set aside last; the folder they were in.

        None where there are none. Raises: UserError when they cannot be moved.
        """
        if self.index():
            return None
        for _, folder in sorted(self._earlier().items(), reverse=True):
            earlier = Journal(folder, self.header, self.sources, self.class_ids)
            if not earlier.differences() and earlier.index():
                with _writing(self.folder):
                    for path in earlier._files():
                        os.replace(path, self.folder / path.name)
                earlier.remove()
                return folder
        return None

    def index(self) -> dict[str, tuple[Path, int]]:
        """Where the line of each image that is done is: its file and offset in bytes."""
        places: dict[str, tuple[Path, int]] = {}
        for path, offset, name, fits in self._images():
            if fits:
                places.setdefault(name, (path, offset))
        return places

    def outdated(self) -> list[str]:
        """Names of the images that are done, but for another content of their file."""
        done = self.index()
        return sorted({name for _, _, name, _ in self._images() if name not in done})

    def read(self, names: Sequence[str]) -> Iterator[NamedDetections]:
        """The results of these images, one at a time. KeyError for one that is not done."""
        places = self.index()
        opened: dict[Path, BinaryIO] = {}
        try:
            for name in names:
                path, offset = places[name]
                if path not in opened:
                    opened[path] = path.open("rb")
                opened[path].seek(offset)
                yield _decode(json.loads(opened[path].readline()), self.class_ids)
        finally:
            for stream in opened.values():
                stream.close()

    def writer(self, rank: int) -> "JournalWriter":
        """For appending to the file of a rank."""
        return JournalWriter(self.folder / f"rank_{rank}.jsonl", self.header, self.sources, self.class_ids)

    def remove(self) -> None:
        """Delete it. What cannot be deleted, or is not its own, stays and is named in the log: it does no harm."""
        try:
            for path in self._files():
                path.unlink()
            self.folder.rmdir()
        except FileNotFoundError:
            return
        except OSError as error:
            rest = ", ".join(sorted(path.name for path in self.folder.iterdir())[:5])
            logger.warning("%s stays, with %s in it: %s", self.folder, rest, error.strerror or error)

    def _files(self) -> list[Path]:
        return sorted(self.folder.glob("rank_*.jsonl"))

    def _images(self) -> Iterator[tuple[Path, int, str, bool]]:
        """(file, offset, name, whether it is of this content) of each image's line."""
        for path in self._files():
            for offset, line in _lines(path):
                if offset:
                    yield path, offset, line["image"], line.get("file") == list(self.sources.get(line["image"], ()))

    def _earlier(self) -> dict[int, Path]:
        """The folders that were set aside, by number."""
        name = re.compile(re.escape(self.folder.name + EARLIER) + "([0-9]+)")
        matches = ((name.fullmatch(path.name), path) for path in self.folder.parent.iterdir())
        return {int(match[1]): path for match, path in matches if match}


class JournalWriter:
    """Appends to one file of a journal; a context manager. Raises: UserError when it cannot be written."""

    def __init__(self, path: Path, header: Header, sources: Mapping[str, Source], class_ids: Sequence[int]) -> None:
        self._path, self._sources, self._class_ids = path, sources, class_ids
        with _writing(path):
            # Without a buffer nothing is left to be written, and to fail again, when the file is closed.
            self._stream = path.open("ab", buffering=0)
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

    def add(self, name: str, detections: Detections) -> None:
        """Note an image that is done."""
        self._append(_encode(name, detections, self._sources[name], self._class_ids))

    def _append(self, content: Mapping[str, Any]) -> None:
        left = memoryview(json.dumps(content, separators=(",", ":")).encode() + b"\n")
        with _writing(self._path):
            while left:
                left = left[self._stream.write(left) :]


@contextlib.contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UserError(
            f"Cannot write {path}: {error.strerror or error}. What is done is kept: the same command goes on once this is "
            "mended (a full disk: once there is room)."
        ) from error


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


def _encode(name: str, detections: Detections, source: Source, class_ids: Sequence[int]) -> dict[str, Any]:
    size = (detections.height, detections.width) if len(detections) else None
    values = zip(detections.labels.tolist(), detections.scores.tolist(), detections.masks or [])
    attributes = detections.attributes or [()] * len(detections)
    instances = [
        [class_ids[label], score, mask.counts.decode(), list(own)] for (label, score, mask), own in zip(values, attributes)
    ]
    return {"image": name, "file": source, "size": size, "instances": instances}


def _decode(line: Mapping[str, Any], class_ids: Sequence[int]) -> NamedDetections:
    # Of an image with nothing no size is written; its file's is the same.
    height, width = line["size"] or line["file"][:2]
    labels = [class_ids.index(class_id) for class_id, *_ in line["instances"]]
    masks = [Rle(height, width, counts.encode()) for _, _, counts, _ in line["instances"]]
    scores = [score for _, score, *_ in line["instances"]]
    attributes = [tuple(own) for *_, own in line["instances"]]
    return line["image"], Detections.of_masks(height, width, masks, labels, scores, attributes)
