"""Semantic segmentation: an encoder, a decoder and a head that classify each pixel."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import numpy as np
import paddle
import paddle.nn.functional as F
from paddle import nn

from ppdet_ext.errors import UserError, nearest
from ppdet_ext.host.registry import number_in, one_of, register_module
from ppdet_ext.modeling.backbones.encoder import Encoder
from ppdet_ext.modeling.detection.losses import Losses
from ppdet_ext.modeling.ops.padding import crop, pad_to_multiple
from ppdet_ext.modeling.ops.seam import size_of
from ppdet_ext.structures import Candidates, Detections, TestSettings
from ppdet_ext.structures.probability_map import resize_maps

from .decoders import Decoder
from .heads import ClassificationHead, SegmentationHead
from .losses import IGNORED, SegmentationLoss, build_losses, loss_values
from .losses.base import MULTICLASS, MULTILABEL
from .targets import class_targets, masks_of, presence_targets
from .wiring import ThresholdSection, create_with, finite, full_precision, section_of, settings_of

Task = Literal["multilabel", "multiclass"]


@register_module
class SemanticSegmentor(ThresholdSection, nn.Layer):
    """Probabilities of each class in each pixel, as segmentation_models_pytorch computes them; tensors have its names.

    In training a batch gives a dict of scalar losses, "loss" being their sum; in evaluation one `Detections` an image.

    Args:
        encoder: image -> features f1 … fn of strides 2, 4 …
        decoder: image and features -> map.
        num_classes: without background.
        task: "multilabel", a sigmoid for each class; or "multiclass", a softmax over background and classes.
        losses: of the logits; their sum is trained. By default BCE, or SoftCE of a multiclass task.
        score_threshold: a class counts as found where its highest probability is greater.
        mask_threshold: probability from which a pixel belongs to the mask.
        classifier: head that tells from the last features which classes are in the image: true, or its arguments
            {pooling: avg, dropout: 0.0}. Its loss, binary cross-entropy, is added.
        pad: whether images are padded with zeros to multiples of the decoder's stride, and outputs cropped; else such an
            image is an error.

    Raises:
        ValueError: the encoder does not give what the decoder takes.
        UserError: no such task, more classes than a softmax's targets can tell from 255, or a threshold that is no probability.
    """

    __category__ = "architecture"
    __shared__ = ["num_classes"]
    entry_kinds: ClassVar = {"losses": "segmentation loss"}

    def __init__(
        self,
        encoder: nn.Layer = "ResNetEncoder",
        decoder: Decoder = "UNetDecoder",  # type: ignore[assignment]  # ppdet's defaults are names
        num_classes: int = 4,
        task: Task = "multilabel",
        losses: Sequence[SegmentationLoss] | None = None,
        score_threshold: float = 0.0,
        mask_threshold: float = 0.5,
        classifier: bool | Mapping[str, Any] = False,
        pad: bool = True,
    ) -> None:
        super().__init__()
        _check_features(encoder, decoder)
        one_of(task, (MULTILABEL, MULTICLASS), "SemanticSegmentor.task")
        if task == MULTICLASS and num_classes >= IGNORED:
            raise UserError(f"SemanticSegmentor.task: multiclass has room for {IGNORED - 1} classes, not {num_classes}.")
        self.num_classes, self.task, self.pad = num_classes, task, pad
        self.losses = list(losses or build_losses([{"BCE" if task == MULTILABEL else "SoftCE": {}}], task))
        self.score_threshold = number_in(score_threshold, "SemanticSegmentor.score_threshold", 0, 1)
        self.mask_threshold = number_in(mask_threshold, "SemanticSegmentor.mask_threshold", 0, 1)
        self.encoder, self.decoder = encoder, decoder
        outputs = num_classes + (task == MULTICLASS)
        start = decoder.head_start
        self.segmentation_head = SegmentationHead(decoder.out_channels, outputs, decoder.head_kernel, decoder.upsampling, start)
        self.classification_head = None
        if classifier:
            own = _head_arguments(classifier)
            self.classification_head = ClassificationHead(encoder.out_shape[-1].channels, num_classes, start=start, **own)

    @classmethod
    def from_config(cls, cfg: Mapping[str, Any]) -> dict[str, Any]:
        """ppdet's wiring: the encoder gives the features that the decoder takes, unless the configuration says which."""
        decoder, section = section_of(cfg["decoder"], Decoder, f"{cls.__name__}.decoder")
        encoder, _ = section_of(cfg["encoder"], Encoder, f"{cls.__name__}.encoder")
        body = create_with(encoder, decoder.encoder_arguments(section))
        channels = [body.in_channels, *(one.channels for one in body.out_shape)]
        wired: dict[str, Any] = {"encoder": body, "decoder": create_with(decoder, {}, encoder_channels=channels)}
        if cfg["losses"] is not None:
            wired["losses"] = build_losses(cfg["losses"], cfg["task"], f"{cls.__name__}.losses")
        return wired

    def forward(self, batch: Mapping[str, Any]) -> dict[str, paddle.Tensor] | list[Detections]:
        """Scalar losses, "loss" being their sum; in evaluation one `Detections` an image.

        All ranks call it together in training. Losses that are not finite are for the caller to refuse.

        Raises:
            UserError: a batch without targets, or with those of another number of classes.
            DivergenceError: in evaluation a probability is NaN or infinite.
        """
        if not self.training:
            settings = self.settings
            return [found.detections(settings.mask_threshold) for found in self.candidates(batch, settings)]
        out: dict[str, paddle.Tensor] = dict(self._losses(batch).over_ranks())
        out["loss"] = paddle.add_n([x.reshape([]) for x in out.values()])
        return out

    def _losses(self, batch: Mapping[str, Any]) -> Losses:
        masks = masks_of(batch, self.num_classes)
        targets = masks if self.task == MULTILABEL else class_targets(masks, batch)
        logits, present = self.outputs(batch["image"])
        # Over ranks the mean over all pixels; of a loss like Dice, which is no mean over pixels, the ranks' weighted mean.
        pixels = int(np.prod(masks.shape)) // self.num_classes
        found = Losses()
        for name, loss in loss_values(self.losses, logits, targets).items():
            found.add(name, loss, pixels)
        if present is not None:
            with paddle.amp.auto_cast(enable=False):
                present = full_precision(present)
                loss = F.binary_cross_entropy_with_logits(present, presence_targets(masks).astype(present.dtype))
            found.add("loss_presence", loss, len(masks))
        return found

    def outputs(self, images: paddle.Tensor) -> tuple[paddle.Tensor, paddle.Tensor | None]:
        """Logits of pixels and of the images' classes.

        Args:
            images: (B, channels, H, W) float32.

        Returns:
            (B, num_classes, H, W), of a multiclass task with the background before the classes; (B, num_classes) or None.
        """
        padded = self._padded(images)
        features = [padded, *self.encoder({"image": padded})]
        head, deepest = self.classification_head, features[-1]
        logits = self.segmentation_head(self.decoder(features))
        if padded is not images:
            logits = crop(logits, size_of(images))
        return logits, None if head is None else head(deepest)

    @paddle.jit.not_to_static
    def traced(self, images: paddle.Tensor, im_shape: paddle.Tensor) -> dict[str, paddle.Tensor]:
        """The graph that is exported.

        Args:
            images: (B, channels, H, W) float32, normalised and padded.
            im_shape: (B, 2) float32, h and w px of the images without padding, alike for all.

        Returns:
            maps (B, num_classes, h, w) float32, probabilities; with a head for it presence (B, num_classes).
        """
        logits, present = self.outputs(images)
        maps = crop(self._probabilities(logits), im_shape[0].astype("int32"))
        return {"maps": maps} if present is None else {"maps": maps, "presence": F.sigmoid(present)}

    def _probabilities(self, logits: paddle.Tensor) -> paddle.Tensor:
        logits = logits.astype("float32")
        return F.sigmoid(logits) if self.task == MULTILABEL else F.softmax(logits, axis=1)[:, 1:]

    def logits(self, images: paddle.Tensor) -> paddle.Tensor:
        """Logits of the pixels; see `outputs`."""
        return self.outputs(images)[0]

    def _padded(self, images: paddle.Tensor) -> paddle.Tensor:
        """Images with zeros below and at the right, their sides multiples of the stride. UserError if that is off."""
        height, width = images.shape[2:]
        stride = self.decoder.stride
        down, across = -height % stride, -width % stride
        if self.pad or not (down or across) or min(height, width) < 0:
            return pad_to_multiple(images, stride)
        smaller, larger = (f"{height - height % stride}x{width - width % stride}", f"{height + down}x{width + across}")
        raise UserError(
            f"Images of {height}x{width} px: {type(self.decoder).__name__} takes sides that are multiples of {stride}. Resize "
            f"them in the reader, to {smaller} or {larger}, or set SemanticSegmentor.pad: true."
        )

    # inference: the protocols of `ppdet_ext.inference.protocol`

    @staticmethod
    def has_masks(cfg: Mapping[str, Any]) -> bool:
        """Whether the model of a configuration gives masks."""
        return True

    @property
    def settings(self) -> TestSettings:
        """What the model is configured with."""
        return settings_of(self.score_threshold, self.mask_threshold)

    def class_maps(self, batch: Mapping[str, Any]) -> list[np.ndarray]:
        """Probabilities (num_classes, h, w) float32 of each image of a batch, without its padding.

        Raises:
            DivergenceError: an output is NaN or infinite.
        """
        return self.maps_and_presence(batch)[0]

    @paddle.no_grad()
    def maps_and_presence(self, batch: Mapping[str, Any]) -> tuple[list[np.ndarray], np.ndarray | None]:
        """`class_maps`, and what `presence` gives where there is a head for it, of features computed once."""
        logits, present = self.outputs(batch["image"])
        whole = finite(self._probabilities(logits), "class probabilities")
        sizes = np.rint(np.asarray(batch["im_shape"])).astype(int).tolist()
        maps = [own[:, :height, :width] for own, (height, width) in zip(whole, sizes)]
        return maps, None if present is None else _likely(present)

    @property
    def tells_presence(self) -> bool:
        """Whether there is a head for `presence`."""
        return self.classification_head is not None

    @paddle.no_grad()
    def presence(self, batch: Mapping[str, Any]) -> np.ndarray:
        """Probabilities (B, num_classes) float32 that classes are in the images.

        Raises:
            UserError: there is no head for that.
            DivergenceError: an output is NaN or infinite.
        """
        if self.classification_head is None:
            raise UserError(
                "This SemanticSegmentor does not tell which classes are in an image; train one with "
                "SemanticSegmentor.classifier: true, or take an ImageClassifier."
            )
        images = self._padded(batch["image"])
        return _likely(self.classification_head(self.encoder({"image": images})[-1]))

    def candidates(self, batch: Mapping[str, Any], settings: TestSettings) -> list[Candidates]:
        """One candidate for each image and class, with its map of probabilities in original pixels.

        Raises:
            DivergenceError: an output is NaN or infinite.
        """
        maps, present = self.maps_and_presence(batch)
        sizes = np.asarray(batch["origin_shape"]).tolist()
        presence = [None] * len(maps) if present is None else list(present)
        return [
            Candidates.of_class_maps(resize_maps(own, height, width), likely, settings.score_threshold)
            for own, likely, (height, width) in zip(maps, presence, sizes)
        ]


