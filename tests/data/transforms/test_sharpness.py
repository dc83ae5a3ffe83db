"""GaussianBlur, Sharpen and CLAHE against their formulas; what all transforms of pixels have in common: test_photometric.py."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
from transform_samples import make_sample

from ppdet_ext.data.transforms import CLAHE, GaussianBlur, Sharpen
from ppdet_ext.errors import UserError


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_a_blur_takes_all_kernels_up_to_the_largest() -> None:
    sample = make_sample(24, 40, 0)
    single = {cv2.GaussianBlur(sample.image, (side, side), 0).tobytes(): side for side in (3, 5, 7)}
    found = [single[GaussianBlur(7, 1.0)(sample, rng(seed)).image.tobytes()] for seed in range(300)]
    assert {side: 80 < found.count(side) < 120 for side in (3, 5, 7)} == dict.fromkeys((3, 5, 7), True)
    assert single[GaussianBlur(3, 1.0)(sample, rng()).image.tobytes()] == 3


def test_sharpening_is_the_mix_it_says() -> None:
    sample = make_sample(24, 40, 3)
    image = sample.image.astype(float)
    around = sum(np.roll(image, (y, x), (0, 1)) for y in (-1, 0, 1) for x in (-1, 0, 1)) - image
    for alpha, lightness in ((0.2, 1.0), (0.5, 0.5)):
        expected = np.clip((1 - alpha) * image + alpha * (image * (8 + lightness) - around), 0, 255)
        found = Sharpen((alpha, alpha), (lightness, lightness), 1.0)(sample, rng()).image
        assert np.abs(found - expected)[1:-1, 1:-1].max() <= 1
    even = replace(sample, image=np.full((8, 8, 3), 100, np.uint8))
    np.testing.assert_array_equal(Sharpen((0, 1), (1, 1), 1.0)(even, rng()).image, even.image)
    shades = {int(Sharpen((0.5, 0.5), (0.5, 1), 1.0)(even, rng(seed)).image[0, 0, 0]) for seed in range(200)}
    assert shades == set(range(75, 101))


def test_clahe_evens_out_contrast_and_leaves_the_hue() -> None:
    y, x = np.mgrid[:64, :96]
    grey = np.repeat((100 + (x + y) % 11)[..., None], 3, axis=2).astype(np.uint8)
    sample = replace(make_sample(64, 96, 0), image=grey)
    spread = [CLAHE((limit, limit), 4, 1.0)(sample, rng()).image.std() for limit in (1, 4, 16)]
    assert grey.std() < spread[1] < spread[2]
    assert spread[0] < spread[1]
    evened = CLAHE((4, 4), 4, 1.0)(sample, rng()).image.astype(int)
    assert np.abs(evened[..., :1] - evened).max() <= 2


@pytest.mark.parametrize(("make", "message"), [
    (lambda: GaussianBlur(4), r"GaussianBlur\.kernel: 4 is even; .* take 5"),
    (lambda: GaussianBlur(1), r"GaussianBlur\.kernel: 1 is no whole number of 3 or more"),
    (lambda: Sharpen((0.5, 0.2)), r"Sharpen\.alpha: 0\.5 is above 0\.2"),
    (lambda: Sharpen((0.5,)), r"Sharpen\.alpha: \[0\.5\] are not two numbers"),
    (lambda: Sharpen(lightness=(-1, 1)), r"Sharpen\.lightness: -1 is no number of 0 or more"),
    (lambda: CLAHE((0.5, 4)), r"CLAHE\.clip_limit: 0\.5 is no number of 1 or more"),
    (lambda: CLAHE(tiles=0), r"CLAHE\.tiles: 0 is no whole number of 1 or more"),
])  # fmt: skip
def test_settings_that_make_no_sense_are_refused(make, message) -> None:
    with pytest.raises(UserError, match=message):
        make()
