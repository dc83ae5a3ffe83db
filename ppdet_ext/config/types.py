"""Comparing configured values with the annotated types of constructor parameters."""

import collections.abc
import inspect
import types
import typing
from collections.abc import Callable
from typing import Any

SCALARS = {int: "int", float: "float", bool: "true or false", str: "str", type(None): "null"}
LISTS = (list, tuple, collections.abc.Sequence, collections.abc.Iterable)


def annotations_of(function: Callable[..., Any]) -> dict[str, Any]:
    """Parameter name -> type, of what is annotated and can be resolved."""
    try:
        return typing.get_type_hints(function)
    except (NameError, TypeError, AttributeError):
        return {name: kind for name, kind in inspect.get_annotations(function).items() if not isinstance(kind, str)}


def expected(value: Any, annotation: Any, default: Any = inspect.Parameter.empty) -> str | None:
    """What should stand in place of `value`, in words; None if it fits or the annotation says nothing of plain values.

    true and false are no numbers, a whole number is a float too, and whatever is the default fits.
    """
    if value is default or _fits(value, annotation):
        return None
    return _words(annotation)


def is_text_for_numbers(value: Any, default: Any) -> bool:
    """Whether text stands where the default is a number, or a list of numbers: what ppdet leaves to its users to find."""
    if isinstance(default, bool) or not isinstance(default, (int, float, list, tuple)):
        return False
    if isinstance(default, (list, tuple)) and not all(isinstance(item, (int, float)) for item in default):
        return False
    items = value if isinstance(value, (list, tuple)) else [value]
    return bool(default != [] and default != ()) and any(isinstance(item, str) for item in items)


def _fits(value: Any, annotation: Any) -> bool:
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin in (typing.Union, types.UnionType):
        return any(_fits(value, option) for option in arguments)
    if annotation is float:
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    if annotation is int:
        return isinstance(value, int) and not isinstance(value, bool)
    if annotation in (bool, str, type(None)):
        return isinstance(value, annotation)
    if origin is typing.Literal:
        return isinstance(value, str) and value in arguments
    if annotation in LISTS or origin in LISTS:
        items = [kind for kind in arguments if kind is not Ellipsis]
        # Of a tuple with a type for each place only the list itself is compared.
        return isinstance(value, (list, tuple)) and (len(items) != 1 or all(_fits(item, items[0]) for item in value))
    return True


def _words(annotation: Any) -> str:
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(_words(option) for option in arguments)
    if annotation in SCALARS:
        return SCALARS[annotation]
    if origin is typing.Literal:
        return ", ".join(arguments)
    items = [_words(kind) for kind in arguments if kind is not Ellipsis]
    return f"a list of {items[0]}" if len(items) == 1 else "a list"
