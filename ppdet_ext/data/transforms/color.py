"""Photometric jitter."""

from dataclasses import replace

import cv2
import numpy as np

from ppdet_ext.registry import number_in, register_transform

from .sample import Sample

_GREY = np.array([0.299, 0.587, 0.114], np.float32)


@register_transform
class JitterColor:
    """Change brightness, contrast, saturation and hue at random, each by a factor or shift drawn evenly.

    All are off by default. Steel sheets are grey: saturation and hue mean nothing there.

    Args:
        brightness: added to all pixels, up to this share of 255, either way.
        contrast: distance from the image's mean is multiplied by 1 - contrast … 1 + contrast.
        saturation: distance from grey is multiplied by 1 - saturation … 1 + saturation.
        hue: turned by up to this share of the colour circle, either way; at most 0.5.
        probability: of changing the image at all.
    """

    def __init__(
        self,
        brightness: float = 0.0,
        contrast: float = 0.0,
        saturation: float = 0.0,
        hue: float = 0.0,
        probability: float = 1.0,
    ):
        self.brightness = number_in(brightness, "JitterColor.brightness", 0)
        self.contrast = number_in(contrast, "JitterColor.contrast", 0)
        self.saturation = number_in(saturation, "JitterColor.saturation", 0)
        self.hue = number_in(hue, "JitterColor.hue", 0)
        self.probability = number_in(probability, "JitterColor.probability", 0, 1)

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        chance = rng.random()
        shift, contrast, saturation, hue = rng.uniform(-1, 1, 4) * (
            255 * self.brightness,
            self.contrast,
            self.saturation,
            self.hue,
        )
        if chance >= self.probability:
            return sample
        image = sample.image
        if self.brightness or self.contrast:
            image = _stretch(image, 1 + contrast, shift)
        if self.saturation:
            image = _saturate(image, 1 + saturation)
        if self.hue:
            image = _turn_hue(image, hue)
        return replace(sample, image=image)


def _stretch(image: np.ndarray, gain: float, shift: float) -> np.ndarray:
    mean = image.mean()
    table = (np.arange(256) - mean) * gain + mean + shift
    return cv2.LUT(image, np.clip(np.rint(table), 0, 255).astype(np.uint8))


def _saturate(image: np.ndarray, gain: float) -> np.ndarray:
    mix = gain * np.eye(3, dtype=np.float32) + (1 - gain) * _GREY
    return cv2.transform(image, mix)


def _turn_hue(image: np.ndarray, turn: float) -> np.ndarray:
    hsv = cv2.cvtColor(image, cv2.COLOR_RGB2HSV)
    # OpenCV's 8-bit hue counts 180 steps to the circle.
    hsv[..., 0] = (hsv[..., 0].astype(np.int16) + round(turn * 180)) % 180
    return cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)
