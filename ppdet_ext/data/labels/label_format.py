"""`LabelFormat`: a label tool's files, and `Head`: what tells them."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ppdet_ext.config.plugins import import_file
from ppdet_ext.errors import UserError

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

    from .label_set import LabelSet
    from .pictures import Pictures
    from .writers.common import Written


@dataclass(frozen=True, slots=True)
class Head:
    """What a format looks at to know its files.

    path: of a file or folder.
    json: the content of a JSON file; None otherwise.
    xml: the root element of an XML file; None otherwise.
    start: the first 256 bytes of a file; b"" for a folder.
    names: of a folder, paths of all files below it, relative, with `/`, sorted; () for a file.
    """

    path: str
    json: Any = None
    xml: Element | None = None
    start: bytes = b""
    names: tuple[str, ...] = ()

    @property
    def keys(self) -> frozenset[str]:
        """The keys of a JSON object; empty for anything else."""
        return frozenset(self.json) if isinstance(self.json, dict) else frozenset()

    @property
    def first(self) -> dict:
        """The first object of a JSON list; {} for anything else."""
        content = self.json
        return content[0] if isinstance(content, list) and content and isinstance(content[0], dict) else {}


@dataclass(frozen=True, slots=True)
class LabelFormat:
    """A label tool's files.

    title: for people.
    reader, writer: file in `readers/` and `writers/`; None where there is none.
    own: whether `reader` is a user's own, a module or the path of a Python file.
    """

    name: str
    title: str
    reader: str | None = None
    writer: str | None = None
    own: bool = False

    def looks_like(self, head: Head) -> bool:
        """Whether a file or folder is of this format, by its content."""
        return bool(self._part("readers", self.reader).looks_like(head)) if self.reader else False

    def owns(self, name: str) -> bool:
        """Whether a file of a folder of this format is one that its reader reads, by its relative name, where that tells."""
        owns: Callable[[str], bool] | None = getattr(self._part("readers", self.reader), "owns", None)
        return owns is not None and owns(name)

    def read(self, paths: Sequence[str], pictures: Pictures) -> LabelSet:
        """What the files say. Raises: UserError naming the file and its fault."""
        labels: LabelSet = self._part("readers", self.reader).read(list(paths), pictures)
        return labels

    @property
    def write(self) -> Callable[..., Written] | None:
        """The function that writes such files into a folder (`writers.Writer`); None where there is none."""
        write: Callable[..., Written] | None = None
        if self.writer:
            write = self._part("writers", self.writer).write
        return write

    def _part(self, folder: str, name: str | None) -> Any:
        if name is None:
            raise UserError(f"{self.title} cannot be read, only written.")
        if not self.own:
            return importlib.import_module(f"{__package__}.{folder}.{name}")
        try:
            return import_file(Path(name)) if name.endswith(".py") else importlib.import_module(name)
        except Exception as error:  # a user's own program may raise anything
            raise UserError(f"format {self.name}: {name} cannot be imported: {type(error).__name__}: {error}") from error
