"""Tensors of a whole model: `torch.save(model)` and TorchScript pickle objects in place of a table of tensors.

Nothing of a class is imported. An object becomes a `Part` that keeps its state as data, and the tensors are collected out of
these by the names that torch's `state_dict()` would give them. Only files whose strict reading has failed are read so, and only
if their value is a module in the end.
"""

import itertools
import sys
from collections.abc import Callable, Iterator
from typing import Any

from .opening import Malformed, Refused
from .torch_tensors import NAMES, StoredTensor
from .unpickle import DataUnpickler, Inert, Name, Source, refuse_name

# A module may be registered in many places; a forged one in places without end.
MAX_PARTS = 200_000
MAX_DEPTH = 64
MAX_UNSAVED = 100
# Of Python's own library, what models are made with. All else of it is refused by name, though nothing would be called.
STANDARD = ("copyreg._reconstructor", "functools.partial", "logging.getLogger", "types.SimpleNamespace")
LISTS = ("intlist", "doublelist", "boollist", "tensorlist")


class Part(Inert):
    """An object of a class that is not imported, and its state."""

    __slots__ = ("state",)

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.state: dict[Any, Any] = {}


def _set_of(args: tuple) -> Inert:
    """set([…]), which needs no hashes here: what it holds is kept as a state."""
    made = Part("builtins.set")
    made.state["items"] = args[0] if len(args) == 1 and type(args[0]) in (list, tuple) else []
    return made


def _from_type(args: tuple) -> StoredTensor:
    """_rebuild_from_type_v2(function, class, arguments, state): a tensor with attributes, which are of no interest."""
    known = len(args) == 4 and type(args[0]) is Name and args[0].name.startswith("torch._utils._rebuild")
    if not known or type(args[2]) is not tuple:
        raise Malformed("a tensor is described by other arguments than torch writes")
    return args[0].make(args[2])


_MAKERS: dict[str, Callable[[tuple], Any]] = {
    "builtins.set": _set_of,
    "torch._tensor._rebuild_from_type_v2": _from_type,
    "torch._utils._rebuild_parameter_with_state": lambda args: NAMES["torch._utils._rebuild_parameter"].make(args[:3]),
}
_MAKERS |= {f"torch.jit._pickle.build_{kind}": lambda args: args[0] if len(args) == 1 else None for kind in LISTS}
GRAPH_NAMES = {**NAMES, **{name: Name(name, make) for name, make in _MAKERS.items()}}


class GraphUnpickler(DataUnpickler):
    """Reads a pickle in which objects are `Part`s.

    Args:
        program: of a TorchScript archive, where all classes are its own.
    """

    def __init__(self, source: Source, persistent: Callable[[Any], Any], program: bool = False) -> None:
        super().__init__(source, GRAPH_NAMES, persistent)
        self._program = program

    def find_class(self, module: str, name: str) -> Any:
        """What stands for a name; of an unknown class, what makes a `Part`."""
        full = f"{module}.{name}".replace("__builtin__.", "builtins.", 1)
        if full in GRAPH_NAMES:
            return GRAPH_NAMES[full]
        root = full.partition(".")[0]
        ours = root == "__torch__" if self._program else root not in (*sys.stdlib_module_names, "ppdet_ext")
        # A storage of a type that is not read would otherwise be a part without values.
        if (not ours and full not in STANDARD) or full.endswith("Storage"):
            raise refuse_name(f"{module}.{name}")
        return Name(full, lambda args: Part(full))

    def persistent_load(self, pid: Any) -> Any:
        """A storage; or a class, with whose source torch's older format surrounds it."""
        if type(pid) is tuple and len(pid) == 4 and pid[0] == "module" and type(pid[1]) is Name:
            return pid[1]
        return super().persistent_load(pid)

    def load_build(self) -> None:
        """State of an object, kept if it is a dictionary (or one of attributes and one of slots)."""
        state, target = self.stack[-1], self.stack[-2]
        if type(target) is not Part:
            super().load_build()
            return
        self.stack.pop()
        # Not copied: many objects may be given the same large one.
        target.state = next((held for held in (state if type(state) is tuple else (state,)) if isinstance(held, dict)), {})

    def load_empty_set(self) -> None:
        """A set in protocol 4: its items follow."""
        self.stack.append(_set_of(()))

    def load_additems(self) -> None:
        """Items of a set."""
        items, target = self.pop_mark(), self.stack[-1]
        if type(target) is not Part or type(target.state.get("items")) is not list:
            raise Refused("it gives items to something else than a set")
        target.state["items"] += items


GraphUnpickler.dispatch = {
    code: getattr(GraphUnpickler, handler.__name__, handler) for code, handler in DataUnpickler.dispatch.items()
}


def is_module(value: Any) -> bool:
    """Whether a value is a `torch.nn.Module`, or TorchScript's."""
    script = type(value) is Part and value.name.startswith("__torch__.")
    return script or (type(value) is Part and isinstance(value.state.get("_modules"), dict) and "_parameters" in value.state)


def _children(part: Part) -> Iterator[tuple[Any, Any]]:
    """Names with tensors and parts: parameters, buffers that are saved, modules. TorchScript keeps all as attributes."""
    if part.name.startswith("__torch__."):
        yield from part.state.items()
        return
    passing = part.state.get("_non_persistent_buffers_set")
    left_out: Any = passing.state.get("items") if type(passing) is Part else []
    if type(left_out) not in (list, tuple) or len(left_out) > MAX_UNSAVED:
        raise Refused(f"a module of it has more than {MAX_UNSAVED} buffers that are not saved")
    for group in ("_parameters", "_buffers", "_modules"):
        held = part.state.get(group)
        for name, value in held.items() if isinstance(held, dict) else ():
            if group != "_buffers" or name not in left_out:
                yield name, value


def _walk(root: Part) -> Iterator[tuple[str, Part, list[tuple[Any, Any]]]]:
    """Each module with its prefix and children, in the order of `state_dict()`. Refused if there are too many."""
    waiting: list[tuple[str, int, Part]] = [("", 0, root)]
    left = MAX_PARTS
    while waiting:
        prefix, depth, part = waiting.pop()
        children = list(itertools.islice(_children(part), left + 1))
        left -= 1 + len(children)
        if left < 0 or depth > MAX_DEPTH:
            raise Refused("its modules lie inside each other, or hold the same again and again, beyond what a model has")
        yield prefix, part, children
        waiting += [(f"{prefix}{name}.", depth + 1, value) for name, value in reversed(children) if is_module(value)]


def tensors_of(root: Part) -> dict[str, StoredTensor]:
    """Name -> tensor, as `state_dict()` of the model names and orders them. Refused if it is no sound tree of modules."""
    return {
        f"{prefix}{name}": value
        for prefix, _, children in _walk(root)
        for name, value in children
        if type(value) is StoredTensor
    }


def static_padding(root: Part) -> str | None:
    """Which of EfficientNet's paddings a pickled model was built with: 'same', 'nominal', or None where it has none.

    `Conv2dStaticSamePadding` holds its padding as a module. The older releases pad every convolution of stride 2 on the right
    and bottom alone, those since efficientnet_pytorch 0.7 some on both sides.
    """
    symmetric: list[bool] = []
    for _, part, children in _walk(root):
        padding = dict(children).get("static_padding") if part.state.get("stride") in ((2, 2), [2, 2]) else None
        sides = padding.state.get("padding") if type(padding) is Part else None
        if type(sides) is tuple and len(sides) == 4:
            symmetric.append(sides[0] == sides[1])
    return None if not symmetric else "nominal" if any(symmetric) else "same"
