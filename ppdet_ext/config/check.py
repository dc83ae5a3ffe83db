"""Checks of a merged configuration tree before anything is built; every problem found is reported, not only the first."""

import inspect
import os
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import paddle
from ppdet.core.workspace import get_registered_modules

from ppdet_ext.data.datasets.base import InstanceDataSet
from ppdet_ext.data.synthetic import KINDS, SampleSpec
from ppdet_ext.host.registry import usable_architectures
from ppdet_ext.host.workspace import DATASETS

from .arguments import check_arguments, check_nested, check_transforms, parameters_of, registered_classes
from .files import KeyPath, Tagged, host_tags, nearest
from .inference import INFERENCE, check_inference, check_metric
from .keys import POSITIVE, REQUIRED, TOP_LEVEL
from .problems import Problems
from .types import annotations_of, expected

READERS = ("TrainReader", "EvalReader", "TestReader")
# Makes the training set's folder with the sample generator when it is not there; keys are those of
# SampleSpec.
SAMPLE = "SampleData"
# Types of ppdet's own parameters, which it does not annotate.
OURS = {"LearningRate": {"base_lr": float}}
READER_KEYS = ("sample_transforms", "batch_transforms", "batch_size", "shuffle", "drop_last")


def check_tree(tree: dict[str, Any], problems: Problems, training: bool = True) -> None:
    """Check keys, names and simple types of the whole tree; what is wrong goes to `problems`.

    training: whether to look for what only a training must not do.
    """
    modules = get_registered_modules()
    shared = {key for schema in modules.values() for key in schema.shared}
    for key, value in tree.items():
        if value is None and key in (*DATASETS, *INFERENCE, SAMPLE):
            continue  # switched off by -o KEY=null
        if key in TOP_LEVEL:
            _check_scalar(key, value, problems)
        elif key in DATASETS:
            _check_dataset(key, value, problems)
        elif key in READERS:
            _check_reader(key, value, problems)
        elif key == SAMPLE:
            _check_sample(value, problems)
        elif key in INFERENCE:
            check_inference(key, value, problems)
        elif key in modules:
            _check_module((key,), key, value, problems)
        elif key not in shared:
            problems.unknown((key,), {*TOP_LEVEL, *DATASETS, *INFERENCE, SAMPLE, *modules, *shared})
    if training:
        _check_folds(tree, problems)
    for key, (_, default) in TOP_LEVEL.items():
        if default is REQUIRED and key not in tree:
            problems.add((), f"key {key!r} is missing.")
    name, usable = tree.get("architecture"), usable_architectures()
    if isinstance(name, str) and name not in usable:
        what = "is an architecture of ppdet that has no adapter here" if name in modules else "is not registered"
        problems.add(("architecture",), f"architecture {name!r} {what}.{nearest(name, usable)} There are {', '.join(usable)}.")


def _check_scalar(key: str, value: Any, problems: Problems) -> None:
    types, _ = TOP_LEVEL[key]
    if not isinstance(value, types) or (isinstance(value, bool) and bool not in types):
        wanted = " or ".join("null" if t is type(None) else t.__name__ for t in types)
        problems.add((key,), f"{key} is {value!r}; expected {wanted}.")
    elif key in POSITIVE and value is not None and value < 1:
        problems.add((key,), f"{key} is {value}; expected 1 or more.")
    elif key in ("worker_num", "seed", "skip_nonfinite") and value < 0:
        problems.add((key,), f"{key} is {value}; expected 0 or more.")
    elif key == "ema_decay" and not 0 <= value < 1:
        problems.add((key,), f"ema_decay is {value}; expected 0 or more, less than 1.")
    elif key == "metric":
        check_metric(value, problems)


def _check_dataset(key: str, value: Any, problems: Problems) -> None:
    if isinstance(value, Tagged) and issubclass(host_tags()[value.tag], InstanceDataSet):
        check_arguments((key,), host_tags()[value.tag], value, problems)
    elif isinstance(value, Tagged):
        ours = [f"!{name}" for name, cls in host_tags().items() if issubclass(cls, InstanceDataSet)]
        problems.add((key,), f"{key}: ppdet's !{value.tag} cannot be used here; there are {', '.join(ours)}.")
    else:
        problems.add((key,), f"{key} needs a data set class, for example '{key}: !SteelDataSet {{…}}'.")


def _check_folds(tree: Mapping[str, Any], problems: Problems) -> None:
    """Training on the rest of other folds than those of the evaluation would train on evaluated images."""
    found = [tree.get(key) for key in ("TrainDataset", "EvalDataset")]
    if isinstance(found[0], Tagged) and isinstance(found[0].get("labelled"), Tagged):
        found[0] = found[0]["labelled"]
    if not all(isinstance(item, Tagged) for item in found) or found[0].tag != found[1].tag:
        return
    known = parameters_of(host_tags()[found[0].tag])[0]
    if not {"split", "fold", "num_folds", "part"} <= set(known):
        return
    defaults = {name: parameter.default for name, parameter in known.items()}
    train, evaluation = ({**defaults, **item} for item in found)
    same = all(_normal(train[key]) == _normal(evaluation[key]) for key in ("dataset_dir", "anno_path"))
    if not same or (train["part"], evaluation["part"]) != ("train", "val"):
        return
    # Folds are dealt out by the numbers; without a fold, a file says who is in which part.
    keys = ["fold", "num_folds", "seed"] if train["split"] is None else ["fold", "num_folds"]
    for key in ("split", *([] if None in (train["fold"], evaluation["fold"]) else keys)):
        if train[key] != evaluation[key]:
            problems.add(
                ("EvalDataset", key),
                f"EvalDataset.{key} is {evaluation[key]}, but TrainDataset.{key} is {train[key]}: training would see the "
                f"images that are evaluated. Set both to the same {key}.",
            )


