"""The networks of segmentation_models_pytorch's (SMP) fixtures in our classes, and what passes through them."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import paddle
from paddle import nn
from smp_recipe import fill

from ppdet_ext.modeling.backbones import build_encoder
from ppdet_ext.modeling.segmentation import SemanticSegmentor
from ppdet_ext.modeling.segmentation.decoders import (
    Decoder,
    DeepLabV3Decoder,
    DeepLabV3PlusDecoder,
    FPNDecoder,
    LinknetDecoder,
    PSPDecoder,
    UNetDecoder,
    UNetPlusPlusDecoder,
)

CLASSES = 4


@dataclass(frozen=True)
class Network:
    """A network of SMP's: the decoder's class and arguments, what the encoder and the segmentor get beside."""

    decoder: type[Decoder]
    own: Mapping[str, Any] = field(default_factory=dict)
    encoder: Mapping[str, Any] = field(default_factory=dict)
    segmentor: Mapping[str, Any] = field(default_factory=dict)


# Names are those of the fixtures, `<arch>-<encoder>`.
NETWORKS = {
    "unet": Network(UNetDecoder),
    "unet_scse": Network(UNetDecoder, {"attention": "scse"}),
    "unet_nonorm": Network(UNetDecoder, {"norm": False}),
    "unet_bilinear": Network(UNetDecoder, {"interpolation": "bilinear"}),
    "unet_depth4": Network(UNetDecoder, {"channels": (256, 128, 64, 32)}, {"depth": 4}),
    "unet_gray": Network(UNetDecoder, encoder={"in_channels": 1}),
    "unet_aux": Network(UNetDecoder, segmentor={"classifier": True}),
    "unetplusplus": Network(UNetPlusPlusDecoder),
    "fpn": Network(FPNDecoder),
    "fpn_cat": Network(FPNDecoder, {"merge": "cat"}),
    "pspnet": Network(PSPDecoder, encoder={"depth": 3}),
    "pspnet_depth5": Network(PSPDecoder, {"depth": 5}),
    "linknet": Network(LinknetDecoder),
    "deeplabv3": Network(DeepLabV3Decoder, encoder={"output_stride": 8}),
    "deeplabv3plus": Network(DeepLabV3PlusDecoder, encoder={"output_stride": 16}),
    "deeplabv3plus_os8": Network(DeepLabV3PlusDecoder, {"output_stride": 8}, {"output_stride": 8}),
}


def build(name: str, **segmentor: Any) -> SemanticSegmentor:
    """The network `<arch>-<encoder>`, freshly initialised, without anything random in training."""
    arch, encoder_name = name.split("-", 1)
    network = NETWORKS[arch]
    settings = {"drop_connect": 0.0} if encoder_name.startswith("efficientnet") else {}
    encoder = build_encoder(encoder_name, **{**network.encoder, **settings})
    channels = [encoder.in_channels, *(one.channels for one in encoder.out_shape)]
    model = SemanticSegmentor(encoder, network.decoder(channels, **network.own), CLASSES, **{**network.segmentor, **segmentor})
    for layer in model.sublayers():
        if isinstance(layer, (nn.Dropout, nn.Dropout2D)):
            layer.p = 0
    return model


def filled(name: str) -> SemanticSegmentor:
    """The same with the recipe's weights."""
    model = build(name)
    fill(model, name.split("-", 1)[1])
    return model


class Recorder:
    """Outputs of a model's parts while it runs, under the fixtures' names: f1 … f5, `decoder.…`, `logits`, `labels`.

    Args:
        model: a segmentor.
        keys: names of the parts that are wanted.
    """

    def __init__(self, model: SemanticSegmentor, keys: set[str]) -> None:
        self.found: dict[str, np.ndarray] = {}
        parts = {"segmentation_head": "logits", "classification_head": "labels"}
        for name, layer in model.named_sublayers():
            key = parts.get(name, name)
            if key in keys:
                layer.register_forward_post_hook(self._keep(key))
        model.encoder.register_forward_post_hook(self._features)

    def _keep(self, key: str):
        def hook(layer: nn.Layer, inputs: Any, output: paddle.Tensor) -> None:
            self.found[key] = output.numpy()

        return hook

    def _features(self, layer: nn.Layer, inputs: Any, output: list[paddle.Tensor]) -> None:
        self.found.update({f"f{i}": one.numpy() for i, one in enumerate(output, 1)})


def parts_of(keys: list[str], tag: str) -> set[str]:
    """Names of the parts that a fixture has of the input `tag`."""
    found = (re.fullmatch(rf"{tag}/(f\d|decoder[^@#~]*?|logits|labels)(#)", key) for key in keys)
    return {one[1] for one in found if one}


def batch_of_random(count: int, height: int = 64, width: int = 64, channels: int = 3, classes: int = CLASSES) -> dict[str, Any]:
    """A batch of random pictures of that size with their masks."""
    rng = np.random.default_rng(0)
    sizes = np.array([[height, width]] * count)
    return {
        "image": paddle.to_tensor(rng.normal(size=(count, channels, height, width)).astype(np.float32)),
        "class_masks": paddle.to_tensor(rng.integers(0, 2, (count, classes, height, width)).astype(np.uint8)),
        "gt_class": [rng.integers(0, classes, 2) for _ in range(count)],
        "im_shape": sizes.astype(np.float32),
        "scale_factor": np.ones((count, 2), np.float32),
        "origin_shape": sizes,
        "im_id": np.arange(count),
        "names": [f"{i}.jpg" for i in range(count)],
    }
