"""Weights, images, targets and logits of the fixtures made with segmentation_models_pytorch (SMP), from names and small seeds.

`name` is SMP's state-dict key and `shape` torch's layout; numpy's legacy stream of random numbers does not change.
"""

import re
import zlib
from pathlib import Path

import numpy as np

FIXTURES = Path(__file__).parents[1] / "modeling" / "fixtures_smp"

# The first pattern that matches a name gives the gain of a weight of two or more dimensions.
_GAINS = [
    (r"^encoder\..*\.se_module\.fc1\.weight$", 2.5),
    (r"^encoder\..*\.se_module\.fc2\.weight$", 2.0),
    (r"^encoder\..*\._se_(reduce|expand)\.weight$", 2.0),
    (r"^encoder\..*\._depthwise_conv\.weight$", 1.3),
    (r"^encoder\..*\._project_conv\.weight$", 1.1),
    (r"^encoder\._conv_stem\.weight$", 1.2),
    (r"^encoder\..*\._expand_conv\.weight$", 1.1),
    (r"^encoder\.", 1.2),
    (r"^decoder\..*\.cSE\.1\.weight$", 1.5),
    (r"^decoder\..*\.cSE\.3\.weight$", 1.0),
    (r"^decoder\..*\.sSE\.0\.weight$", 0.7),
    (r"^decoder\.(blocks\.|layer)\d+\.block\.1\.(0|block\.0)\.weight$", 0.9),
    (r"^decoder\.blocks\.\d+\.block\.[02]\.0\.weight$", 0.9),
    (r"^decoder\.p5\.weight$", 1.0),
    (r"^decoder\.p\d\.skip_conv\.weight$", 0.8),
    (r"^decoder\.seg_blocks\.", 1.2),
    (r"^decoder\.aspp\.0\.convs\.[123]\.0\.0\.weight$", 1.5),
    (r"^decoder\.", 1.2),
    (r"^segmentation_head\.0\.weight$", 1.5),
    (r"^classification_head\.", 2.0),
]
# The last batch norm of a residual branch is damped: (pattern, gain) by family of encoders.
_LAST_NORM = {
    "basic": (r"^encoder\.layer\d+\.\d+\.bn2\.weight$", 0.4),
    "bottleneck": (r"^encoder\.layer\d+\.\d+\.bn3\.weight$", 0.3),
    "senet": (r"^encoder\.layer\d+\.\d+\.bn3\.weight$", 0.6),
    "senet154": (r"^encoder\.layer\d+\.\d+\.bn3\.weight$", 0.25),
    "efficientnet": (r"^$", 1.0),
}
# tag -> (seed, batch, height, width)
INPUTS = {"a": (7, 1, 64, 96), "b": (8, 2, 64, 160), "odd": (9, 1, 70, 100), "wide": (10, 1, 224, 640), "c": (11, 4, 96, 96)}


def crc(text: str) -> int:
    """Seed made of a name."""
    return zlib.crc32(text.encode()) & 0xFFFFFFFF


def _family(encoder: str) -> str:
    if encoder in ("resnet18", "resnet34"):
        return "basic"
    if encoder == "senet154":
        return "senet154"
    starts = {"se_": "senet", "res": "bottleneck", "efficientnet": "efficientnet"}
    return next(family for start, family in starts.items() if encoder.startswith(start))


def parameter(name: str, shape: tuple[int, ...], encoder: str) -> np.ndarray:
    """Value of SMP's tensor `name`, float32; `encoder` only selects which batch norms are damped."""
    n = np.random.RandomState(crc(name)).standard_normal(shape)
    if name.endswith("running_mean"):
        n = 0.1 * n
    elif name.endswith("running_var"):
        n = 1 + 0.1 * np.abs(n)
    elif n.ndim == 1 and name.endswith(".weight"):
        pattern, gain = _LAST_NORM[_family(encoder)]
        n = (1 + 0.1 * n) * (gain if re.match(pattern, name) else 1)
    elif n.ndim == 1:
        n = 0.1 * n
    else:
        # No weight but those of Linknet's transposed convolutions is 4 × 4: (in, out, 4, 4), four taps an output pixel.
        deconv = shape[2:] == (4, 4)
        fan_in, axes = (shape[0] * 4, (0,)) if deconv else (int(np.prod(shape[1:])), tuple(range(1, n.ndim)))
        gain = next(g for pattern, g in _GAINS if re.match(pattern, name))
        n = gain * np.sqrt(2 / fan_in) * (n - n.mean(axis=axes, keepdims=True))
    return np.ascontiguousarray(n, dtype=np.float32)


def smp_name(name: str) -> str:
    """Our tensor's name -> SMP's."""
    return re.sub(r"\._variance$", ".running_var", re.sub(r"\._mean$", ".running_mean", name))


def fill(model, encoder: str, prefix: str = "") -> None:
    """Give every tensor of a model the recipe's value by its SMP name; `prefix` is "encoder." for an encoder alone."""
    for key, tensor in model.state_dict().items():
        shape = tuple(tensor.shape)
        linear = len(shape) == 2  # Paddle keeps the transposed matrix
        value = parameter(prefix + smp_name(key), shape[::-1] if linear else shape, encoder)
        tensor.set_value(np.ascontiguousarray(value.T) if linear else value)


def proj_vector(name: str, size: int) -> np.ndarray:
    """Direction along which a tensor is fingerprinted: its product with the flat tensor, in float64."""
    return np.random.RandomState(crc("proj:" + name)).standard_normal(size)


