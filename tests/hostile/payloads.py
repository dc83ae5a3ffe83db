"""Pickles that run something when Python's own unpickler reads them: each makes a file, a variable or a module appear.

name -> (the file, what the refusal says). `CANARY` names all three, so that a test can look for them.
"""

import os
import sys
from pathlib import Path

from tests.hostile.opcodes import PROTOCOL, array, call, dtype, name, one, raw, text, whole
from tests.weights.foreign.torch_files import number

CANARY = "canary_of_a_stranger"
TOUCH = text(f"touch {CANARY}")
ARGUMENTS = b"](" + text("touch") + text(CANARY) + b"e"
SET = text(f"__import__('os').environ.__setitem__('{CANARY}', '1')")
MODULE = text(CANARY)
# A module of that name says that it has been run even where it is taken out of sys.modules again.
SOURCE = f"import os\nos.environ['{CANARY}'] = '1'\n"
STACK = b"\x80\x04\x8c\x02os\x8c\x06system\x93"
OBJECT_TYPE = dtype("O8", b"(K\x03" + text("|") + b"NNN" + number(-1) + number(-1) + b"K\x3ft")


def appeared(folder: Path) -> list[str]:
    """Which canaries are there; `folder` is the working directory of the attack. They are taken away again."""
    found = []
    made = folder / CANARY
    if made.exists():
        found.append("file")
        (made.rmdir if made.is_dir() else made.unlink)()
    if os.environ.pop(CANARY, None):
        found.append("variable")
    if sys.modules.pop(CANARY, None):
        found.append("module")
    return found


def payloads() -> dict[str, tuple[bytes, str]]:
    """See above."""
    system, evaluated = call("os.system", TOUCH), r"builtins\.eval"
    attribute = call("builtins.getattr", call("builtins.__import__", text("os")), text("system"))
    namespace = call("argparse.Namespace")
    return {
        "REDUCE os.system": (one(system), r"os\.system"),
        "REDUCE posix.system": (one(call("posix.system", TOUCH)), r"posix\.system"),
        "REDUCE os.popen": (one(call("os.popen", TOUCH)), r"os\.popen"),
        "REDUCE os.mkdir": (one(call("os.mkdir", MODULE)), r"os\.mkdir"),
        "REDUCE subprocess.call": (one(call("subprocess.call", ARGUMENTS)), r"subprocess\.call"),
        "REDUCE subprocess.check_output": (one(call("subprocess.check_output", ARGUMENTS)), r"subprocess\.check_output"),
        "REDUCE subprocess.Popen": (one(call("subprocess.Popen", ARGUMENTS)), r"subprocess\.Popen"),
        "REDUCE builtins.eval": (one(call("builtins.eval", SET)), evaluated),
        "REDUCE builtins.exec": (one(call("builtins.exec", SET)), r"builtins\.exec"),
        "REDUCE __builtin__.eval": (one(call("__builtin__.eval", SET)), r"__builtin__\.eval"),
        "REDUCE __import__": (one(call("builtins.__import__", MODULE)), r"builtins\.__import__"),
        "REDUCE import_module": (one(call("importlib.import_module", MODULE)), r"importlib\.import_module"),
        "REDUCE open for writing": (one(call("builtins.open", MODULE, text("w"))), r"builtins\.open"),
        "REDUCE runpy": (one(call("runpy.run_module", MODULE)), r"runpy\.run_module"),
        "REDUCE pickle.loads": (one(call("pickle.loads", raw(whole(system)))), r"pickle\.loads"),
        "REDUCE of a chain": (one(attribute + TOUCH + b"\x85R"), r"builtins\.getattr"),
        "REDUCE functools.partial": (one(call("functools.partial", name("os.system"), TOUCH) + b")R"), r"functools\.partial"),
        "REDUCE operator.methodcaller": (
            one(call("operator.methodcaller", text("system"), TOUCH) + call("builtins.__import__", text("os")) + b"\x85R"),
            r"operator\.methodcaller",
        ),
        "REDUCE map into a list": (
            one(call("builtins.list", call("builtins.map", name("os.system"), b"](" + TOUCH + b"e"))),
            r"builtins\.list",
        ),
        "GLOBAL import only": (one(name(f"{CANARY}.anything")), CANARY),
        "STACK_GLOBAL os.system": (STACK + b"(" + TOUCH + b"tR.", r"os\.system"),
        "STACK_GLOBAL dotted": (
            b"\x80\x04" + text("shutil") + text("os.system") + b"\x93" + TOUCH + b"\x85R.",
            r"shutil\.os\.system",
        ),
        "INST os.system": (PROTOCOL + b"(" + TOUCH + b"ios\nsystem\n.", "INST"),
        "OBJ os.system": (PROTOCOL + b"(" + name("os.system") + TOUCH + b"o.", r"os\.system"),
        "OBJ subprocess.Popen": (PROTOCOL + b"(" + name("subprocess.Popen") + ARGUMENTS + b"o.", r"subprocess\.Popen"),
        "protocol 0": (b"cos\nsystem\n(S'touch " + CANARY.encode() + b"'\ntR.", r"os\.system"),
        "__setstate__ by BUILD": (
            one(namespace + b"}" + text("__setstate__") + name("os.system") + b"sb" + TOUCH + b"b"),
            r"argparse\.Namespace",
        ),
        "object array with a call inside": (
            one(array(kind=OBJECT_TYPE, data=b"](" + system + b"Ne")),
            "'O8', which is not of numbers",
        ),
        "call as an array's data": (one(array(data=system)), r"os\.system"),
        "call as an array's shape": (one(array(shape=system + b"\x85")), r"os\.system"),
        "call as a key": (PROTOCOL + b"}" + system + b"Ns.", r"os\.system"),
        "call behind a table that is sound": (PROTOCOL + b"}" + text("w") + array() + b"s" + system + b"0.", r"os\.system"),
        "call in a name table": (
            PROTOCOL + b"}" + text("StructuredToParameterName@@") + b"}" + text("w") + system + b"ss.",
            r"os\.system",
        ),
        "call in a schedule": (
            PROTOCOL + b"}" + text("LR_Scheduler") + b"}" + text("last_lr") + system + b"ss.",
            r"os\.system",
        ),
        "call as last_epoch": (PROTOCOL + b"}" + text("last_epoch") + system + b"s.", r"os\.system"),
    }
