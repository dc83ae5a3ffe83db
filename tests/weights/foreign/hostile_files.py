"""Files from strangers: each name says what is wrong, each entry is (bytes, what the refusal must say)."""

import struct
import zipfile

from tests.weights.foreign.torch_files import (
    GOOD,
    VALUES,
    legacy,
    name,
    number,
    numbers,
    one,
    storage,
    table,
    tensor,
    text,
    zipped,
)

COMMAND = "touch executed"
UNDERFLOW = "its pickle takes more from the stack than there is; copy it again"


def _call(full: str, argument: str = COMMAND) -> bytes:
    return b"\x80\x02" + name(full) + b"(" + text(argument) + b"tR."


def _in_zips(pickles: dict[str, tuple[bytes, str]]) -> dict[str, tuple[bytes, str]]:
    return {what: (zipped(pickled), why) for what, (pickled, why) in pickles.items()}


def _calls() -> dict[str, tuple[bytes, str]]:
    """Pickles that have something run, each as the whole file's value and in both formats."""
    named = [
        "os.system", "posix.system", "nt.system", "builtins.eval", "builtins.exec", "builtins.__import__", "__builtin__.eval",
        "subprocess.Popen", "subprocess.check_output", "torch.hub.load", "torch.load", "torch.jit.load", "pickle.loads",
        "_pickle.loads", "runpy.run_path", "shutil.rmtree", "importlib.import_module", "functools.partial",
        "numpy.load", "numpy.testing._private.utils.runstring", "copyreg._reconstructor", "operator.attrgetter",
        "ppdet_ext.weights.files.read_data_file", "torch.storage._load_from_bytes", "builtins.open", "webbrowser.open",
        "mmengine.logging.history_buffer.Other", "datetime.datetime.now",
    ]  # fmt: skip
    cases = {f"REDUCE of {full}": (zipped(_call(full)), full.replace(".", r"\.")) for full in named}
    cases |= {f"legacy REDUCE of {full}": (legacy(_call(full)), full.replace(".", r"\.")) for full in named[:3]}
    argument = text(COMMAND)
    stacked = b"\x80\x04" + b"\x8c\x02os\x8c\x06system\x93" + b"(" + argument + b"tR."
    history = name("mmengine.logging.history_buffer.HistoryBuffer")
    raw = {
        "INST": (b"(" + argument + b"ios\nsystem\n.", "INST"),
        "OBJ": (b"(" + name("collections.OrderedDict") + argument + b"o.", "OBJ"),
        "OBJ of os.system": (b"(" + name("os.system") + argument + b"o.", r"os\.system"),
        "NEWOBJ_EX": (name("collections.OrderedDict") + b")}\x92.", "NEWOBJ_EX"),
        "NEWOBJ of a dictionary": (b"})\x81.", "calls a dict"),
        "STACK_GLOBAL": (stacked, r"os\.system"),
        "EXT1": (b"\x82\x01.", "EXT1"),
        "EXT2": (b"\x83\x01\x00.", "EXT2"),
        "EXT4": (b"\x84\x01\x00\x00\x00.", "EXT4"),
        "PERSID": (b"P0\n.", "PERSID"),
        "buffer": (b"\x97.", "NEXT_BUFFER"),
        "BUILD of a dictionary": (b"}}b.", "state to a dict"),
        "BUILD of a class": (name("collections.deque") + b"}" + text("__setstate__") + argument + b"sb.", "state to a Name"),
        "BUILD of a tensor": (tensor() + b"}b.", "state to a StoredTensor"),
        "getattr of a container": (
            name("builtins.getattr") + b"(" + name("collections.OrderedDict") + text("__class__") + b"tR.",
            r"builtins\.getattr",
        ),
        "getattr of an unlisted attribute": (
            name("__builtin__.getattr") + b"(" + history + text("__init__") + b"tR.",
            r"builtins\.getattr",
        ),
        "call of text": (text("os.system") + b"(" + argument + b"tR.", "calls a str"),
        "call of a result": (history + b")R(" + argument + b"tR.", "calls a Inert"),
        "call without a tuple": (name("collections.OrderedDict") + b"]R.", "with a list"),
        "pickle in bytes": (name("_codecs.encode") + b"(" + text("cos\nsystem\n") + text("latin1") + b"tR.", "Inert"),
        "items for a class": (name("collections.deque") + b"(" + argument + b"e.", "'Name' object has no attribute 'append'"),
    }
    return cases | _in_zips(raw)


