"""Names of segmentation_models_pytorch (SMP), which ours equal but for batch norm's statistics; and its names of 2019."""

import re
from collections.abc import Iterable

from ppdet_ext.errors import UserError

_STATISTICS = {"_mean": "running_mean", "_variance": "running_var"}
# SMP 0.0.1 to 0.0.3 -> 0.1.0 and later; Unet's blocks have two convolutions, Linknet's three.
_BLOCK = r"decoder\.layer(\d)\.block\.(\d)\.block\.(\d)\."
_RULES_2019 = [
    (r"decoder\.conv1\.", lambda m: "decoder.p5."),
    (r"decoder\.s([2-5])\.", lambda m: f"decoder.seg_blocks.{5 - int(m[1])}."),
    (r"decoder\.psp\.stages\.(\d)\.pool\.1\.block\.", lambda m: f"decoder.psp.blocks.{m[1]}.pool.1."),
    (r"decoder\.conv\.block\.", lambda m: "decoder.conv."),
    (r"decoder\.final_conv\.", lambda m: "segmentation_head.0."),
]
# DeepLabV3's decoder was a list of its layers until SMP made it scriptable.
_DEEPLAB = {"decoder.0.": "decoder.aspp.", "decoder.1.": "decoder.conv.", "decoder.2.": "decoder.bn."}
_LINKNET = (_BLOCK, lambda m: f"decoder.blocks.{int(m[1]) - 1}.block.{m[2]}.{m[3]}.")
_UNET = (_BLOCK, lambda m: f"decoder.blocks.{int(m[1]) - 1}.conv{int(m[2]) + 1}.{m[3]}.")


def smp_name(name: str) -> str:
    """SMP's name of one of our tensors."""
    parent, dot, last = name.rpartition(".")
    return f"{parent}{dot}{_STATISTICS.get(last, last)}"


def names_of_deeplab(names: Iterable[str]) -> dict[str, str]:
    """Names of a segmentation net -> today's; only those of DeepLabV3 in earlier releases differ."""
    listed = list(names)
    if not any(name.startswith("decoder.0.convs.") for name in listed):
        return {name: name for name in listed}
    return {name: _DEEPLAB.get(name[:10], name[:10]) + name[10:] for name in listed}


def is_of_2019(names: Iterable[str]) -> bool:
    """Whether these are the names of SMP 0.0.1 to 0.0.3."""
    return any(name.startswith("decoder.final_conv.") for name in names)


def names_of_2019(path: object, names: Iterable[str]) -> dict[str, str]:
    """Names of SMP 0.0.x -> today's.

    Raises:
        UserError: the model has scSE, which was another module then: a gate for each channel *and* pixel.
    """
    listed = list(names)
    if any(re.match(r"decoder\.layer\d\.attention", name) for name in listed):
        raise UserError(
            f"Weights file {path} is a Unet with scSE of segmentation_models_pytorch 0.0.x, whose spatial gate has a value for "
            "each channel; since 0.1.0 it has one for all. There is no model of today that it fits; train again, or use its "
            "encoder alone."
        )
    three = any(re.match(r"decoder\.layer\d\.block\.2\.", name) for name in listed)
    rules = [_LINKNET if three else _UNET, *_RULES_2019]
    renamed = {}
    for name in listed:
        pattern, replace = next(((p, r) for p, r in rules if re.match(p, name)), ("^", lambda m: ""))
        renamed[name] = re.sub(pattern, replace, name, count=1)
    return renamed
