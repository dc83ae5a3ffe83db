"""Reading a file, or a part of it, never beyond its end."""

from typing import BinaryIO

from .stored_tensor import Malformed

LONGEST_NAME = 256


class ByteSource:
    """The next `left` bytes of a file, given out only as far as they exist."""

    def __init__(self, stream: BinaryIO, left: int) -> None:
        self.stream, self.left = stream, left

    def read(self, count: int) -> bytes:
        """The next bytes; Malformed if there are fewer."""
        if count > self.left:  # not a call: this runs for every opcode
            self._take(count)
        self.left -= count
        data = self.stream.read(count)
        if len(data) < count:
            raise Malformed("it is cut short")
        return data

    def skip(self, count: int) -> None:
        """Leave out the next bytes; Malformed if there are fewer."""
        self._take(count)
        self.stream.seek(count, 1)

    def line(self) -> str:
        """Text up to a line feed, which is left out."""
        data = self.stream.readline(min(self.left, LONGEST_NAME))
        self.left -= len(data)
        if not data.endswith(b"\n"):
            raise Malformed("a name in it has no end")
        return data[:-1].decode("utf-8")

    def _take(self, count: int) -> None:
        if count > self.left:
            raise Malformed(f"it is cut short: {count} bytes are announced, {self.left} are left")
        self.left -= count