def _pickles() -> dict[str, tuple[bytes, str]]:
    """Pickles that are damaged, or made to exhaust the reader."""
    huge = struct.pack("<Q", 1 << 62)
    raw = {
        "persistent text": (text("storage") + b"Q.", "something else than storages"),
        "persistent module": (b"(" + text("module") + name("collections.OrderedDict") + b"NNNtQ.", "something else"),
        "persistent with another class": (storage(kind="collections.OrderedDict") + b".", "described by other values"),
        "persistent with a path as key": (storage(key="../../etc/passwd") + b".", "described by other values"),
        "persistent with a negative count": (storage(count=-1) + b".", "described by other values"),
        "empty stack": (b"R.", UNDERFLOW),
        "no mark": (b"t.", UNDERFLOW),
        "only STOP": (b".", UNDERFLOW),
        "pair of one": (b"N\x86.", UNDERFLOW),
        "nothing to remember": (b"q\x00.", UNDERFLOW),
        "empty pickle": (b"", "cut short"),
        "no STOP": (b"}", "cut short"),
        "unknown opcode": (b"\xff.", "opcode"),
        "memory of protocol 0": (b"g0\n.", "opcode"),
        "memo never stored": (b"h\x07.", "Memo value not found at index 7"),
        "memo never stored, below one that is": (b"]q\x09h\x07.", "Memo value not found at index 7"),
        "list gets an item as dictionary": (b"]" + text("a") + text("b") + b"s.", "items to a list"),
        "dictionary gets an item as list": (b"}Na.", "'dict' object has no attribute 'append'"),
        "key without a value": (b"}(Nu.", "key without a value"),
        "list as key": (b"}]Ns.", "key of type list"),
        "tuple as key": (b"})Ns.", "key of type tuple"),
        "OrderedDict of a number": (name("collections.OrderedDict") + b"(K\x01tR.", "not made of pairs"),
        "whole number beyond 2^31 as key": (b"}" + number(2**31 + 1) + b"Ns.", r"whole number beyond 2\^31"),
        "whole number below -2^31 as key": (b"}(" + number(-(2**31) - 1) + b"Nu.", r"whole number beyond 2\^31"),
        "OrderedDict with a number beyond 2^31": (
            name("collections.OrderedDict") + b"(](" + number(2**61 - 1) + b"NtatR.",
            r"whole number beyond 2\^31",
        ),
        "OrderedDict with a tuple as key": (name("collections.OrderedDict") + b"(]()NtatR.", "key of type tuple"),
        "size of a number": (name("torch.Size") + b"(K\x01tR.", r"torch\.Size"),
        "size of nine dimensions": (name("torch.Size") + numbers([1] * 9) + b"\x85R.", "is not a short tuple"),
        "parameter of a number": (name("torch._utils._rebuild_parameter") + b"(K\x01\x89NtR.", "not made of a tensor"),
        "text that is no UTF-8": (b"X\x01\x00\x00\x00\xff.", "is damaged: a text in its pickle is no UTF-8; copy it again"),
        "name without an end": (b"cos", "no end"),
        "endless name": (b"c" + b"a" * 100_000, "no end"),
        "name that is no text": (b"\x80\x04NN\x93.", "STACK_GLOBAL requires str"),
        "number of negative length": (b"\x8b" + struct.pack("<i", -5) + b".", "negative byte count"),
        "number of 2 GiB": (b"\x8b" + struct.pack("<i", 2**31 - 1) + b".", "cut short: 2147483647 bytes are announced"),
        "text of 4 GiB": (b"X\xff\xff\xff\xff.", "cut short"),
        "text of 2^62 bytes": (b"\x8d" + huge + b".", "cut short"),
        "bytes of 2^62 bytes": (b"\x8e" + huge + b".", "cut short"),
        "bytearray of 2^62 bytes": (b"\x96" + huge + b".", "cut short"),
        "long text as a key": (b"}X" + struct.pack("<I", 1 << 20) + b"a" * (1 << 20) + b"Ns.", "of at most 300 letters"),
    }
    return _in_zips(raw)


