"""Our networks' numbers against SMP's: what the tests assert and what benchmarks/smp_numbers.py prints."""

import contextlib
import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import paddle
from reference_checks import Check
from smp_models import Recorder, filled, parts_of
from smp_recipe import FIXTURES, image, proj_vector, sample_index, smp_name, target

Fixture = Mapping[str, np.ndarray]
# What README of the fixtures suggests, at least five times what torch's float32 differs from its float64 by.
PIXELS, PIXELS_SCSE = 5e-4, 1e-3  # standard deviations of the map
LOSS = 1e-5  # relative
NORM, PROJECTION = 5e-2, 2.5e-1  # of a gradient, relative to its norm
# The README has these a hundred times tighter for U-Net, FPN and PSPNet on plain ResNets. That holds where no rectifier sits so
# near its edge that float32 decides; of the deeper ones some do, which is what `exact_gradients` is for.
SMOOTH = re.compile("(unet(_aux|_nonorm)?|fpn(_cat)?|pspnet)-resnet18")
EXACT = 1e-5  # of gradients in float64, relative to the norm: Paddle keeps epsilons and ratios of sizes in float32
TINY = 1e-5  # of the model's largest gradient norm: gradients that are zero but for rounding


# Fixtures of which the repository keeps a part; the others are held where the whole ones lie beside the checkout.
KEPT = (
    *("unet-resnet18", "unet_scse-resnet18", "unet_aux-resnet18", "unetplusplus-resnet18", "fpn-resnet18", "pspnet-resnet18"),
    *("linknet-resnet18", "deeplabv3plus-resnet18", "unet-efficientnet-b0", "fpn-se_resnext50_32x4d", "fpn_cat-resnet18"),
    *("unet_nonorm-resnet18", "unet_bilinear-resnet18", "unet_depth4-resnet18", "unet_gray-resnet18", "deeplabv3-resnet18"),
    "deeplabv3plus_os8-resnet18",
)


def stored_networks() -> dict[str, Fixture]:
    """Name of each network -> the part of its fixture that the repository keeps."""
    with np.load(FIXTURES / "networks.npz") as file:
        networks: dict[str, dict[str, np.ndarray]] = {}
        for key in file.files:
            name, own = key.split("|")
            networks.setdefault(name, {})[own] = file[key]
    return networks


def whole_networks(folder: Path) -> dict[str, Fixture]:
    """The same from a folder of whole fixtures."""
    return {path.stem: np.load(path) for path in sorted(folder.glob("*-*.npz"))}


def keys_of(fixture: Fixture) -> list[str]:
    """Its keys, also of an open file."""
    return list(getattr(fixture, "files", fixture))


