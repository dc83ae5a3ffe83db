"""Parts that a section names (its encoder, its decoder, …): which other parts could stand there, and what was meant."""

from typing import Any

from paddle import nn

from ppdet_ext.errors import closest, nearest

from .registry import modules

# Short names are much alike: SMP's 'UPerNet' is no 'UNet'.
_ALIKE = 0.82


def kind_of(name: str) -> type | None:
    """The base class that a registered module shares with others of its kind, as `Decoder`; None where there is none."""
    cls = getattr(modules()[name].pymodule, name, None)
    bases = [base for base in getattr(cls, "__mro__", ()) if issubclass(base, nn.Layer) and base is not nn.Layer]
    return bases[-1] if bases and bases[-1] is not cls else None


def parts_of(kind: type) -> dict[str, Any]:
    """Name -> class of each registered module of a kind, sorted."""
    found = {name: getattr(schema.pymodule, name, None) for name, schema in modules().items()}
    return {name: cls for name, cls in sorted(found.items()) if isinstance(cls, type) and issubclass(cls, kind)}


def which_part(name: object, kind: type | None) -> str:
    """The hint ' Did you mean …? There are ….' for a name that is no part of `kind`; without one, of all modules.

    Knows what segmentation_models_pytorch calls a part: 'Unet' is `UNetDecoder`, 'resnet34' a name of `ResNetEncoder`.
    """
    if kind is None:
        return nearest(name, modules())
    parts = parts_of(kind)
    meant: dict[str, str] = {}
    for part, cls in parts.items():
        short = part.removesuffix(kind.__name__)
        meant |= {variant: f"{part}, with {part}.name={variant}" for variant in getattr(cls, "VARIANTS", ())}
        meant |= dict.fromkeys((part, short, f"{short}Net"), repr(part))
    found = closest(name, meant, cutoff=_ALIKE)
    hint = f" Did you mean {meant[found[0]]}?" if found else ""
    return f"{hint} There are {', '.join(parts)}."
