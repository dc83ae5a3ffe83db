"""The parts that configurations name, by kind; registering a class makes it known to ppdet too."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from numbers import Integral, Real
from typing import Any, TypeVar

import ppdet.data.source
import ppdet.data.transform
import yaml
from ppdet.core.workspace import get_registered_modules, global_config, register, serializable

from ppdet_ext.errors import UserError, nearest

Part = TypeVar("Part", bound=type)

# Class name -> class, each kind apart, so that a hint names things of the kind asked for.
DATASETS: dict[str, type] = {}
TRANSFORMS: dict[str, type] = {}
BATCH_TRANSFORMS: dict[str, type] = {}
STEPS: dict[str, type] = {}
METRICS: dict[str, type] = {}
HOOKS: dict[str, type] = {}
SEGMENTATION_LOSSES: dict[str, type] = {}
KINDS: dict[str, dict[str, type]] = {
    "data set": DATASETS,
    "transform": TRANSFORMS,
    "batch transform": BATCH_TRANSFORMS,
    "step": STEPS,
    "metric": METRICS,
    "hook": HOOKS,
    "segmentation loss": SEGMENTATION_LOSSES,
}
# Architecture of ppdet -> what makes it one that this package trains and evaluates; others of ppdet's are refused.
ADAPTERS: dict[str, type] = {}
# Top-level sections that are the arguments of a class of ours, which ppdet need not know.
SECTIONS: dict[str, type] = {}
# What ppdet has for its own samples -> what does the same to ours.
COUNTERPARTS = {
    "COCODataSet": "CocoJsonDataSet",
    "Decode": "ReadImage",
    "RandomFlip": "FlipImage",
    "RandomFlipImage": "FlipImage",
    "Resize": "ResizeFixed or ResizeShortEdge",
    "RandomResize": "ResizeShortEdge with several short_edges",
    "BatchRandomResize": "ResizeShortEdge with several short_edges",
    "RandomCrop": "CropAroundDefect",
    "RandomDistort": "JitterColor",
    "NormalizeImage": "NormalizeToCHW",
    "Permute": "NormalizeToCHW",
    "PadBatch": "PadToStride",
    "BatchPadding": "PadToStride",
}
# ppdet's Callable names any function of any module; a configuration file must not be able to do that.
REFUSED_TAGS = frozenset({"Callable"})


def _with_host(cls: Part) -> Part:
    """Put a class in ppdet's workspace; a module that is imported anew replaces what it registered before."""
    earlier = global_config.get(cls.__name__)
    if getattr(getattr(earlier, "pymodule", None), "__name__", None) == cls.__module__:
        del global_config[cls.__name__]
    return register(cls)


def _known(cls: Part, kind: str) -> Part:
    """Put a class among its kind. Raises: ValueError where another one has its name."""
    if KINDS[kind].get(cls.__name__, cls).__module__ != cls.__module__:
        raise ValueError(f"there is a {kind} named {cls.__name__} already; choose another name")
    KINDS[kind][cls.__name__] = cls
    return cls


def register_dataset(cls: Part) -> Part:
    """Make a data set known as a YAML tag, and to ppdet unless it has a class of that name."""
    _known(cls, "data set")
    if getattr(ppdet.data.source, cls.__name__, cls).__module__ == cls.__module__:
        cls = serializable(_with_host(cls))
        setattr(ppdet.data.source, cls.__name__, cls)
    return cls


def register_transform(cls: Part) -> Part:
    """Make a sample transform known to readers and to ppdet, where its name must be new."""
    return _register_transform(cls, "transform")


def register_batch_transform(cls: Part) -> Part:
    """Make what puts samples together into a batch known, as `register_transform` does."""
    return _register_transform(cls, "batch transform")


def _register_transform(cls: Part, kind: str) -> Part:
    if getattr(ppdet.data.transform, cls.__name__, cls).__module__ != cls.__module__:
        raise ValueError(f"ppdet has an operator named {cls.__name__} already; choose another name")
    cls = _with_host(_known(cls, kind))
    setattr(ppdet.data.transform, cls.__name__, cls)
    return cls


