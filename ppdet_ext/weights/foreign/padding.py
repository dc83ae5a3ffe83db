"""Which of EfficientNet's two paddings a checkpoint was made with, as far as it tells, and what is done about it.

segmentation_models_pytorch 0.1.0 to 0.2.1 padded otherwise than later releases under the same names: see `EfficientNetEncoder`.
"""

import logging
from pathlib import Path
from typing import NamedTuple

from paddle import nn

from ppdet_ext.modeling.backbones import EfficientNetEncoder
from ppdet_ext.weights.files.tensor_file import TensorFile

from .plan import Plan

logger = logging.getLogger("ppdet_ext")
_LAYOUTS = {
    "legacy": ("same", "it is laid out as torch before 1.6 did, when SMP was at 0.1"),
    "old script": ("same", "it is TorchScript of 2019"),
    "zip": ("nominal", "it is laid out as torch does since 1.6; SMP 0.1 to 0.2.1 of that time padded by 'same'"),
    "safetensors": ("nominal", "SMP writes safetensors since 0.4"),
}


class Provenance(NamedTuple):
    """A padding, None if the file does not tell, and how that is known."""

    padding: str | None
    why: str


def padding_of(file: TensorFile, plan: Plan) -> Provenance | None:
    """What a file tells of the padding; None if it is of no EfficientNet."""
    if "_conv_stem.weight" not in plan.encoder:
        return None
    if file.origin.padding:
        return Provenance(file.origin.padding, "its convolutions say so")
    if plan.naming.timm_efficientnet:
        return Provenance("same", "timm's tf_efficientnet_* pad so")
    if plan.naming.of_2019:
        return Provenance("same", "its names are those of SMP 0.0.x")
    if plan.naming.encoder_only:
        return Provenance(None, "the weights of ImageNet have been used with either")
    return Provenance(*_LAYOUTS.get(file.origin.layout, (None, "it does not tell")))


def say_padding(model: nn.Layer, path: Path, found: Provenance | None, settle: bool) -> None:
    """Log what is known of the padding, and have the model compute with it where its configuration leaves that open.

    Args:
        model: with the weights in it.
        path: the file, for the log.
        found: of the file.
        settle: the model is used with the file as it is. Where training goes on from it the configuration alone decides, for
            what is trained is not to depend on a file that may be gone.
    """
    encoders = [layer for layer in model.sublayers() if isinstance(layer, EfficientNetEncoder)]
    if found is None or not encoders:
        return
    encoder = encoders[0]
    if settle and found.padding and encoder.configured_padding is None:
        for each in encoders:
            each.pad_as(found.padding)
    known = f"was made with {found.padding!r} ({found.why})" if found.padding else f"may be of either kind ({found.why})"
    other = "nominal" if encoder.padding == "same" else "same"
    level = logging.INFO if found.padding in (None, encoder.padding) else logging.WARNING
    logger.log(
        level,
        "EfficientNet's padding: %s %s; the model computes with %r. -o EfficientNetEncoder.padding=%s switches it.",
        *(path, known, encoder.padding, other),
    )
