"""Views: sizes and mirrors of a picture, and boxes and masks on their way between view and picture."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from view_cases import NATIVE, RESIZED, fixed, picture, sample_with

from ppdet_ext.errors import UserError
from ppdet_ext.inference.views import FLIPS, Views, ViewTransform

FRAMES = st.builds(
    lambda size, old, flips: ViewTransform(
        *size, (float(np.float32(size[0] / old[0])), float(np.float32(size[1] / old[1]))), *flips
    ),
    st.tuples(st.integers(1, 2000), st.integers(1, 2000)),
    st.tuples(st.integers(1, 9000), st.integers(1, 9000)),
    st.sampled_from(list(FLIPS.values())),
)
BOXES = st.lists(st.tuples(*[st.floats(0, 2000, width=32)] * 4), max_size=5).map(
    lambda rows: np.array(rows, np.float32).reshape(-1, 4)
)


@given(FRAMES, BOXES)
def test_to_the_picture_and_back_is_the_identity(frame, boxes):
    there = frame.to_original(boxes)
    np.testing.assert_allclose(frame.to_view(there), boxes, rtol=0, atol=1e-9)
    np.testing.assert_allclose(frame.to_original(frame.to_view(there)), there, rtol=1e-12, atol=1e-6)


@given(FRAMES, BOXES)
def test_unmirrored_float32_comes_back_to_the_last_bit(frame, boxes):
    upright = ViewTransform(frame.height, frame.width, frame.scale)
    np.testing.assert_array_equal(upright.to_view(upright.to_original(boxes)).astype(np.float32), boxes)


def test_mapping_by_hand():
    # The picture is 200 high and 300 wide, the view half as high and twice as wide.
    box = np.array([[30.0, 40.0, 90.0, 100.0]])
    expected = {
        "none": [60, 20, 180, 50],
        "horizontal": [420, 20, 540, 50],
        "vertical": [60, 50, 180, 80],
        "both": [420, 50, 540, 80],
    }
    for name, flips in FLIPS.items():
        frame = ViewTransform(100, 600, (0.5, 2.0), *flips)
        assert frame.to_view(box).tolist() == [expected[name]]
        assert frame.to_original(np.array([[expected[name]]])).tolist() == [box.tolist()], "boxes of classes too"


@pytest.mark.parametrize("flip", FLIPS)
@pytest.mark.parametrize("resize", [None, fixed(96, 300), {"ResizeShortEdge": {"short_edges": [50], "long_limit": 110}}])
def test_a_box_is_where_its_pixels_are(flip, resize):
    pixels = np.zeros((60, 100, 3), np.uint8)
    pixels[10:40, 20:50] = 255
    pixels[10:20, 20:25] = 128  # marks a corner
    views = Views(NATIVE, [], [resize] if resize else None, [flip])
    batch, frame = views.render(sample_with(pixels), 0)
    bright = batch["image"][0, 0, : frame.height, : frame.width] > 0
    rows, columns = np.flatnonzero(bright.any(1)), np.flatnonzero(bright.any(0))
    measured = [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]
    np.testing.assert_allclose(frame.to_view(np.array([[20, 10, 50, 40]]))[0], measured, atol=1.0)
    x1, y1, x2, y2 = measured
    grey = np.abs(batch["image"][0, 0, y1:y2, x1:x2]) < 1
    upright = frame.unmirrored(grey[None])[0]
    height, width = upright.shape
    assert upright[: height // 4, : width // 8].mean() > 0.6, "the marked corner is top left"
    assert upright[height // 2 :, width // 2 :].mean() < 0.1


def test_views_are_all_pairs_sizes_first():
    views = Views(RESIZED, [{"PadToStride": {"stride": 16}}], [fixed(40, 64), fixed(70, 96)], ["none", "vertical"])
    sample = sample_with(picture(80, 128))
    rendered = [views.render(sample, k) for k in range(len(views))]
    assert [(f.height, f.width, f.vertical) for _, f in rendered] == [
        (40, 64, False),
        (40, 64, True),
        (70, 96, False),
        (70, 96, True),
    ]
    assert rendered[2][0]["image"].shape == (1, 3, 80, 96)
    np.testing.assert_array_equal(rendered[3][0]["image"][:, :, :70], rendered[2][0]["image"][:, :, :70][:, :, ::-1])
    assert rendered[1][1].scale == (0.5, 0.5)
    assert sample.image.shape == (80, 128, 3), "the sample itself stays"


@pytest.mark.parametrize("resizes", [None, []])
def test_without_resizes_the_readers_own_size_counts(resizes):
    views = Views(RESIZED, (), resizes)
    assert len(views) == 1
    batch, frame = views.render(sample_with(picture(75, 110)), 0)
    assert (frame.height, frame.width, frame.scale) == (150, 220, (2.0, 2.0))
    assert batch["im_shape"].tolist() == [[150, 220]]
    assert batch["origin_shape"].tolist() == [[75, 110]]


def test_a_resize_replaces_all_of_the_reader():
    reader = [NATIVE[0], fixed(500, 500), {"ResizeShortEdge": {"short_edges": [64]}}, NATIVE[1]]
    _, frame = Views(reader, (), [fixed(96, 128)]).render(sample_with(picture(75, 110)), 0)
    assert (frame.height, frame.width) == (96, 128)


@pytest.mark.parametrize(
    ("middle", "message"),
    [
        ({"FlipImage": {}}, "FlipImage cannot be part of views"),
        ({"CropAroundDefect": {"height": 8, "width": 8}}, "CropAroundDefect cannot"),
        ({"JitterColor": {}}, "JitterColor cannot"),
        ({"ResizeShortEdge": {"short_edges": [400, 600]}}, "draws one at random"),
        ({"ResizeShrtEdge": {}}, "Did you mean 'ResizeShortEdge'"),
    ],
)
def test_random_and_unknown_transforms_of_the_reader_are_refused(middle, message):
    with pytest.raises(UserError, match=message):
        Views([NATIVE[0], middle, NATIVE[1]])


@pytest.mark.parametrize(
    ("resizes", "flips", "message"),
    [
        ([{"ResizeShortEdge": {"short_edges": [400, 600]}}], ["none"], "one entry of TestTimeAugmentation.resizes for each"),
        ([{"FlipImage": {}}], ["none"], "'FlipImage' is not one of ResizeFixed, ResizeShortEdge"),
        (["ResizeFixed"], ["none"], "is not of the form"),
        ([fixed(64, 64), fixed(32, 32), fixed(64, 64)], ["none"], "resizes: an entry is there twice"),
        (None, ["none", "none"], "flips: an entry is there twice"),
        (None, ["none", "diagonal"], "flips: diagonal; there are none, horizontal"),
        (None, [], "flips: empty"),
    ],
)
def test_bad_settings_are_refused(resizes, flips, message):
    with pytest.raises(UserError, match=message):
        Views(NATIVE, (), resizes, flips)


@pytest.mark.parametrize("reader", [[NATIVE[1]], [NATIVE[0]], [fixed(8, 8), NATIVE[0], NATIVE[1]]])
def test_readers_begin_with_reading_and_end_with_normalizing(reader):
    with pytest.raises(UserError, match="begin with ReadImage and end with NormalizeToCHW"):
        Views(reader)