def _tensors() -> dict[str, tuple[bytes, str]]:
    """Tensors that do not lie in their storage."""
    twice = table((text("a"), tensor()), (text("b"), tensor(count=2, size=(2,), stride=(1,))))
    kinds = table((text("a"), tensor()), (text("b"), tensor(kind="torch.LongStorage")))
    raw = {
        "negative size": (one(tensor(size=(-2, 2))), "whole numbers"),
        "negative stride": (one(tensor(stride=(2, -1))), "whole numbers"),
        "negative offset": (one(tensor(offset=-1)), "whole numbers"),
        "offset beyond the storage": (one(tensor(offset=1)), "beyond storage 0"),
        "offset of 2^62": (one(tensor(offset=1 << 62)), "whole numbers"),
        "size beyond the storage": (one(tensor(size=(3, 2))), "beyond storage 0"),
        "stride beyond the storage": (one(tensor(stride=(3, 1))), "beyond storage 0"),
        "stride 0, 4 GiB of one number": (one(tensor(size=(1 << 15, 1 << 15), stride=(0, 0))), "beyond storage 0"),
        "overlapping strides, 1 TiB": (one(tensor(size=(1 << 19, 1 << 19), stride=(0, 1), count=1 << 19)), "beyond storage"),
        "size of 2^62": (one(tensor(size=(1 << 62, 1))), "whole numbers"),
        "sizes without strides": (one(tensor(stride=(1,))), "2 dimensions and 1 strides"),
        "a thousand dimensions": (one(tensor(size=(1,) * 1000, stride=(1,) * 1000)), "not a short tuple"),
        "size of true": (one(tensor(size=(b"\x88", 2))), "whole numbers"),
        "size of text": (one(tensor(size=(text("2"), 2))), "whole numbers"),
        "size of a fraction": (one(tensor(size=(b"G" + struct.pack(">d", 2), 2))), "whole numbers"),
        "no storage": (one(tensor(of=b"N")), "not built on a storage"),
        "a tensor as storage": (one(tensor(of=tensor())), "not built on a storage"),
        "a conjugated tensor": (one(tensor(last=b"}" + text("conj") + b"\x88s")), "other arguments"),
        "too few arguments": (one(name("torch._utils._rebuild_tensor_v2") + b")R"), "other arguments"),
        "storage of 2^60 elements": (one(tensor(count=1 << 60)), "should have"),
        "storage of two sizes": (twice, "described in two ways"),
        "storage of two types": (kinds, "described in two ways"),
        "view beyond its storage": (
            one(tensor(view=numbers((text("7"), 3, 2)), count=4, size=(1,), stride=(1,))),
            "view of storage 0 reaches beyond",
        ),
        "unknown type": (one(tensor(kind="torch.QInt8Storage")), r"torch\.QInt8Storage"),
    }
    return _in_zips(raw)


