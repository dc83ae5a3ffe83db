"""Small files made to take all memory or all time, read in this process under a limit; prints what each was refused for."""

import resource
import struct
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from safetensors.numpy import save

import ppdet_ext  # noqa: F401  before paddle
from ppdet_ext.errors import UserError
from ppdet_ext.mmdet.tensor_file import open_tensors
from tests.mmdet.torch_files import GOOD, legacy, name, one, table, tensor, text, zipped

LIMIT = 256 << 20
OPCODES = 600_000


def laughs() -> bytes:
    """A list of ten lists of ten lists … fifty levels deep, 10^50 items by reference."""
    levels = b"".join(b"](" + b"h" + bytes([i]) + (b"h" + bytes([i])) * 9 + b"eq" + bytes([i + 1]) for i in range(50))
    return b"\x80\x02]q\x00" + levels + b"."


def many_views() -> bytes:
    """Five thousand tensors on the same four numbers, then one that does not fit."""
    pairs = [(text(f"w{i}"), tensor()) for i in range(5000)]
    return table(*pairs, (text("x"), tensor(size=(5,), stride=(1,))))


def bombs() -> dict[str, bytes]:
    """What the bomb is -> the file."""
    astral = "a" * 3000 + "\U0001f600"
    directory = (b"PK\x01\x02" + bytes(42)) * 800_000
    end = b"PK\x05\x06" + struct.pack("<HHHHIIH", 0, 0, 65535, 65535, len(directory), 0, 0)
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
        "text": b"\x80\x02](" + text(astral) * 20_000 + b"e.",
        "views": many_views(),
        "a long history": b"\x80\x02]B" + struct.pack("<I", 100 << 20) + bytes(100 << 20) + b"a.",
    }
    files = {what: zipped(pickled) for what, pickled in pickles.items()}
    return files | {
        "legacy marks": legacy(b"\x80\x02" + b"(" * OPCODES),
        "directory": zipped(GOOD) + directory + end,
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
        taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (taken + LIMIT, taken + LIMIT))
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
