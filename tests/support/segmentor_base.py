"""The tests every encoder with every decoder passes; a subclass names the encoder."""

import numpy as np
import paddle
import pytest
from smp_models import batch_of_random

from ppdet_ext.errors import DivergenceError, UserError
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
from ppdet_ext.structures import Detections

# Narrow, so that the tests are fast: class, arguments, arguments of the encoder.
NARROW = (32, 16, 16, 8, 8)
DECODERS: dict[str, tuple[type[Decoder], dict, dict]] = {
    "unet": (UNetDecoder, {"channels": NARROW}, {}),
    "unet_scse": (UNetDecoder, {"channels": NARROW, "attention": "scse"}, {}),
    "unetplusplus": (UNetPlusPlusDecoder, {"channels": NARROW}, {}),
    "fpn": (FPNDecoder, {"pyramid_channels": 32, "channels": 32}, {}),
    "pspnet": (PSPDecoder, {"channels": 32}, {"depth": 3}),
    "linknet": (LinknetDecoder, {"channels": 8}, {}),
    "deeplabv3": (DeepLabV3Decoder, {"channels": 16}, {"output_stride": 8}),
    "deeplabv3plus": (DeepLabV3PlusDecoder, {"channels": 16, "low_channels": 8}, {"output_stride": 16}),
}
CLASSES = 3


def tiny(encoder: str, decoder: str, classes: int = CLASSES, **settings) -> SemanticSegmentor:
    """A segmentor with a narrow decoder and seeded weights."""
    paddle.seed(0)
    kind, own, of_encoder = DECODERS[decoder]
    body = build_encoder(encoder, **of_encoder)
    channels = [body.in_channels, *(one.channels for one in body.out_shape)]
    return SemanticSegmentor(body, kind(channels, **own), classes, **settings)


def settle(model: SemanticSegmentor) -> None:
    """Give the batch norms the statistics of a batch; those of fresh weights let an EfficientNet's values fade away."""
    norms = [layer for layer in model.sublayers() if isinstance(layer, paddle.nn.BatchNorm2D)]
    before = [layer._momentum for layer in norms]
    for layer in norms:
        layer._momentum = 0.0
    model.train()
    with paddle.no_grad():
        model(batch_of_random(2, 40, 72, classes=model.num_classes))
    for layer, momentum in zip(norms, before):
        layer._momentum = momentum


class SegmentorTests:
    """Subclass with `encoder`, the name of one."""

    encoder: str

    @pytest.fixture(scope="class", params=DECODERS)
    def model(self, request) -> SemanticSegmentor:
        model = tiny(self.encoder, request.param)
        settle(model)
        return model

    def test_a_step(self, model):
        """Losses are finite and sum up, all that is trained gets a gradient, and logits have the images' size."""
        model.train()
        batch = batch_of_random(2, 40, 72, classes=CLASSES)
        losses = model(batch)
        assert float(losses["loss"]) == pytest.approx(sum(float(v) for k, v in losses.items() if k != "loss"), rel=1e-6)
        losses["loss"].backward()
        without = [k for k, p in model.named_parameters() if not p.stop_gradient and p.grad is None]
        assert without == []
        assert all(np.isfinite(p.grad.numpy()).all() for p in model.parameters() if p.grad is not None)
        model.clear_gradients()

    def test_batch_of_two_is_two_batches_of_one(self, model):
        model.eval()
        both = batch_of_random(2, 40, 72, classes=CLASSES)
        with paddle.no_grad():
            together = model.logits(both["image"]).numpy()
            alone = [model.logits(both["image"][i : i + 1]).numpy()[0] for i in range(2)]
        assert together.shape == (2, CLASSES, 40, 72)
        spread = together.std()
        assert np.abs(alone[0] - alone[1]).max() > 0.1 * spread, "images that look alike could change places unnoticed"
        # Rounding differs with the size of a batch, and random weights amplify it.
        assert all(np.abs(one - other).max() < 0.01 * spread for one, other in zip(together, alone))

    def test_maps_are_of_the_original_image(self, model):
        model.eval()
        batch = batch_of_random(1, 64, 64, classes=CLASSES)
        # 48 × 56 of the 64 × 64 are the image, at half its size.
        batch |= {"im_shape": np.array([[48.0, 56.0]], np.float32), "origin_shape": np.array([[96, 112]])}
        (found,) = model(batch)
        assert isinstance(found, Detections)
        assert all(mask.size == (96, 112) for mask in found.masks)
        (candidates,) = model.candidates(batch, model.settings)
        assert {one.size for one in candidates.maps} == {(96, 112)}
        assert sorted(candidates.labels.tolist()) == list(range(CLASSES))

    def test_divergence_is_our_error(self, model):
        bias = model.segmentation_head[0].bias
        before = bias.numpy().copy()
        bias.set_value(np.full(bias.shape, np.nan, np.float32))
        model.eval()
        with pytest.raises(DivergenceError):
            model(batch_of_random(1, classes=CLASSES))
        model.train()
        assert not np.isfinite(float(model(batch_of_random(2, classes=CLASSES))["loss"])), "which the loss guard refuses"
        bias.set_value(before)

    def test_targets_of_other_classes_are_refused(self, model):
        model.train()
        with pytest.raises(UserError, match=r"planes for 5 classes, but num_classes is 3"):
            model(batch_of_random(2, classes=5))
