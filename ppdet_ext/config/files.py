"""Reading configuration files: `_BASE_` files and `-o` overrides, merged (parsing is `config_loader`'s).

The result is a plain tree of dicts, lists and scalars. A `!Class {...}` node stays a description (`Tagged`) until the
whole configuration is merged, so that a leaf file or `-o` can still change one argument of a base file's data set.
"""

import os
import stat
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from ppdet_ext.environment import ROOT
from ppdet_ext.errors import UserError, closest, nearest
from ppdet_ext.files.text import SAVE_AS_UTF8, refuse_other_files

from .nodes import NodeCheck
from .parse import Tagged, parse

__all__ = ["ROOT", "Tagged", "apply_override", "dump_tree", "find_config", "merge", "read_tree"]
BASE_KEY = "_BASE_"
SHIPPED = "configs/"
PLUGINS = "plugins"
MAX_BYTES = 1 << 18
MAX_FILES = 100
MAX_KEYS = 40

KeyPath = tuple[str, ...]
Origins = dict[KeyPath, str]


class ConfigDumper(yaml.SafeDumper):
    """Writes a tree back, `Tagged` nodes as `!Class` mappings."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


ConfigDumper.add_representer(Tagged, lambda dumper, node: dumper.represent_mapping(f"!{node.tag}", dict(node)))


def dump_tree(tree: dict[str, Any]) -> str:
    """YAML text of a tree; `read_tree` of that text gives the tree again."""
    return yaml.dump(tree, Dumper=ConfigDumper, sort_keys=False, width=110)


def _locate(node: yaml.Node, source: str, path: KeyPath = ()) -> Origins:
    """'file:line' of every key below `node`."""
    found: Origins = {}
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            found[(*path, str(key.value))] = f"{source}:{key.start_mark.line + 1}"
            found.update(_locate(value, source, (*path, str(key.value))))
    elif isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            found[(*path, str(index))] = f"{source}:{item.start_mark.line + 1}"
            found.update(_locate(item, source, (*path, str(index))))
    return found


def merge(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """Merge `over` into `base` in place, mappings key by key; a `!Class` node replaces what was there."""
    for key, value in over.items():
        old = base.get(key)
        if isinstance(old, dict) and isinstance(value, dict) and not isinstance(value, Tagged):
            merge(old, value)
        else:
            base[key] = value
    return base


def _kind_of(path: Path) -> str:
    """'file', 'other' (a folder, a pipe, a device) or '': nothing is there, or no file can have the name."""
    try:
        return "file" if path.is_file() else "other" if path.exists() else ""
    except (OSError, ValueError):
        return ""


# Folders of configs/ whose files are parts of configurations, and cannot be run.
_PARTS = frozenset(("_base_", "postprocess", "submissions"))
_EXAMPLE = "configs/htc/steel_sample.yml"


def find_config(path: str | Path) -> Path:
    """The file meant by `path`: from the working directory, else from the checkout's root. UserError if absent."""
    for candidate in (Path(path), ROOT / path):
        if _kind_of(candidate) == "file":
            return candidate
    if _kind_of(Path(path)):
        raise UserError(f"Config file {path} is a folder, a pipe or a device, no ordinary file.")
    known = [file.relative_to(ROOT) for file in sorted((ROOT / "configs").rglob("*.yml"))]
    by_name = {
        file.stem: str(file) for file in known if _PARTS.isdisjoint(file.parts) or not _PARTS.isdisjoint(Path(path).parts)
    }
    near = closest(Path(path).stem, by_name)
    hint = f" Nearest existing one: {by_name[near[0]]}" if near else f" Shipped is for example {_EXAMPLE}"
    raise UserError(f"Config file {path} does not exist.{hint}")


def _text_of(path: Path) -> str:
    """Content of an ordinary file of at most `MAX_BYTES`."""
    try:
        # A pipe put there meanwhile would otherwise make us wait for ever.
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb") as stream:
            if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
                raise UserError(f"{path}: is no ordinary file.")
            content = stream.read(MAX_BYTES + 1)
        if len(content) > MAX_BYTES:
            raise UserError(f"{path}: is longer than {MAX_BYTES >> 10} KiB; that is no configuration.")
        refuse_other_files(str(path), content[:64])
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: cannot be read, for it is not in UTF-8. {SAVE_AS_UTF8}") from error
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error}") from error


def read_tree(path: Path, stages: list[dict[str, Any]] | None = None) -> tuple[dict[str, Any], Origins]:
    """Tree and origins of a file merged over its `_BASE_` files (see `_base_path`; later ones win).

    stages: gets a copy of what each of the files is when merged over its own bases, `path` itself being the last.
    """
    return _Files(stages).read(path, ())


