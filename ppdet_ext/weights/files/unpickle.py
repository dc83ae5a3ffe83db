"""Python's own unpickler, kept to data: names are looked up in a table of ours, and nothing of a file is imported or called.

It is the class written in Python, since its opcodes can be chosen there one by one. What stands on its stack is data, or one of
the stand-ins below; only a `Name` can be "called", and what it does then is written here or in the caller's table. A hostile
file can waste memory, as a picture can; that the bytes it announces are there, and that its keys can be hashed, is checked.
"""

import pickle
import pickletools
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any, BinaryIO, TypeVar

from .opening import Malformed, Refused, shown

# What the picklers of Python and torch write for data, in protocols 2 to 5.
OPCODES = [
    "PROTO", "FRAME", "STOP", "MARK", "NONE", "NEWTRUE", "NEWFALSE", "BININT", "BININT1", "BININT2", "LONG1", "LONG4",
    "BINFLOAT", "SHORT_BINSTRING", "BINSTRING", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "SHORT_BINBYTES",
    "BINBYTES", "BINBYTES8", "BYTEARRAY8", "EMPTY_TUPLE", "TUPLE", "TUPLE1", "TUPLE2", "TUPLE3", "EMPTY_LIST", "APPEND",
    "APPENDS", "EMPTY_DICT", "SETITEM", "SETITEMS", "EMPTY_SET", "ADDITEMS", "FROZENSET", "BINGET", "LONG_BINGET", "BINPUT",
    "LONG_BINPUT", "MEMOIZE", "GLOBAL", "STACK_GLOBAL", "REDUCE", "NEWOBJ", "BUILD", "BINPERSID",
]  # fmt: skip
KEY_TYPES = (str, int, float, bool, bytes, type(None))
MAX_NUMBERED = 10_000
LARGEST_KEY = 1 << 31
LONGEST_LINE = 256
MAX_EXTENT = 1 << 40
Dictionary = TypeVar("Dictionary", bound=dict)


class Unlisted(Refused):
    """The file asks for a name that is not on the list."""


def refuse_name(name: str) -> Unlisted:
    """The error for a name that is not on the list."""
    return Unlisted(f"it asks for {shown(name, 200)[1:-1]}, which is not data; refused, nothing of it was run")


class Name:
    """What a name of the file stands for; `make(args)` gives the value of "calling" it with a tuple of arguments."""

    __slots__ = ("make", "name")

    def __init__(self, name: str, make: Callable[[tuple], Any]) -> None:
        self.name, self.make = name, make


