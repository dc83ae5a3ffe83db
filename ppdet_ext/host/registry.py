"""The parts that configurations name, by kind; registering a class makes it known to ppdet too."""

import difflib
from collections.abc import Callable, Iterable, Mapping, Sequence

import ppdet.data.source
import ppdet.data.transform
from ppdet.core.workspace import get_registered_modules, register, serializable

from ppdet_ext.errors import UserError

# Class name -> class, each kind apart, so that a hint names things of the kind asked for.
DATASETS: dict[str, type] = {}
TRANSFORMS: dict[str, type] = {}
BATCH_TRANSFORMS: dict[str, type] = {}
STEPS: dict[str, type] = {}
METRICS: dict[str, type] = {}
# Architecture of ppdet -> what makes it one that this package trains and evaluates; others of ppdet's are refused.
ADAPTERS: dict[str, type] = {}


def register_dataset(cls: type) -> type:
    """Make a data set known as a YAML tag, to ppdet's workspace and in ppdet.data.source."""
    cls = serializable(register(cls))
    setattr(ppdet.data.source, cls.__name__, cls)
    DATASETS[cls.__name__] = cls
    return cls


def _register_transform(cls: type, kind: dict[str, type]) -> type:
    if hasattr(ppdet.data.transform, cls.__name__):
        raise ValueError(f"ppdet has an operator named {cls.__name__} already")
    cls = register(cls)
    setattr(ppdet.data.transform, cls.__name__, cls)
    kind[cls.__name__] = cls
    return cls


def register_transform(cls: type) -> type:
    """Make a sample transform known to ppdet's workspace and ppdet.data.transform, where its name must be new."""
    return _register_transform(cls, TRANSFORMS)


def register_batch_transform(cls: type) -> type:
    """Make what puts samples together into a batch known, as `register_transform` does."""
    return _register_transform(cls, BATCH_TRANSFORMS)


def register_adapter(*architectures: str) -> Callable[[type], type]:
    """Put these architectures of ppdet behind the decorated class, which is built with the model."""

    def decorate(cls: type) -> type:
        ADAPTERS.update(dict.fromkeys(architectures, cls))
        return cls

    return decorate


def usable_architectures() -> list[str]:
    """Names that `architecture` may have: those that predict `candidates`, and those of ppdet with an adapter."""
    modules = get_registered_modules().items()
    return sorted({name for name, schema in modules if hasattr(getattr(schema.pymodule, name), "candidates")} | set(ADAPTERS))


def register_step(cls: type) -> type:
    """Make a step of `PostProcess` known."""
    STEPS[cls.__name__] = cls
    return register(cls)


def register_metric(cls: type) -> type:
    """Make a metric known to `metric:` and `--metric`; its options are the section of its name."""
    METRICS[cls.__name__] = cls
    return register(cls)


def one_of(value: str, allowed: Iterable[str], key: str) -> str:
    """`value` if it is allowed. Raises: UserError naming the key and the choices."""
    if value not in tuple(allowed):
        raise UserError(f"{key}: {value!r} is not one of {', '.join(allowed)}.")
    return value


def build_transforms(entries: Sequence[Mapping], known: Mapping[str, type], key: str) -> list:
    """Objects for a reader's list of {name: arguments}. Raises: UserError naming what is unknown, and the nearest name."""
    built = []
    for entry in entries:
        if not isinstance(entry, Mapping) or len(entry) != 1:
            raise UserError(f"{key}: {entry!r} is not of the form `- Name: {{argument: value}}`.")
        name, arguments = next(iter(entry.items()))
        if name not in known:
            raise UserError(f"{key}: {_unknown(name, known)}")
        try:
            built.append(known[name](**(arguments or {})))
        except TypeError as fault:
            raise UserError(f"{key}: {name}: {str(fault).split('__init__() ')[-1]}.") from None
    return built


def _unknown(name: str, known: Mapping[str, type]) -> str:
    near = difflib.get_close_matches(name, known, 1, 0.4)
    hint = f" Did you mean {near[0]}?" if near else ""
    host = " is an operator of ppdet, made for its own samples" if hasattr(ppdet.data.transform, name) else " is unknown"
    return f"{name}{host}.{hint} There are {', '.join(known)}."
