"""Files that run nothing in themselves, and are no weights: forged, damaged, or of another kind.

name -> (the file, what the refusal says).
"""

import pickle
import struct

import numpy as np

from tests.hostile.opcodes import (
    PROTOCOL,
    TYPE_STATE,
    VALUES,
    array,
    blank,
    call,
    dtype,
    fraction,
    name,
    number,
    one,
    raw,
    schedule,
    slots,
    table,
    text,
    whole,
)  # fmt: skip
from tests.weights.foreign.torch_files import GOOD, legacy, numbers, zipped

HUGE = struct.pack("<Q", 1 << 62)
NUMERIC = "numpy._core.numeric._frombuffer"
SCALAR = "numpy._core.multiarray.scalar"
DAMAGED = r"\.pd\w+ \(\d+ bytes\) is truncated or damaged, or no weights file: "


def _opcodes() -> dict[str, tuple[bytes, str]]:
    """Opcodes that data has no use for, and objects that are no data."""
    ordered = name("collections.OrderedDict")
    return {
        "EXT1": (whole(b"\x82\x01"), "EXT1"),
        "EXT2": (whole(b"\x83\x01\x00"), "EXT2"),
        "EXT4": (whole(b"\x84\x01\x00\x00\x00"), "EXT4"),
        "PERSID": (whole(b"Pid\n"), "PERSID"),
        "BINPERSID": (whole(text("id") + b"Q"), "outside itself"),
        "NEWOBJ_EX": (whole(ordered + b")}\x92"), "NEWOBJ_EX"),
        "NEWOBJ of ndarray": (whole(name("numpy.ndarray") + b"J\x00\xca\x9a\x3b\x85\x81"), r"calls numpy\.ndarray"),
        "NEXT_BUFFER": (b"\x80\x05\x97.", "NEXT_BUFFER"),
        "unknown opcode": (whole(b"\xff"), "unknown"),
        "BUILD of a dictionary": (whole(b"}}b"), "state to a dict"),
        "BUILD of ndarray itself": (whole(name("numpy.ndarray") + b"}" + text("tofile") + b"Nsb"), "state to a Name"),
        "slots of an array": (one(blank() + b"N}" + text("shape") + b"Ns\x86b"), "other values than numpy writes"),
        "state given twice": (one(array(start=array())), "state to a Array"),
        "ndarray's method": (whole(call("numpy.ndarray.tofile", text("x"))), r"numpy\.ndarray\.tofile"),
        "ndarray.__class__": (b"\x80\x04" + text("numpy") + text("ndarray.__class__") + b"\x93.", "ndarray.__class__"),
        "numpy + core.multiarray._reconstruct": (
            b"\x80\x04" + text("numpy") + text("core.multiarray._reconstruct") + b"\x93.", "which is not data"
        ),
        "numpy.load": (whole(call("numpy.load", text("x"))), r"numpy\.load"),
        "numpy.memmap": (whole(call("numpy.memmap", text("x"))), r"numpy\.memmap"),
        "array of a class of its own": (one(blank("argparse.Namespace")), r"argparse\.Namespace"),
        "numpy.matrix": (one(blank("numpy.matrix")), r"numpy\.matrix"),
        "numpy's runstring": (whole(call("numpy.testing._private.utils.runstring", text("1"))), "runstring"),
        "our own reader": (whole(call("ppdet_ext.weights.files.read_data_file", text("x"))), "which is not data"),
        "name with an escape sequence": (whole(name("os.\x1b[2J")), r"os\.\\x1b"),
        "copyreg": (whole(call("copyreg._reconstructor", name("collections.OrderedDict"))), r"copyreg\._reconstructor"),
        "bytes by another encoding": (one(call("_codecs.encode", text("x"), text("rot13"))), "else than bytes in Latin-1"),
        "bytes of a billion": (one(call("builtins.bytes", number(10**9))), "bytes of something else"),
        "tuple of a text": (one(call("builtins.tuple", text("abc"))), "not made of a tuple"),
    }  # fmt: skip


