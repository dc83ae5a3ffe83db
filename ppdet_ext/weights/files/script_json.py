"""TorchScript archives of torch 1.0 to 1.2: `model.json` describes modules and tensors, `tensors/<key>` are the storages.

The layout is torch's `caffe2/proto/torch.proto` (ModelDef) as JSON; its whole numbers of 64 bits are text.
"""

import json
from typing import Any, BinaryIO

from .opening import Malformed, shown
from .torch_tensors import Storage, StoredTensor

MAX_DESCRIPTION = 64 << 20
MAX_MODULES = 100_000
TYPES = {
    "FLOAT": "<f4", "DOUBLE": "<f8", "FLOAT16": "<f2", "INT64": "<i8", "INT32": "<i4", "INT16": "<i2", "INT8": "|i1",
    "UINT8": "|u1", "BYTE": "|u1", "BOOL": "|b1",
}  # fmt: skip


def _whole(value: Any) -> int:
    if type(value) is str and value.isascii() and value.isdigit() and len(value) < 20:
        return int(value)
    if type(value) is int:
        return value
    raise Malformed(f"its model.json has {shown(value)} where a whole number belongs")


def _fields(value: Any, key: str) -> list[dict[str, Any]]:
    """The list of tables under a key."""
    found = value.get(key, [])
    if type(found) is not list or any(type(item) is not dict for item in found):
        raise Malformed(f"its model.json has no list under {key}")
    return found


def read_script_json(stream: BinaryIO, top: str, entries: dict[str, Any]) -> dict[str, StoredTensor]:
    """Name -> tensor of an archive.

    Args:
        stream: the file.
        top: the archive's folder.
        entries: name -> (ZipInfo, where its bytes begin).

    Raises:
        Malformed: the description is damaged, or does not go with the storages.
    """
    info, start = entries[f"{top}/model.json"]
    if info.file_size > MAX_DESCRIPTION:
        raise Malformed(f"its model.json has {info.file_size} bytes, more than {MAX_DESCRIPTION}")
    stream.seek(start)
    try:
        model = json.loads(stream.read(info.file_size).decode("utf-8"))
        root = model["mainModule"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise Malformed(f"its model.json is damaged ({type(error).__name__})") from error
    storages: dict[str, Storage] = {}
    tensors = [_tensor(described, top, entries, storages) for described in _fields(model, "tensors")]
    return _named(root, tensors)


def _tensor(described: dict[str, Any], top: str, entries: dict[str, Any], storages: dict[str, Storage]) -> StoredTensor:
    data = described.get("data")
    key = data.get("key") if type(data) is dict else None
    dtype = TYPES.get(described.get("dataType", "FLOAT")) if type(described.get("dataType", "FLOAT")) is str else None
    if dtype is None or type(key) is not str or f"{top}/{key}" not in entries:
        raise Malformed(f"a tensor of its model.json is of type {shown(described.get('dataType'))} in storage {shown(key)}")
    info, start = entries[f"{top}/{key}"]
    storage = Storage(key, dtype, 0, start, info.CRC or None)
    storage.count = info.file_size // storage.itemsize
    storage = storages.setdefault(key, storage)
    if storage.dtype != dtype or storage.nbytes != info.file_size:
        raise Malformed(f"storage {shown(key)} is described in two ways")
    shape, stride = (tuple(_whole(item) for item in described.get(name, ())) for name in ("dims", "strides"))
    return StoredTensor.of(storage, _whole(described.get("offset", 0)), shape, stride)


def _named(root: Any, tensors: list[StoredTensor]) -> dict[str, StoredTensor]:
    """The tensors by the names of the modules they are in."""
    found: dict[str, StoredTensor] = {}
    waiting: list[tuple[str, Any]] = [("", root)]
    for prefix, module in _walk(waiting):
        for parameter in _fields(module, "parameters"):
            index = _whole(parameter.get("tensorId", 0))
            if not 0 <= index < len(tensors):
                raise Malformed(f"its model.json refers to tensor {index} of {len(tensors)}")
            found[f"{prefix}{parameter.get('name')}"] = tensors[index]
        waiting += [(f"{prefix}{inner.get('name')}.", inner) for inner in reversed(_fields(module, "submodules"))]
    return found


def _walk(waiting: list[tuple[str, Any]]) -> Any:
    count = 0
    while waiting:
        prefix, module = waiting.pop()
        count += 1
        if type(module) is not dict or count > MAX_MODULES or len(prefix) > 1000:
            raise Malformed("its model.json is no tree of modules")
        yield prefix, module
