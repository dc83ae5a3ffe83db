"""Cutout, BrightnessContrast, JpegCompression, blur and so on: pixels change, annotations and later random numbers do not."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transform_samples import assert_same, make_sample, samples

from ppdet_ext.data.transforms import CLAHE, BrightnessContrast, Cutout, GaussianBlur, JpegCompression, Sharpen
from ppdet_ext.data.transforms.sample import Sample
from ppdet_ext.errors import UserError

KINDS = (Cutout, BrightnessContrast, JpegCompression, GaussianBlur, Sharpen, CLAHE)
always = st.sampled_from([kind(probability=1.0) for kind in KINDS])


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def flat(height: int, width: int, value: int) -> Sample:
    return replace(make_sample(height, width, 0), image=np.full((height, width, 3), value, np.uint8))


@settings(max_examples=60)
@given(samples, always, st.integers(0, 10**6))
def test_only_pixels_change(sample, transform, seed):
    before = replace(sample, image=sample.image.copy())
    changed = transform(sample, rng(seed))
    assert changed.image.shape == sample.image.shape
    assert changed.image.dtype == np.uint8
    assert_same(replace(changed, image=sample.image), sample)
    assert (changed.scale_factor, changed.original_size, changed.dropped) == (sample.scale_factor, sample.original_size, 0)
    # What it was given is as it was, and the same generator gives the same again.
    assert_same(sample, before)
    assert_same(transform(sample, rng(seed)), changed)


@pytest.mark.parametrize(("one", "other"), [
    (Cutout(1, 2, 2, 0.0), Cutout(50, 9, 3, 1.0)),
    (BrightnessContrast(0.0, 0.0, 0.0), BrightnessContrast(0.9, 0.9, 1.0)),
    (JpegCompression(5, 5, 0.0), JpegCompression(0, 100, 1.0)),
    (GaussianBlur(3, 0.0), GaussianBlur(9, 1.0)),
    (Sharpen(probability=0.0), Sharpen((0, 1), (0, 3), 1.0)),
    (CLAHE(probability=0.0), CLAHE((2, 9), 2, 1.0)),
])  # fmt: skip
def test_settings_do_not_change_what_later_transforms_draw(one, other) -> None:
    drawn = []
    for transform in (one, other):
        generator = rng(3)
        transform(make_sample(12, 20, 1), generator)
        drawn.append(generator.random(8).tolist())
    assert drawn[0] == drawn[1]


@pytest.mark.parametrize("kind", KINDS)
def test_probability(kind) -> None:
    generator, sample = rng(), make_sample(16, 16, 0)
    assert all(kind(probability=0.0)(sample, generator) is sample for _ in range(50))
    assert all(kind(probability=1.0)(sample, generator) is not sample for _ in range(50))
    changed = sum(kind(probability=0.3)(sample, generator) is not sample for _ in range(500))
    assert 110 < changed < 190


@settings(max_examples=60)
@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 9), st.integers(2, 30), st.integers(2, 30), st.integers(0, 999))
def test_cutout_blackens_at_most_what_it_says_and_nothing_else(height, width, count, hole_height, hole_width, seed):
    sample = flat(height, width, 200)
    image = Cutout(count, hole_height, hole_width, 1.0)(sample, rng(seed)).image
    assert set(np.unique(image)) <= {0, 200}
    assert (image == image[..., :1]).all()
    assert (image[..., 0] == 0).sum() <= count * hole_height * hole_width


def test_cutout_covers_one_rectangle_of_its_size_anywhere() -> None:
    covered, whole = np.zeros((24, 40), int), 0
    for seed in range(1500):
        black = Cutout(1, 6, 4, 1.0)(flat(24, 40, 9), rng(seed)).image[..., 0] == 0
        rows, columns = np.flatnonzero(black.any(axis=1)), np.flatnonzero(black.any(axis=0))
        assert (len(rows), len(columns)) == (np.ptp(rows) + 1, np.ptp(columns) + 1)
        assert len(rows) <= 6
        assert len(columns) <= 4
        assert black.sum() == len(rows) * len(columns)
        whole += black.sum() == 24
        covered += black
    # A centre of which nothing is cut off: 19 of 25 rows, 37 of 41 columns.
    assert whole / 1500 == pytest.approx(19 / 25 * 37 / 41, abs=0.05)
    # A corner is under 4 x 3 centres, a pixel amidst under 6 x 4.
    assert covered[0, 0] / 1500 == pytest.approx(4 * 3 / (25 * 41), abs=0.01)
    assert covered[3:-3, 2:-2].mean() / 1500 == pytest.approx(6 * 4 / (25 * 41), abs=0.002)
    assert covered.min() > 0


def test_cutouts_lie_apart() -> None:
    black = Cutout(8, 4, 4, 1.0)(flat(400, 400, 9), rng(1)).image[..., 0] == 0
    assert black.sum() > 6 * 16


@settings(max_examples=60)
@given(samples, st.floats(0, 0.9), st.floats(0, 0.9), st.integers(0, 999))
def test_brightness_and_contrast_are_the_formula(sample, brightness, contrast, seed):
    changed = BrightnessContrast(brightness, contrast, 1.0)(sample, rng(seed)).image
    generator = rng(seed)
    generator.random()
    b, c = generator.uniform(-1, 1, 2) * (brightness, contrast)
    scaled = sample.image * (1 + c)
    expected = np.clip(scaled + b * scaled.mean(), 0, 255)
    assert np.abs(changed - expected).max() <= 0.5 + 1e-6


def test_brightness_and_contrast_have_the_range_that_is_asked_for() -> None:
    even = flat(8, 8, 100)
    shifts = [int(BrightnessContrast(0.3, 0.0, 1.0)(even, rng(i)).image[0, 0, 0]) - 100 for i in range(400)]
    scales = [int(BrightnessContrast(0.0, 0.3, 1.0)(even, rng(i)).image[0, 0, 0]) - 100 for i in range(400)]
    for changes in (shifts, scales):
        assert -30 <= min(changes) < -27
        assert 27 < max(changes) <= 30
        assert abs(np.mean(changes)) < 3
    # Contrast leaves black as it is: it scales about black, not about the mean.
    half = even.image.copy()
    half[:4] = 0
    image = BrightnessContrast(0.0, 0.3, 1.0)(replace(even, image=half), rng(1)).image
    assert (image[:4] == 0).all()
    assert (image[4:] != 100).all()


def photograph() -> Sample:
    """Smooth colours with an edge, of which a codec keeps most."""
    y, x = np.mgrid[:64, :96]
    image = np.stack([40 + 2 * y, 200 - 1.5 * x, 90 + 40 * (x > 48)], axis=2).astype(np.uint8)
    return replace(make_sample(64, 96, 0), image=image)


def test_jpeg_loses_little_at_high_and_more_at_low_quality() -> None:
    sample = photograph()
    loss = [
        np.abs(JpegCompression(quality, quality, 1.0)(sample, rng()).image.astype(int) - sample.image).mean()
        for quality in (99, 80, 20)
    ]
    assert 0 < loss[0] < loss[1] < loss[2]
    # With red and blue exchanged on the way, or on the way back only, it would be far above.
    assert loss[0] < 1.5


def test_jpeg_draws_all_qualities_of_the_range() -> None:
    noise = rng().integers(0, 256, (64, 64, 3), np.uint8)
    sample = replace(flat(64, 64, 0), image=noise)
    single = {JpegCompression(q, q, 1.0)(sample, rng()).image.tobytes(): q for q in range(60, 100)}
    assert len(single) == 40
    found = {single[JpegCompression(70, 74, 1.0)(sample, rng(seed)).image.tobytes()] for seed in range(80)}
    assert found == {70, 71, 72, 73, 74}


@pytest.mark.parametrize(("make", "message"), [
    (lambda: Cutout(count=0), r"Cutout\.count: 0 is no whole number of 1 or more"),
    (lambda: Cutout(count=2.5), r"Cutout\.count: 2\.5 is no whole number"),
    (lambda: Cutout(height=1), r"Cutout\.height: 1 is no whole number of 2 or more"),
    (lambda: Cutout(width=-64), r"Cutout\.width: -64 is no whole number of 2 or more"),
    (lambda: JpegCompression(90, 80), "quality_lower 90 is above quality_upper 80"),
    (lambda: JpegCompression(80, 101), r"JpegCompression\.quality_upper: 101 is no whole number from 0 to 100"),
    (lambda: JpegCompression(-1, 99), r"JpegCompression\.quality_lower: -1 is no whole number from 0 to 100"),
    (lambda: BrightnessContrast(-0.1), r"BrightnessContrast\.brightness: -0\.1 is no number of 0 or more"),
    (lambda: BrightnessContrast(float("inf")), r"BrightnessContrast\.brightness: inf is no number"),
    (lambda: BrightnessContrast(0.3, 1.5), r"BrightnessContrast\.contrast: 1\.5 is no number from 0 to 1"),
])  # fmt: skip
def test_settings_that_make_no_sense_are_refused(make, message) -> None:
    with pytest.raises(UserError, match=message):
        make()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("value", [5, -1, 1.001, float("nan"), "0.5", None, True])
def test_what_is_no_probability_is_refused(kind, value) -> None:
    with pytest.raises(UserError, match=rf"{kind.__name__}\.probability: .* is no number from 0 to 1\."):
        kind(probability=value)


def test_the_smallest_cutout_covers_something() -> None:
    assert (Cutout(1, 2, 2, 1.0)(flat(9, 9, 200), rng()).image == 0).any()


def test_an_image_longer_than_jpeg_allows_is_named() -> None:
    sample = replace(flat(1, 65_501, 7), file="long.png", masks=[], semantic=None)
    with pytest.raises(UserError, match=r"long\.png: .*65501.* too many for JpegCompression"):
        JpegCompression(probability=1.0)(sample, rng())
