"""Modules that ppdet imports at its start and most commands never use, loaded when something of them is first asked for.

They take 120 MB and a third of the time of importing ppdet.
"""

import importlib.util
import sys
import types
from collections.abc import Sequence
from typing import Any

# Of ppdet's trackers and their metrics; a split and a plot load the one that they need.
HEAVY = ("pandas", "sklearn", "matplotlib.pyplot")


class _Deferred(types.ModuleType):
    """A module that runs its file when an attribute is missed: any but its name, file and specification."""

    def __getattr__(self, name: str) -> Any:
        path = self.__dict__.pop("_path", None)
        if path is not None:
            self.__path__ = path
        self.__class__ = types.ModuleType  # type: ignore[assignment]
        try:
            self.__spec__.loader.exec_module(self)  # type: ignore[union-attr]
        except BaseException:
            del sys.modules[self.__name__]  # as a failed import leaves it: the next one tries again
            raise
        return getattr(self, name)


def defer(names: Sequence[str] = HEAVY) -> None:
    """Let later imports of these modules cost nothing; those that are imported, or not installed, are left as they are."""
    for name in names:
        if name in sys.modules:
            continue
        try:
            specification = importlib.util.find_spec(name)
        except ImportError:  # the parent is not installed
            continue
        if specification is None:
            continue
        module = importlib.util.module_from_spec(specification)
        if "__path__" in module.__dict__:
            # Who imports a module of a package asks for the package's path, and must find it loaded.
            module.__dict__["_path"] = module.__dict__.pop("__path__")
        module.__class__ = _Deferred
        sys.modules[name] = module
        parent, _, child = name.rpartition(".")
        if parent:
            setattr(sys.modules[parent], child, module)
