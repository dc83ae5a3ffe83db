"""Every operation of Rle against the same operation on plain bitmaps."""

import pickle
from unittest import mock

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from pycocotools import mask as mask_utils
from scipy import ndimage
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import connected_components

from ppdet_ext.structures import Rle, rle_codec
from ppdet_ext.structures.rle_regions import connected_by_roots

PROPERTY = settings(max_examples=120)

SHAPES = st.tuples(st.integers(1, 14), st.integers(1, 14))


@st.composite
def blobs(draw: st.DrawFn) -> np.ndarray:
    """Smooth random shapes with holes and islands, at sizes where columns hold several runs."""
    seed = draw(st.integers(0, 2**32 - 1))
    rng = np.random.default_rng(seed)
    noise = rng.random((draw(st.integers(1, 60)), draw(st.integers(1, 60))))
    smooth = ndimage.uniform_filter(noise, draw(st.sampled_from([1, 2, 3])))
    return (smooth > draw(st.floats(0.2, 0.8))).astype(np.uint8)


def bitmaps(shape: tuple[int, int] | None = None) -> st.SearchStrategy[np.ndarray]:
    pixels = hnp.arrays(np.uint8, SHAPES if shape is None else shape, elements=st.integers(0, 1))
    return pixels if shape is not None else pixels | blobs()


def same(rle: Rle, bitmap: np.ndarray) -> bool:
    """Equal pixels, and in the canonical form that from_bitmap gives."""
    return np.array_equal(rle.to_bitmap(), bitmap) and rle == Rle.from_bitmap(bitmap)


def pair(draw_from: st.DataObject) -> tuple[np.ndarray, np.ndarray]:
    shape = draw_from.draw(SHAPES)
    return draw_from.draw(bitmaps(shape)), draw_from.draw(bitmaps(shape))


@PROPERTY
@given(bitmaps())
def test_counts_are_pycocotools_own(bitmap: np.ndarray) -> None:
    rle = Rle.from_bitmap(bitmap)
    expected = mask_utils.encode(np.asfortranarray(bitmap))
    assert rle.to_coco() == expected
    assert Rle.from_runs(*rle.runs(), *bitmap.shape) == rle
    assert Rle.from_coco(expected) == Rle.from_coco(rle.to_coco(text=True)) == rle
    assert np.array_equal(rle.to_bitmap(), bitmap)


@PROPERTY
@given(bitmaps(), st.sampled_from([bool, np.int64, np.float32]), st.booleans())
def test_from_bitmap_takes_any_type_and_order(bitmap: np.ndarray, dtype: type, fortran: bool) -> None:
    array = (bitmap * 3).astype(dtype)
    assert Rle.from_bitmap(np.asfortranarray(array) if fortran else array) == Rle.from_bitmap(bitmap)


@PROPERTY
@given(bitmaps())
def test_kaggle_round_trip(bitmap: np.ndarray) -> None:
    rle = Rle.from_bitmap(bitmap)
    text = rle.to_kaggle()
    assert Rle.from_kaggle(text, *bitmap.shape) == rle
    flat = np.zeros(bitmap.size, np.uint8)
    values = list(map(int, text.split()))
    for start, length in zip(values[0::2], values[1::2]):
        flat[start - 1 : start - 1 + length] = 1
    assert np.array_equal(flat.reshape(bitmap.shape, order="F"), bitmap)


@PROPERTY
@given(bitmaps(), st.sampled_from([0, 1]), st.booleans())
def test_kaggle_round_trip_from_another_base_or_relative(bitmap: np.ndarray, base: int, relative: bool) -> None:
    rle = Rle.from_bitmap(bitmap)
    text = rle.to_kaggle(base, relative)
    assert Rle.from_kaggle(text, *bitmap.shape, base=base, relative=relative) == rle
    starts, lengths = rle.runs()
    values = list(map(int, text.split()))
    ends = np.append(0, starts + lengths)[:-1] if relative else 0 * starts
    shift = np.where(np.arange(len(starts)) == 0, base, 0) if relative else base
    assert values[0::2] == (starts - ends + shift).tolist()
    assert values[1::2] == lengths.tolist()


@PROPERTY
@given(st.data())
def test_measures(data: st.DataObject) -> None:
    bitmap, other = pair(data)
    rle, rival = Rle.from_bitmap(bitmap), Rle.from_bitmap(other)
    assert rle.area == bitmap.sum()
    assert bool(rle) == bool(bitmap.any())
    ys, xs = np.nonzero(bitmap)
    assert rle.box == ((xs.min(), ys.min(), xs.max() + 1, ys.max() + 1) if len(xs) else (0, 0, 0, 0))
    inter, union = (bitmap & other).sum(), (bitmap | other).sum()
    assert rle.iou(rival) == pytest.approx(inter / union if union else 0)
    crowd = Rle.iou_matrix([rle], [rival, rle], crowd=[True, False])
    assert crowd[0] == pytest.approx([inter / max(rle.area, 1), float(bool(rle))])


@PROPERTY
@given(st.data())
def test_sets(data: st.DataObject) -> None:
    bitmap, other = pair(data)
    rle, rival = Rle.from_bitmap(bitmap), Rle.from_bitmap(other)
    assert same(rle.union(rival), bitmap | other)
    assert same(rle.intersect(rival), bitmap & other)
    assert same(rle.subtract(rival), bitmap & (1 - other))
    assert same(rle.complement(), 1 - bitmap)
    assert rle.complement().complement() == rle
    assert Rle.merge([rle]) == rle
    assert Rle.merge([rle, rival, Rle.empty(*rle.size)]) == rle.union(rival)