def _normal(path: Any) -> Any:
    return os.path.normpath(path) if isinstance(path, str) else path


def _check_reader(key: str, value: Any, problems: Problems) -> None:
    if not isinstance(value, dict):
        problems.add((key,), f"{key} is {value!r}; expected keys {', '.join(READER_KEYS)}.")
        return
    classes = registered_classes()
    for name, item in value.items():
        if name not in READER_KEYS:
            problems.unknown((key, name), READER_KEYS, key)
        elif name in ("sample_transforms", "batch_transforms"):
            check_transforms((key, name), item, classes, problems)
        elif name == "batch_size" and (isinstance(item, bool) or not isinstance(item, int) or item < 1):
            problems.add((key, name), f"{key}.batch_size is {item!r}; expected a whole number, 1 or more.")
        elif name in ("shuffle", "drop_last") and not isinstance(item, bool):
            problems.add((key, name), f"{key}.{name} is {item!r}; expected true or false.")


def _check_sample(value: Any, problems: Problems) -> None:
    known = [field.name for field in fields(SampleSpec)]
    if not isinstance(value, dict):
        problems.add((SAMPLE,), f"{SAMPLE} is {value!r}; expected keys {', '.join(known)}.")
        return
    for key, item in value.items():
        if key not in known:
            problems.unknown((SAMPLE, str(key)), known, SAMPLE)
        elif key == "kind":
            name = str(item)
            if name not in KINDS:
                problems.add((SAMPLE, key), f"{SAMPLE}.kind is {item!r}; known: {', '.join(KINDS)}.{nearest(name, KINDS)}")
        elif isinstance(item, bool) or not isinstance(item, int):
            problems.add((SAMPLE, key), f"{SAMPLE}.{key} is {item!r}; expected a whole number.")


def _check_module(path: KeyPath, name: str, value: Any, problems: Problems) -> None:
    """A registered module's section: its keys against the schema ppdet took from the constructor."""
    modules = get_registered_modules()
    schema = modules[name]
    if not isinstance(value, dict):
        problems.add(path, f"{'.'.join(path)} is {value!r}; expected a section of {name}'s keys.")
        return
    types = annotations_of(registered_classes()[name].__init__) | OURS.get(name, {})
    for key, item in value.items():
        here = (*path, str(key))
        if key == "name" and len(path) > 1:
            continue
        if key not in schema.schema and schema.strict:
            problems.unknown(here, schema.schema, name)
        elif isinstance(item, str) and item not in modules and _names_module(schema, key, modules):
            problems.add(here, f"{'.'.join(here)} names module {item!r}, not registered.{nearest(item, modules)}")
        elif isinstance(item, dict) and item.get("name") in modules:
            _check_module(here, item["name"], item, problems)
        elif name == "OptimizerBuilder" and key == "optimizer":
            _check_optimizer(here, item, problems)
        elif key in types and key not in schema.inject and (wanted := expected(item, types[key], _default(schema, key))):
            problems.add(here, f"{'.'.join(here)} is {item!r}; expected {wanted}.")
        else:
            check_nested(here, item, problems)


def _default(schema: Any, key: str) -> Any:
    return schema.schema[key].default if key in schema.schema and schema.has_default(key) else inspect.Parameter.empty


def _names_module(schema: Any, key: str, modules: Mapping[str, Any]) -> bool:
    """Whether a key's value is the name of a registered module: injected by ppdet, or such a name by default."""
    default = schema.schema[key].default if schema.has_default(key) else None
    return key in schema.inject or (isinstance(default, str) and default in modules)


def _check_optimizer(path: KeyPath, value: Any, problems: Problems) -> None:
    """`OptimizerBuilder.optimizer`: {type: a paddle.optimizer class, its arguments…}."""
    names = [name for name in paddle.optimizer.__all__ if name not in ("Optimizer", "lr")]
    if not isinstance(value, dict) or value.get("type") not in names:
        kind = value.get("type") if isinstance(value, dict) else value
        problems.add(path, f"{'.'.join(path)} needs 'type', one of {', '.join(names)}.{nearest(str(kind), names)}")
        return
    known, _ = parameters_of(getattr(paddle.optimizer, value["type"]))
    # The learning rate, clipping and parameters have their own places in the configuration.
    known = {name for name in known if name not in ("learning_rate", "parameters", "grad_clip", "name")}
    for key in value:
        if key not in {*known, "type", "param_groups"}:
            problems.unknown((*path, str(key)), known, value["type"])


def unused_sections(tree: Mapping[str, Any]) -> list[str]:
    """Sections of registered modules that the architecture, the optimizer and the schedule never come to."""
    modules = get_registered_modules()
    metrics = tree.get("metric")
    waiting = [
        tree.get("architecture"),
        "LearningRate",
        "OptimizerBuilder",
        *([metrics] if isinstance(metrics, str) else metrics or ()),
    ]
    reached: set[str] = set()
    while waiting:
        name = waiting.pop()
        if not isinstance(name, str) or name in reached or name not in modules:
            continue
        reached.add(name)
        schema = modules[name].schema.values()
        section = tree.get(name) or {}
        values = {item.name: item.default for item in schema if item.has_default()} | dict(section)
        waiting += [value.get("name") if isinstance(value, dict) else value for value in values.values()]
    sections = [key for key in tree if key in modules and key not in (*READERS, *DATASETS)]
    return [key for key in sections if key not in reached]
