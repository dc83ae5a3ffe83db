"""`ExportGraph`: what is traced: uint8 pixels in, what the model finds out; nothing between them is numpy."""

from collections.abc import Sequence

import numpy as np
import paddle
from paddle import nn

from ppdet_ext.errors import UserError
from ppdet_ext.modeling.ops.padding import pad_to_multiple
from ppdet_ext.modeling.ops.seam import size_of
from ppdet_ext.modeling.ops.traced_paste import paste

from .matching import BOXES, MASKS, PROBS

INPUT = "pixels"
Flip = tuple[bool, bool]
NO_FLIPS: tuple[Flip, ...] = ((False, False),)
# Of 2¹⁵, as OpenCV's conversion of RGB to grey adds them up.
_GREY = (9798.0, 19235.0, 3735.0)


class ExportGraph(nn.Layer):
    """Normalises, mirrors and pads pixels as the reader does, then runs the model's `traced` or `traced_views`.

    Args:
        model: in evaluation mode; has `traced(images, im_shape) -> dict`.
        mean, std: of `NormalizeToCHW`; one number each makes grey images of the pictures.
        stride: images are padded with zeros, below and on the right, to multiples of it.
        paste_masks: whether masks of the whole image are an output, too.
        flips: the views that are averaged, each (mirrored left and right, top and bottom): by a model's `traced_views`, else
            the mean of the maps and presence that `traced` gives of each.

    Raises:
        UserError: the model cannot be traced, is in training mode, or has no masks to paste.
    """

    def __init__(
        self,
        model: nn.Layer,
        mean: Sequence[float],
        std: Sequence[float],
        stride: int,
        paste_masks: bool = False,
        flips: Sequence[Flip] = NO_FLIPS,
    ) -> None:
        super().__init__()
        name = type(model).__name__
        if not hasattr(model, "traced"):
            raise UserError(
                f"{name} cannot be exported; HybridTaskCascade, SemanticSegmentor and ImageClassifier can. Models of "
                "PaddleDetection are exported by its own tools/export_model.py."
            )
        if model.training:
            raise UserError(f"The {name} is in training mode; call its eval() before it is exported.")
        if paste_masks and getattr(model, "mask_cells", None) is None:
            raise UserError(f"--masks full: a {name} gives no masks of boxes, which could be pasted; leave it out.")
        if tuple(flips) != NO_FLIPS and not any(hasattr(model, own) for own in ("presence", "traced_views")):
            raise UserError(
                f"TestTimeAugmentation: a {name} is exported of one view alone; remove the key (-o TestTimeAugmentation=null)."
            )
        self.paste_masks, self.flips = paste_masks, tuple(flips)
        self.model, self.stride, self.grey = model, stride, len(mean) == 1
        scale = 1.0 / (255.0 * np.asarray(std, np.float64))
        self.scale = [float(value) for value in scale]
        self.shift = [float(value) for value in -np.asarray(mean, np.float64) / std]
        self.names: tuple[str, ...] = ()
        self.eval()

    def normalized(self, pixels: paddle.Tensor) -> paddle.Tensor:
        """(B, H, W, 3) uint8 -> (B, channels, H, W) float32."""
        x = pixels.astype("float32")
        if self.grey:
            # Sums below 2²⁴ are exact in float32, so the grey is OpenCV's own.
            x = paddle.floor(((x * paddle.to_tensor(_GREY)).sum(axis=-1, keepdim=True) + 16384.0) / 32768.0)
        x = x * paddle.to_tensor(self.scale, "float32") + paddle.to_tensor(self.shift, "float32")
        return x.transpose([0, 3, 1, 2])

    @paddle.jit.not_to_static
    def outputs(self, pixels: paddle.Tensor) -> dict[str, paddle.Tensor]:
        """The model's findings by name."""
        images = self.normalized(pixels)
        sides = size_of(images)
        shape = paddle.to_tensor(sides, "float32") if isinstance(sides, list) else sides.astype("float32")
        shape = shape.reshape([1, 2]).expand([images.shape[0], 2])
        found = self._of_views(images, shape)
        if self.paste_masks:
            found[MASKS] = paste(found[PROBS], found[BOXES], images, float(self.model.settings.mask_threshold))
        return found

    def _of_views(self, images: paddle.Tensor, shape: paddle.Tensor) -> dict[str, paddle.Tensor]:
        if self.flips == NO_FLIPS:
            return self.model.traced(pad_to_multiple(images, self.stride), shape)
        axes = [[axis for axis, mirrored in zip((3, 2), flip) if mirrored] for flip in self.flips]
        views = [pad_to_multiple(_mirrored(images, own), self.stride) for own in axes]
        if hasattr(self.model, "traced_views"):
            return self.model.traced_views(views, shape, self.flips)
        sums: dict[str, paddle.Tensor] = {}
        for view, own in zip(views, axes):
            for name, value in self.model.traced(view, shape).items():
                back = _mirrored(value, own) if len(value.shape) == 4 else value
                sums[name] = sums[name] + back if name in sums else back
        return {name: value / float(len(self.flips)) for name, value in sums.items()}

    def forward(self, pixels: paddle.Tensor) -> tuple[paddle.Tensor, ...]:
        """Pixels (B, H, W, 3) uint8 RGB -> the tensors of `outputs`, whose names are then in `names`."""
        found = self.outputs(pixels)
        self.names = tuple(found)
        return tuple(found.values())


def _mirrored(x: paddle.Tensor, axes: Sequence[int]) -> paddle.Tensor:
    """(B, C, H, W), whose size may be unknown, mirrored along axes: converters know no operator for that."""
    for axis in axes:
        line = x[0, 0, :, 0] if axis == 2 else x[0, 0, 0]
        place = paddle.cumsum(paddle.ones_like(line))
        x = paddle.gather(x, (place[-1:] - place).astype("int64"), axis=axis)
    return x