@PROPERTY
@given(bitmaps(), st.data())
def test_crop_and_place(bitmap: np.ndarray, data: st.DataObject) -> None:
    h, w = bitmap.shape
    y1, x1 = data.draw(st.integers(0, h)), data.draw(st.integers(0, w))
    y2, x2 = data.draw(st.integers(y1, h)), data.draw(st.integers(x1, w))
    part = Rle.from_bitmap(bitmap).crop(y1, x1, y2, x2)
    assert same(part, bitmap[y1:y2, x1:x2])
    canvas = np.zeros_like(bitmap)
    canvas[y1:y2, x1:x2] = bitmap[y1:y2, x1:x2]
    placed = part.place(y1, x1, h, w)
    assert same(placed, canvas)
    assert placed.crop(y1, x1, y2, x2) == part
    assert Rle.from_window(bitmap[y1:y2, x1:x2] != 0, y1, x1, h, w) == placed


@PROPERTY
@given(bitmaps())
def test_flips_and_transpose(bitmap: np.ndarray) -> None:
    assert same(Rle.from_bitmap(bitmap).transpose(), bitmap.T)
    with mock.patch("ppdet_ext.structures.rle_regions._STRIP", 7):  # in strips
        assert same(Rle.from_bitmap(bitmap).transpose(), bitmap.T)
    rle = Rle.from_bitmap(bitmap)
    assert same(rle.flip_horizontal(), bitmap[:, ::-1])
    assert same(rle.flip_vertical(), bitmap[::-1])
    assert rle.flip_horizontal().flip_vertical().flip_horizontal().flip_vertical() == rle


@PROPERTY
@given(bitmaps(), st.integers(1, 90), st.integers(1, 90))
def test_resize_is_cv2_nearest(bitmap: np.ndarray, height: int, width: int) -> None:
    expected = cv2.resize(bitmap, (width, height), interpolation=cv2.INTER_NEAREST)
    assert same(Rle.from_bitmap(bitmap).resize(height, width), expected)


@PROPERTY
@given(bitmaps(), st.integers(0, 6), st.sampled_from([4, 8]))
def test_components(bitmap: np.ndarray, min_area: int, connectivity: int) -> None:
    # scipy labels the transposed bitmap in row order, which is column order here.
    structure = ndimage.generate_binary_structure(2, 1 if connectivity == 4 else 2)
    labels, count = ndimage.label(bitmap.T, structure)
    parts = [(labels == i + 1).T.astype(np.uint8) for i in range(count)]
    expected = [Rle.from_bitmap(part) for part in parts if part.sum() >= min_area]
    assert Rle.from_bitmap(bitmap).components(min_area, connectivity) == expected


@PROPERTY
@given(st.integers(1, 40), st.lists(st.tuples(st.integers(0, 39), st.integers(0, 39)), max_size=60))
def test_components_of_a_graph_without_scipy(nodes: int, pairs: list[tuple[int, int]]) -> None:
    inside = [(a % nodes, b % nodes) for a, b in pairs]
    graph = csr_matrix((np.ones(len(inside)), tuple(np.array(inside, np.int64).reshape(-1, 2).T)), shape=(nodes, nodes))
    graph = graph + graph.T
    count, labels = connected_by_roots(graph.indptr, graph.indices)
    expected_count, expected = connected_components(graph, directed=False)
    assert (count, labels.tolist()) == (expected_count, expected.tolist())


@PROPERTY
@given(bitmaps())
def test_fill_holes(bitmap: np.ndarray) -> None:
    rle = Rle.from_bitmap(bitmap)
    filled = ndimage.binary_fill_holes(bitmap).astype(np.uint8)
    assert same(rle.fill_holes(), filled)
    assert rle.holes == ndimage.label(filled & ~bitmap & 1)[1]
    assert rle.fill_holes().holes == 0


@PROPERTY
@given(bitmaps())
def test_polygons_give_the_filled_mask_back(bitmap: np.ndarray) -> None:
    rle = Rle.from_bitmap(bitmap)
    polygons = rle.to_polygons()
    assert len(polygons) <= len(rle.components())
    assert Rle.from_polygons(polygons, *rle.size) == rle.fill_holes()


@PROPERTY
@given(bitmaps())
def test_value_semantics(bitmap: np.ndarray) -> None:
    rle = Rle.from_bitmap(bitmap)
    copy = pickle.loads(pickle.dumps(rle))
    assert copy == rle
    assert len({copy, rle}) == 1
    assert rle != Rle(rle.height + 1, rle.width, rle.counts)
    assert len(pickle.dumps(rle)) < len(rle.counts) + 200


@PROPERTY
@given(st.lists(st.integers(0, 2**40), min_size=1, max_size=40))
def test_codec_matches_pycocotools_on_any_counts(counts: list[int]) -> None:
    array = np.array(counts, np.int64)
    text = rle_codec.compress(array)
    assert np.array_equal(rle_codec.decompress(text), array)
    small = array % 40000
    size = [int(small.sum()), 1]
    expected = mask_utils.frPyObjects([{"size": size, "counts": small}], *size)[0]
    assert rle_codec.compress(small) == expected["counts"]
