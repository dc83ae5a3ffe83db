"""Losses against segmentation_models_pytorch's: values and gradients of 126 cases, and what must hold for any target."""

import json
import re
from pathlib import Path

import numpy as np
import paddle
import pytest
import smp_recipe
from hypothesis import given, settings
from hypothesis import strategies as st

from ppdet_ext.errors import UserError
from ppdet_ext.host import registry
from ppdet_ext.host.registry import SEGMENTATION_LOSSES
from ppdet_ext.modeling.segmentation.losses import IGNORED, build_losses, loss_values
from ppdet_ext.modeling.segmentation.losses.lovasz import lovasz_terms

GOLDEN = Path(__file__).resolve().parents[1] / "golden"
CASES = json.loads((GOLDEN / "smp_losses.json").read_text())
# Their names -> ours; their arguments -> ours.
NAMES = {
    "BCEWithLogitsLoss": "BCE",
    "SoftBCEWithLogitsLoss": "BCE",
    "SoftCrossEntropyLoss": "SoftCE",
    "utils.DiceLoss": "BatchDice",
    "utils.JaccardLoss": "BatchJaccard",
    "MCCLoss": "MCC",
}
ARGUMENTS = {"smooth_factor": "smoothing"}
WITHOUT_EQUAL = ("mode", "ignore_index", "activation")


@pytest.fixture(scope="module")
def golden() -> dict[str, np.ndarray]:
    return dict(np.load(GOLDEN / "smp_losses.npz"))


def ours(name: str, given: dict) -> dict:
    """An entry of `losses` for one of theirs."""
    arguments = {ARGUMENTS.get(key, key): value for key, value in given.items() if key not in WITHOUT_EQUAL}
    if "pos_weight" in arguments:
        arguments["pos_weight"] = [weight for ((weight,),) in arguments["pos_weight"]]
    name = NAMES.get(name, name.removesuffix("Loss"))
    if given.get("mode") == "binary" and name != "Lovasz":
        arguments["per_class"] = False
    return {name: arguments}


def inputs(case: dict, dtype: str) -> tuple[np.ndarray, np.ndarray]:
    """Logits and targets, ignored pixels as 255."""
    given, target = case["inputs"], case["inputs"]["target"]
    logits = getattr(smp_recipe, given["fn"])(*given["args"], **given.get("kw", {})).astype(dtype)
    targets = getattr(smp_recipe, target["fn"])(*target["args"], **target.get("kw", {})).copy()
    value, what = given.get("ignore", (IGNORED, None))
    if what == "all":
        targets[:] = value
    elif what == "some":
        targets[..., -(targets.shape[-1] // 4) :] = value
    targets[targets == value] = IGNORED
    return logits, targets if targets.dtype == np.int64 else targets.astype(np.uint8)


def value_and_gradient(entries: list[dict], logits: np.ndarray, targets: np.ndarray) -> tuple[float, np.ndarray]:
    task = "multilabel" if logits.ndim == targets.ndim else "multiclass"
    x = paddle.to_tensor(logits, stop_gradient=False)
    total = sum(loss_values(build_losses(entries, task), x, paddle.to_tensor(targets)).values())
    total.backward()
    return float(total), x.grad.numpy()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])
def test_as_segmentation_models_pytorch(case: dict, dtype: str, golden: dict[str, np.ndarray]) -> None:
    parts = case.get("sum") or [{"weight": 1.0, "loss": case["loss"], "kwargs": case["kwargs"]}]
    entries = [ours(part["loss"], part["kwargs"]) for part in parts]
    for entry, part in zip(entries, parts):
        next(iter(entry.values()))["weight"] = part["weight"]
    value, gradient = value_and_gradient(entries, *inputs(case, dtype))
    expected, reference = golden[f"{case['name']}/value"], golden[f"{case['name']}/grad"]
    if case["name"] == "focal_binary_ignore_all":
        # NaN of theirs would end a training; of pixels that do not count there is nothing to learn.
        assert np.isnan(expected).all()
        expected = np.zeros(2)
    # The reference's gradient is that of float32, whose distance to its own float64 is the noise.
    np.testing.assert_allclose(value, expected[1], rtol=1e-7 if dtype == "float64" else 3e-6, atol=1e-12)
    np.testing.assert_allclose(gradient, reference, rtol=0, atol=2 * case["grad_noise"] + 5e-6 * case["grad_absmax"])


