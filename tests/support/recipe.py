"""Weights and images of the reference fixtures, regenerated from parameter names and small seeds."""

import re
import zlib

import numpy as np

_GAINS = [
    (r"backbone\..*\.conv_offset\.weight", 0.15),
    (r"backbone\.", 1.2),
    (r"neck\.lateral_convs\.", 0.7),
    (r"neck\.fpn_convs\.", 0.35),
    (r"rpn_head\.rpn_conv\.", 1.3),
    (r"rpn_head\.rpn_cls\.", 1.0),
    (r"rpn_head\.rpn_reg\.", 0.2),
    (r"roi_head\.bbox_head\.\d+\.shared_fcs\.", 1.2),
    (r"roi_head\.bbox_head\.\d+\.fc_cls\.", 5.0),
    (r"roi_head\.bbox_head\.\d+\.fc_reg\.", 0.15),
    (r"roi_head\.semantic_head\.lateral_convs\.", 0.8),
    (r"roi_head\.semantic_head\.", 1.2),
    (r"roi_head\.mask_head\.\d+\.conv_res\.", 0.7),
    (r"roi_head\.mask_head\.\d+\.", 1.15),
]
_BACKGROUND_BIAS = {"tiny_a": 23.25, "tiny_b": 18.5, "tiny_c": 23.5, "full_a": 32.5, "full_b": 25.0, "full_c": 38.0}


def crc(text: str) -> int:
    """Seed made of a name."""
    return zlib.crc32(text.encode()) & 0xFFFFFFFF


def parameter(name: str, shape: tuple[int, ...], model: str) -> np.ndarray:
    """Value of one mmdetection state-dict entry, in torch's layout, float32."""
    n = np.random.RandomState(crc(name)).standard_normal(shape)
    if name.endswith("running_mean"):
        return (0.1 * n).astype(np.float32)
    if name.endswith("running_var"):
        return (1 + 0.1 * np.abs(n)).astype(np.float32)
    if n.ndim == 1 and name.endswith(".weight"):
        last_norm = re.match(r"backbone\.layer\d+\.\d+\.bn3\.weight$", name)
        return ((1 + 0.1 * n) * (0.3 if last_norm else 1)).astype(np.float32)
    if n.ndim == 1:
        n *= 0.1
        if re.match(r"roi_head\.bbox_head\.\d+\.fc_cls\.bias$", name):
            n[-1] += _BACKGROUND_BIAS[model]
        return n.astype(np.float32)
    deconv = re.match(r"roi_head\.mask_head\.\d+\.upsample\.weight$", name)
    fan_in, axes = (shape[0], (0,)) if deconv else (int(np.prod(shape[1:])), tuple(range(1, n.ndim)))
    gain = next(g for pattern, g in _GAINS if re.match(pattern, name))
    return (gain * np.sqrt(2.0 / fan_in) * (n - n.mean(axis=axes, keepdims=True))).astype(np.float32)


def image(seed: int, height: int, width: int, batch: int = 1, valid: list | None = None) -> np.ndarray:
    """Blocky noise (batch, 3, height, width) float32, zero outside each image's `valid` (h, w)."""
    rng = np.random.RandomState(seed)
    coarse = rng.standard_normal((batch, 3, -(-height // 8), -(-width // 8)))
    coarse = np.repeat(np.repeat(coarse, 8, 2), 8, 3)[:, :, :height, :width]
    out = (coarse + 0.3 * rng.standard_normal((batch, 3, height, width))).astype(np.float32)
    for b, (h, w) in enumerate(valid or []):
        out[b, :, h:], out[b, :, :, w:] = 0, 0
    return out


def projection(name: str, size: int) -> np.ndarray:
    """Direction along which a gradient is fingerprinted."""
    return np.random.RandomState(crc("proj:" + name)).standard_normal(size)
