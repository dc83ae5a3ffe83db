"""Checks of what the table of keys cannot say: sections of modules and of our classes, metrics, members of an ensemble."""

import inspect
from collections.abc import Mapping
from typing import Any

import paddle

from ppdet_ext.errors import UserError, nearest
from ppdet_ext.host.parts import kind_of, which_part
from ppdet_ext.host.registry import METRICS, SECTIONS, modules

from .arguments import check_arguments, check_entries, check_nested, parameters_of
from .files import KeyPath
from .keys import CLASSIFIER, ENSEMBLE
from .problems import Problems
from .types import annotations_of, expected, is_text_for_numbers

# Types of ppdet's own parameters, which it does not annotate.
OURS = {"LearningRate": {"base_lr": float}}
MEMBER_KEYS: dict[str, Any] = {"weights": str, "config": str, "weight": (int, float)}


def check_section(key: str, value: Any, problems: Problems) -> None:
    """The arguments of a class of `SECTIONS`, which also says itself what it cannot work with."""
    before, path = len(problems.found), tuple(key.split("."))
    check_arguments(path, SECTIONS[key], value, problems)
    if len(problems.found) == before:
        try:
            SECTIONS[key](**value)
        except UserError as error:
            # A class that a command builds too names its flag.
            problems.add(path, f"{key}: {str(error).removeprefix('--')}")


def check_metric(value: Any, problems: Problems) -> None:
    """`metric`: a name, or a list of names of which the first one decides which weights are the best."""
    names = [value] if isinstance(value, str) else value
    if not names or not all(isinstance(name, str) for name in names):
        problems.add(("metric",), f"metric is {value!r}; expected a name or a list of names: {', '.join(METRICS)}.")
        return
    for name in names:
        if name not in METRICS:
            problems.add(("metric",), f"there is no metric {name!r}.{nearest(name, METRICS)} There are {', '.join(METRICS)}.")


def check_hooks(value: Any, problems: Problems) -> None:
    """`hooks`: entries, each class once."""
    check_entries(("hooks",), value or [], "hook", problems)
    names = [str(name) for entry in value for name in entry] if isinstance(value, list) else []
    for name in sorted({name for name in names if names.count(name) > 1}):
        problems.add(("hooks",), f"hooks: {name} is there twice; a checkpoint keeps one state for each class.")


def check_ensemble(value: Any, problems: Problems) -> None:
    """Ensemble: weights, or mappings of `MEMBER_KEYS`."""
    if value is None:
        return
    if not isinstance(value, list) or not value:
        problems.add((ENSEMBLE,), f"{ENSEMBLE} is {value!r}; expected a list of weights, or of {{weights: …, config: …}}.")
        return
    for index, member in enumerate(value):
        here = (ENSEMBLE, str(index))
        if isinstance(member, str):
            continue
        if not isinstance(member, dict) or not isinstance(member.get("weights"), str):
            problems.wrong(here, member, "a path, or {weights: path, config: path}")
            continue
        _check_member(here, member, problems)


def check_classifier(value: Any, problems: Problems) -> None:
    """Classifier: a mapping of `MEMBER_KEYS`, or several, each of a configuration of its own."""
    if value is None:
        return
    several = isinstance(value, list)
    for index, member in enumerate(value if several else [value]):
        here = (CLASSIFIER, str(index)) if several else (CLASSIFIER,)
        needed = ("config", "weights")
        if not isinstance(member, dict) or not all(isinstance(member.get(key), str) for key in needed):
            problems.wrong(here, member, "{config: path, weights: path}")
            continue
        _check_member(here, member, problems)
    if value == []:
        problems.wrong((CLASSIFIER,), value, "{config: path, weights: path}, or a list of these")


def _check_member(here: KeyPath, member: Mapping[str, Any], problems: Problems) -> None:
    for name, item in member.items():
        if name not in MEMBER_KEYS:
            problems.unknown((*here, str(name)), MEMBER_KEYS, here[0])
        elif not isinstance(item, MEMBER_KEYS[name]) or isinstance(item, bool) or (name == "weight" and not item > 0):
            problems.wrong((*here, name), item, "a number above 0" if name == "weight" else "a path")


