"""Encoders trained on ImageNet, as SMP, torchvision, timm and Cadene's pretrainedmodels store them, by SMP's names."""

import functools
import re
from collections.abc import Collection, Iterable, Mapping, Sequence

import paddle

from ppdet_ext.modeling.backbones import ENCODERS, build_encoder

from .smp import smp_name

CLASSIFIER = re.compile(r"(fc|_fc|head|last_linear|classifier)\.")
# A tensor that only the first layers of a family have.
_STEMS = ({"conv1.weight", "layer1.0.conv1.weight"}, {"layer0.conv1.weight"}, {"_conv_stem.weight"}, {"conv_stem.weight"})
STEM = re.compile(r"(layer0\.)?conv1\.weight|_conv_stem\.weight")
_TIMM_SE = re.compile(r"layer\d\.\d+\.se\.fc1\.")
_TIMM_BLOCK = re.compile(r"blocks\.(\d+)\.(\d+)\.(.+)")
# Parts of timm's blocks: stage 0 has no expansion, and so counts its norms from another layer on.
_SEPARABLE = {"conv_dw": "_depthwise_conv", "bn1": "_bn1", "conv_pw": "_project_conv", "bn2": "_bn2"}
_INVERTED = {
    "conv_pw": "_expand_conv", "bn1": "_bn0", "conv_dw": "_depthwise_conv", "bn2": "_bn1",
    "conv_pwl": "_project_conv", "bn3": "_bn2",
}  # fmt: skip
_GATES = {"se.conv_reduce": "_se_reduce", "se.conv_expand": "_se_expand"}
_TIMM_ENDS = {"conv_stem": "_conv_stem", "bn1": "_bn0", "conv_head": "_conv_head", "bn2": "_bn1"}
Shapes = Mapping[str, Sequence[int]]


def is_bare_encoder(names: Collection[str]) -> bool:
    """Whether a file is of an image classifier, with no prefix before its layers."""
    return any(stem <= set(names) for stem in _STEMS)


def is_timm_efficientnet(names: Collection[str]) -> bool:
    """Whether bare names are timm's of an EfficientNet."""
    return "conv_stem.weight" in names


def is_timm_senet(names: Iterable[str]) -> bool:
    """Whether bare names are timm's of a network with squeeze and excitation (not its `legacy_` ones, which are Cadene's)."""
    return any(_TIMM_SE.match(name) for name in names)


def encoder_names(names: Collection[str]) -> dict[str, str]:
    """Bare names of a file -> SMP's in the encoder. What is unknown keeps its name."""
    if is_timm_efficientnet(names):
        return _timm_efficientnet(names)
    if is_timm_senet(names):
        return {name: re.sub(r"^(conv1|bn1)\.", r"layer0.\1.", name).replace(".se.", ".se_module.", 1) for name in names}
    return {name: name for name in names}


def _timm_efficientnet(names: Collection[str]) -> dict[str, str]:
    matches = {name: match for name in names if (match := _TIMM_BLOCK.fullmatch(name))}
    places = sorted({(int(match[1]), int(match[2])) for match in matches.values()})
    number = {place: i for i, place in enumerate(places)}
    renamed = {}
    for name in names:
        if name in matches:
            stage, block, inside = int(matches[name][1]), int(matches[name][2]), matches[name][3]
            part, _, last = inside.rpartition(".")
            parts = {**(_INVERTED if stage else _SEPARABLE), **_GATES}
            renamed[name] = f"_blocks.{number[stage, block]}.{parts.get(part, part)}.{last}"
        else:
            part, _, last = name.rpartition(".")
            renamed[name] = f"{_TIMM_ENDS.get(part, part)}.{last}"
    return renamed


@functools.cache
def encoder_shapes(name: str) -> dict[str, tuple[int, ...]]:
    """SMP's names and shapes of one of our encoders, built without memory for its values."""
    with paddle.LazyGuard():
        state = build_encoder(name).state_dict()
    return {smp_name(key): tuple(value.shape) for key, value in state.items()}


def fitting_encoder(shapes: Shapes) -> str | None:
    """The encoder that tensors under SMP's bare names are of, whatever its number of input channels; None if of none."""
    wanted = {name: tuple(shape) for name, shape in shapes.items() if not STEM.fullmatch(name)}
    kinds = {"_conv_stem.weight": "efficientnet", "layer0.conv1.weight": "se"}
    kind = next((kind for stem, kind in kinds.items() if stem in shapes), "res")
    fitting: dict[str, int] = {}
    for name in ENCODERS:
        if name.startswith(kind):
            found = encoder_shapes(name)
            if found == shapes:
                return name
            if all(wanted.get(key) == shape for key, shape in found.items() if not STEM.fullmatch(key)):
                fitting[name] = len(found)
    # A deep one has all tensors of a shallow one, and more.
    return max(fitting, key=lambda name: fitting[name], default=None)
