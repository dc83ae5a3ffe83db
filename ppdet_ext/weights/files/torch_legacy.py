"""torch's format before 1.6, which mmdetection's publishing script still writes: five pickles, then the storages' bytes.

The pickles: a magic number, the protocol, the machine's properties, the value, the keys of the storages in the order of the
file. A storage is its number of elements (int64), then the elements, little-endian.
"""

import struct
from typing import Any, BinaryIO

from .opening import LEGACY_NUMBER, Malformed, Refused
from .torch_tensors import NAMES, Storages
from .unpickle import DataUnpickler, Source

PROTOCOL = 1001


def _no_storage(value: Any) -> Any:
    raise Malformed("it refers to storages outside its main pickle")


def load_legacy(stream: BinaryIO, size: int) -> Any:
    """The pickled value of a file of `size` bytes, with `StoredTensor` for tensors.

    Raises:
        Malformed: not such a file, damaged, or asking for anything but data.
    """
    source = Source(stream, size)
    magic, protocol, machine = (DataUnpickler(source, NAMES, _no_storage).load() for _ in range(3))
    if type(magic) is not int or magic != LEGACY_NUMBER or type(protocol) is not int or protocol != PROTOCOL:
        raise Malformed("its header is not that of a torch file")
    if type(machine) is not dict or machine.get("little_endian") is not True:
        raise Refused("it was written on a big-endian machine; load and save it on a usual one")
    storages = Storages()
    value = DataUnpickler(source, NAMES, storages.persistent).load()
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
    return value
