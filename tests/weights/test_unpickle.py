"""The unpickler by itself: plain data come back, whatever pickled them; whatever else a file says, only Malformed comes out."""

import contextlib
import io
import pickle
import pickletools
from collections import OrderedDict
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ppdet_ext.weights.files.numpy_names import NAMES, Array, set_state
from ppdet_ext.weights.files.opening import Malformed
from ppdet_ext.weights.files.unpickle import OPCODES, DataUnpickler, Inert, Name, Source

KEYS = st.text() | st.integers(-(2**31), 2**31) | st.booleans() | st.none() | st.binary()
LEAVES = st.text() | st.integers() | st.floats(allow_nan=False) | st.booleans() | st.none() | st.binary()
DATA = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner) | st.lists(inner).map(tuple) | st.dictionaries(KEYS, inner)
    | st.dictionaries(KEYS, inner).map(OrderedDict),
    max_leaves=20,
)  # fmt: skip
# Opcodes with small arguments: anything that may be put together of them.
PIECES = st.sampled_from([
    *(bytes([code]) for code in b"()]}NaesutRbQ012o\x85\x86\x94\x81\x8f\x90\x91\x92\x93"),
    b"K\x03", b"X\x01\x00\x00\x00a", b"C\x01x", b"h\x00", b"h\x01", b"q\x00", b"\x82\x01",
    b"\x96" + bytes(8), b"\x95" + bytes(8),
    b"ccollections\nOrderedDict\n", b"cnumpy\nndarray\n", b"cnumpy\ndtype\n", b"cnumpy.core.multiarray\n_reconstruct\n",
    b"cbuiltins\ntuple\n", b"c_codecs\nencode\n", b"cos\nsystem\n", b"ios\nsystem\n",
])  # fmt: skip
STANDS_IN = (Name, Inert, Array)


def read(content: bytes) -> Any:
    return DataUnpickler(Source(io.BytesIO(content), len(content)), NAMES, set_state=set_state).load()


@given(value=DATA, protocol=st.integers(2, 5))
def test_plain_data_come_back_of_every_protocol(value: Any, protocol: int) -> None:
    found = read(pickle.dumps(value, protocol=protocol))
    assert (type(found), found) == (type(value), value)


@settings(max_examples=200)
@given(pieces=st.lists(PIECES, max_size=30))
def test_any_row_of_opcodes_is_read_or_malformed(pieces: list[bytes]) -> None:
    value = None
    with contextlib.suppress(Malformed, TypeError):  # a TypeError of len() or the like becomes the file's UserError
        value = read(b"".join([b"\x80\x04", *pieces, b"."]))
    waiting, seen = [value], set()
    while waiting:
        one = waiting.pop()
        assert type(one) in (*STANDS_IN, str, int, bytes, type(None), list, tuple, dict, OrderedDict)
        if isinstance(one, (list, tuple, dict)) and id(one) not in seen:  # it may hold itself
            seen.add(id(one))
            waiting += [*one.keys(), *one.values()] if isinstance(one, dict) else one


def test_every_opcode_is_either_listed_or_refused_by_name() -> None:
    assert set(OPCODES) <= {opcode.name for opcode in pickletools.opcodes}
    for opcode in pickletools.opcodes:
        if opcode.name not in OPCODES:
            with pytest.raises(Malformed, match=rf"\({opcode.name}\), which data does not need"):
                read(opcode.code.encode("latin-1"))


def test_nothing_registered_with_copyreg_is_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    import copyreg

    copyreg.add_extension("os", "system", 77)
    try:
        pickle.loads(b"\x80\x02\x82\x4d.")  # Python keeps what it has found
        with pytest.raises(Malformed, match="EXT1"):
            read(b"\x80\x02\x82\x4d.")
    finally:
        copyreg.remove_extension("os", "system", 77)