def tasks_of(name: str) -> tuple[str, ...]:
    return SEGMENTATION_LOSSES[name].tasks


BOTH = [(name, task) for name in SEGMENTATION_LOSSES for task in tasks_of(name)]


def drawn(seed: int, task: str, ignored: float) -> tuple[np.ndarray, np.ndarray]:
    """Logits of two images, four classes, and targets with a share of ignored pixels."""
    rng = np.random.default_rng(seed)
    logits = 3 * rng.standard_normal((2, 4, 5, 6)).astype(np.float32)
    shape = (2, 4, 5, 6) if task == "multilabel" else (2, 5, 6)
    targets = rng.integers(0, 2 if task == "multilabel" else 4, shape)
    targets[rng.random(shape) < ignored] = IGNORED
    return logits, targets.astype(np.uint8 if task == "multilabel" else np.int64)


@pytest.mark.parametrize(("name", "task"), BOTH)
@settings(max_examples=10)
@given(seed=st.integers(0, 999), ignored=st.sampled_from([0.3, 1.0]))
def test_ignored_pixels_change_nothing(name: str, task: str, seed: int, ignored: float) -> None:
    logits, targets = drawn(seed, task, ignored)
    value, gradient = value_and_gradient([{name: {}}], logits, targets)
    hidden = np.broadcast_to(targets == IGNORED if task == "multilabel" else targets[:, None] == IGNORED, logits.shape)
    assert np.isfinite(value)
    assert not gradient[hidden].any()
    other = np.where(hidden, -7 * logits + 1, logits)
    assert value_and_gradient([{name: {}}], other, targets)[0] == pytest.approx(value, rel=1e-5, abs=1e-7)


@pytest.mark.parametrize(("name", "task"), BOTH)
def test_sixteen_bits_are_computed_in_float32(name: str, task: str) -> None:
    logits, targets = drawn(1, task, 0.1)
    loss = build_losses([{name: {"weight": 0.5}}], task)[0](
        paddle.to_tensor(logits).astype("float16"), paddle.to_tensor(targets)
    )
    assert loss.dtype == paddle.float32
    assert loss.shape == []
    value, _ = value_and_gradient([{name: {}}], logits.astype(np.float16).astype(np.float32), targets)
    assert float(loss) == pytest.approx(0.5 * value)


@pytest.mark.parametrize("gamma", [0.0, 0.3, 1.0, 2.0])
def test_focal_loss_of_certain_pixels_has_a_gradient(gamma: float) -> None:
    """A power below 1 has an infinite slope at 0; the loss has none there."""
    logits = paddle.to_tensor([[[[500.0, -500.0, 0.5]]]])
    logits.stop_gradient = False
    build_losses([{"Focal": {"gamma": gamma}}], "multilabel")[0](logits, paddle.to_tensor([[[[1, 0, 1]]]], "uint8")).backward()
    gradient = logits.grad.numpy().ravel()
    assert np.isfinite(gradient).all()
    assert gradient[:2].tolist() == [0, 0]
    assert gradient[2] < 0


@pytest.mark.parametrize("logit", [-1e30, -1e4, -100.0, 100.0, 1e4, 1e30])
def test_cross_entropies_of_large_logits_are_exact(logit: float) -> None:
    x = np.full((1, 1, 1, 1), logit, np.float32)
    for target in (0, 1):
        value, gradient = value_and_gradient([{"BCE": {}}], x, np.full(x.shape, target, np.uint8))
        assert value == pytest.approx(max(-x.item() if target else x.item(), 0))
        assert gradient.item() == pytest.approx(float(logit > 0) - target, abs=1e-30)
    # The other class has 0.
    pair = np.concatenate([x, 0 * x], axis=1)
    value, _ = value_and_gradient([{"SoftCE": {"smoothing": 0.2}}], pair, np.zeros((1, 1, 1), np.int64))
    assert value == pytest.approx(0.9 * max(-x.item(), 0) + 0.1 * max(x.item(), 0))


