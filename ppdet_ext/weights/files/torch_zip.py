"""torch's zip format (torch 1.6 and later): `<name>/data.pkl` and one uncompressed entry `<name>/data/<key>` a storage.

The directory is read here and not by `zipfile`, which believes names, sizes and offsets of strangers: every entry must lie in
the file, be stored as it is, and not overlap others, so that no file can ask for more memory than it has bytes.
"""

import struct
from dataclasses import dataclass
from typing import Any, BinaryIO

from .opening import ZIP_MAGIC, Malformed, Refused
from .torch_tensors import NAMES, Storages
from .unpickle import DataUnpickler, Source

MAX_ENTRIES = 100_000
MAX_DIRECTORY = 32 << 20
MAX_PICKLE = 512 << 20
ZIP64 = 0xFFFFFFFF


@dataclass(frozen=True)
class Entry:
    """Where the bytes of an entry lie, and their checksum."""

    start: int
    size: int
    crc: int


def _at(stream: BinaryIO, offset: int, count: int) -> bytes:
    if offset < 0:
        raise Malformed("its directory points before its start")
    stream.seek(offset)
    data = stream.read(count)
    if len(data) < count:
        raise Malformed("it is cut short")
    return data


def _directory(stream: BinaryIO, size: int) -> tuple[int, int, int]:
    """Number of entries, offset and length of the central directory."""
    tail_start = max(0, size - 22 - 65535)
    tail = _at(stream, tail_start, size - tail_start)
    at = tail.rfind(b"PK\x05\x06")
    if at < 0 or len(tail) < at + 22:
        raise Malformed("its end is missing: it is cut short; copy it again")
    count, length, offset = struct.unpack("<HII", tail[at + 10 : at + 20])
    end = tail_start + at
    if end >= 20 and _at(stream, end - 20, 4) == b"PK\x06\x07":
        (where,) = struct.unpack("<Q", _at(stream, end - 12, 8))
        record = _at(stream, where, 56)
        if record[:4] != b"PK\x06\x06":
            raise Malformed("its zip64 directory is damaged")
        count, length, offset = struct.unpack("<QQQ", record[32:56])
        end = where
    if count > MAX_ENTRIES or length > MAX_DIRECTORY:
        raise Malformed(f"its directory has {count} entries in {length} bytes; a checkpoint has far fewer")
    if offset + length > end:
        raise Malformed("its directory does not lie where the end of the file says")
    return count, offset, length


def _zip64(extra: bytes, values: list[int]) -> list[int]:
    """Sizes and offset, those of 32 set bits replaced by the zip64 field's."""
    while len(extra) >= 4:
        kind, length = struct.unpack("<HH", extra[:4])
        field, extra = extra[4 : 4 + length], extra[4 + length :]
        if kind == 1:
            wide = iter(struct.unpack(f"<{len(field) // 8}Q", field[: len(field) // 8 * 8]))
            values = [next(wide, value) if value == ZIP64 else value for value in values]
    return values


def _check_name(raw: bytes) -> str:
    name = raw.decode("utf-8")
    parts = name.split("/")
    if "\\" in name or "\0" in name or ":" in name or not all(part not in ("", ".", "..") for part in parts):
        raise Malformed(f"it has an entry named {name[:80]!r}, which torch would not write")
    return name


def _entries(stream: BinaryIO, size: int) -> dict[str, Entry]:
    """Every entry of the archive by name."""
    count, offset, length = _directory(stream, size)
    directory = _at(stream, offset, length)
    entries: dict[str, Entry] = {}
    at, total = 0, 0
    for _ in range(count):
        head = directory[at : at + 46]
        if len(head) < 46 or head[:4] != b"PK\x01\x02":
            raise Malformed("its directory is damaged")
        flags, method, _, crc, packed, plain, n_name, n_extra, n_comment = struct.unpack("<HHIIIIHHH", head[8:34])
        (start,) = struct.unpack("<I", head[42:46])
        raw = directory[at + 46 : at + 46 + n_name]
        extra = directory[at + 46 + n_name : at + 46 + n_name + n_extra]
        at += 46 + n_name + n_extra + n_comment
        name = _check_name(raw)
        plain, packed, start = _zip64(extra, [plain, packed, start])
        if flags & 0x2041:
            raise Refused(f"its entry {name} is encrypted")
        if method or packed != plain:
            raise Refused(f"its entry {name} is compressed; torch stores entries as they are")
        if name in entries:
            raise Malformed(f"it has two entries named {name}")
        entries[name] = Entry(_data_start(stream, start, raw, plain, offset), plain, crc)
        total += plain
    if total > size:
        raise Malformed(f"its entries overlap: they have {total} bytes together, the file {size}")
    return entries


def _data_start(stream: BinaryIO, start: int, name: bytes, size: int, directory: int) -> int:
    """Where an entry's bytes begin, behind its own header."""
    head = _at(stream, start, 30)
    n_name, n_extra = struct.unpack("<HH", head[26:30])
    begin = start + 30 + n_name + n_extra
    if head[:4] != ZIP_MAGIC or _at(stream, start + 30, n_name) != name:
        raise Malformed(f"the header of its entry {name.decode('utf-8')} is not where the directory says")
    if begin + size > directory:
        raise Malformed(f"its entry {name.decode('utf-8')} reaches beyond the entries")
    return begin


def load_zip(stream: BinaryIO, size: int) -> Any:
    """The pickled value of a file of `size` bytes, with `StoredTensor` for tensors.

    Raises:
        Malformed: not such a file, damaged, or asking for anything but data.
    """
    entries = _entries(stream, size)
    tops = [name.removesuffix("/data.pkl") for name in entries if name.count("/") == 1 and name.endswith("/data.pkl")]
    if len(tops) != 1:
        raise Refused("it is a zip archive, but none that torch.save wrote (no data.pkl)")
    (top,) = tops
    if f"{top}/constants.pkl" in entries:
        raise Refused("it is a TorchScript archive (a program), not a checkpoint; save the state_dict instead")
    order = entries.get(f"{top}/byteorder")
    if order is not None and _at(stream, order.start, min(order.size, 16)) != b"little":
        raise Refused("it was written on a big-endian machine; load and save it on a usual one")
    pickled = entries[f"{top}/data.pkl"]
    if pickled.size > MAX_PICKLE:
        raise Malformed(f"its data.pkl has {pickled.size} bytes, more than {MAX_PICKLE}")
    storages = Storages()
    stream.seek(pickled.start)
    value = DataUnpickler(Source(stream, pickled.size), NAMES, storages.persistent).load()
    offsets, crcs = {}, {}
    for key, storage in storages.found.items():
        entry = entries.get(f"{top}/data/{key}")
        if entry is None or entry.size != storage.nbytes:
            held = "is missing" if entry is None else f"has {entry.size} bytes"
            raise Malformed(f"storage {key} should have {storage.nbytes} bytes, but {held}")
        offsets[key] = entry.start
        if entry.crc:  # 0: torch.serialization.set_crc32_options(False)
            crcs[key] = entry.crc
    storages.place(offsets, crcs)
    return value
