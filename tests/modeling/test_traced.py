"""The traced forward pass finds what the eager one does, at sizes that were unknown when it was traced."""

import numpy as np
import paddle
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from paddle.static import InputSpec
from view_cases import NATIVE, found_by, model, network_batch, network_inputs, picture, sample_with

from ppdet_ext.export.paddle import PaddleEngine
from ppdet_ext.inference.ensemble import Member, merge_proposals
from ppdet_ext.inference.views import FLIPS, Views, ViewTransform
from ppdet_ext.modeling.detection.traced_views import TracedView, merged
from ppdet_ext.modeling.ops.roi_align import Pyramid
from ppdet_ext.modeling.ops.roi_levels import Canvas
from ppdet_ext.structures import ProposalSettings

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


@pytest.mark.parametrize(("name", "flips"), [("tiny_a", ["none", "both"]), ("tiny_mask", ["none", "vertical"])])
def test_views_find_what_an_ensemble_does(name, flips):
    detector, pixels = model(name), picture(75, 110)
    wanted = found_by([Member(detector, Views(NATIVE, (), None, flips))], sample_with(pixels))
    rendered = Views(NATIVE, (), None, flips)
    batches = [rendered.render(sample_with(pixels), number)[0] for number in range(len(flips))]
    images = [paddle.to_tensor(batch["image"]) for batch in batches]
    assert list(images[0].shape[2:]) == [96, 128], "padded: an image is mirrored within less"
    out = detector.traced_views(images, paddle.to_tensor(batches[0]["im_shape"]), [FLIPS[flip] for flip in flips])
    found = {key: value.numpy() for key, value in out.items()}
    assert len(found["scores"]) == len(wanted) > 2
    np.testing.assert_array_equal(found["labels"], wanted.labels)
    for key, atol in (("boxes", 1e-2), ("scores", 1e-3), ("probs", 1e-3)):
        np.testing.assert_allclose(found[key], getattr(wanted, key), atol=atol)


class Mirrored(paddle.nn.Layer):
    def forward(self, probs: paddle.Tensor, boxes: paddle.Tensor) -> tuple[paddle.Tensor, paddle.Tensor]:
        return self.of_view(probs, boxes)

    @paddle.jit.not_to_static
    def of_view(self, probs: paddle.Tensor, boxes: paddle.Tensor) -> tuple[paddle.Tensor, paddle.Tensor]:
        view = TracedView([], paddle.to_tensor([[64.0, 96.0]]), (True, True))
        return view.unmirrored(probs), view.mirrored(boxes)


def test_a_saved_graph_mirrors_masks_of_no_boxes_too(tmp_path):
    spec = [InputSpec([-1, 3, 3], "float32", "probs"), InputSpec([-1, 4], "float32", "boxes")]
    paddle.jit.save(paddle.jit.to_static(Mirrored(), input_spec=spec, full_graph=True), str(tmp_path / "model"))
    engine = PaddleEngine(tmp_path, ("probs", "boxes"))
    probs = np.arange(18, dtype=np.float32).reshape(2, 3, 3)
    boxes = np.array([[0, 0, 96, 64], [1, 2, 5, 9]], np.float32)
    for count in (0, 2):
        found = engine.run({"probs": probs[:count], "boxes": boxes[:count]})
        np.testing.assert_array_equal(found["probs"], probs[:count, ::-1, ::-1])
        np.testing.assert_array_equal(found["boxes"], [[0, 0, 96, 64], [91, 55, 95, 62]][:count] or np.zeros((0, 4)))


