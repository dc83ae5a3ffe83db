"""Small files made to take all memory or all time, read in this process under a limit; prints what each was refused for."""

import struct
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from safetensors.numpy import save

import ppdet_ext.register  # noqa: F401  before paddle
from ppdet_ext.errors import UserError
from ppdet_ext.weights.files.tensor_file import open_tensors
from tests.hostile.memory import limit_memory
from tests.weights.foreign.torch_files import legacy, name, number, one, table, tensor, text, zipped

OPCODES = 600_000
COLLIDING = range(2**61 - 1, 20_000 * (2**61 - 1), 2**61 - 1)  # each hashes to 0


def laughs() -> bytes:
    """A list of ten lists of ten lists … fifty levels deep, 10^50 items by reference."""
    levels = b"".join(b"](" + b"h" + bytes([i]) + (b"h" + bytes([i])) * 9 + b"eq" + bytes([i + 1]) for i in range(50))
    return b"\x80\x02]q\x00" + levels + b"."


def many_views() -> bytes:
    """Five thousand tensors on the same four numbers, then one that does not fit."""
    pairs = [(text(f"w{i}"), tensor()) for i in range(5000)]
    return table(*pairs, (text("x"), tensor(size=(5,), stride=(1,))))


def copies(full: str, items: bytes, calls: int) -> bytes:
    """A list that is remembered, and copied by each of many calls of three opcodes."""
    return b"\x80\x02" + name(full) + b"q\x01](" + items + b"e\x85q\x03](" + b"h\x01h\x03R" * calls + b"e."


def keys(numbers: Iterable[int | float], ordered: bool = False) -> bytes:
    """A dictionary of these keys, item by item, or an OrderedDict of pairs."""
    coded = [b"G" + struct.pack(">d", key) if isinstance(key, float) else number(key) for key in numbers]
    if ordered:
        return b"\x80\x02" + name("collections.OrderedDict") + b"](" + b"".join(key + b"N\x86" for key in coded) + b"e\x85R."
    return b"\x80\x02}(" + b"".join(key + b"N" for key in coded) + b"u."


def optimizer(parameters: int) -> bytes:
    """A sound checkpoint whose optimizer numbers its parameters."""
    state = b"}(" + b"".join(number(i) + b"N" for i in range(parameters)) + b"u"
    return b"\x80\x02}(" + text("state_dict") + b"}" + text("w") + tensor() + b"s" + text("optimizer") + state + b"u."


def crowd() -> bytes:
    """A list of 100,000 modules that share one state of as many entries."""
    numbered = b"".join(text(f"m{i}") + b"N" for i in range(100_000))
    state = b"}q\x03(" + numbered + text("_parameters") + b"}" + text("_modules") + b"}u"
    first = name("strange.Net") + b"q\x04)\x81" + state + b"b"
    return b"\x80\x02](" + first + b"h\x04)\x81h\x03b" * 100_000 + b"e."


def crowd_alone() -> bytes:
    """A module whose 300,000 children are itself."""
    modules = b"}(" + b"".join(text(f"c{i}") + b"h\x02" for i in range(300_000)) + b"u"
    return (
        b"\x80\x02" + name("strange.Net") + b")\x81q\x02}(" + text("_parameters") + b"}" + text("_modules") + modules + b"ub."
    )


def bombs() -> dict[str, bytes]:
    """What the bomb is -> the file."""
    header = struct.pack("<Q", 1 << 40)
    pickles = {
        "marks": b"\x80\x02" + b"(" * OPCODES,
        "dictionaries": b"\x80\x02" + b"}" * OPCODES,
        "sets": b"\x80\x04" + b"\x8f" * OPCODES,
        "remembered lists": b"\x80\x04" + b"]\x94" * OPCODES,
        "nested tuples": b"\x80\x02)" + b"\x85" * 450_000 + b".",
        "nested lists": b"\x80\x02" + b"]" * 240_000 + b"a" * 239_999 + b".",
        "nested tuples as a key": b"\x80\x02})" + b"\x85" * 450_000 + b"Ns.",
        "nested tuples as a storage": one(tensor(of=b")" + b"\x85" * 450_000)),
        "nested tuples in getattr": b"\x80\x02" + name("builtins.getattr") + b")" + b"\x85" * 450_000 + b"R.",
        "shared lists": laughs(),
        "copied sizes": copies("torch.Size", b"N" * 200_000, 1000),
        "arguments of inert calls": copies("collections.deque", b"N" * 200_000, 1000),
        "calls with many arguments": b"\x80\x02"
        + name("builtins.set")
        + b"q\x01("
        + b"N" * 9**5
        + b"tq\x02("
        + b"h\x01h\x02R" * 9**5,
        "colliding keys": keys(COLLIDING),
        "colliding keys of an OrderedDict": keys(COLLIDING, ordered=True),
        "whole numbers as keys": keys(range(100_000)),
        "whole numbers as keys of an OrderedDict": keys(range(100_000), ordered=True),
        "an optimizer of 10,000 parameters": optimizer(10_000),
        "fractions as keys": keys(i / 8 for i in range(100_000)),
        "views": many_views(),
        "strangers with one state": crowd(),
        "a module of itself, often": crowd_alone(),
        "a long history": b"\x80\x02]B" + struct.pack("<I", 100 << 20) + bytes(100 << 20) + b"a.",
    }
    files = {what: zipped(pickled) for what, pickled in pickles.items()}
    return files | {
        "legacy marks": legacy(b"\x80\x02" + b"(" * OPCODES),
        "safetensors header": header + bytes(1000),
        "safetensors header of text": struct.pack("<Q", 15 << 20) + b"{" * (15 << 20),
        "safetensors offsets": save({"w": np.zeros(4, "f4")}).replace(b"[0,16]", b"[0,99]"),
    }


def main() -> None:
    """Read each under the limit, above what the imports have taken."""
    files = bombs()
    with tempfile.TemporaryDirectory() as folder:
        paths = {}
        for index, (what, content) in enumerate(files.items()):
            paths[what] = Path(folder) / f"{index}.{'safetensors' if 'safetensors' in what else 'pth'}"
            paths[what].write_bytes(content)
        files.clear()
        limit_memory()
        for what, path in paths.items():
            began = time.monotonic()
            try:
                with open_tensors(path):
                    print(f"{what}: READ")
            except UserError as error:
                print(f"{what}: {str(error).split(': ', 1)[1]}" if time.monotonic() - began < 60 else f"{what}: SLOW")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
