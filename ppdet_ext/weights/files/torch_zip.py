"""torch's zip format (torch 1.6 and later): `<name>/data.pkl` and one uncompressed entry `<name>/data/<key>` a storage."""

import struct
import zipfile
from typing import Any, BinaryIO

from .opening import ZIP_MAGIC, Malformed, Refused, shown
from .torch_tensors import NAMES, Storages
from .unpickle import DataUnpickler, Source

Entries = dict[str, tuple[zipfile.ZipInfo, int]]


def _at(stream: BinaryIO, offset: int, count: int) -> bytes:
    if offset < 0:
        raise Malformed("its directory points before its start")
    stream.seek(offset)
    data = stream.read(count)
    if len(data) < count:
        raise Malformed("it is cut short")
    return data


def _entries(stream: BinaryIO, size: int) -> Entries:
    """Every entry of the archive by name, and where its bytes begin.

    `zipfile` believes names, sizes and offsets of strangers. Here every entry must lie in the file, be stored as it is, and
    have bytes of its own, so that storages can be read where they lie.
    """
    try:
        with zipfile.ZipFile(stream) as archive:
            infos = archive.infolist()
    except (zipfile.BadZipFile, NotImplementedError, struct.error, OSError, ValueError, OverflowError) as error:
        raise Malformed(f"its directory is damaged ({error}): it is cut short; copy it again") from error
    entries: Entries = {}
    for info in infos:
        name = info.orig_filename
        if any(part in ("", ".", "..") for part in name.split("/")) or any(sign in name for sign in "\\\0:"):
            raise Malformed(f"it has an entry named {shown(name)}, which torch would not write")
        if info.flag_bits & 0x2041:
            raise Refused(f"its entry {name} is encrypted")
        if info.compress_type or info.compress_size != info.file_size:
            raise Refused(f"its entry {name} is compressed; torch stores entries as they are")
        if name in entries:
            raise Malformed(f"it has two entries named {name}")
        entries[name] = info, _data_start(stream, info, size)
    total = sum(info.file_size for info, _ in entries.values())
    if total > size:
        raise Malformed(f"its entries overlap: they have {total} bytes together, the file {size}")
    return entries


def _data_start(stream: BinaryIO, info: zipfile.ZipInfo, size: int) -> int:
    """Where an entry's bytes begin, behind its own header, which must be of the same name."""
    name = info.orig_filename.encode("utf-8" if info.flag_bits & 0x800 else "cp437")
    head = _at(stream, info.header_offset, 30)
    n_name, n_extra = struct.unpack("<HH", head[26:30])
    begin = info.header_offset + 30 + n_name + n_extra
    if head[:4] != ZIP_MAGIC or _at(stream, info.header_offset + 30, n_name) != name:
        raise Malformed(f"the header of its entry {info.orig_filename} is not where the directory says")
    if begin + info.file_size > size:
        raise Malformed(f"its entry {info.orig_filename} reaches beyond the end of the file")
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
    if f"{top}/byteorder" in entries and _at(stream, entries[f"{top}/byteorder"][1], 6) != b"little":
        raise Refused("it was written on a big-endian machine; load and save it on a usual one")
    pickled, start = entries[f"{top}/data.pkl"]
    storages = Storages()
    stream.seek(start)
    value = DataUnpickler(Source(stream, pickled.file_size), NAMES, storages.persistent).load()
    for key, storage in storages.found.items():
        info, storage.offset = entries.get(f"{top}/data/{key}", (None, -1))
        if info is None or info.file_size != storage.nbytes:
            held = "is missing" if info is None else f"has {info.file_size} bytes"
            raise Malformed(f"storage {key} should have {storage.nbytes} bytes, but {held}")
        storage.crc = info.CRC or None  # 0: torch.serialization.set_crc32_options(False)
    storages.place_views()
    return value
