"""What all encoders share: which features they give, dilation, freezing; and the table of their names."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, ClassVar

import paddle
from paddle import nn
from paddle.nn.initializer import KaimingNormal, Uniform
from ppdet.modeling.shape_spec import ShapeSpec

from ppdet_ext.errors import UserError, nearest
from ppdet_ext.host.registry import whole_number_in
from ppdet_ext.modeling.ops.convolution import Conv2D

STAGES = 5
# Name of an encoder as segmentation_models_pytorch (SMP) has it -> the class that builds it.
ENCODERS: dict[str, type["Encoder"]] = {}


class Encoder(nn.Layer):
    """An image classifier without its classifier: image -> maps f1 … f5 at strides 2, 4, 8, 16, 32.

    Layers are named as segmentation_models_pytorch 0.6.0 names them, so that its tensors fit. A subclass builds them, calls
    `finish`, and computes `features`.

    Attributes:
        channels: of f1 … f5.
        in_channels: of the image.
        depth: how many maps are computed.
        return_idx: which of them are given; 0 is f1.
    """

    VARIANTS: ClassVar[Mapping[str, Any]] = {}

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        ENCODERS.update(dict.fromkeys(cls.VARIANTS, cls))

    channels: tuple[int, ...]
    in_channels: int
    depth: int
    return_idx: list[int]

    @classmethod
    def variant(cls, name: str) -> Any:
        """What the subclass knows of `name`. Raises: UserError naming the nearest, or the class that has the name."""
        if name in cls.VARIANTS:
            return cls.VARIANTS[name]
        if name in ENCODERS:
            raise UserError(f"{cls.__name__}.name: {name} is one of {ENCODERS[name].__name__}; name that class instead.")
        known = ", ".join(cls.VARIANTS)
        raise UserError(f"{cls.__name__}.name: there is no {name!r}.{nearest(name, cls.VARIANTS)} There are {known}.")

    def finish(
        self,
        channels: Sequence[int],
        in_channels: int,
        output_stride: int,
        depth: int,
        return_idx: Sequence[int] | None,
        norm_eval: bool,
        freeze: bool,
    ) -> None:
        """Apply the settings that all encoders have; after the layers are built. Raises: UserError for one out of range."""
        of = type(self).__name__
        self.channels, self.in_channels = tuple(channels), in_channels
        self.depth = whole_number_in(depth, f"{of}.depth", 1, STAGES)
        self.return_idx = list(range(depth)) if return_idx is None else list(return_idx)
        for i in self.return_idx:
            whole_number_in(i, f"{of}.return_idx (with depth {depth})", 0, depth - 1)
        if output_stride not in (8, 16, 32):
            raise UserError(f"{of}.output_stride: {output_stride!r} is not one of 8, 16, 32.")
        self.output_stride = output_stride
        parts = self.stages()
        if output_stride <= 16:
            self.dilate(parts[4], 2 if output_stride == 16 else 4)
        if output_stride == 8:
            self.dilate(parts[3], 2)
        # What no map needs gets no gradient, and ranks must not wait for one.
        self._stop_gradients(self.parameters() if freeze else [p for part in parts[depth:] for p in part.parameters()])
        if norm_eval or freeze:
            for layer in self.sublayers():
                if isinstance(layer, nn.BatchNorm2D):
                    layer._use_global_stats = True

    def stages(self) -> list[nn.Layer]:
        """The parts that compute f1 … f5, and last what computes none of them, if there is such a part."""
        raise NotImplementedError

    def features(self, image: paddle.Tensor) -> Iterator[paddle.Tensor]:
        """f1, f2 … of (B, in_channels, H, W), each computed when it is asked for."""
        raise NotImplementedError

    def dilate(self, stage: nn.Layer, rate: int) -> None:
        """Replace strides by dilation: *every* convolution of the stage, as SMP does it, also the first and the 1×1."""
        for layer in stage.sublayers():
            if isinstance(layer, nn.Conv2D):
                layer._stride, layer._dilation = [1, 1], [rate, rate]
                layer._updated_padding = [(k // 2) * rate for k in layer._kernel_size]

    @staticmethod
    def _stop_gradients(parameters: Sequence[paddle.Tensor]) -> None:
        for parameter in parameters:
            parameter.stop_gradient = True

    @property
    def out_shape(self) -> list[ShapeSpec]:
        """Channels and stride of each map given."""
        return [ShapeSpec(channels=self.channels[i], stride=min(2 << i, self.output_stride)) for i in self.return_idx]

    def forward(self, inputs: Mapping[str, Any]) -> list[paddle.Tensor]:
        """A batch's "image" (B, in_channels, H, W) -> its maps (B, channels, H/stride, W/stride), finest first.

        Raises:
            UserError: the images have another number of channels.
        """
        image = inputs["image"]
        if image.shape[1] != self.in_channels:
            grey = "; with one mean and std NormalizeToCHW makes grey ones" if self.in_channels == 1 else ""
            raise UserError(
                f"{type(self).__name__}: images of {image.shape[1]} channels, but in_channels is {self.in_channels}; "
                f"set in_channels to the images' number{grey}."
            )
        wanted = {}
        for i, feature in enumerate(islice(self.features(image), max(self.return_idx) + 1)):
            if i in self.return_idx:
                wanted[i] = feature
        return [wanted[i] for i in self.return_idx]


def build_encoder(name: str, **settings: Any) -> Encoder:
    """The encoder that SMP calls `name`. Raises: UserError naming the nearest name."""
    if name not in ENCODERS:
        raise UserError(f"encoder: there is no {name!r}.{nearest(name, ENCODERS)} There are {', '.join(ENCODERS)}.")
    return ENCODERS[name](name=name, **settings)


def conv(
    inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1, bias: bool = False, padding: int | None = None
) -> Conv2D:
    """Convolution with torch's default weights, U(±1/√fan in); pads by kernel // 2."""
    bound = (inputs // groups * kernel * kernel) ** -0.5
    attr = paddle.ParamAttr(initializer=Uniform(-bound, bound))
    padding = kernel // 2 if padding is None else padding
    shift = paddle.ParamAttr(initializer=Uniform(-bound, bound)) if bias else False
    return Conv2D(inputs, outputs, kernel, stride, padding, groups=groups, weight_attr=attr, bias_attr=shift)


def kaiming_conv(inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> Conv2D:
    """Convolution without bias, weights N(0, 2 / fan out) as torchvision's ResNets; pads by kernel // 2."""
    weight = paddle.ParamAttr(initializer=KaimingNormal(fan_in=outputs * kernel * kernel, nonlinearity="relu"))
    return Conv2D(inputs, outputs, kernel, stride, kernel // 2, groups=groups, weight_attr=weight, bias_attr=False)
