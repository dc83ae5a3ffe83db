"""A pickle reader that builds plain containers and known values, and can do nothing else.

Python's own unpickler calls what the file names; the restricted one of torch still needs torch. This one goes through the
opcodes that torch's and Python's picklers write for data (protocols 2 to 5), looks every name up in a table that the caller
gives, and refuses the rest. It neither imports nor calls anything named in the file. Its memory is bounded by the number of
opcodes, by the items copied from remembered lists and by the bytes of text it keeps, not by what lengths the file claims.
"""

import struct
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from .byte_source import LONGEST_NAME, ByteSource
from .stored_tensor import Malformed

MAX_OPCODES = 500_000
MAX_TEXT = 16 << 20
LONGEST_TEXT = 1 << 14
KEY_TYPES = (str, int, float, bool, bytes, type(None))
MAX_NUMBERED = 10_000
LARGEST_KEY = 1 << 31
_UNSET = object()


class Inert:
    """What stands for an object that is not needed: it has a name, takes any state and keeps none."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return f"<{self.name}>"


class Known:
    """What a name of the file stands for; `make(args)` gives the value of 'calling' it with a tuple of arguments."""

    __slots__ = ("make", "name")

    def __init__(self, name: str, make: Callable[[tuple], Any]) -> None:
        self.name, self.make = name, make


def check_key(value: Any, target: dict) -> Any:
    """A key for the dictionary `target`, as it is.

    A nested tuple could exhaust the stack when it is hashed. Hashes of numbers, unlike those of text, are known beforehand:
    enough numbers that collide (the multiples of 2^61 - 1 do) take time by the square of their count.

    Raises:
        Malformed: another type, a whole number beyond +-2^31, or a number for a dictionary of 10,000 items or more.
    """
    if type(value) not in KEY_TYPES:
        raise Malformed(f"a dictionary has a key of type {type(value).__name__}")
    if type(value) is int and abs(value) > LARGEST_KEY:
        raise Malformed("a dictionary has a whole number beyond 2^31 as a key")
    if type(value) in (int, float) and len(target) >= MAX_NUMBERED:
        raise Malformed(f"a dictionary of {MAX_NUMBERED} items or more has a number as a key")
    return value


class PickleReader:
    """Reads one pickle.

    Args:
        source: positioned at its first byte; afterwards just behind its STOP.
        find: (module, name) -> what stands for it, for example `Known`; raises Malformed for unknown names.
        persistent: persistent id -> value; raises Malformed.

    Raises:
        Malformed: see the class's module.
    """

    longest_text = LONGEST_TEXT

    def __init__(self, source: ByteSource, find: Callable[[str, str], Any], persistent: Callable[[Any], Any]) -> None:
        self.source, self.find, self.persistent = source, find, persistent
        self.stack: list[Any] = []
        self.marks: list[list[Any]] = []
        self.memo: list[Any] = []  # not a dictionary: the file chooses the numbers
        self.text = 0
        self.copied = 0

    def load(self) -> Any:
        """The pickle's value."""
        try:
            return self._run()
        except IndexError as error:
            raise Malformed("it is damaged: its pickle takes more from the stack than there is; copy it again") from error
        except UnicodeDecodeError as error:
            raise Malformed("it is damaged: a text in its pickle is no UTF-8; copy it again") from error

    def _run(self) -> Any:
        for _ in range(MAX_OPCODES):
            code = self.source.read(1)
            if code == b".":
                return self.stack.pop()
            operation = _OPERATIONS.get(code)
            if operation is None:
                raise Malformed(f"it uses pickle opcode {code!r} ({_REFUSED.get(code, 'unknown')}), which data does not need")
            operation(self)
        raise Malformed(f"its pickle has more than {MAX_OPCODES} opcodes")

    def number(self, layout: str) -> Any:
        """The next number of the source, by struct's layout."""
        return struct.unpack(layout, self.source.read(struct.calcsize(layout)))[0]

    def push(self, value: Any) -> None:
        """Put a value on the stack."""
        self.stack.append(value)

    def items(self) -> list[Any]:
        """Everything since the last mark, taken off the stack."""
        items, self.stack = self.stack, self.marks.pop()
        return items

    def mark(self) -> None:
        """Begin a new run of items."""
        self.marks.append(self.stack)
        self.stack = []

    def data(self, layout: str, encoding: str | None = None) -> None:
        """Text, or bytes if it has no encoding, with their length before them."""
        length = self.number(layout)
        if length > self.longest_text:
            return self.push(self.long(length, encoding))
        self.text += length
        if self.text > MAX_TEXT:
            raise Malformed(f"its pickle has more than {MAX_TEXT >> 20} MiB of text")
        raw = self.source.read(length)
        return self.push(raw if encoding is None else raw.decode(encoding, "surrogatepass"))

    def long(self, length: int, encoding: str | None) -> Any:
        """What stands for text or bytes too long for a name, say a log's arrays: passed over."""
        self.source.skip(length)
        return Inert(f"{length} bytes")

    def frame(self) -> None:
        """How many bytes the next opcodes take; of no interest, but they have to be there."""
        length = self.number("<Q")
        if length > self.source.left:
            raise Malformed(f"it is cut short: {length} bytes are announced, {self.source.left} are left")

    def integer(self, layout: str) -> None:
        """A whole number of up to 255 bytes."""
        length = self.number(layout)
        if not 0 <= length <= 255:
            raise Malformed(f"a number in it has {length} bytes")
        self.push(int.from_bytes(self.source.read(length), "little", signed=True))

    def pack(self, count: int) -> None:
        """The last items as a tuple."""
        self.push(tuple([self.stack.pop() for _ in range(count)][::-1]))

    def name(self, module: Any, name: Any) -> None:
        """What stands for a name."""
        if type(module) is not str or type(name) is not str or len(module) + len(name) > LONGEST_NAME:
            raise Malformed("a name in it is no text, or too long")
        self.push(self.find(module, name))

    def stack_name(self) -> None:
        """A name whose two parts lie on the stack."""
        name, module = self.stack.pop(), self.stack.pop()
        self.name(module, name)

    def make(self) -> None:
        """'Call' what stands for a name; only `Known` can be. A list may be recalled and copied in three opcodes: counted."""
        args, known = self.stack.pop(), self.stack.pop()
        if type(known) is not Known or type(args) is not tuple:
            raise Malformed(f"it calls a {type(known).__name__} with a {type(args).__name__}; refused")
        self.copied += len(args) + sum(len(arg) for arg in args if type(arg) in (list, tuple))
        if self.copied > MAX_OPCODES:
            raise Malformed(f"its pickle copies more than {MAX_OPCODES} items")
        self.push(known.make(args))

    def build(self) -> None:
        """State of an object: of no interest (OrderedDict's is `_metadata`), and refused where it could matter."""
        self.stack.pop()
        self._target((OrderedDict,), "state")

    def set_items(self, items: list[Any]) -> None:
        """Keys and values by turns, for the dictionary on top of the stack."""
        target = self._target((dict, OrderedDict), "items")
        if len(items) % 2:
            raise Malformed("a dictionary has a key without a value")
        if target is not None:
            for key, value in zip(items[::2], items[1::2]):
                target[check_key(key, target)] = value

    def append(self, items: list[Any]) -> None:
        """Items for the list on top of the stack."""
        target = self._target((list,), "items")
        if target is not None:
            target.extend(items)

    def _target(self, types: tuple[type, ...], what: str) -> Any:
        """Top of the stack if it is of these types; None for an inert object."""
        target = self.stack[-1]
        if type(target) is Inert:
            return None
        if type(target) not in types:
            raise Malformed(f"it gives {what} to a {type(target).__name__}; refused")
        return target

    def get(self, layout: str) -> None:
        """A remembered value again."""
        index = self.number(layout)
        if index >= len(self.memo) or self.memo[index] is _UNSET:
            raise Malformed(f"its pickle recalls value {index}, which it has not stored")
        self.push(self.memo[index])

    def put(self, index: int) -> None:
        """Remember the top of the stack; picklers count from 0 or 1, some leave numbers out."""
        if index > MAX_OPCODES:
            raise Malformed(f"its pickle stores value {index}, which is more than it can have")
        self.memo.extend([_UNSET] * (index + 1 - len(self.memo)))
        self.memo[index] = self.stack[-1]