class Inert:
    """What stands for an object that is not needed: it has a name, takes any state and items, and keeps none."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name

    def append(self, items: Any) -> None:
        """Forget items of the list or set that it stands for."""

    extend = add = append


class Source:
    """The next `left` bytes of a stream. What a file announces beyond them is Malformed, before memory is taken for it."""

    def __init__(self, stream: BinaryIO, left: int) -> None:
        self.stream, self.left = stream, left

    def read(self, count: int) -> bytes:
        """The next `count` bytes."""
        self._take(count)
        data = self.stream.read(count)
        if len(data) < count:
            raise Malformed("it is cut short")
        return data

    def skip(self, count: int) -> None:
        """Pass over the next `count` bytes."""
        self._take(count)
        self.stream.seek(count, 1)

    def readline(self) -> bytes:
        """The next line, of a length that names have."""
        data = self.stream.readline(min(self.left, LONGEST_LINE))
        self.left -= len(data)
        if not data.endswith(b"\n"):
            raise Malformed("a name in it has no end")
        return data

    def _take(self, count: int) -> None:
        if count > self.left:
            raise Malformed(f"it is cut short: {count} bytes are announced, {self.left} are left")
        self.left -= count


def whole_numbers(value: Any, what: str, most: int, lists: bool = False) -> tuple[int, ...]:
    """The shape, stride or the like of an array. Malformed if it is no tuple (or list) of at most so many whole numbers."""
    if type(value) not in ((tuple, list) if lists else (tuple,)) or len(value) > most:
        raise Malformed(f"{what} is not a short tuple")
    if any(type(item) is not int or not 0 <= item <= MAX_EXTENT for item in value):
        raise Malformed(f"{what} holds something else than whole numbers from 0 to 2^40")
    return tuple(value)


def fill(target: Dictionary, pairs: Any) -> Dictionary:
    """Put (key, value) pairs into a dictionary; returns it.

    Hashing a deeply nested tuple could exhaust the stack. Hashes of numbers, unlike those of text, are known beforehand: enough
    numbers that collide (the multiples of 2^61 - 1 do) take time by the square of their count.

    Raises:
        Malformed: a key of another type, a whole number beyond +-2^31, or a number in a dictionary of 10,000 items or more.
    """
    for key, value in pairs:
        if type(key) not in KEY_TYPES:
            raise Malformed(f"a dictionary has a key of type {type(key).__name__}")
        if type(key) is int and abs(key) > LARGEST_KEY:
            raise Malformed("a dictionary has a whole number beyond 2^31 as a key")
        if type(key) in (int, float) and len(target) >= MAX_NUMBERED:
            raise Malformed(f"a dictionary of {MAX_NUMBERED} items or more has a number as a key")
        target[key] = value
    return target


def ordered_dict(args: tuple) -> OrderedDict:
    """OrderedDict() or OrderedDict([(key, value), …])."""
    pairs: Any = args[0] if len(args) == 1 and type(args[0]) in (list, tuple) else [None] * len(args)
    if any(type(pair) not in (list, tuple) or len(pair) != 2 for pair in pairs):
        raise Malformed("an OrderedDict is not made of pairs")
    return fill(OrderedDict(), pairs)


class DataUnpickler(pickle._Unpickler):
    """Reads one pickle.

    Args:
        source: at its first byte; afterwards just behind its STOP.
        names: "module.name" -> `Name`, or another value that stands for it.
        persistent: persistent id -> value.
        set_state: called with an object and its state where that matters; it raises for objects without one.
    """

    # Of the class in Python, which type checkers know by the name of the one in C alone.
    stack: list[Any]
    metastack: list[list[Any]]
    pop_mark: Callable[[], list[Any]]
    load_binbytes8: Callable[[], None]

    def __init__(
        self,
        source: Source,
        names: Mapping[str, Any],
        persistent: Callable[[Any], Any] | None = None,
        set_state: Callable[[Any, Any], None] | None = None,
    ) -> None:
        super().__init__(source, encoding="latin-1")
        self._names, self._persistent, self._set_state = names, persistent, set_state

    def load(self) -> Any:
        """The pickle's value. Malformed if it is damaged or asks for anything but data (`Refused`)."""
        try:
            value = super().load()
        except IndexError as error:
            text = "it is damaged: its pickle takes more from the stack than there is; copy it again"
            raise Malformed(text) from error
        except UnicodeDecodeError as error:
            raise Malformed("it is damaged: a text in its pickle is no UTF-8; copy it again") from error
        except (pickle.UnpicklingError, AttributeError, OverflowError, ValueError) as error:
            raise Malformed(f"it is damaged: {error}; copy it again") from error
        if self.stack or self.metastack:
            raise Malformed("its pickle ends before its value is complete")
        return value

    def find_class(self, module: str, name: str) -> Any:
        """What stands for a name."""
        full = f"{module}.{name}".replace("__builtin__.", "builtins.", 1)  # Python 2's
        if "." in name or full not in self._names:
            raise refuse_name(f"{module}.{name}")
        return self._names[full]

    def persistent_load(self, pid: Any) -> Any:
        """What a persistent id stands for."""
        if self._persistent is None:
            raise Refused("it refers to something outside itself, which data does not need; refused, nothing of it was run")
        return self._persistent(pid)

    def load_reduce(self) -> None:
        """'Call' what stands for a name."""
        args, name = self.stack.pop(), self.stack.pop()
        if type(name) is not Name or type(args) is not tuple:
            raise Refused(f"it calls a {type(name).__name__} with a {type(args).__name__}; refused")
        self.stack.append(name.make(args))

    def load_build(self) -> None:
        """State of an object: of interest to arrays alone (OrderedDict's is `_metadata`), refused where it could matter."""
        state, target = self.stack.pop(), self.stack[-1]
        if isinstance(target, Inert) or type(target) is OrderedDict:
            return
        if self._set_state is None:
            raise Refused(f"it gives state to a {type(target).__name__}; refused")
        self._set_state(target, state)

    def load_setitem(self) -> None:
        """One item of a dictionary."""
        self._set([self.stack.pop() for _ in range(2)][::-1])

    def load_setitems(self) -> None:
        """Items of a dictionary."""
        self._set(self.pop_mark())

    load_newobj = load_reduce

    def load_empty_set(self) -> None:
        """A set, which needs hashes: it is none of a state_dict's values."""
        self.stack.append(Inert("set"))

    def load_frozenset(self) -> None:
        """A frozen set, likewise."""
        self.pop_mark()
        self.stack.append(Inert("frozenset"))

    def load_bytearray8(self) -> None:
        """Bytes; the original takes memory for them before it sees whether they are there."""
        self.load_binbytes8()

    def _set(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if type(target) not in (dict, OrderedDict) and not isinstance(target, Inert):
            raise Refused(f"it gives items to a {type(target).__name__}; refused")
        if len(items) % 2:
            raise Malformed("a dictionary has a key without a value")
        if not isinstance(target, Inert):
            fill(target, zip(items[::2], items[1::2]))


def _handler(code: int) -> Callable[[Any], None]:
    """The method for an opcode: by the name that Python's has, so ours where there is one."""
    name = _OPCODE_NAMES.get(chr(code), "unknown")
    if name in OPCODES:
        return getattr(DataUnpickler, pickle._Unpickler.dispatch[code].__name__)

    def refuse(reader: Any) -> None:
        raise Malformed(f"it uses pickle opcode {bytes([code])!r} ({name}), which data does not need")

    return refuse


_OPCODE_NAMES = {opcode.code: opcode.name for opcode in pickletools.opcodes}
DataUnpickler.dispatch = {code: _handler(code) for code in range(256)}
