"""Reading configuration text: a safe YAML loader that knows ppdet's `!Class` tags, `_BASE_` files and `-o` overrides.

The result is a plain tree of dicts, lists and scalars. A `!Class {...}` node stays a description (`Tagged`) until the
whole configuration is merged, so that a leaf file or `-o` can still change one argument of a base file's data set.
"""

import difflib
import re
from collections.abc import Iterable
from copy import deepcopy
from pathlib import Path
from typing import Any

import yaml

from ppdet_ext.data import ImageFolder
from ppdet_ext.errors import UserError

ROOT = Path(__file__).resolve().parents[2]
BASE_KEY = "_BASE_"
# ppdet's Callable names any function of any module; a configuration file must not be able to do that.
REFUSED_TAGS = frozenset({"Callable"})
MAX_NODES = 100_000

KeyPath = tuple[str, ...]
Origins = dict[KeyPath, str]


class Tagged(dict):
    """Keyword arguments of a `!tag` node that has not been built yet."""

    def __init__(self, tag: str, kwargs: dict[str, Any]) -> None:
        super().__init__(kwargs)
        self.tag = tag

    def __deepcopy__(self, memo: dict) -> "Tagged":
        return Tagged(self.tag, {key: deepcopy(value, memo) for key, value in self.items()})


def nearest(name: str, choices: Iterable[str]) -> str:
    """' Did you mean …?' for the nearest of `choices`, or '' when none is near."""
    near = difflib.get_close_matches(name, list(choices), n=1, cutoff=0.6)
    return f" Did you mean {near[0]!r}?" if near else ""


def host_tags() -> dict[str, type]:
    """Tag name -> class, of every class ppdet's `serializable` has registered; `!ImageFolder` is ours."""
    tags = {}
    for tag, constructor in yaml.Loader.yaml_constructors.items():
        if tag and tag.startswith("!") and constructor.__closure__:
            tags[tag[1:]] = constructor.__closure__[0].cell_contents
    tags = {name: cls for name, cls in tags.items() if isinstance(cls, type) and name not in REFUSED_TAGS}
    # ppdet's class of this name gives its own samples, which our loader cannot use.
    return tags | {"ImageFolder": ImageFolder}


class ConfigLoader(yaml.SafeLoader):
    """SafeLoader plus ppdet's tags (as descriptions) and floats such as 1e-4, which YAML 1.1 takes for text."""

    def construct_tagged(self, suffix: str, node: yaml.Node) -> Tagged:
        if suffix not in host_tags():
            hint = nearest(suffix, host_tags())
            raise yaml.constructor.ConstructorError(None, None, f"unknown class !{suffix}.{hint}", node.start_mark)
        if isinstance(node, yaml.MappingNode):
            return Tagged(suffix, self.construct_mapping(node, deep=True))
        if isinstance(node, yaml.ScalarNode) and node.value == "":
            return Tagged(suffix, {})
        problem = f"!{suffix} takes named arguments: !{suffix} {{name: value}}"
        raise yaml.constructor.ConstructorError(None, None, problem, node.start_mark)


ConfigLoader.add_multi_constructor("!", ConfigLoader.construct_tagged)
ConfigLoader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+$"), list("-+0123456789")
)