@given(seed=st.integers(0, 9999), size=st.integers(1, 12), share=st.sampled_from([0.0, 0.3, 1.0]))
@settings(max_examples=50)
def test_lovasz_is_one_minus_iou_of_hard_predictions(seed: int, size: int, share: float) -> None:
    """At errors of 0 and 1 the extension is the set function that it extends."""
    rng = np.random.default_rng(seed)
    there, wrong = rng.random(size) < share, rng.random(size) < 0.5
    found = lovasz_terms(*(paddle.to_tensor(one) for one in (wrong.astype(np.float32), there, np.ones(size, bool))))
    predicted = there ^ wrong
    either = (predicted | there).sum()
    assert float(found.sum()) == pytest.approx(1 - (predicted & there).sum() / either if either else 0.0, abs=1e-6)


@pytest.mark.parametrize("name", ["BCE", "Dice", "Focal", "Lovasz", "MCC"])
def test_sums_over_large_batches_are_exact(name: str) -> None:
    """Paddle's own mean and sums over some axes are wrong by a thousandth here."""
    rng = np.random.default_rng(0)
    logits = rng.standard_normal((1, 2, 512, 1024)).astype(np.float32) - 4
    targets = (rng.random(logits.shape) < 0.01).astype(np.uint8)
    found, exact = (value_and_gradient([{name: {}}], logits.astype(dtype), targets)[0] for dtype in ("float32", "float64"))
    assert found == pytest.approx(exact, rel=3e-6)


def test_losses_have_names_of_their_own() -> None:
    losses = build_losses(
        [{"BCE": {"weight": 0.6}}, {"BatchDice": {}}, {"Dice": {"classes": [0]}}, {"Dice": {"classes": [1]}}], "multilabel"
    )
    logits, targets = (paddle.to_tensor(one) for one in drawn(2, "multilabel", 0))
    assert list(loss_values(losses, logits, targets)) == ["loss_bce", "loss_batch_dice", "loss_dice", "loss_dice2"]


@pytest.mark.parametrize(("entries", "task", "message"), [
    ([{"Dise": {}}], "multilabel", "Did you mean 'Dice'"),
    ([{"Dice": {"smoth": 1}}], "multilabel", "Dice: .*smoth"),
    ([{"SoftCE": {}}], "multilabel", "SoftCE takes multiclass targets, and the task is multilabel. Take BCE"),
    ([{"MCC": {}}], "multiclass", "MCC takes multilabel targets"),
    ([{"BCE": {"weight": -1}}], "multilabel", "BCE.weight: -1 is no number of 0 or more"),
    ([{"Focal": {"reduction": "man"}}], "multilabel", "Did you mean 'mean'"),
    ([{"FlipImage": {}}], "multilabel", "FlipImage is a transform, no segmentation loss"),
    ([], "multilabel", "there is no loss"),
])  # fmt: skip
def test_what_cannot_be_a_loss_is_said(entries: list[dict], task: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        build_losses(entries, task)


@pytest.mark.parametrize(
    "arguments", [{"Dice": {"class_weights": [1.0, 2.0]}}, {"Dice": {"classes": [4]}}, {"BCE": {"pos_weight": [1.0, 2.0]}}]
)
def test_numbers_for_other_classes_are_refused(arguments: dict) -> None:
    with pytest.raises(UserError, match="class"):
        value_and_gradient([arguments], *drawn(0, "multilabel", 0))


def test_the_loss_of_the_page(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (root / "docs" / "losses.md").read_text()
    (program,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    monkeypatch.setattr(registry, "SEGMENTATION_LOSSES", known := dict(SEGMENTATION_LOSSES))
    monkeypatch.setitem(registry.KINDS, "segmentation loss", known)
    exec(compile(program, "squared.py", "exec"), {"__name__": "squared"})
    logits, targets = np.zeros((1, 1, 1, 3), np.float32), np.array([[[[1, 0, IGNORED]]]], np.uint8)
    value, gradient = value_and_gradient([{"Squared": {"power": 1.0, "weight": 2.0}}], logits, targets)
    assert value == pytest.approx(2 * (0.5 + 0.5) / 3)
    np.testing.assert_allclose(gradient.ravel(), np.array([-1, 1, 0]) * 2 * 0.25 / 3, rtol=1e-6)


def test_the_page_names_each_loss(root: Path) -> None:
    rows = re.findall(r"^\| `(\w+)` \|", (root / "docs" / "losses.md").read_text(), re.MULTILINE)
    assert set(SEGMENTATION_LOSSES) <= set(rows)