def _likely(logits: paddle.Tensor) -> np.ndarray:
    return finite(F.sigmoid(logits.astype("float32")), "probabilities that classes are there")


def _head_arguments(classifier: bool | Mapping[str, Any]) -> dict[str, Any]:
    """Arguments of the head for whole images. Raises: UserError for something else, naming the nearest."""
    known = ("pooling", "dropout")
    if classifier is not True and not isinstance(classifier, Mapping):
        raise UserError(
            f"SemanticSegmentor.classifier is {classifier!r}; expected true, false or {{pooling: avg, dropout: 0.0}}."
        )
    own = {} if classifier is True else dict(classifier)
    for key in own:
        if key not in known:
            text = f"SemanticSegmentor.classifier: unknown key {key!r}.{nearest(key, known)} There are {', '.join(known)}."
            raise UserError(text)
    return own


def _check_features(encoder: nn.Layer, decoder: Decoder) -> None:
    """ValueError where the encoder's features are not those that the decoder takes."""
    given, wanted = [int(one.stride) for one in encoder.out_shape], decoder.strides
    if given != wanted:
        name = type(encoder).__name__
        raise ValueError(
            f"{type(decoder).__name__} takes features of strides {', '.join(map(str, wanted))}, but {name} gives "
            f"{', '.join(map(str, given))}; remove depth, output_stride and return_idx from {name}, or set depth: "
            f"{len(wanted)}, output_stride: {max(wanted[-1], 8)}, return_idx: null"
        )