def distance(fixture: Fixture, key: str, value: np.ndarray) -> float:
    """Largest |difference| of a tensor and the fixture's values of it, in standard deviations of the tensor.

    All of it counts by its mean, in deviations, and its projection, relative to its norm.
    """
    if list(value.shape) != list(fixture[key + ".shape"]):
        return math.inf
    flat, name = value.astype(np.float64).ravel(), key.split("/", 1)[1]
    mean, std, _, _, norm, projection = fixture[key + "#"]
    theirs = fixture[key].ravel() if key in fixture else fixture[key + "@"]
    at = np.arange(flat.size) if theirs.size == flat.size else sample_index(name, flat.size)
    at = at[:: -(-at.size // theirs.size)]
    away = abs(flat @ proj_vector(name, flat.size) - projection) / norm
    return float(max(np.abs(flat[at] - theirs).max() / std, abs(flat.mean() - mean) / std, away))


def floor_of(fixture: Fixture, key: str) -> float | None:
    """What torch's float32 differs from its float64 by, in standard deviations of the tensor."""
    return float(fixture[key + "~"] / fixture[key + "#"][1]) if key + "~" in fixture else None


def pixels(name: str) -> float:
    """Tolerance of maps, in standard deviations."""
    return PIXELS_SCSE if "scse" in name else PIXELS


def group_of(part: str) -> str:
    """The row of a table that a part belongs to."""
    return part if part in ("logits", "labels") else "features" if part[0] == "f" else "decoder"


def maps(name: str, fixture: Fixture, tag: str, found: Mapping[str, np.ndarray]) -> Iterator[Check]:
    """Checks of what the fixture has of the input `tag`."""
    prefix = "training " if tag == "train" else ""
    for part in sorted(parts_of(keys_of(fixture), tag)):
        key = f"{tag}/{part}"
        away = distance(fixture, key, found[part]) if part in found else math.inf
        yield Check(name, prefix + group_of(part), key, away, pixels(name), floor_of(fixture, key))


def inference(name: str, fixture: Fixture) -> list[Check]:
    """Checks of features, decoder and logits, of every input that the fixture has."""
    model, checks = filled(name), []
    model.eval()
    tags = [tag for tag in ("a", "b", "odd", "wide") if f"{tag}/logits#" in fixture]
    recorder = Recorder(model, set().union(*(parts_of(keys_of(fixture), tag) for tag in tags)))
    for tag in tags:
        recorder.found.clear()
        with paddle.no_grad():
            model.outputs(paddle.to_tensor(image(tag, model.encoder.in_channels)))
        checks += maps(name, fixture, tag, recorder.found)
    return checks


def batch_of(tag: str) -> dict[str, paddle.Tensor]:
    """A training batch of the recipe's images and masks, the image with a gradient."""
    pictures = paddle.to_tensor(image(tag))
    pictures.stop_gradient = False
    return {"image": pictures, "class_masks": paddle.to_tensor(target(tag).astype(np.uint8))}


def training(name: str, fixture: Fixture) -> list[Check]:
    """Checks of a step: losses, maps in training, every gradient, the image's, and the batch norms' statistics."""
    model = filled(name)
    model.train()
    recorder = Recorder(model, parts_of(keys_of(fixture), "train"))
    batch = batch_of(training_tag(fixture))
    loss = model(batch)["loss"]
    loss.backward()
    ours, (single, double) = float(loss), fixture["train/loss"]
    checks = [Check(name, "loss", "train/loss", abs(ours - double) / double, LOSS, abs(single - double) / double)]
    checks += maps(name, fixture, "train", recorder.found)
    checks += gradients(name, fixture, model)
    key, allowed = "train/image_grad", PROJECTION / (100 if SMOOTH.fullmatch(name) else 1)
    away = distance(fixture, key, batch["image"].grad.numpy())
    checks.append(Check(name, "image's gradient", key, away, allowed, floor_of(fixture, key)))
    return [*checks, *statistics(name, fixture, model)]


def gradients(name: str, fixture: Fixture, model: paddle.nn.Layer) -> Iterator[Check]:
    """Checks of each gradient's norm and projection, relative to the norm; where a fixture has none there must be none."""
    finer = 100 if SMOOTH.fullmatch(name) else 1
    for what, allowed in (("gradient norms", NORM / finer), ("gradient projections", PROJECTION / finer)):
        for key, difference, floor in _gradients(fixture, model, what, TINY / allowed):
            # The gate's bias is a sum of large terms of both signs, which float32 does not hold.
            if not key.endswith("sSE.0.bias"):
                yield Check(name, what, key, difference, allowed, floor)


def exact_gradients(name: str, fixture: Fixture) -> list[Check]:
    """Checks of all gradients in float64, where no rectifier flips."""
    model = filled(name)
    model.train()
    batch = batch_of(training_tag(fixture))
    model.to(dtype="float64")
    with _default("float64"):
        batch["image"] = batch["image"].astype("float64")
        model(batch)["loss"].backward()
    what = "gradients in float64"
    found = [one for part in ("norms", "projections") for one in _gradients(fixture, model, part, 0.1)]
    return [Check(name, what, key, difference, EXACT) for key, difference, _ in found]


@contextlib.contextmanager
def _default(kind: str) -> Iterator[None]:
    before = paddle.get_default_dtype()
    paddle.set_default_dtype(kind)
    try:
        yield
    finally:
        paddle.set_default_dtype(before)


def _gradients(fixture: Fixture, model: paddle.nn.Layer, what: str, least: float) -> Iterator[tuple[str, float, float | None]]:
    """Name, difference of norm or projection relative to the norm, and floor of each gradient.

    least: what is added to the norm, as a share of the model's largest one, for gradients that are zero but for rounding.
    """
    rows = dict(zip(fixture["train/grad_names"].tolist(), fixture["train/grads"]))
    # Paddle counts the running statistics among the parameters.
    own = {smp_name(key): one for key, one in model.named_parameters() if not key.endswith(("._mean", "._variance"))}
    if set(rows) != set(own):
        yield f"names: {sorted(set(rows) ^ set(own))[:4]}", math.inf, None
        return
    largest = np.nanmax([row[3] for row in rows.values()])
    for key, (norm, projection, _, true_norm, true_projection, _) in rows.items():
        if np.isnan(norm):
            there = own[key].grad is not None and float(own[key].grad.abs().max()) > 0
            yield f"{key} has none", math.inf if there else 0.0, None
            continue
        value = own[key].grad.numpy().astype(np.float64)
        flat = (value.T if value.ndim == 2 else value).ravel()
        scale = true_norm + least * largest
        if what.endswith("norms"):
            yield key, abs(np.linalg.norm(flat) - true_norm) / scale, abs(norm - true_norm) / scale
        else:
            ours = flat @ proj_vector(key, flat.size)
            yield key, abs(ours - true_projection) / scale, abs(projection - true_projection) / scale


def training_tag(fixture: Fixture) -> str:
    """The input that a fixture was trained on."""
    return "b" if fixture["train/logits.shape"][0] == 2 else "c"


def statistics(name: str, fixture: Fixture, model: paddle.nn.Layer) -> Iterator[Check]:
    """Checks of the running means and variances after the step."""
    own = {smp_name(key): tensor for key, tensor in model.state_dict().items()}
    for key, (norm, projection, _) in zip(fixture["train/buffer_names"].tolist(), fixture["train/buffers"]):
        flat = own[key].numpy().astype(np.float64).ravel()
        away = max(abs(np.linalg.norm(flat) - norm), abs(flat @ proj_vector(key, flat.size) - projection)) / norm
        yield Check(name, "batch norm statistics", key, away, 1e-4)


def steps(fixture: Fixture) -> list[Check]:
    """Checks of U-Net's losses in five steps of SGD and of Adam with two rates."""
    return [*_steps(fixture, "sgd"), *_steps(fixture, "adam_two_rates")]


def _steps(fixture: Fixture, rule: str) -> Iterator[Check]:
    model = filled("unet-resnet18")
    model.train()
    if rule == "sgd":
        decay = paddle.regularizer.L2Decay(1e-4)
        optimizer = paddle.optimizer.Momentum(0.02, 0.9, model.parameters(), weight_decay=decay)
    else:
        rest = [*model.decoder.parameters(), *model.segmentation_head.parameters()]
        groups = [{"params": model.encoder.parameters(), "learning_rate": 0.1}, {"params": rest}]
        optimizer = paddle.optimizer.Adam(1e-3, parameters=groups)
    batch = batch_of("b")
    for number, (single, double) in enumerate(zip(*fixture[f"steps/{rule}"])):
        loss = model(batch)["loss"]
        loss.backward()
        optimizer.step()
        optimizer.clear_grad()
        floor = abs(single - double) / double
        # The first loss is of the same weights; afterwards rounding grows, fastest where Adam divides by tiny second moments.
        allowed = LOSS if number == 0 else {"sgd": 2e-4, "adam_two_rates": 1e-3}[rule]
        yield Check("unet-resnet18", rule, f"step {number}", abs(float(loss) - double) / double, allowed, floor)


def thin(fixture: Fixture, share: int = 8) -> dict[str, np.ndarray]:
    """The part of a whole fixture that the repository keeps: every `share`th of the sampled values, and all that is told."""
    kept = {}
    for key in keys_of(fixture):
        if key.endswith(("#", "~", ".shape", "_names", "grads", "buffers")) or key.startswith("steps/") or key == "train/loss":
            kept[key] = fixture[key]
        elif key.endswith("@"):
            kept[key] = fixture[key][::share]
        elif key + "#" in fixture:
            flat = fixture[key].ravel()
            kept[key + "@"] = flat[sample_index(key.split("/", 1)[1], flat.size)][::share]
    return kept
