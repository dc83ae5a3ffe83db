"""Checks of what is given to constructors: names and simple types of arguments, and whatever is nested in them."""

import inspect
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

from ppdet_ext.errors import nearest
from ppdet_ext.host.registry import KINDS, tags, why_unknown

from .files import KeyPath, Tagged
from .problems import Problems
from .types import annotations_of, expected, is_text_for_numbers

LONGEST_TAG = 80


def parameters_of(cls: type) -> tuple[dict[str, inspect.Parameter], bool]:
    """Named constructor parameters of a class, and whether it takes any further keyword."""
    found = list(inspect.signature(cls.__init__).parameters.values())[1:]  # type: ignore[misc]
    named = {p.name: p for p in found if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}
    return named, any(p.kind is p.VAR_KEYWORD for p in found)


def check_tags(tree: Mapping[str, Any], problems: Problems) -> None:
    """Each `!Class` of the tree is one that there is."""
    known = tags()
    for path, tag in _tags_in(tree, ()):
        if tag not in known:
            hint = nearest(tag, known) if len(tag) <= LONGEST_TAG else ""
            problems.add(path, f"not a valid configuration: unknown class !{ascii(tag)[1:-1][:LONGEST_TAG]}.{hint}")


def _tags_in(value: Any, path: KeyPath) -> Iterator[tuple[KeyPath, str]]:
    if isinstance(value, Tagged):
        yield path, value.tag
    for key, item in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield from _tags_in(item, (*path, str(key)))


def check_entries(path: KeyPath, value: Any, kind: str, problems: Problems) -> None:
    """A list of `- Name: {argument: value}`, the names those of a kind of the registry."""
    if not isinstance(value, list):
        problems.add(path, f"{'.'.join(path)} is {value!r}; expected a list of '- Name: {{…}}'.")
        return
    for index, item in enumerate(value):
        here = (*path, str(index))
        if not isinstance(item, dict) or len(item) != 1:
            problems.add(here, f"{'.'.join(here)} is {item!r}; expected one '- Name: {{…}}'.")
            continue
        name, arguments = next(iter(item.items()))
        if name not in KINDS[kind]:
            problems.add((*here, str(name)), why_unknown(name, kind))
        elif isinstance(arguments, dict):
            check_arguments((*here, name), KINDS[kind][name], arguments, problems)
        elif arguments is not None:
            problems.add((*here, name), f"{name} is {arguments!r}; expected {name}: {{…}}.")


def check_keys(
    path: KeyPath, value: Any, known: Collection[str], check: Callable[[KeyPath, Any], None], problems: Problems
) -> None:
    """A section with these keys only, each of which `check` looks at."""
    name = ".".join(path)
    if not isinstance(value, dict):
        problems.add(path, f"{name} is {value!r}; expected keys {', '.join(known)}.")
        return
    for key, item in value.items():
        if key in known:
            check((*path, key), item)
        else:
            problems.unknown((*path, str(key)), known, name)


def check_arguments(path: KeyPath, cls: type, given: Any, problems: Problems) -> None:
    """Unknown and missing keyword arguments of `cls`, then whatever is nested in the values.

    A class says in `ENTRIES`, name -> kind of the registry, which arguments are lists of `- Name: {argument: value}`.
    """
    named, takes_any = parameters_of(cls)
    if not isinstance(given, dict):
        problems.add(path, f"{'.'.join(path)} is {given!r}; expected keys {', '.join(named)}.")
        return
    types = annotations_of(cls.__init__)  # type: ignore[misc]
    for key, value in given.items():
        if key not in named and not takes_any:
            problems.unknown((*path, str(key)), named, cls.__name__)
        elif key in named and key in types and (wanted := expected(value, types[key], named[key].default)):
            problems.wrong((*path, key), value, wanted)
        elif key in named and key not in types and is_text_for_numbers(value, named[key].default):
            many = isinstance(named[key].default, (list, tuple))
            problems.wrong((*path, key), value, "a list of numbers, such as [8, 11]" if many else "a number")
        elif kind := getattr(cls, "ENTRIES", {}).get(key):
            check_entries((*path, str(key)), value, kind, problems)
        else:
            check_nested((*path, str(key)), value, problems)
    missing = [name for name, p in named.items() if p.default is p.empty and name not in given]
    if missing:
        problems.add(path, f"{'.'.join(path)} ({cls.__name__}) needs {', '.join(missing)}.")


def check_nested(path: KeyPath, value: Any, problems: Problems) -> None:
    """`!Class` nodes anywhere below, and ppdet's {name: Class, …} form of learning-rate schedulers."""
    if isinstance(value, Tagged):
        check_arguments(path, tags()[value.tag], value, problems)
    elif isinstance(value, dict):
        if path[:2] == ("LearningRate", "schedulers") and value.get("name") in tags():
            arguments = {key: item for key, item in value.items() if key != "name"}
            check_arguments(path, tags()[value["name"]], arguments, problems)
            return
        for key, item in value.items():
            check_nested((*path, str(key)), item, problems)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            check_nested((*path, str(index)), item, problems)
