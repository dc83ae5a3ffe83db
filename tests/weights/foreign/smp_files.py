"""Checkpoints of segmentation_models_pytorch (SMP) and timm: names and shapes of their tensors, values by the recipe."""

import gzip
import json
from pathlib import Path

import numpy as np
import paddle
from smp_recipe import parameter

from ppdet_ext.commands.convert import model_shapes
from ppdet_ext.config.load import load_config
from ppdet_ext.host import Config
from ppdet_ext.host.build import build_model

DATA = Path(__file__).parent / "data"
SAMPLE = "configs/unet/unet_resnet18_steel_sample.yml"
# The sample's decoder is a thin one.
SMPS_WIDTH = "UNetDecoder.channels=[256,128,64,32,16]"
DECODERS = {
    "unet": "UNetDecoder", "fpn": "FPNDecoder", "pspnet": "PSPDecoder", "linknet": "LinknetDecoder",
    "deeplabv3plus": "DeepLabV3PlusDecoder", "deeplabv3": "DeepLabV3Decoder", "unetplusplus": "UNetPlusPlusDecoder",
}  # fmt: skip
VARIANTS = {
    "scse": ["UNetDecoder.attention=scse"],
    "cat": ["FPNDecoder.merge=cat"],
    "nonorm": ["UNetDecoder.norm=false"],
    "gray": ["ResNetEncoder.in_channels=1"],
    "aux": ["SemanticSegmentor.classifier=true"],
    "bilinear": ["UNetDecoder.interpolation=bilinear"],
    "depth4": ["UNetDecoder.channels=[256,128,64,32]", "ResNetEncoder.depth=4"],
    "depth5": ["PSPDecoder.depth=5", "ResNetEncoder.depth=5"],
    "os8": ["DeepLabV3PlusDecoder.output_stride=8"],
}
Shapes = dict[str, tuple[int, ...]]


def stored_shapes(name: str) -> dict[str, Shapes]:
    """What -> name -> shape, of `data/<name>_shapes.json.gz`."""
    content = json.loads(gzip.decompress((DATA / f"{name}_shapes.json.gz").read_bytes()))
    return {what: {key: tuple(shape) for key, shape in shapes.items()} for what, shapes in content.items()}


SMP = stored_shapes("smp")


def encoder_class(encoder: str) -> str:
    """Our class of an encoder."""
    return {"ef": "EfficientNetEncoder", "se": "SENetEncoder"}.get(encoder[:2], "ResNetEncoder")


def config_of(what: str, *overrides: str) -> Config:
    """The configuration of one of SMP's networks, such as "unet_scse-resnet18"."""
    network, encoder = what.removeprefix("smp003_").split("-", 1)
    decoder, _, variant = network.lower().partition("_")
    kind = encoder_class(encoder)
    options = [SMPS_WIDTH] if decoder == "unet" else []
    options += [f"SemanticSegmentor.encoder={kind}", f"SemanticSegmentor.decoder={DECODERS[decoder]}", f"{kind}.name={encoder}"]
    return load_config(SAMPLE, [*options, *VARIANTS.get(variant, []), *overrides])


def file_shapes(what: str) -> Shapes:
    """All tensors of one of SMP's networks, as its `state_dict()` has them."""
    shapes = {**SMP[f"encoder_{what.split('-', 1)[1]}"], **SMP[what]}
    return {**shapes, "encoder.conv1.weight": (64, 1, 7, 7)} if "_gray-" in what else shapes


def our_shapes(what: str, *overrides: str) -> dict[str, list[int]]:
    """Those of our model."""
    return model_shapes(config_of(what, *overrides))


def values_of(what: str) -> dict[str, np.ndarray]:
    """The network's tensors with the recipe's values."""
    encoder = what.split("-", 1)[1]
    return {name: value_of(name, shape, encoder) for name, shape in file_shapes(what).items()}


def value_of(name: str, shape: tuple[int, ...], encoder: str) -> np.ndarray:
    """A tensor of the recipe under SMP's name; a step counter is 0."""
    counter = name.endswith("num_batches_tracked")
    return np.zeros(shape, np.int64) if counter else parameter(name, shape, encoder)


def model_of(what: str, *overrides: str) -> paddle.nn.Layer:
    """Our model, with its own first weights, for evaluation."""
    model = build_model(config_of(what, *overrides))
    model.eval()
    return model