def check_module(path: KeyPath, name: str, value: Any, problems: Problems) -> None:
    """A registered module's section: its keys against the schema ppdet took from the constructor."""
    known = modules()
    schema = known[name]
    if not isinstance(value, dict):
        problems.add(path, f"{'.'.join(path)} is {value!r}; expected a section of {name}'s keys.")
        return
    cls = getattr(schema.pymodule, name)
    types = annotations_of(cls.__init__) | OURS.get(name, {})
    # Lists of parts that are named as those of readers are.
    lists: Mapping[str, str] = getattr(cls, "entry_kinds", {})
    before = len(problems.found)
    for key, item in value.items():
        here = (*path, str(key))
        if key == "name" and len(path) > 1:
            continue
        if key not in schema.schema and schema.strict:
            problems.unknown(here, schema.schema, name)
        elif key in lists:
            check_entries(here, item or [], lists[key], problems)
        elif isinstance(part := _part_named(item), str) and part not in known and _names_module(schema, key, known):
            hint = which_part(part, _kind_at(schema, key, known))
            problems.add(here, f"{'.'.join(here)} names module {part!r}, not registered.{hint}")
        elif isinstance(item, dict) and item.get("name") in known:
            check_module(here, item["name"], item, problems)
        elif name == "OptimizerBuilder" and key == "optimizer":
            _check_optimizer(here, item, problems)
        elif key in types and key not in schema.inject and (wanted := expected(item, types[key], _default(schema, key))):
            problems.wrong(here, item, wanted)
        elif key not in types and is_text_for_numbers(item, _default(schema, key)):
            problems.wrong(
                here, item, "a number" if not isinstance(_default(schema, key), (list, tuple)) else "a list of numbers"
            )
        else:
            check_nested(here, item, problems)
    if name == "OptimizerBuilder" and len(problems.found) == before:
        try:
            cls(**value)
        except UserError as error:
            # It begins with the key at fault.
            problems.add(tuple(str(error).split()[0].rstrip(":").split(".")), str(error))


def _default(schema: Any, key: str) -> Any:
    return schema.schema[key].default if key in schema.schema and schema.has_default(key) else inspect.Parameter.empty


def _part_named(value: Any) -> Any:
    """What a key names where it names a part: itself, or the name in {name: part, key: value}."""
    return value.get("name") if isinstance(value, dict) else value


def _kind_at(schema: Any, key: str, modules: Mapping[str, Any]) -> type | None:
    """What kind of part a key names, told by its default; None if the default does not tell."""
    default = schema.schema[key].default if schema.has_default(key) else None
    return kind_of(default) if isinstance(default, str) and default in modules else None


def _names_module(schema: Any, key: str, modules: Mapping[str, Any]) -> bool:
    """Whether a key's value is the name of a registered module: injected by ppdet, or such a name by default."""
    default = schema.schema[key].default if schema.has_default(key) else None
    return key in schema.inject or (isinstance(default, str) and default in modules)


def _check_optimizer(path: KeyPath, value: Any, problems: Problems) -> None:
    """`OptimizerBuilder.optimizer`: {type: a paddle.optimizer class, its arguments…}."""
    names = [name for name in paddle.optimizer.__all__ if name not in ("Optimizer", "lr")]
    if not isinstance(value, dict) or value.get("type") not in names:
        kind = value.get("type") if isinstance(value, dict) else value
        problems.add(path, f"{'.'.join(path)} needs 'type', one of {', '.join(names)}.{nearest(kind, names)}")
        return
    known, _ = parameters_of(getattr(paddle.optimizer, value["type"]))
    # The learning rate, clipping and parameters have their own places in the configuration.
    taken = ("learning_rate", "parameters", "grad_clip", "name")
    known = {name: parameter for name, parameter in known.items() if name not in taken}
    for key in value:
        if key not in {*known, "type", "param_groups"}:
            problems.unknown((*path, str(key)), known, value["type"])
