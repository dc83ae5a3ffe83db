"""The parts that configurations name, by kind. Nothing here needs PaddleDetection, which learns of them once it is there.

Steps and transforms work without it, too: in the runtime for exported models.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from numbers import Integral, Real
from typing import Any, Protocol, TypeVar

from .errors import UserError, nearest

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


class Host(Protocol):
    """The framework that knows classes by name, too."""

    def register(self, cls: type, kind: str) -> None:
        """Make it known there. Raises: ValueError where its name is taken by one of the framework's own."""

    def kind_of(self, name: str) -> str | None:
        """ "a data set" or "an operator" of the framework's own, of that name; None where there is none."""


_host: Host | None = None
# (class, kind) of those that were registered before the framework was imported.
_waiting: list[tuple[type, str]] = []


def hand_over(host: Host) -> None:
    """Make all parts known to the framework, and from now on each that is registered.

    Raises: ValueError where one's name is taken there.
    """
    global _host
    _host = host
    for cls, kind in _waiting:
        host.register(cls, kind)
    _waiting.clear()


def _register(cls: Part, kind: str) -> Part:
    """Put a class among its kind. Raises: ValueError where another one has its name, here or in the framework."""
    if KINDS[kind].get(cls.__name__, cls).__module__ != cls.__module__:
        raise ValueError(f"there is a {kind} named {cls.__name__} already; choose another name")
    if _host is not None:
        _host.register(cls, kind)
    else:
        _waiting.append((cls, kind))
    KINDS[kind][cls.__name__] = cls
    return cls


def register_dataset(cls: Part) -> Part:
    """Make a data set known as a YAML tag, and to ppdet unless it has a class of that name."""
    return _register(cls, "data set")


def register_transform(cls: Part) -> Part:
    """Make a sample transform known to readers and to ppdet, where its name must be new."""
    return _register(cls, "transform")


def register_batch_transform(cls: Part) -> Part:
    """Make what puts samples together into a batch known, as `register_transform` does."""
    return _register(cls, "batch transform")


def register_step(cls: Part) -> Part:
    """Make a step of `PostProcess` known."""
    return _register(cls, "step")


def register_metric(cls: Part) -> Part:
    """Make a metric known to `metric:` and `--metric`; its options are the section of its name."""
    return _register(cls, "metric")


def register_hook(cls: Part) -> Part:
    """Make a hook known to the list `hooks:` of a configuration."""
    return _register(cls, "hook")


def register_segmentation_loss(cls: Part) -> Part:
    """Make a loss of segmentation maps known to the list `losses` of a segmentor."""
    return _register(cls, "segmentation loss")


def why_unknown(name: object, kind: str, known: Iterable[str] | None = None) -> str:
    """Why no `kind` has this name, and what to write instead, as a sentence or two.

    kind: a key of `KINDS`. known: names of that kind that may stand here; all of it by default.
    """
    known = list(KINDS[kind] if known is None else known)
    other = next((one for one, parts in KINDS.items() if one != kind and name in parts), None)
    if other is not None:
        return f"{name} is a {other}, no {kind}.{nearest(name, known)}"
    what = _host.kind_of(str(name)) if _host is not None else None
    if name in COUNTERPARTS or what is not None:
        here = f"here {COUNTERPARTS[str(name)]} does that" if name in COUNTERPARTS else f"here there are {', '.join(known)}"
        what = what or "an operator"
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
