"""What is traced is what the reader and the model do: pixels in, the same numbers out."""

from types import SimpleNamespace

import cv2
import numpy as np
import paddle
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from paddle import nn

from ppdet_ext.data.transforms import NormalizeToCHW
from ppdet_ext.errors import UserError
from ppdet_ext.export.graph import ExportGraph
from ppdet_ext.modeling.ops.norms import GroupNorm
from ppdet_ext.modeling.ops.padding import extend, pad_to_multiple
from ppdet_ext.modeling.segmentation.decoders.pspnet import _fields


class Seen(nn.Layer):
    """Gives what it is given."""

    def traced(self, images: paddle.Tensor, im_shape: paddle.Tensor) -> dict[str, paddle.Tensor]:
        return {"images": images, "im_shape": im_shape}


def graph(mean: list[float], std: list[float], stride: int = 8) -> ExportGraph:
    model = Seen()
    model.eval()
    return ExportGraph(model, mean, std, stride)


@pytest.mark.parametrize(("mean", "std"), [([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]), ([0.4], [0.2])])
def test_pixels_are_normalised_and_padded_as_the_reader_does(mean, std):
    pixels = np.random.default_rng(0).integers(0, 256, (2, 13, 22, 3)).astype(np.uint8)
    found = graph(mean, std).outputs(paddle.to_tensor(pixels))
    table = NormalizeToCHW(mean, std).tables
    images = found["images"].numpy()
    assert images.shape == (2, len(mean), 16, 24)
    for own, picture in zip(images, pixels):
        channels = cv2.split(picture) if len(mean) == 3 else [cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)]
        for got, channel, values in zip(own, channels, table):
            np.testing.assert_allclose(got[:13, :22], cv2.LUT(channel, values), atol=1e-6)
    assert not images[:, :, 13:].any()
    assert not images[:, :, :, 22:].any()
    np.testing.assert_array_equal(found["im_shape"].numpy(), [[13, 22], [13, 22]])


@given(st.integers(1, 40), st.integers(1, 40), st.sampled_from([1, 4, 32]))
@settings(max_examples=20)
def test_sides_become_multiples(height, width, stride):
    padded = pad_to_multiple(paddle.ones([1, 1, height, width]), stride)
    assert [side % stride for side in padded.shape[2:]] == [0, 0]
    assert max(padded.shape[2] - height, padded.shape[3] - width) < stride
    assert float(padded.sum()) == height * width


def test_a_graph_pads_with_zeros_too(monkeypatch):
    images = paddle.rand([2, 3, 5, 6])
    expected = extend(images, 3, 2)
    monkeypatch.setattr(paddle, "in_dynamic_mode", lambda: False)
    np.testing.assert_array_equal(extend(images, 3, 2).numpy(), expected.numpy())
    assert extend(images, 0, 2).shape == [2, 3, 5, 8]


def test_group_norm_by_means_is_the_operator():
    layer = GroupNorm(4, 12)
    for tensor in layer.parameters():
        tensor.set_value(paddle.rand(tensor.shape))
    x = paddle.randn([2, 12, 5, 7]) * 3 + 1
    np.testing.assert_allclose(layer.by_means(x).numpy(), layer(x).numpy(), atol=1e-5)


@given(st.integers(1, 30), st.integers(1, 6))
@settings(max_examples=20)
def test_fields_are_those_of_adaptive_pooling(side, bins):
    row = paddle.rand([1, 1, 1, side])
    expected = nn.functional.adaptive_avg_pool2d(row, [1, bins]).numpy().ravel()
    np.testing.assert_allclose(_fields(side, bins).numpy() @ row.numpy().ravel(), expected, atol=1e-6)


def test_what_cannot_be_traced_is_said():
    with pytest.raises(UserError, match="SimpleNamespace cannot be exported; HybridTaskCascade, SemanticSegmentor"):
        ExportGraph(SimpleNamespace(training=False), [0.5], [0.5], 32)  # type: ignore[arg-type]
    model = Seen()
    model.train()
    with pytest.raises(UserError, match=r"The Seen is in training mode; call its eval\(\)"):
        ExportGraph(model, [0.5], [0.5], 32)


class Ramp(Seen):
    """Maps that tell the place, and what is in the image."""

    presence = True

    def traced(self, images: paddle.Tensor, im_shape: paddle.Tensor) -> dict[str, paddle.Tensor]:
        place = paddle.cumsum(paddle.ones_like(images), axis=3)
        return {"maps": images * place, "presence": (images * place).mean(axis=[2, 3])}


def test_views_are_mirrored_back_and_averaged():
    model = Ramp()
    model.eval()
    pixels = paddle.to_tensor(np.random.default_rng(0).integers(0, 256, (1, 8, 16, 3)).astype(np.uint8))
    flips = ((False, False), (True, False), (True, True))
    found = ExportGraph(model, [0.0] * 3, [1.0] * 3, 8, flips=flips).outputs(pixels)
    image, place = pixels.numpy().transpose(0, 3, 1, 2) / 255.0, np.arange(1, 17)
    # Mirrored left and right, a column is multiplied by its place from the right; up and down changes nothing.
    np.testing.assert_allclose(found["maps"].numpy(), image * (place + 2 * place[::-1]) / 3, rtol=1e-5)
    np.testing.assert_allclose(found["presence"].numpy(), (image * (place + 2 * place[::-1]) / 3).mean(axis=(2, 3)), rtol=1e-5)


def test_views_of_what_averages_none_are_refused():
    model = Seen()
    model.eval()
    with pytest.raises(UserError, match=r"TestTimeAugmentation: a Seen is exported of one view alone; remove the key"):
        ExportGraph(model, [0.5], [0.5], 32, flips=((True, False),))