_OPERATIONS: dict[bytes, Callable[[PickleReader], Any]] = {
    b"\x80": lambda r: r.number("<B"),  # PROTO
    b"\x95": PickleReader.frame,
    b"N": lambda r: r.push(None),
    b"\x88": lambda r: r.push(True),
    b"\x89": lambda r: r.push(False),
    b"K": lambda r: r.push(r.number("<B")),
    b"M": lambda r: r.push(r.number("<H")),
    b"J": lambda r: r.push(r.number("<i")),
    b"\x8a": lambda r: r.integer("<B"),
    b"\x8b": lambda r: r.integer("<i"),
    b"G": lambda r: r.push(r.number(">d")),
    b"U": lambda r: r.data("<B", "latin-1"),
    b"T": lambda r: r.data("<I", "latin-1"),
    b"X": lambda r: r.data("<I", "utf-8"),
    b"\x8c": lambda r: r.data("<B", "utf-8"),
    b"\x8d": lambda r: r.data("<Q", "utf-8"),
    b"C": lambda r: r.data("<B"),
    b"B": lambda r: r.data("<I"),
    b"\x8e": lambda r: r.data("<Q"),
    b"\x96": lambda r: r.data("<Q"),
    b")": lambda r: r.push(()),
    b"]": lambda r: r.push([]),
    b"}": lambda r: r.push({}),
    b"\x8f": lambda r: r.push(Inert("set")),
    b"(": PickleReader.mark,
    b"t": lambda r: r.push(tuple(r.items())),
    b"\x85": lambda r: r.pack(1),
    b"\x86": lambda r: r.pack(2),
    b"\x87": lambda r: r.pack(3),
    b"a": lambda r: r.append([r.stack.pop()]),
    b"e": lambda r: r.append(r.items()),
    b"\x90": lambda r: r.append(r.items()),  # ADDITEMS, of a set
    b"\x91": lambda r: (r.items(), r.push(Inert("frozenset"))),
    b"s": lambda r: r.set_items([r.stack.pop(), r.stack.pop()][::-1]),
    b"u": lambda r: r.set_items(r.items()),
    b"h": lambda r: r.get("<B"),
    b"j": lambda r: r.get("<I"),
    b"q": lambda r: r.put(r.number("<B")),
    b"r": lambda r: r.put(r.number("<I")),
    b"\x94": lambda r: r.put(len(r.memo)),
    b"c": lambda r: r.name(r.source.line(), r.source.line()),
    b"\x93": PickleReader.stack_name,
    b"R": PickleReader.make,
    b"\x81": PickleReader.make,  # NEWOBJ
    b"b": lambda r: r.build(),  # may be overridden
    b"Q": lambda r: r.push(r.persistent(r.stack.pop())),
}
_REFUSED = {
    b"i": "INST", b"o": "OBJ", b"\x92": "NEWOBJ_EX", b"\x82": "EXT1", b"\x83": "EXT2", b"\x84": "EXT4", b"P": "PERSID",
    b"\x97": "NEXT_BUFFER", b"\x98": "READONLY_BUFFER",
}  # fmt: skip
