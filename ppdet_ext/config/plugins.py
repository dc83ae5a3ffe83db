"""Plugins: Python files and modules that a configuration names or that packages bring, imported for what they register."""

import functools
import hashlib
import importlib
import importlib.metadata
import importlib.util
import sys
import traceback
from pathlib import Path
from types import ModuleType
from typing import Any

from .files import PLUGINS
from .problems import Problems

# What this package registers itself; known by name here, since it stands above this room.
OWN = "ppdet_ext.register"
# Entry points of installed packages: `[project.entry-points."ppdet_ext.plugins"]`, with `name = "package.module"`.
GROUP = "ppdet_ext.plugins"


def load_plugins(tree: dict[str, Any], problems: Problems, allowed: bool = True) -> None:
    """Import our own parts, those of installed packages, then the tree's `plugins` in their order, each once in a process.

    Faults go to `problems`.

    Args:
        tree: a merged configuration; files of `plugins` have their full names, see `read_tree`.
        allowed: otherwise naming any plugin is a fault, for a configuration that its user has not chosen. What is installed
            its user has chosen.
    """
    importlib.import_module(OWN)
    for point in entry_points(tuple(sys.path)):
        _load_entry_point(point, problems)
    named = tree.get(PLUGINS)
    if named is None:
        tree.pop(PLUGINS, None)
        return
    if not isinstance(named, list) or not all(isinstance(one, str) and one.isprintable() for one in named):
        problems.wrong((PLUGINS,), named, "a list of files (.py) or modules")
    elif not allowed:
        problems.add((PLUGINS,), f"running plugins ({', '.join(named)}) is not allowed here; remove {PLUGINS} from the file.")
    else:
        for index, name in enumerate(named):
            _load(name, (PLUGINS, str(index)), problems)


@functools.lru_cache(8)
def entry_points(path: tuple[str, ...], group: str = GROUP) -> tuple[importlib.metadata.EntryPoint, ...]:
    """Those of the packages on `path`, by name. They are looked for once: it takes a while where much is installed."""
    found = importlib.metadata.entry_points(group=group)
    return tuple(sorted(found, key=lambda point: (point.name, point.value)))


def _load_entry_point(point: importlib.metadata.EntryPoint, problems: Problems) -> None:
    """Import it; what is wrong with it is told with the package that brings it."""
    try:
        point.load()
    except Exception as error:  # a plugin may raise anything
        package = point.dist.name if point.dist is not None else "an installed package"
        cause = f"{type(error).__name__}: {error}"
        problems.add((), f"plugin {point.name} ({point.value}) of {package}: {cause}. Mend it, or uninstall {package}.")


def _load(name: str, path: tuple[str, ...], problems: Problems) -> None:
    """Import one; whatever is wrong with it is told with the plugin's name, the line and the cause."""
    try:
        import_file(Path(name)) if name.endswith(".py") else importlib.import_module(name)
    except Exception as error:  # a plugin may raise anything
        file = Path(name if name.endswith(".py") else f"{name.rpartition('.')[2]}.py").name
        lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if Path(frame.filename).name == file]
        where = f", line {lines[-1]}" if lines else ""
        problems.add(path, f"plugin {name}{where}: {type(error).__name__}: {error}")


def import_file(file: Path) -> ModuleType:
    """Run a file as a module of its own, once; what is pickled of it is found again under that name."""
    file = file.expanduser().resolve()
    name = f"ppdet_ext_plugin_{file.stem}_{hashlib.sha256(str(file).encode()).hexdigest()[:8]}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module