def _tables() -> dict[str, tuple[bytes, str]]:
    """Sound pickles that hold no table of tensors."""
    w = text("w")
    raw = {
        "text for a tensor": (table((w, text("value"))), "no tensor, but str"),
        "list for a tensor": (table((w, b"]")), "no tensor, but list"),
        "storage for a tensor": (table((w, storage())), "no tensor, but Storage"),
        "function for a tensor": (table((w, name("builtins.getattr"))), r"no tensor, but builtins\.getattr"),
        "number for a name": (table((number(3), tensor())), "named 3, a int"),
        "name with an escape sequence": (table((text("w\x1b[2J"), tensor())), r"named 'w\\x1b\[2J'"),
        "name of 2000 letters": (table((text("w" * 2000), tensor())), "named 'www"),
        "one tensor by two names": (table((w, tensor()), (text("module.w"), tensor())), "same tensor by name"),
        "empty table": (table(), "is empty"),
        "a list": (b"\x80\x02].", "holds a list"),
        "a tensor alone": (b"\x80\x02" + tensor() + b".", "holds a single tensor"),
        "a whole model": (_call("mmdet.models.detectors.htc.HybridTaskCascade"), "mmdet.models"),
    }
    return _in_zips(raw)


def _patched(content: bytes, at: int, layout: str, value: int) -> bytes:
    raw = struct.pack(layout, value)
    return content[:at] + raw + content[at + len(raw) :]


def _zips() -> dict[str, tuple[bytes, str]]:
    """Archives that are not what torch writes."""
    good = zipped(GOOD)
    central, end = good.index(b"PK\x01\x02"), good.index(b"PK\x05\x06")
    renamed = {
        path: good.replace(b"archive/data/0", path.encode())
        for path in (
            "../../../../xx",
            "/etc/passwdxxx",
            "C:/windows/xxx",
            "archive\\data\\0",
            "archive//data0",
            "archive/data/\0",
        )
    }
    cases = {f"entry named {path!r}": (content, "torch would not write") for path, content in renamed.items()}
    both = {"data/0": VALUES, "data/1": VALUES}
    twice = zipped(GOOD, both).replace(b"archive/data/1", b"archive/data/0")
    second = zipped(GOOD, both)
    first_at = second.index(b"PK\x01\x02")
    last_at = second.rindex(b"PK\x01\x02")
    first_offset = second[first_at + 42 : first_at + 46]
    overlapping = second[: last_at + 42] + first_offset + second[last_at + 46 :]
    bomb = zipped(GOOD, {"data/0": bytes(1 << 24)}, method=zipfile.ZIP_DEFLATED)
    return cases | {
        "two entries of a name": (twice, "two entries"),
        "entry over another one": (overlapping, "not where the directory says"),
        "encrypted": (_patched(good, central + 8, "<H", 1), "encrypted"),
        "deflated": (bomb, "compressed"),
        "zip bomb, 4 GiB declared": (_patched(bomb, bomb.rindex(b"PK\x01\x02") + 24, "<I", 0xFFFFFFFE), "compressed"),
        "packed size of 4 GiB": (_patched(good, central + 20, "<I", 0xFFFFFFFE), "compressed"),
        "both sizes of 4 GiB": (_patched(_patched(good, central + 20, "<I", 1 << 31), central + 24, "<I", 1 << 31), "beyond"),
        "zip64 size of 2^62": (_zip64_bomb(), "beyond the end"),
        "entry beyond the file": (_patched(good, central + 42, "<I", 1 << 30), "cut short"),
        "entry elsewhere": (_patched(good, central + 42, "<I", 7), "not where the directory says"),
        "directory beyond the file": (_patched(good, end + 16, "<I", 1 << 30), "before its start"),
        "zip64 directory of 2^40 entries": (_zip64_end(1 << 40), "its directory is damaged"),
        "wrong checksum": (good.replace(VALUES, VALUES[::-1]), "checksum"),
        "storage too short": (zipped(GOOD, {"data/0": VALUES[:-1]}), "should have 16 bytes, but has 15"),
        "storage too long": (zipped(GOOD, {"data/0": VALUES + b"\0"}), "should have 16 bytes, but has 17"),
        "storage absent": (zipped(GOOD, {}), "is missing"),
        "no pickle": (zipped(GOOD).replace(b"data.pkl", b"data.txt"), "none that torch.save wrote"),
        "TorchScript": (zipped(GOOD, {"data/0": VALUES, "constants.pkl": b"."}), "TorchScript"),
        "big-endian": (zipped(GOOD, {"data/0": VALUES, "byteorder": b"big"}), "big-endian"),
        "two pickles": (zipped(GOOD, {"data/0": VALUES, "../other/data.pkl": GOOD}), "torch would not write"),
    }


