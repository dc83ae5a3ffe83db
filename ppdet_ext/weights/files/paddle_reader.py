"""The pickle reader of torch's files, for those of paddle: it keeps the bytes of arrays, which lie inside the pickle."""

import codecs
from typing import Any

from .byte_source import ByteSource
from .paddle_names import ArrayWords
from .pickle_reader import PickleReader
from .refused import Refused
from .stored_tensor import Malformed

BLOCK = 1 << 20


def _nothing_outside(value: Any) -> Any:
    raise Refused("it refers to something outside itself, which data does not need; refused, nothing of it was run")


class ArrayReader(PickleReader):
    """Reads one pickle of `paddle.save`, with `Array` for arrays.

    Raises:
        Malformed: damaged, or asking for anything but data (`Refused`).
    """

    longest_text = 1 << 10

    def __init__(self, source: ByteSource) -> None:
        self.words = ArrayWords(source.left)
        super().__init__(source, self.words.find, _nothing_outside)

    def load(self) -> Any:
        """The pickle's value, which has to be all that is in the file."""
        value = super().load()
        if self.stack or self.marks:
            raise Malformed("its pickle ends before its value is complete")
        if self.source.left:
            raise Malformed(f"{self.source.left} bytes follow its pickle")
        return value

    def long(self, length: int, encoding: str | None) -> bytes:
        """Bytes of an array; protocol 2 writes them as text."""
        if encoding != "utf-8":
            return self.source.read(length)
        decoder, pieces = codecs.getincrementaldecoder("utf-8")(), []
        try:
            for start in range(0, length, BLOCK):
                count = min(BLOCK, length - start)
                pieces.append(decoder.decode(self.source.read(count), start + count == length).encode("latin-1"))
        except UnicodeEncodeError as error:
            raise Malformed(f"a text of {length} bytes in it is neither a name nor an array") from error
        return b"".join(pieces)

    def build(self) -> None:
        """Values of an array, or byte order of its type; nothing else has a state here."""
        state = self.stack.pop()
        self.words.build(self.stack[-1], state)