def _arrays() -> dict[str, tuple[bytes, str]]:
    """Arrays that are not what they say."""
    meta = TYPE_STATE.replace(b"K\x03", b"K\x04")[:-1] + b"}" + text("a") + text("b") + b"st"
    fields = b"(K\x03" + text("|") + b"N" + text("a") + b"\x85}" + number(-1) + number(-1) + b"K\x00t"
    cases = {
        "type O": (array(kind=dtype("O")), "'O', which is not of numbers"),
        "type V8": (array(kind=dtype("V8", fields)), "'V8', which is not of numbers"),
        "type S2": (array(kind=dtype("S2")), "'S2', which is not of numbers"),
        "type of 2 GiB": (array(kind=dtype("V2147483647")), "not of numbers"),
        "type by a list of fields": (
            array(kind=call("numpy.dtype", b"]", b"\x89\x88")), "type of array in another way than numpy writes"
        ),
        "type with fields": (array(kind=dtype(state=fields)), "not of plain numbers"),
        "type with metadata": (array(kind=dtype(state=meta)), "not of plain numbers"),
        "type of version 99": (array(kind=dtype(state=TYPE_STATE.replace(b"K\x03", b"K\x63"))), "only little-endian"),
        "big-endian": (array(kind=dtype(state=TYPE_STATE.replace(text("<"), text(">")))), "only little-endian"),
        "no type": (array(kind=text("f4")), "an array has no type"),
        "no values": (blank(), "array without values"),
        "blank of shape 10^9": (blank(shape=number(10**9) + b"\x85"), "array in another way than numpy writes"),
        "ndarray of 10^12": (call("numpy.ndarray", number(10**12) + b"\x85"), r"calls numpy\.ndarray"),
        "shape of 10^12": (array(shape=number(10**12) + b"\x85"), r"shape \[1000000000000\] and type float32 has 8 bytes"),
        "shape of 2^62": (array(shape=number(2**62) + b"\x85"), "whole numbers from 0 to"),
        "shape that overflows": (array(shape=number(2**33) * 2 + b"\x86"), "has 8 bytes"),
        "negative shape": (array(shape=number(-2) + number(-1) + b"\x86"), "whole numbers from 0 to"),
        "shape of a fraction": (array(shape=fraction(2.0) + b"\x85"), "whole numbers from 0 to"),
        "shape of true": (array(shape=b"\x88\x85"), "whole numbers from 0 to"),
        "shape of 1000 dimensions": (array(shape=numbers([1] * 1000)), "not a short tuple"),
        "too few bytes": (array(data=raw(VALUES[:-1])), "has 7 bytes"),
        "too many bytes": (array(data=raw(VALUES + b"\0")), "has 9 bytes"),
        "list for bytes": (array(data=b"](K\x01K\x02e"), "made of a list in place of numbers"),
        "text beyond Latin-1 for bytes": (array(data=text("\u4e00" * 3)), "beyond Latin-1"),
        "long text beyond Latin-1": (array(data=text("\u4e00" * 3000)), "beyond Latin-1"),
        "buffer of a wrong size": (call(NUMERIC, raw(VALUES), dtype(), b"K\x03\x85", text("C")), "has 8 bytes"),
        "buffer in order K": (call(NUMERIC, raw(VALUES), dtype(), b"K\x02\x85", text("K")), "other values than numpy"),
        "buffer that is a name": (call(NUMERIC, name("numpy.ndarray"), dtype(), b"K\x02\x85", text("C")), "made of a Name"),
        "scalar of objects": (call(SCALAR, dtype("O"), text("x")), "'O', which is not of numbers"),
        "scalar of a wrong size": (call(SCALAR, dtype(), raw(VALUES)), "has 8 bytes"),
    }  # fmt: skip
    return {what: (one(value), why) for what, (value, why) in cases.items()}