def _zip64_bomb() -> bytes:
    """An entry whose true size, in the zip64 field, is 2^62."""
    good = zipped(GOOD)
    at = good.rindex(b"PK\x01\x02")
    field = struct.pack("<HHQQ", 1, 16, 1 << 62, 1 << 62)
    header = bytearray(good[at : at + 46])
    struct.pack_into("<II", header, 20, 0xFFFFFFFF, 0xFFFFFFFF)
    struct.pack_into("<H", header, 30, len(field))
    end = bytearray(good[good.index(b"PK\x05\x06") :])
    struct.pack_into("<I", end, 12, struct.unpack_from("<I", end, 12)[0] + len(field))
    return good[:at] + bytes(header) + good[at + 46 : good.index(b"PK\x05\x06")] + field + bytes(end)


def _zip64_end(count: int) -> bytes:
    """An archive whose zip64 directory announces `count` entries."""
    good = zipped(GOOD)
    at = good.index(b"PK\x05\x06")
    record = b"PK\x06\x06" + struct.pack("<QHHIIQQQQ", 44, 45, 45, 0, 0, count, count, 10, 0)
    return good[:at] + record + b"PK\x06\x07" + struct.pack("<IQI", 0, at, 1) + good[at:]


def _legacies() -> dict[str, tuple[bytes, str]]:
    """The older format, not as torch writes it."""
    count = struct.pack("<q", 4)
    return {
        "wrong protocol": (legacy(GOOD, protocol=1000), "header"),
        "legacy big-endian": (legacy(GOOD, little=b"\x89"), "big-endian"),
        "keys of no storage": (legacy(GOOD, keys=b"](" + text("1") + b"e"), "storages it lists"),
        "key twice": (legacy(GOOD, keys=b"](" + text("0") + text("0") + b"e"), "storages it lists"),
        "no keys": (legacy(GOOD, keys=b"]"), "storages it lists"),
        "keys that are no texts": (legacy(GOOD, keys=b"](K\x00e"), "storages it lists"),
        "keys with a storage": (legacy(GOOD, keys=storage()), "outside its main pickle"),
        "another count": (legacy(GOOD, storages=struct.pack("<q", 5) + VALUES), "has 5 elements where 4"),
        "negative count": (legacy(GOOD, storages=struct.pack("<q", -4) + VALUES), "has -4 elements"),
        "bytes behind the end": (legacy(GOOD, storages=count + VALUES + b"more"), "4 bytes follow"),
        "2^60 elements announced": (legacy(one(tensor(count=1 << 60)), storages=struct.pack("<q", 1 << 60)), "cut short"),
    }


def _others() -> dict[str, tuple[bytes, str]]:
    """No checkpoints."""
    return {
        "empty file": (b"", "it is empty"),
        "text": (b"hello\n" * 100, "no checkpoint of torch"),
        "web page": (b"\n<!DOCTYPE html><html>404</html>", "a web page; download it again"),
        "Git LFS pointer": (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "pointer of Git LFS"),
        "picture": (b"\x89PNG\r\n\x1a\n" + bytes(100), "no checkpoint of torch"),
        "another pickle": (b"\x80\x04}.", r"suffix \.pdparams"),
        "tar archive": (b"storages" + bytes(1000), "no checkpoint of torch"),
    }


def hostile_files() -> dict[str, tuple[bytes, str]]:
    """What is wrong -> the file, and what the refusal says."""
    kinds = (_calls, _pickles, _tensors, _tables, _zips, _legacies, _others)
    return {what: case for kind in kinds for what, case in kind().items()}