class ConfigDumper(yaml.SafeDumper):
    """Writes a tree back, `Tagged` nodes as `!Class` mappings."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


ConfigDumper.add_representer(Tagged, lambda dumper, node: dumper.represent_mapping(f"!{node.tag}", dict(node)))


def dump_tree(tree: dict[str, Any]) -> str:
    """YAML text of a tree; `read_tree` of that text gives the tree again."""
    return yaml.dump(tree, Dumper=ConfigDumper, sort_keys=False, width=110)


def _parse(text: str, source: str) -> tuple[Any, yaml.Node | None]:
    """Value and node of one YAML document; UserError with file and line when it is not valid."""
    try:
        loader = ConfigLoader(text)
        node = loader.get_single_node()
        _expanded_size(node, {}, source)
        return (None if node is None else _unshared(loader.construct_document(node))), node
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{source}:{mark.line + 1}" if mark is not None else source
        raise UserError(f"{where}: not a valid configuration: {getattr(error, 'problem', error)}") from error


def _expanded_size(node: yaml.Node | None, sizes: dict[int, int], source: str) -> int:
    """Number of nodes once aliases are written out; refuses circular and exploding aliases ('billion laughs')."""
    if id(node) in sizes:
        if sizes[id(node)] == 0:
            raise UserError(f"{source}: an alias (*name) contains itself.")
        return sizes[id(node)]
    sizes[id(node)] = 0
    children: list[yaml.Node] = []
    if isinstance(node, yaml.MappingNode):
        children = [part for pair in node.value for part in pair]
    elif isinstance(node, yaml.SequenceNode):
        children = node.value
    sizes[id(node)] = 1 + sum(_expanded_size(child, sizes, source) for child in children)
    if sizes[id(node)] > MAX_NODES:
        raise UserError(f"{source}: more than {MAX_NODES} values once aliases are written out.")
    return sizes[id(node)]


def _unshared(value: Any) -> Any:
    """A copy in which aliases (*name) are values of their own, so that an override changes one place only."""
    if isinstance(value, dict):
        items = {key: _unshared(item) for key, item in value.items()}
        return Tagged(value.tag, items) if isinstance(value, Tagged) else items
    return [_unshared(item) for item in value] if isinstance(value, list) else value


def _locate(node: yaml.Node, source: str, path: KeyPath = ()) -> Origins:
    """'file:line' of every key below `node`; UserError for a key given twice in one mapping."""
    found: Origins = {}
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            where = f"{source}:{key.start_mark.line + 1}"
            if key.value in seen and key.value != "<<":
                raise UserError(f"{where}: key {key.value!r} is given twice; keep one of them.")
            seen.add(key.value)
            found[(*path, str(key.value))] = where
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


def find_config(path: str | Path) -> Path:
    """The file meant by `path`: from the working directory, else from the checkout's root. UserError if absent."""
    for candidate in (Path(path), ROOT / path):
        if candidate.is_file():
            return candidate
    known = {str(file.relative_to(ROOT)): file for file in sorted((ROOT / "configs").rglob("*.yml"))}
    by_name = {file.name: name for name, file in known.items()}
    near = difflib.get_close_matches(Path(path).name, list(by_name), n=1, cutoff=0.4)
    hint = f" Nearest existing one: {by_name[near[0]]}" if near else ""
    raise UserError(f"Config file {path} does not exist.{hint}")


def read_tree(path: Path, parents: tuple[Path, ...] = ()) -> tuple[dict[str, Any], Origins]:
    """Tree and origins of a file merged over its `_BASE_` files (relative to the file; later ones win)."""
    if path.resolve() in parents:
        raise UserError(f"{path}: {BASE_KEY} files include each other in a circle.")
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read: {error}") from error
    own, node = _parse(text, str(path))
    if not isinstance(own, dict):
        raise UserError(f"{path}: expected 'key: value' lines at the top level.")
    tree: dict[str, Any] = {}
    origins: Origins = {}
    own_origins = _locate(node, str(path))
    bases = own.pop(BASE_KEY, [])
    for base in [bases] if isinstance(bases, str) else bases:
        base_path = path.parent / Path(base).expanduser()
        if not base_path.is_file():
            siblings = [str(Path(base).parent / file.name) for file in base_path.parent.glob("*.yml")]
            where = own_origins[(BASE_KEY,)]
            raise UserError(f"{where}: {BASE_KEY} file {base} does not exist.{nearest(base, siblings)}")
        base_tree, base_origins = read_tree(base_path, (*parents, path.resolve()))
        merge(tree, base_tree)
        supersede(origins, base_origins, base_tree)
    supersede(origins, own_origins, own)
    return merge(tree, own), origins


def supersede(origins: Origins, newer: Origins, tree: dict[str, Any]) -> None:
    """Take over the origins of `tree`, which is about to be merged; where it replaces a value, older ones below go."""
    for path in newer:
        value: Any = tree
        for key in path:
            value = value[int(key)] if isinstance(value, list) else value.get(key) if isinstance(value, dict) else None
        if not isinstance(value, dict) or isinstance(value, Tagged):
            forget_below(origins, path)
    origins.update(newer)


def forget_below(origins: Origins, path: KeyPath) -> None:
    """Remove the origins of all keys below `path`."""
    for old in [old for old in origins if len(old) > len(path) and old[: len(path)] == path]:
        del origins[old]


def apply_override(tree: dict[str, Any], origins: Origins, text: str) -> None:
    """Apply one `a.b.0.c=value` to tree and origins in place; list items go by index."""
    dotted, equals, value_text = text.partition("=")
    path = tuple(dotted.strip().split("."))
    if not equals or not all(path):
        raise UserError(f"-o {text}: expected key=value, for example -o epoch=3 or -o TrainReader.batch_size=2")
    value, _ = _parse(value_text, f"-o {text}")
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
