"""Which framework a file's names are of, and what they are called in the framework that has the configured model.

Detectors are compared under mmdetection's names, segmentation nets under those of segmentation_models_pytorch (SMP).
"""

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

from ppdet_ext.errors import UserError

from .encoders import CLASSIFIER, encoder_names, is_bare_encoder, is_timm_efficientnet, is_timm_senet
from .mmdet import canonical, name_table
from .smp import is_of_2019, names_of_2019, names_of_deeplab, smp_name

_MMDET_1 = re.compile(r"bbox_head\.(\d+\.)?fc_cls\.|mask_head\.(\d+\.)?(convs|conv_logits)\.|semantic_head\.")
# Of a model around a segmentation net's encoder.
_SEGMENTATION = re.compile(r"(decoder|segmentation_head|classification_head)\.")
_TIMM_SE = (
    "these are timm's names; its networks with squeeze and excitation pool with a padding, SENetEncoder without one as "
    "Cadene's (timm's legacy_ ones), so that maps are a pixel apart: for training"
)
_TIMM_EFFICIENTNET = (
    "these are timm's names; its tf_efficientnet_* compute as EfficientNetEncoder does with padding 'same', its other ones "
    "pad on both sides and have another epsilon in batch norm, so that they are for training"
)


@dataclass
class Naming:
    """What a file is.

    Attributes:
        names: the file's -> those in the framework that has the model.
        encoder_only: the file is of an image classifier, or only that part of it is taken.
        of_2019: it is of SMP 0.0.x.
        timm_efficientnet: it is timm's.
        skipped: the file's names that are of no use -> why.
        notes: what should be said, a line each.
    """

    names: dict[str, str]
    encoder_only: bool = False
    of_2019: bool = False
    timm_efficientnet: bool = False
    skipped: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def root_of(names: Iterable[str]) -> str:
    """What the names of a model's encoder begin with: 'encoder.' in segmentation nets and classifiers, else 'backbone.'."""
    return "encoder." if any(name.startswith("encoder.") for name in names) else "backbone."


def reference_names(names: Collection[str]) -> dict[str, str]:
    """Our names -> the other framework's, of a whole model. UserError as `name_table`."""
    if root_of(names) == "encoder.":
        return {name: smp_name(name) for name in names}
    return name_table(names)


def recognise(path: object, names: Collection[str], root: str) -> Naming:
    """What a file is, by its names.

    Args:
        path: the file, for messages.
        names: of its tensors.
        root: of the model, see `root_of`.

    Raises:
        UserError: it is of mmdetection 1, of an encoder or a module of SMP that is not here.
    """
    if any(_MMDET_1.match(name) for name in names):
        raise UserError(
            f"Weights file {path} is of mmdetection 1.x, which counts background as the first class and names the heads "
            "otherwise. Convert it with mmdetection 2's tools/model_converters/upgrade_model_version.py first."
        )
    if any(_SEGMENTATION.match(name) for name in names) and (kind := _timm_kind(names)):
        raise UserError(f"Weights file {path} is of a segmentation net on one of SMP's {kind}; there is no such encoder here.")
    layers = [name for name in names if not CLASSIFIER.match(name)]
    if is_bare_encoder(names):
        return _encoder(names, layers, "", root)
    for prefix in ("encoder.", "backbone."):
        if all(name.startswith(prefix) for name in layers):
            return _encoder(names, layers, prefix, root)
    if root == "backbone." and any(name.startswith("encoder.") for name in names):
        return _encoder(names, [name for name in names if not _SEGMENTATION.match(name)], "encoder.", root)
    if is_of_2019(names):
        return Naming(names_of_2019(path, names), of_2019=True)
    return Naming({name: canonical(now) for name, now in names_of_deeplab(names).items()})


def _timm_kind(names: Collection[str]) -> str | None:
    """The kind of timm's encoders that a segmentation net is on and that is not here; timm's ResNets are."""
    if "encoder.conv_stem.weight" in names:
        return (
            "timm-efficientnet-* or tu-* encoders, which pad on both sides, have another epsilon in batch norm or give other "
            "features than efficientnet-*"
        )
    bare = [name.removeprefix("encoder.") for name in names]
    return "tu-* encoders with squeeze and excitation, which pool otherwise than se_*" if is_timm_senet(bare) else None


def _encoder(names: Collection[str], layers: Collection[str], prefix: str, root: str) -> Naming:
    """A file of which the encoder alone is taken: `layers`, whose names begin with `prefix`."""
    bare = {name: name.removeprefix(prefix) for name in layers}
    known = encoder_names(list(bare.values()))
    naming = Naming({name: canonical(root + known[short]) for name, short in bare.items()}, encoder_only=True)
    for name in names:
        if name not in naming.names:
            decoder = _SEGMENTATION.match(name)
            naming.skipped[name] = (
                "the segmentation net's decoder and heads" if decoder else "the image classifier's last layer"
            )
    naming.timm_efficientnet = is_timm_efficientnet(bare.values())
    naming.notes += [_TIMM_EFFICIENTNET] if naming.timm_efficientnet else []
    naming.notes += [_TIMM_SE] if is_timm_senet(bare.values()) else []
    return naming
