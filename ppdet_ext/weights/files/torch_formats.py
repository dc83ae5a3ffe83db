"""torch's two formats of `torch.save`, and the two of TorchScript that are archives too.

- zip, torch 1.6 and later: `<name>/data.pkl` and one uncompressed entry `<name>/data/<key>` a storage. TorchScript writes the
  same since torch 1.3, with its program beside it (`code/`, `constants.pkl`), which is not read.
- the one before, which mmdetection's publishing script writes to this day: five pickles (a magic number, the protocol, the
  machine's properties, the value, the keys of the storages in the order of the file), then the storages: number of elements
  (int64) and the elements, little-endian.
- TorchScript of torch 1.0 to 1.2 (`model.json`, `tensors/<key>`): see `script_json.py`.
"""

import struct
import zipfile
from typing import Any, BinaryIO

from .model_graph import GraphUnpickler, is_module
from .opening import LEGACY_NUMBER, ZIP_MAGIC, Malformed, Refused, shown
from .script_json import read_script_json
from .torch_tensors import NAMES, Storages
from .unpickle import DataUnpickler, Source

Entries = dict[str, tuple[zipfile.ZipInfo, int]]
PROTOCOL = 1001
# A program and where its lines came from: compressed by torch, of no use here.
PROGRAM = ("code", "debug")


def _at(stream: BinaryIO, offset: int, count: int) -> bytes:
    if offset < 0:
        raise Malformed("its directory points before its start")
    stream.seek(offset)
    data = stream.read(count)
    if len(data) < count:
        raise Malformed("it is cut short")
    return data


def _entries(stream: BinaryIO, size: int) -> Entries:
    """Every entry of the archive by name, and where its bytes begin; those of a program are left out.

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
        parts = name.split("/")
        if any(part in ("", ".", "..") for part in parts) or any(sign in name for sign in "\\\0:"):
            raise Malformed(f"it has an entry named {shown(name)}, which torch would not write")
        if info.flag_bits & 0x2041:
            raise Refused(f"its entry {name} is encrypted")
        if len(parts) > 2 and parts[1] in PROGRAM:
            continue
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


def load_zip(stream: BinaryIO, size: int, graph: bool = False) -> tuple[Any, str]:
    """The pickled value of a file of `size` bytes, with `StoredTensor` for tensors, and the layout's name (see `Origin`).

    Args:
        graph: the value may be a model: objects of unknown classes become `Part`s (as they always do in TorchScript).

    Raises:
        Unlisted: it asks for a name that is not data.
        Malformed: not such a file, damaged, or asking for anything but data.
    """
    entries = _entries(stream, size)
    tops = [name.partition("/")[0] for name in entries if name.count("/") == 1 and name.endswith(("/data.pkl", "/model.json"))]
    if len(tops) != 1:
        raise Refused("it is a zip archive, but none that torch.save wrote (no data.pkl)")
    (top,) = tops
    if f"{top}/byteorder" in entries and _at(stream, entries[f"{top}/byteorder"][1], 6) != b"little":
        raise Refused("it was written on a big-endian machine; load and save it on a usual one")
    if f"{top}/model.json" in entries:
        return read_script_json(stream, top, entries), "old script"
    pickled, start = entries[f"{top}/data.pkl"]
    storages = Storages()
    stream.seek(start)
    source = Source(stream, pickled.file_size)
    script = f"{top}/constants.pkl" in entries
    value = (GraphUnpickler(source, storages.persistent, True) if script else _unpickler(source, storages, graph)).load()
    if script and not is_module(value):
        raise Refused("it is a TorchScript archive, but its value is no module")
    for key, storage in storages.found.items():
        info, storage.offset = entries.get(f"{top}/data/{key}", (None, -1))
        if info is None or info.file_size != storage.nbytes:
            held = "is missing" if info is None else f"has {info.file_size} bytes"
            raise Malformed(f"storage {key} should have {storage.nbytes} bytes, but {held}")
        storage.crc = info.CRC or None  # 0: torch.serialization.set_crc32_options(False)
    storages.place_views()
    return value, "script" if script else "zip"


def _unpickler(source: Source, storages: Storages, graph: bool) -> DataUnpickler:
    if graph:
        return GraphUnpickler(source, storages.persistent)
    return DataUnpickler(source, NAMES, storages.persistent)


def _no_storage(value: Any) -> Any:
    raise Malformed("it refers to storages outside its main pickle")


def load_legacy(stream: BinaryIO, size: int, graph: bool = False) -> tuple[Any, str]:
    """The same of the format before 1.6; arguments and errors as `load_zip`."""
    source = Source(stream, size)
    magic, protocol, machine = (DataUnpickler(source, NAMES, _no_storage).load() for _ in range(3))
    if type(magic) is not int or magic != LEGACY_NUMBER or type(protocol) is not int or protocol != PROTOCOL:
        raise Malformed("its header is not that of a torch file")
    if type(machine) is not dict or machine.get("little_endian") is not True:
        raise Refused("it was written on a big-endian machine; load and save it on a usual one")
    storages = Storages()
    value = _unpickler(source, storages, graph).load()
    keys = DataUnpickler(source, NAMES, _no_storage).load()
    known = type(keys) is list and len(keys) == len(storages.found) and all(type(key) is str for key in keys)
    if not known or sorted(keys) != sorted(storages.found):
        raise Malformed("the storages it lists are not those its tensors lie in")
    for key in keys:
        storage = storages.found[key]
        (count,) = struct.unpack("<q", source.read(8))
        if count != storage.count:
            raise Malformed(f"storage {key} has {count} elements where {storage.count} are announced")
        storage.offset = size - source.left
        source.skip(storage.nbytes)
    if source.left:
        raise Malformed(f"{source.left} bytes follow its last storage")
    storages.place_views()
    return value, "legacy"
