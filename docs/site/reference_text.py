"""Docstrings, types and flags as Markdown; what docs/make_reference.py puts together."""

import argparse
import collections.abc
import functools
import inspect
import re
import types
import typing
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

_SHOWN = (types.FunctionType, property, functools.cached_property)
HEADERS = re.compile(r"^(Args|Attributes|Returns|Raises|Yields):\s*(.*)$")
PLAIN = {
    int: "int",
    float: "float",
    bool: "true or false",
    str: "str",
    type(None): "null",
    list: "a list",
    tuple: "a list",
    dict: "a mapping",
}


class Meaning(NamedTuple):
    """What a key does, in a line of Markdown."""

    text: str


def meanings_of(cls: type, keys: Sequence[str]) -> dict[str, Meaning]:
    """Key -> meaning, of the docstrings of a class and of its bases, the nearest first."""
    found: dict[str, Meaning] = {}
    for one in cls.__mro__[:-1]:
        init = one.__dict__.get("__init__")
        for text in (one.__dict__.get("__doc__"), getattr(init, "__doc__", None)):
            for key, meaning in _entries(inspect.cleandoc(text or ""), keys):
                found.setdefault(key, Meaning(meaning))
    return found


def _entries(text: str, keys: Sequence[str]) -> Iterator[tuple[str, str]]:
    """(key, meaning) of each `key, key: meaning` that begins a line or a sentence; what is indented deeper belongs to it."""
    name = "|".join(map(re.escape, keys)) or "$^"
    begins = re.compile(rf"^(\s*)((?:{name})(?: \([^)]*\))?(?:, (?:and )?(?:{name}))*)(?: \([^)]*\))?\s*: (.*)$")
    lines = text.splitlines()
    for number, line in enumerate(lines):
        head = begins.match(line)
        if not head:
            continue
        words = [head[3]]
        for following in lines[number + 1 :]:
            if not following.strip() or len(following) - len(following.lstrip()) <= len(head[1]):
                break
            words.append(following.strip())
        yield from _split(head[2], " ".join(words), name)


def _split(names: str, text: str, name: str) -> Iterator[tuple[str, str]]:
    parts = re.split(rf"(?<=\.) ((?:{name})(?:, (?:{name}))*): ", text)
    for listed, meaning in zip([names, *parts[1::2]], parts[::2]):
        for key in re.findall(rf"\b(?:{name})\b", re.sub(r"\([^)]*\)", "", listed)):
            yield key, cell(meaning)


def cell(text: str) -> str:
    """Text for a cell of a table: one line, nothing that Markdown or HTML would take for its own."""
    return escaped(text).replace("|", "\\|").strip()


def escaped(text: str) -> str:
    """Text outside of `code` without what Markdown or HTML would take for its own."""
    pieces = re.split(r"(`[^`]*`)", " ".join(text.split()))
    # Within a word an underscore means nothing.
    special = re.compile(r"([*\[\]]|(?<!\w)_|_(?!\w))")
    return "".join(piece if piece.startswith("`") else special.sub(r"\\\1", piece.replace("<", "&lt;")) for piece in pieces)


def summary_of(thing: Any, keys: Sequence[str]) -> str:
    """The paragraphs of a docstring before its lists of arguments, as Markdown; indented ones are code."""
    # What a base says is not what it is; a dataclass without a docstring has its signature as one.
    own = thing.__dict__.get("__doc__") if isinstance(thing, type) else thing.__doc__
    paragraphs = []
    for block in re.split(r"\n\s*\n", inspect.cleandoc(own or "")):
        lines = block.splitlines()
        if HEADERS.match(lines[0] if lines else "") or (keys and next(_entries(lines[0] if lines else "", keys), None)):
            break
        if not lines:
            continue
        code = all(line.startswith("    ") for line in lines)
        paragraphs.append("```text\n" + inspect.cleandoc("\n" + block) + "\n```" if code else escaped(block))
    return "\n\n".join(paragraphs)


def type_words(annotation: Any, default: Any) -> str:
    """The type of a key, in words."""
    if annotation is None:
        known = type(default) if type(default) in PLAIN and default is not None else None
        return PLAIN[known] if known else ""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(dict.fromkeys(type_words(option, None) for option in arguments))
    if isinstance(annotation, type) and annotation in PLAIN:
        return PLAIN[annotation]
    if origin is typing.Literal:
        return ", ".join(f"`{one}`" for one in arguments)
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return "a mapping"
    if origin is type or origin is collections.abc.Callable:
        return "a name"
    if isinstance(origin, type):
        items = [type_words(kind, None) for kind in arguments if kind is not Ellipsis]
        return f"a list of {items[0]}" if len(set(items)) == 1 else "a list"
    if annotation is typing.Any or not isinstance(annotation, type):
        return "any"
    if issubclass(annotation, Mapping):
        return "a mapping"
    return (
        "name of a section" if isinstance(default, str) or default is inspect.Parameter.empty else "name of a section, or null"
    )


