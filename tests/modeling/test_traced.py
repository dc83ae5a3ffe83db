"""The traced forward pass finds what the eager one does, at sizes that were unknown when it was traced."""

import numpy as np
import paddle
import pytest
from paddle.static import InputSpec
from view_cases import model, network_batch, network_inputs

from ppdet_ext.modeling.ops.roi_levels import pool_levels

KEYS = ("boxes", "scores", "labels", "image", "probs")


def assert_found(found: dict[str, np.ndarray], detector: paddle.nn.Layer, images: np.ndarray, shapes: np.ndarray) -> int:
    """`found` is what the eager model finds; their number."""
    wanted = detector.candidates(network_batch(images, shapes), detector.settings)
    assert np.array_equal(found["image"], np.repeat(np.arange(len(wanted)), [len(one) for one in wanted]))
    for b, one in enumerate(wanted):
        rows = found["image"] == b
        np.testing.assert_array_equal(found["labels"][rows], one.labels)
        np.testing.assert_allclose(found["boxes"][rows], one.boxes, atol=1e-2)
        np.testing.assert_allclose(found["scores"][rows], one.scores, atol=1e-3)
        if one.probs is not None:
            np.testing.assert_allclose(found["probs"][rows], one.probs, atol=1e-3)
    return len(found["image"])


@pytest.mark.parametrize("name", ["tiny_a", "tiny_b", "tiny_c", "tiny_mask"])
def test_finds_what_candidates_does(name):
    detector = model(name)
    images, shapes = network_inputs([(150, 220), (128, 180)])
    found = {key: value.numpy() for key, value in detector.traced(*map(paddle.to_tensor, (images, shapes))).items()}
    assert found["labels"].dtype == found["image"].dtype == np.int64
    assert assert_found(found, detector, images, shapes) > 2


def test_boxes_only():
    detector = model("tiny_b")
    detector.roi_head.with_mask = False
    images, shapes = network_inputs([(96, 128)])
    found = {key: value.numpy() for key, value in detector.traced(*map(paddle.to_tensor, (images, shapes))).items()}
    assert set(found) == {"boxes", "scores", "labels", "image"}
    assert assert_found(found, detector, images, shapes) > 2


class Graph(paddle.nn.Layer):
    def __init__(self, detector: paddle.nn.Layer):
        super().__init__()
        self.detector = detector

    def forward(self, images: paddle.Tensor, im_shape: paddle.Tensor) -> list[paddle.Tensor]:
        found = self.detector.traced(images, im_shape)
        return [found[key] for key in KEYS]


def test_a_saved_graph_takes_other_sizes_and_images_without_objects(tmp_path):
    detector, path = model("tiny_a"), str(tmp_path / "graph")
    graph = Graph(detector)
    graph.eval()
    spec = [InputSpec([1, 3, None, None], "float32", "images"), InputSpec([1, 2], "float32", "im_shape")]
    paddle.jit.save(paddle.jit.to_static(graph, input_spec=spec, full_graph=True), path)
    loaded = paddle.jit.load(path)
    for size in ((150, 220), (96, 300)):
        images, shapes = network_inputs([size])
        out = loaded(paddle.to_tensor(images), paddle.to_tensor(shapes))
        assert assert_found(dict(zip(KEYS, (x.numpy() for x in out))), detector, images, shapes) > 2
    nothing = loaded(paddle.zeros([1, 3, 64, 96]), paddle.to_tensor([[64.0, 96.0]]))
    assert [x.shape for x in nothing] == [[0, 4], [0], [0], [0], [0, 28, 28]]


@pytest.mark.parametrize("boxes", [[[0.0, 0.0, 20.0, 20.0]], np.zeros((0, 4))])
def test_nothing_is_summed_over_no_regions(boxes, monkeypatch):
    # A level without regions: ONNX Runtime's CUDA provider ends with an error at a sum over an empty tensor.
    sizes, plain = [], paddle.Tensor.sum
    monkeypatch.setattr(paddle.Tensor, "sum", lambda x, *args, **kwargs: (sizes.append(x.size), plain(x, *args, **kwargs))[1])
    maps = [paddle.rand([1, 3, 64 // stride, 64 // stride]) for stride in (4, 8)]
    pooled = pool_levels(maps, (4, 8), 56, paddle.to_tensor(np.asarray(boxes, np.float32)), 7)
    assert pooled.shape == [len(boxes), 3, 7, 7]
    assert len(sizes) == 2
    assert min(sizes) > 0