@given(st.integers(0, 10**6), st.integers(1, 4), st.sampled_from([0.0, 0.3, 0.7]))
@settings(max_examples=25)
def test_proposals_of_views_are_merged_as_an_ensembles(seed, count, iou):
    rng, most = np.random.default_rng(seed), 12
    flips, image = list(FLIPS.values())[:count], np.array([[64.0, 96.0]], np.float32)
    found, parts = [], []
    for number, flip in enumerate(flips):
        rows = int(rng.integers(0, most + 1))
        # Whole pixels, so that mirroring rounds nothing; few, so that boxes are often the same, and IoU is the threshold.
        corner = rng.integers(0, 8, (rows, 2)) * 4
        boxes = np.concatenate([corner, corner + rng.integers(1, 8, (rows, 2)) * 4], axis=1).astype(np.float32)
        scores = np.sort(rng.permutation(1000)[:rows].astype(np.float32) * count + number + 1)[::-1] / 5000
        found.append((paddle.to_tensor(boxes), paddle.to_tensor(scores.astype(np.float32).copy())))
        place = ViewTransform(64, 96, (1.0, 1.0), *flip)
        parts.append((place.to_original(boxes), scores.astype(np.float32), np.full(rows, number)))
    views = [TracedView([], paddle.to_tensor(image), flip) for flip in flips]
    got = merged(views, found, ProposalSettings(iou, most, most)).numpy()
    boxes, scores, view = map(np.concatenate, zip(*parts))
    expected = boxes[merge_proposals(boxes, scores, view, iou, most)]
    if count == 1:  # suppressed already
        expected = parts[0][0]
    np.testing.assert_array_equal(got, expected)


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


@pytest.mark.parametrize("levels", [1, 4])
@given(st.integers(0, 9999), st.integers(1, 5), st.integers(1, 5))
@settings(max_examples=10, deadline=None)
def test_one_map_of_all_levels_gives_what_the_levels_do_at_borders_too(levels, seed, height, width):
    rng, strides = np.random.default_rng(seed), [4, 8, 16, 32][:levels]
    sides = 32 * np.array([height, width])
    maps = [paddle.to_tensor(rng.random((1, 3, *(sides // stride)), np.float32)) for stride in strides]
    ends = np.sort(rng.uniform(-0.3, 1.3, (40, 2, 2)).clip(0, 1), axis=1) * sides[::-1]
    rois = np.column_stack([np.zeros(40), ends.reshape(40, 4)]).astype(np.float32)
    found = Canvas(maps, strides, 8).pool(paddle.to_tensor(rois[:, 1:]), 7)
    np.testing.assert_allclose(found, Pyramid(maps, strides, 8).pool(rois, 7), atol=1e-4)


@pytest.mark.parametrize(("sides", "kinds"), [((0, 100), {True, False}), ((0, 50), {True}), ((60, 100), {False})])
def test_small_and_large_regions_are_merged(sides, kinds):
    rng, maps = np.random.default_rng(0), [paddle.rand([1, 3, 40, 40])]
    corners = rng.uniform(0, 50, (20, 2))
    boxes = np.hstack([corners, corners + rng.uniform(*sides, (20, 2))]).astype(np.float32)
    cells, order = Canvas(maps, [4]).pool_merged(paddle.to_tensor(boxes), 7, 2)
    wanted = Pyramid(maps, [4]).pool(np.insert(boxes, 0, 0, axis=1), 7, 2).numpy()
    np.testing.assert_allclose(cells, wanted[order.numpy()], atol=1e-4)
    assert set((boxes[:, 2:] - boxes[:, :2]).max(axis=1) <= 7 * 2 * 4) == kinds


@pytest.mark.parametrize("boxes", [[[0.0, 0.0, 20.0, 20.0]], np.zeros((0, 4))])
def test_nothing_is_summed_over_no_regions(boxes, monkeypatch):
    # ONNX Runtime's CUDA provider ends with an error at a sum over an empty tensor.
    sizes, plain = [], paddle.Tensor.sum
    monkeypatch.setattr(paddle.Tensor, "sum", lambda x, *args, **kwargs: (sizes.append(x.size), plain(x, *args, **kwargs))[1])
    maps = [paddle.rand([1, 3, 64 // stride, 64 // stride]) for stride in (4, 8)]
    pooled = Canvas(maps, (4, 8)).pool(paddle.to_tensor(np.asarray(boxes, np.float32)), 7)
    assert pooled.shape == [len(boxes), 3, 7, 7]
    assert 0 not in sizes
