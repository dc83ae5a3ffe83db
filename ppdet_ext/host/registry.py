"""The parts that configurations name, as PaddleDetection knows them; the kinds themselves stand in `ppdet_ext.registry`."""

from collections.abc import Callable
from typing import Any

import ppdet.data.source
import ppdet.data.transform
import yaml
from ppdet.core.workspace import get_registered_modules, global_config, register, serializable

from ppdet_ext.registry import (
    BATCH_TRANSFORMS,
    COUNTERPARTS,
    DATASETS,
    HOOKS,
    KINDS,
    METRICS,
    SEGMENTATION_LOSSES,
    STEPS,
    TRANSFORMS,
    Part,
    build_entries,
    hand_over,
    number_in,
    one_of,
    register_batch_transform,
    register_dataset,
    register_hook,
    register_metric,
    register_segmentation_loss,
    register_step,
    register_transform,
    whole_number_in,
    why_unknown,
)

__all__ = [
    "ADAPTERS",
    "BATCH_TRANSFORMS",
    "COUNTERPARTS",
    "DATASETS",
    "HOOKS",
    "KINDS",
    "METRICS",
    "SECTIONS",
    "SEGMENTATION_LOSSES",
    "STEPS",
    "TRANSFORMS",
    "build_entries",
    "modules",
    "number_in",
    "one_of",
    "register_adapter",
    "register_batch_transform",
    "register_dataset",
    "register_hook",
    "register_metric",
    "register_module",
    "register_segmentation_loss",
    "register_step",
    "register_transform",
    "replace_module",
    "tags",
    "usable_architectures",
    "whole_number_in",
    "why_unknown",
]

# Architecture of ppdet -> what makes it one that this package trains and evaluates; others of ppdet's are refused.
ADAPTERS: dict[str, type] = {}
# Top-level sections that are the arguments of a class of ours, which ppdet need not know.
SECTIONS: dict[str, type] = {}
# ppdet's Callable names any function of any module; a configuration file must not be able to do that.
REFUSED_TAGS = frozenset({"Callable"})


def _with_host(cls: Part) -> Part:
    """Put a class in ppdet's workspace; a module that is imported anew replaces what it registered before."""
    earlier = global_config.get(cls.__name__)
    if getattr(getattr(earlier, "pymodule", None), "__name__", None) == cls.__module__:
        del global_config[cls.__name__]
    return register(cls)


class _Ppdet:
    """ppdet, as `ppdet_ext.registry` speaks with it."""

    def register(self, cls: type, kind: str) -> None:
        """Put a part in ppdet's workspace, and where its readers look. Raises: ValueError where a transform's name is taken."""
        if kind == "data set":
            if getattr(ppdet.data.source, cls.__name__, cls).__module__ == cls.__module__:
                setattr(ppdet.data.source, cls.__name__, serializable(_with_host(cls)))
        elif kind.endswith("transform"):
            if getattr(ppdet.data.transform, cls.__name__, cls).__module__ != cls.__module__:
                raise ValueError(f"ppdet has an operator named {cls.__name__} already; choose another name")
            setattr(ppdet.data.transform, cls.__name__, _with_host(cls))
        elif kind in ("step", "metric"):
            _with_host(cls)

    def kind_of(self, name: str) -> str | None:
        """What ppdet has of that name: "a data set", "an operator" or None."""
        if hasattr(ppdet.data.source, name):
            return "a data set"
        return "an operator" if hasattr(ppdet.data.transform, name) else None


hand_over(_Ppdet())


def register_module(cls: Part) -> Part:
    """Make a model or a part of one (backbone, neck, head, loss) known: a section of its name has its arguments."""
    return _with_host(cls)


def replace_module(cls: Part) -> Part:
    """Put a class in ppdet's workspace in place of ppdet's of that name, of which it is a subclass."""
    global_config.pop(cls.__name__, None)
    return register(cls)


def register_adapter(*architectures: str) -> Callable[[Part], Part]:
    """Put these architectures of ppdet behind the decorated class, which is built with the model."""

    def decorate(cls: Part) -> Part:
        ADAPTERS.update(dict.fromkeys(architectures, cls))
        return cls

    return decorate


def usable_architectures() -> list[str]:
    """Names that `architecture` may have: those that predict `candidates`, and those of ppdet with an adapter."""
    classes = {name: getattr(schema.pymodule, name, None) for name, schema in get_registered_modules().items()}
    return sorted({name for name, cls in classes.items() if hasattr(cls, "candidates")} | set(ADAPTERS))


def modules() -> dict[str, Any]:
    """Name -> ppdet's schema of each module that it knows: `schema` by key, `pymodule`, `shared`, `inject`, `strict`."""
    return get_registered_modules()


def tags() -> dict[str, type]:
    """Name -> class of each `!Class` of YAML: those of ppdet's `serializable`, and our data sets."""
    found = {}
    for tag, constructor in yaml.Loader.yaml_constructors.items():
        if tag and tag.startswith("!") and constructor.__closure__:
            found[tag[1:]] = constructor.__closure__[0].cell_contents
    found = {name: cls for name, cls in found.items() if isinstance(cls, type) and name not in REFUSED_TAGS}
    return found | DATASETS