@dataclass
class _Files:
    """One configuration's files; each may name many bases, and these again."""

    stages: list[dict[str, Any]] | None
    left: int = MAX_FILES

    def read(self, path: Path, parents: tuple[Path, ...]) -> tuple[dict[str, Any], Origins]:
        """See `read_tree`; `parents` are the files that have led here."""
        if path.resolve() in parents:
            raise UserError(f"{path}: {BASE_KEY} files include each other in a circle.")
        self.left -= 1
        if self.left < 0:
            raise UserError(f"{path}: more than {MAX_FILES} files are included by {BASE_KEY}.")
        own, node = parse(_text_of(path), str(path))
        if not isinstance(own, dict):
            raise UserError(f"{path}: expected 'key: value' lines at the top level.")
        if isinstance(own.get(PLUGINS), list):
            own[PLUGINS] = [_beside(path, item) for item in own[PLUGINS]]
        tree: dict[str, Any] = {}
        origins: Origins = {}
        own_origins = _locate(node, str(path))
        for base in _bases(own, own_origins):
            base_tree, base_origins = self.read(_base_path(path, base, own_origins), (*parents, path.resolve()))
            merge(tree, base_tree)
            supersede(origins, base_origins, base_tree)
        supersede(origins, own_origins, own)
        merge(tree, own)
        if self.stages is not None:
            self.stages.append(deepcopy(tree))
        return tree, origins


def _bases(own: dict[str, Any], origins: Origins) -> list[str]:
    """The texts of a file's `_BASE_`, which is taken out."""
    bases = own.pop(BASE_KEY, [])
    bases = [bases] if isinstance(bases, str) else bases
    if not isinstance(bases, list) or not all(isinstance(base, str) for base in bases):
        raise UserError(f"{origins[BASE_KEY,]}: {BASE_KEY} is {str(bases)[:80]!a}; expected a list of files.")
    return bases


def _beside(path: Path, plugin: Any) -> Any:
    """A plugin's file, which is named relative to the configuration file, by its full name; a module's stays."""
    if not isinstance(plugin, str) or not plugin.endswith(".py"):
        return plugin
    return str(Path(plugin).expanduser() if plugin.startswith("~/") else path.resolve().parent / plugin)


def _base_path(path: Path, base: str, origins: Origins) -> Path:
    """The file that `path` names as its base: beside it, or of `configs/…`, if it is not there, the shipped one.

    Raises: UserError if absent.
    """
    where = origins[BASE_KEY,]
    try:
        found = path.parent / Path(base).expanduser()
    except RuntimeError as error:
        raise UserError(f"{where}: {BASE_KEY} file {base[:80]!a}: {error}") from error
    kind = _kind_of(found)
    if not kind and base.startswith(SHIPPED):
        # Of a configuration kept anywhere, for a checkout and for an installed package alike.
        found = ROOT / base
        kind = _kind_of(found)
    if kind != "file":
        siblings = [str(Path(base).parent / file.name) for file in found.parent.glob("*.yml")] if len(base) < 200 else []
        shown = base if base.isprintable() and len(base) < 200 else ascii(base[:80])
        why = "is no ordinary file." if kind else f"does not exist.{nearest(base, siblings)}"
        raise UserError(f"{where}: {BASE_KEY} file {shown} {why}")
    return found


def supersede(origins: Origins, newer: Origins, tree: dict[str, Any]) -> None:
    """Take over the origins of `tree`, which is about to be merged; where it replaces a value, older ones below go."""
    replaced: set[KeyPath] = set()
    for path in newer:
        value: Any = tree
        for key in path:
            value = value[int(key)] if isinstance(value, list) else value.get(key) if isinstance(value, dict) else None
        if not isinstance(value, dict) or isinstance(value, Tagged):
            replaced.add(path)
    for old in [old for old in origins if any(old[:end] in replaced for end in range(1, len(old)))]:
        del origins[old]
    origins.update(newer)


def forget_below(origins: Origins, path: KeyPath) -> None:
    """Remove the origins of all keys below `path`."""
    for old in [old for old in origins if len(old) > len(path) and old[: len(path)] == path]:
        del origins[old]


def apply_override(tree: dict[str, Any], origins: Origins, text: str) -> None:
    """Apply one `a.b.0.c=value` to tree and origins in place; list items go by index."""
    dotted, equals, value_text = text.partition("=")
    path = tuple(dotted.strip().split("."))
    if not equals or not all(path) or len(path) > MAX_KEYS or not dotted.isprintable():
        raise UserError(f"-o {text}: expected key=value, for example -o epoch=3 or -o TrainReader.batch_size=2")
    value, node = parse(value_text, f"-o {text}")
    NodeCheck("").pair(path[-1], node, lambda problem: UserError(f"-o {text}: {problem}"))
    target: Any = tree
    for depth, key in enumerate(path[:-1]):
        if isinstance(target, dict) and target.get(key) is None:
            target[key] = {}
        target = _step(target, key, f"-o {text}", ".".join(path[:depth]))
    last = path[-1]
    if isinstance(target, list):
        _step(target, last, f"-o {text}", ".".join(path[:-1]))
        target[int(last)] = value
    elif isinstance(target, dict):
        target[last] = value
    else:
        raise UserError(f"-o {text}: {'.'.join(path[:-1])} is the value {target!r}, it has no {last!r}.")
    forget_below(origins, path)
    origins[path] = f"-o {text}"


def _step(target: Any, key: str, source: str, path: str) -> Any:
    if isinstance(target, dict):
        return target[key]
    if isinstance(target, list):
        if key.isdigit() and int(key) < len(target):
            return target[int(key)]
        raise UserError(f"{source}: {path} is a list of {len(target)}; give an index 0..{len(target) - 1}, not {key!r}.")
    raise UserError(f"{source}: {path} is the value {target!r}, it has no {key!r}.")