def command_page(commands: Mapping[str, tuple[str, argparse.ArgumentParser]]) -> str:
    """All commands with their flags. commands: name -> (what it does, its parser)."""
    names = " · ".join(f"[{name}](#{name})" for name in commands)
    texts = ["# Commands", "`python tools/NAME.py …`, or installed by pip `ppdet-ext NAME …`.", names]
    for name, (about, parser) in commands.items():
        rows = [row for action in parser._actions if (row := _flag_row(parser, action))]
        texts.append(f"## {name}\n\n{escaped(about[0].upper() + about[1:])}.")
        texts.append("| flag | |\n|---|---|\n" + "\n".join(rows) if rows else "It has no flags.")
    return "\n\n".join(texts) + "\n"


def _flag_row(parser: argparse.ArgumentParser, action: argparse.Action) -> str | None:
    if action.help == argparse.SUPPRESS or isinstance(action, argparse._HelpAction):
        return None
    metavar = action.metavar or ("" if action.nargs == 0 else action.dest.upper())
    if action.choices and not action.metavar:
        metavar = "{" + ",".join(map(str, action.choices)) + "}"
    many = {"+": f"{metavar} …", "*": f"[{metavar} …]", "?": f"[{metavar}]"}.get(str(action.nargs), metavar)
    flag = f"`{', '.join(action.option_strings) or many}`" + (f" `{many}`" if action.option_strings and many else "")
    text = parser._get_formatter()._expand_help(action) if action.help else ""
    return f"| {flag} | {cell(text)} |".replace("` `", " ")


def object_page(things: Mapping[str, Any], with_bases_elsewhere: Collection[str] = ()) -> str:
    """The names of the library, with signatures, arguments, public methods and properties.

    with_bases_elsewhere: those of which only what the class itself has is told.
    """
    names = " · ".join(f"[{name}](#{name.lower().replace('.', '')})" for name in things)
    texts = ["# The library", "What `from ppdet_ext import …` gives. With examples: [the library](../python.md).", names]
    for name, thing in things.items():
        texts += [f"## {name}", f"```text\n{name}{_signature(thing)}\n```", *_described(thing)]
        for method, function in _methods(thing, name in with_bases_elsewhere):
            texts += [f"### {name}.{method}", f"```text\n{method}{_signature(function)}\n```", *_described(function)]
    return "\n\n".join(texts) + "\n"


def _described(thing: Any) -> list[str]:
    try:
        keys = [key for key in inspect.signature(thing).parameters if key != "self"]
    except (TypeError, ValueError):  # a property's
        keys = []
    fields = list(getattr(thing, "__dataclass_fields__", ()))
    texts = [summary_of(thing, keys)] if summary_of(thing, keys) else []
    found = dict.fromkeys([*keys, *fields])
    listed = dict(_entries(inspect.cleandoc(thing.__doc__ or ""), list(found)))
    rows = [f"| `{key}` | {listed[key]} |" for key in found if key in listed]
    return [*texts, "| | |\n|---|---|\n" + "\n".join(rows)] if rows else texts


def _methods(thing: Any, own: bool = False) -> list[tuple[str, Any]]:
    if not isinstance(thing, type):
        return []
    found: dict[str, Any] = {}
    for one in [thing] if own else reversed(thing.__mro__[:-1]):
        if one.__module__.startswith("ppdet_ext."):
            found |= {name: value for name, value in one.__dict__.items() if not name.startswith("_")}
    bare = {name: getattr(value, "__func__", value) for name, value in found.items()}
    return [(name, value) for name, value in bare.items() if isinstance(value, _SHOWN) and value.__doc__]


def _signature(thing: Any) -> str:
    getter = getattr(thing, "fget", getattr(thing, "func", None))  # of a property, and of a cached one
    try:
        text = str(inspect.signature(getter or thing))
    except ValueError:
        return "(…)"
    if getter:
        text = text.replace("(self) -> ", ": ")
    text = re.sub(
        r"\b(?:[a-zA-Z_]\w*\.)+([A-Za-z_]\w*)", r"\1", re.sub(r"^\((?:self|cls)(?:: [^,)]*)?(?:, |(?=\)))", "(", text)
    )
    # Types in quotes are types all the same.
    text = re.sub(r"(: |-> )'([^']*)'", r"\1\2", text)
    return re.sub(r" at 0x\w+", "", text)
