"""Small files made to take all memory or all time, read in this process under a limit; prints what each was refused for."""

import struct
import sys
import tempfile
import time
from pathlib import Path

import ppdet_ext.register  # noqa: F401  before paddle
from ppdet_ext.config.files import read_tree
from ppdet_ext.errors import UserError
from ppdet_ext.weights.files.paddle_file import read_data_file
from tests.hostile.memory import limit_memory
from tests.hostile.opcodes import PROTOCOL, array, dtype, number, one, schedule
from tests.hostile.yaml_payloads import forged

OPCODES = 600_000
YAML = ("billion laughs", "a merge of merges", "a chain of aliases", "100,000 lists deep", "text of 10 MB", "100,000 values")


def laughs(levels: int, start: bytes, make: bytes) -> bytes:
    """A list of containers, each of ten of the one before it: 10^levels items by reference."""
    pieces = [b"](" + start + b"q\x00"]
    for i in range(levels):
        pieces.append(b"(" + (b"h" + bytes([i])) * 10 + make + b"q" + bytes([i + 1]))
    return b"".join(pieces) + b"e"


def bombs() -> dict[str, bytes]:
    """What the bomb is -> the file."""
    return {
        "marks": PROTOCOL + b"(" * OPCODES,
        "dictionaries": PROTOCOL + b"}" * OPCODES,
        "remembered lists": b"\x80\x04" + b"]\x94" * OPCODES,
        "sets": b"\x80\x04" + b"\x8f" * OPCODES,
        "nested tuples": one(b")" + b"\x85" * 150_000),
        "nested lists": one(b"]" * 150_000 + b"a" * 149_999),
        "nested tuples as a key": PROTOCOL + b"})" + b"\x85" * 150_000 + b"Ns.",
        "nested tuples as a shape": one(array(shape=b")" + b"\x85" * 150_000)),
        "nested tuples as a type": one(array(kind=dtype(state=b")" + b"\x85" * 150_000))),
        "nested tuples as a rate": schedule(last_lr=b")" + b"\x85" * 150_000),
        "shared lists": one(laughs(50, b")", b"t")),
        "shared lists in a schedule": schedule(last_lr=laughs(6, b")", b"t")),
        "colliding keys": PROTOCOL + b"}(" + b"".join(number(i * (2**61 - 1)) + b"N" for i in range(1, 20_000)) + b"u.",
        "fractions as keys": PROTOCOL + b"}(" + b"".join(b"G" + struct.pack(">d", i) + b"N" for i in range(90_000)) + b"u.",
        "bytes that are not there": PROTOCOL + b"\x8e" + struct.pack("<Q", 1 << 40),
        "frame": b"\x80\x04\x95" + struct.pack("<Q", 1 << 40) + b"}.",
    }


def refusal(read, path: Path) -> str:
    """In seconds, or SLOW."""
    began = time.monotonic()
    try:
        read(path)
    except UserError as error:
        return str(error).split(": ", 1)[1] if time.monotonic() - began < 60 else "SLOW"
    return "READ"


def main() -> None:
    """Read each under the limit, above what the imports have taken."""
    files = {f"{what}.pdparams": content for what, content in bombs().items()}
    files |= {f"{what}.yml": forged()[what][0].encode() for what in YAML}
    with tempfile.TemporaryDirectory() as folder:
        for what, content in files.items():
            (Path(folder) / what).write_bytes(content)
        files = dict.fromkeys(files, b"")
        with open(Path(folder) / "a hole of 1 TiB.pdparams", "wb") as hole:
            hole.write(PROTOCOL + b"\x8e" + struct.pack("<Q", 1 << 39))
            hole.truncate(1 << 40)
        with open(Path(folder) / "a hole of 1 GiB.pdparams", "wb") as hole:
            hole.write(PROTOCOL + b"\x8e" + struct.pack("<Q", 1 << 29))
            hole.truncate(1 << 30)
        limit_memory()
        for what in (*files, "a hole of 1 TiB.pdparams", "a hole of 1 GiB.pdparams"):
            read = read_tree if what.endswith(".yml") else read_data_file
            print(f"{Path(what).stem}: {refusal(read, Path(folder) / what)}")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