def sample_index(name: str, size: int, count: int = 1024) -> np.ndarray:
    """Which elements of a large tensor (in C order) a fixture has under `name` + "@"."""
    if size <= count:
        return np.arange(size)
    return np.sort(np.random.RandomState(crc("idx:" + name)).choice(size, count, replace=False))


def make_image(seed: int, batch: int, height: int, width: int, channels: int = 3) -> np.ndarray:
    """Blocks of 8 × 8 pixels with fine noise, (batch, channels, height, width) float32."""
    rng = np.random.RandomState(seed)
    coarse = rng.standard_normal((batch, channels, -(-height // 8), -(-width // 8)))
    coarse = np.repeat(np.repeat(coarse, 8, 2), 8, 3)[:, :, :height, :width]
    return (coarse + 0.3 * rng.standard_normal((batch, channels, height, width))).astype(np.float32)


def make_masks(seed: int, batch: int, classes: int, height: int, width: int) -> np.ndarray:
    """An ellipse for each class and image, (batch, classes, height, width) float32 0/1. The first image's last is empty."""
    rng = np.random.RandomState(1000 + seed)
    y, x = np.mgrid[0:height, 0:width]
    out = np.zeros((batch, classes, height, width), np.float32)
    for b, c in np.ndindex(batch, classes):
        cy, cx = rng.uniform(0.2, 0.8, 2) * (height, width)
        ry, rx = rng.uniform(0.1, 0.4, 2) * (height, width)
        if (b, c) != (0, classes - 1):
            out[b, c] = ((y + 0.5 - cy) / ry) ** 2 + ((x + 0.5 - cx) / rx) ** 2 <= 1
    return out


def image(tag: str, channels: int = 3) -> np.ndarray:
    """The fixtures' input `tag`."""
    return make_image(*INPUTS[tag], channels=channels)


def target(tag: str, classes: int = 4) -> np.ndarray:
    """The masks that belong to `image(tag)`."""
    seed, batch, height, width = INPUTS[tag]
    return make_masks(seed, batch, classes, height, width)


def drop_connect_uniforms(seed: int, blocks: int, batch: int) -> np.ndarray:
    """Numbers (blocks, batch) float32 in place of torch.rand: block i of image j is kept where ⌊keep_i + u[i, j]⌋ is 1."""
    return np.random.RandomState(5000 + seed).uniform(size=(blocks, batch)).astype(np.float32)


def loss_logits(channels: int, batch: int = 2, seed: int = 0, scale: float = 2.0) -> np.ndarray:
    """Logits (batch, channels, 16, 24) float32, no two of them equal."""
    rng = np.random.RandomState(300 + 10 * channels + seed)
    return (scale * rng.standard_normal((batch, channels, 16, 24))).astype(np.float32)


def loss_masks(channels: int, batch: int = 2, seed: int = 0, empty: tuple[int, ...] = ()) -> np.ndarray:
    """Masks (batch, channels, 16, 24) float32 0/1; the channels in `empty` have no pixel."""
    masks = make_masks(40 + seed, batch, channels + 1, 16, 24)[:, :channels].copy()
    masks[:, list(empty)] = 0
    return masks


def loss_labels(
    classes: int, batch: int = 2, seed: int = 0, absent: tuple[int, ...] = (), ignore: int | None = None
) -> np.ndarray:
    """Labels (batch, 16, 24) int64 in blocks of 4 × 4; `ignore` is put into about 15 % of them."""
    rng = np.random.RandomState(700 + seed)
    labels = rng.randint(0, classes, (batch, 4, 6))
    for c in absent:
        labels[labels == c] = (c + 1) % classes
    if ignore is not None:
        labels[rng.uniform(size=labels.shape) < 0.15] = ignore
    return np.repeat(np.repeat(labels, 4, 1), 4, 2).astype(np.int64)


MLP_SHAPES = {"encoder.weight": (8, 6), "encoder.bias": (8,), "decoder.weight": (3, 8), "decoder.bias": (3,)}


def mlp_params() -> dict[str, np.ndarray]:
    """First values of the perceptron 6 → 8 → 3 of the optimizers' fixtures, in torch's layout."""
    return {
        name: (np.random.RandomState(crc("mlp:" + name)).standard_normal(shape) * 0.5).astype(np.float32)
        for name, shape in MLP_SHAPES.items()
    }


def mlp_data() -> tuple[np.ndarray, np.ndarray]:
    """Its inputs (16, 6) and targets (16, 3), float32."""
    rng = np.random.RandomState(77)
    return rng.standard_normal((16, 6)).astype(np.float32), rng.standard_normal((16, 3)).astype(np.float32)


def difference(fixture: dict[str, np.ndarray], key: str, value: np.ndarray) -> float:
    """Largest |difference| of a tensor and a fixture's `key` ("a/f1"), whole or sampled, in standard deviations of the tensor.

    The mean and the projection, which see all values, count as well, beside their own scale.
    """
    assert list(value.shape) == list(fixture[key + ".shape"]), key
    flat, name = value.astype(np.float64).ravel(), key.split("/", 1)[-1]
    mean, std, _, _, l2, projection = fixture[key + "#"]
    stored = fixture[key].ravel() if key in fixture else fixture[key + "@"]
    found = flat if key in fixture else flat[sample_index(name, flat.size)]
    worst = np.abs(found - stored).max() / std
    away = abs(flat @ proj_vector(name, flat.size) - projection) / l2
    return float(max(worst, abs(flat.mean() - mean) / std, away))