def _damaged() -> dict[str, tuple[bytes, str]]:
    """Pickles that are torn, or announce what is not there."""
    return {
        "empty file": (b"", DAMAGED + "it is cut short"),
        "only a header": (PROTOCOL, DAMAGED + "it is cut short"),
        "no STOP": (one(array())[:-1], DAMAGED + "it is cut short"),
        "text file": (b"hello\n" * 100, DAMAGED),
        "picture": (b"\x89PNG\r\n\x1a\n" + bytes(100), DAMAGED),
        "only STOP": (b".", DAMAGED + "it is damaged"),
        "more on the stack": (PROTOCOL + b"}}.", DAMAGED + "its pickle ends before"),
        "STOP inside a tuple": (PROTOCOL + b"(}.", DAMAGED + "its pickle ends before"),
        "bytes behind it": (one(array()) + b"\0" * 7, DAMAGED + "7 bytes follow its pickle"),
        "a second pickle behind it": (one(array()) + whole(call("os.system", text("true"))), DAMAGED + r"\d+ bytes follow"),
        "LONG4 of 2 GiB": (whole(b"\x8b\xff\xff\xff\x7f"), DAMAGED + "it is cut short: 2147483647 bytes are announced"),
        "LONG4 of negative length": (whole(b"\x8b\xff\xff\xff\xff"), DAMAGED + "it is damaged: .*negative byte count"),
        "BINUNICODE of 4 GiB": (whole(b"X\xff\xff\xff\xff"), DAMAGED + "it is cut short: "),
        "BINUNICODE8 of 2^62": (whole(b"\x8d" + HUGE), DAMAGED + "it is cut short"),
        "BINBYTES8 of 2^62": (whole(b"\x8e" + HUGE), DAMAGED + "it is cut short: 4611686018427387904 bytes are announced"),
        "BYTEARRAY8 of 2^62": (whole(b"\x96" + HUGE), DAMAGED + "it is cut short"),
        "FRAME of 2^62": (b"\x80\x04\x95" + HUGE + b"}.", DAMAGED + "it is cut short"),
        "memo never stored": (whole(b"h\x07"), DAMAGED + "it is damaged: Memo value not found at index 7"),
        "no mark": (whole(b"t"), DAMAGED + "it is damaged"),
        "text that is no UTF-8": (whole(b"X\x01\x00\x00\x00\xff"), DAMAGED + "it is damaged: a text"),
        "long text that is no UTF-8": (
            whole(b"X" + struct.pack("<I", 5000) + b"\xff" * 5000),
            DAMAGED + "it is damaged: a text",
        ),
        "colliding keys": (
            whole(b"}(" + b"".join(number(i * (2**61 - 1)) + b"N" for i in range(2, 9)) + b"u"),
            r"beyond 2\^31",
        ),
        "key that is a list": (whole(b"}]Ns"), "key of type list"),
        "key that is a tuple": (whole(b"})Ns"), "key of type tuple"),
    }


def _others() -> dict[str, tuple[bytes, str]]:
    """Sound files that are no weights."""
    return {
        "a zip": (zipped(b"}."), "a zip archive"),
        "torch's checkpoint renamed": (zipped(GOOD), r"a checkpoint of torch; give the latter its suffix \.pth"),
        "torch's older checkpoint renamed": (legacy(GOOD), r"a checkpoint of torch"),
        "a web page": (b"<!DOCTYPE html><html>404</html>", "a web page"),
        "a pointer of Git LFS": (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "Git LFS"),
        "a list": (pickle.dumps([1, 2]), "holds a list"),
        "a number": (pickle.dumps(7), "holds a int"),
        "a set": (pickle.dumps({1}), "holds a set"),
        "an array alone": (pickle.dumps(np.zeros(3)), "holds a array"),
        "a tensor's name for the table": (pickle.dumps("w"), "holds a str"),
        "a complex number": (pickle.dumps({"w": 1j}), r"builtins\.complex"),
        "bytes": (pickle.dumps({"w": b"abc"}), "holds a bytes"),
        "a name for a tensor": (one(name("numpy.ndarray")), r"holds a numpy\.ndarray"),
        "a whole number as a name": (table((number(3), array())), "named 3, a int"),
        "bytes as a name": (table((raw(b"w"), array())), "named b'w', a bytes"),
        "null as a name": (table((b"N", array())), "named None"),
        "an escape sequence as a name": (table((text("w\x1b[2J"), array())), r"named 'w\\x1b\[2J'"),
        "a name of 1000 letters": (table((text("w" * 1000), array())), "at most 300 letters"),
        "a table inside itself": (PROTOCOL + b"}q\x01" + text("w") + b"h\x01s.", "8 containers inside each other"),
        "a list inside itself": (one(b"]q\x01h\x01a"), "8 containers inside each other"),
        "parts that are missing": (_parts(b"](" + text("x@@.0") + b"e", b"K\x02\x85"), "parts of tensor 'x' are missing"),
        "parts used twice": (_parts(b"](" + text("w@@.0") * 2 + b"e", b"K\x04\x85"), "parts of tensor 'x' are missing"),
        "parts of another shape": (_parts(b"](" + text("w@@.0") + b"e", number(10**12) + b"\x85"), "number of elements"),
        "parts without a description": (_parts(b"N", b"N"), "parts of tensor 'x' are missing"),
        "name table that is a list": (table((text("StructuredToParameterName@@"), b"]")), "no table of names"),
    }  # fmt: skip