def register_step(cls: Part) -> Part:
    """Make a step of `PostProcess` known."""
    return _with_host(_known(cls, "step"))


def register_metric(cls: Part) -> Part:
    """Make a metric known to `metric:` and `--metric`; its options are the section of its name."""
    return _with_host(_known(cls, "metric"))


def register_hook(cls: Part) -> Part:
    """Make a hook known to the list `hooks:` of a configuration."""
    return _known(cls, "hook")


def register_segmentation_loss(cls: Part) -> Part:
    """Make a loss of segmentation maps known to the list `losses` of a segmentor."""
    return _known(cls, "segmentation loss")


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


def why_unknown(name: object, kind: str, known: Iterable[str] | None = None) -> str:
    """Why no `kind` has this name, and what to write instead, as a sentence or two.

    kind: a key of `KINDS`. known: names of that kind that may stand here; all of it by default.
    """
    known = list(KINDS[kind] if known is None else known)
    other = next((one for one, parts in KINDS.items() if one != kind and name in parts), None)
    if other is not None:
        return f"{name} is a {other}, no {kind}.{nearest(name, known)}"
    if name in COUNTERPARTS or hasattr(ppdet.data.transform, str(name)) or hasattr(ppdet.data.source, str(name)):
        here = f"here {COUNTERPARTS[str(name)]} does that" if name in COUNTERPARTS else f"here there are {', '.join(known)}"
        what = "a data set" if hasattr(ppdet.data.source, str(name)) else "an operator"
        return f"{name} is {what} of ppdet, made for its own samples; {here}."
    # Of hooks there are none until a plugin registers one.
    choices = f"There are {', '.join(known)}." if known else "There is none yet: plugins: names the files that register some."
    return f"{kind} {name!r} is not registered.{nearest(name, known)} {choices}"


def one_of(value: str, allowed: Iterable[str], key: str) -> str:
    """`value` if it is allowed. Raises: UserError naming the key and the choices."""
    if value not in tuple(allowed):
        raise UserError(f"{key}: {value!r} is not one of {', '.join(allowed)}.{nearest(value, allowed)}")
    return value


def number_in(value: float, key: str, low: float, high: float = math.inf) -> float:
    """`value` if it is a finite number from `low` to `high`. Raises: UserError beginning with `key`."""
    if isinstance(value, bool) or not isinstance(value, Real) or not math.isfinite(value) or not low <= value <= high:
        raise UserError(f"{key}: {value!r} is no number {_range(low, high)}.")
    return value


def whole_number_in(value: int, key: str, low: int, high: float = math.inf) -> int:
    """`value` if it is a whole number from `low` to `high`. Raises: UserError beginning with `key`."""
    if isinstance(value, bool) or not isinstance(value, Integral) or not low <= value <= high:
        raise UserError(f"{key}: {value!r} is no whole number {_range(low, high)}.")
    return value


def _range(low: float, high: float) -> str:
    return f"of {low:g} or more" if high == math.inf else f"from {low:g} to {high:g}"


def build_entries(entries: Sequence[Mapping], kind: str, key: str) -> list[Any]:
    """Objects for a list of {name: arguments}. Raises: UserError naming what is unknown, and the nearest of its kind."""
    built = []
    for entry in entries:
        if not isinstance(entry, Mapping) or len(entry) != 1:
            raise UserError(f"{key}: {entry!r} is not of the form `- Name: {{argument: value}}`.")
        name, arguments = next(iter(entry.items()))
        if name not in KINDS[kind]:
            raise UserError(f"{key}: {why_unknown(name, kind)}")
        try:
            built.append(KINDS[kind][name](**(arguments or {})))
        except TypeError as fault:
            raise UserError(f"{key}: {name}: {str(fault).split('__init__() ')[-1]}.") from None
    return built