def _parts(slices: bytes, shape: bytes) -> bytes:
    described = b"}" + text("x") + b"}(" + text("slices") + slices + text("OriginShape") + shape + b"us"
    return table((text("w@@.0"), array()), (text("UnpackBigParamInfor@@"), described))


def optimizers() -> dict[str, tuple[bytes, str]]:
    """States of optimizers whose schedule, counters or master weights are of another type."""
    epoch = number(3)
    return {
        "schedule that is a list": (slots(LR_Scheduler=b"]"), r"LR_Scheduler is \[\]; expected a table of numbers"),
        "schedule that is a number": (slots(LR_Scheduler=epoch), "LR_Scheduler is 3; expected a table of numbers"),
        "text as rate": (schedule(last_epoch=epoch, last_lr=text("0.1")), r"last_lr is '0\.1'; expected a finite number"),
        "text as epoch": (schedule(last_epoch=text("3")), "LR_Scheduler.last_epoch is '3'; expected a whole number"),
        "list as rate": (schedule(last_lr=b"](" + fraction(0.1) + b"e"), "last_lr is .*expected a finite number"),
        "array as rate": (schedule(last_lr=array()), "last_lr is .*expected a finite number"),
        "null as rate": (schedule(last_lr=b"N"), "last_lr is None"),
        "true as epoch": (schedule(last_epoch=b"\x88"), "last_epoch is True"),
        "NaN as rate": (schedule(last_lr=fraction(float("nan"))), "last_lr is nan"),
        "infinite rate": (schedule(last_lr=fraction(float("inf"))), "last_lr is inf"),
        "fraction as epoch": (schedule(last_epoch=fraction(1.5)), "last_epoch is 1.5"),
        "epoch of 2000 bits": (schedule(last_epoch=number(1 << 2000)), "last_epoch is .*expected a whole number"),
        "schedule inside: text": (
            schedule(LinearWarmup_LR=b"}" + text("last_lr") + text("x") + b"s"),
            r"LR_Scheduler\.LinearWarmup_LR\.last_lr is 'x'",
        ),
        "schedule with a numbered key": (slots(LR_Scheduler=b"}" + number(1) + fraction(0.1) + b"s"), "named 1, a int"),
        "schedule with a name": (schedule(last_lr=name("numpy.ndarray")), r"holds a numpy\.ndarray"),
        "text as last_epoch": (slots(last_epoch=text("__import__('os')")), "last_epoch is .*expected a whole number"),
        "table as last_epoch": (slots(last_epoch=b"}"), "last_epoch is {}"),
        "master weights that are a list": (slots(master_weights=b"]"), "master_weights is no table of tensors"),
        "master weights of text": (
            slots(master_weights=b"}" + text("w") + text("x") + b"s"),
            "master_weights is no table of tensors",
        ),
    }


def forgeries() -> dict[str, tuple[bytes, str]]:
    """See above."""
    return {what: case for kind in (_opcodes, _arrays, _damaged, _others) for what, case in kind().items()}
