"""The mean of checkpoints' weights: what it is, what it refuses, and batch norm's statistics afterwards."""

from pathlib import Path

import numpy as np
import paddle
import pytest

from ppdet_ext.commands.average import mean_weights, training_norms, update_statistics
from ppdet_ext.errors import UserError
from ppdet_ext.weights.files.paddle_file import read_data_file
from tests.support.engine_fakes import TinyLoader, TinyModel, run_tiny

TINY = {"weight": [2, 3], "steps": [1]}


def write(path: Path, **tensors: np.ndarray) -> Path:
    paddle.save(tensors, str(path))
    return path


def weights(*values: float, steps: int = 1, dtype: str = "float32") -> dict[str, np.ndarray]:
    return {"weight": np.array(values, dtype).reshape(2, 3), "steps": np.array([steps], np.int64)}


def test_mean_by_hand(tmp_path: Path) -> None:
    one = write(tmp_path / "one.pdparams", **weights(1, 2, 3, 4, 5, 6, steps=7))
    two = write(tmp_path / "two.pdparams", **weights(3, 2, 1, 0, -5, 0.5, steps=9))
    mean = mean_weights([one, two], TINY)
    assert list(mean) == ["weight", "steps"]
    np.testing.assert_array_equal(mean["weight"], np.array([[2, 2, 2], [2, 0, 3.25]], np.float32))
    assert mean["weight"].dtype == np.float32
    # A counter of steps has no mean; the last checkpoint's counts.
    np.testing.assert_array_equal(mean["steps"], [9])
    assert mean["steps"].dtype == np.int64


def test_sums_do_not_lose_digits(tmp_path: Path) -> None:
    # In float32 1e8 + 1 is 1e8.
    values = (1e8, 1.0, -1e8, 3.0)
    files = [write(tmp_path / f"{i}.pdparams", **weights(*[value] * 6)) for i, value in enumerate(values)]
    np.testing.assert_array_equal(mean_weights(files, TINY)["weight"], np.ones((2, 3), np.float32))


@pytest.mark.parametrize(("tensors", "message"), [
    (weights(1, 2, np.nan, 4, 5, 6), r"two\.pdparams: weight holds NaN or infinite"),
    (weights(1, 2, np.inf, 4, 5, 6), r"two\.pdparams: weight holds NaN or infinite"),
    ({**weights(*range(6)), "weight": np.zeros((3, 2), np.float32)}, r"(?s)two\.pdparams.*weight: shape \[3, 2\] in the file"),
    ({"weight": np.zeros((2, 3), np.float32)}, r"(?s)two\.pdparams.*steps: missing in the file"),
    ({**weights(*range(6)), "bias": np.zeros(2, np.float32)}, r"(?s)two\.pdparams.*bias: not in the model"),
])  # fmt: skip
def test_a_checkpoint_that_does_not_belong_is_named_with_the_tensor(tensors, message, tmp_path: Path) -> None:
    one = write(tmp_path / "one.pdparams", **weights(*range(6)))
    with pytest.raises(UserError, match=message):
        mean_weights([one, write(tmp_path / "two.pdparams", **tensors)], TINY)


def test_a_checkpoint_that_was_damaged_afterwards_is_refused(tmp_path: Path) -> None:
    model = run_tiny(tmp_path, epochs=2).model
    files = [tmp_path / "checkpoints" / f"epoch_{epoch}" / "model.pdparams" for epoch in (0, 1)]
    shapes = {name: list(tensor.shape) for name, tensor in model.state_dict().items()}
    mean = mean_weights(files, shapes)
    read = [read_data_file(file) for file in files]
    for name, value in mean.items():
        np.testing.assert_allclose(value, (read[0][name].astype(float) + read[1][name]) / 2, rtol=1e-6)
    changed = bytearray(files[1].read_bytes())
    changed[-20] ^= 1
    files[1].write_bytes(bytes(changed))
    with pytest.raises(UserError, match=r"epoch_1/model\.pdparams is damaged"):
        mean_weights(files, shapes)


def test_statistics_become_those_of_the_batches(tmp_path: Path) -> None:
    with paddle.utils.unique_name.guard():
        model = TinyModel()
    before = {name: tensor.numpy() for name, tensor in model.state_dict().items()}
    model.eval()
    batches = list(TinyLoader(5))
    update_statistics(model, batches)
    assert not model.training
    hidden = [model.first(batch["image"]).numpy() for batch in batches]
    np.testing.assert_allclose(model.norm._mean.numpy(), np.mean([x.mean(axis=0) for x in hidden], axis=0), atol=1e-6)
    spread = [np.mean([x.var(axis=0, ddof=ddof) for x in hidden], axis=0) for ddof in (0, 1)]
    assert any(np.allclose(model.norm._variance.numpy(), variance, atol=1e-6) for variance in spread)
    # Nothing else has changed, the momentum of later training neither.
    for name, tensor in model.state_dict().items():
        assert np.array_equal(tensor.numpy(), before[name]) == (not name.endswith(("_mean", "_variance"))), name
    assert model.norm._momentum == 0.9


def test_batch_norm_on_stored_statistics_does_not_train() -> None:
    model = TinyModel()
    assert training_norms(model) == [model.norm]
    model.norm._use_global_stats = True
    assert training_norms(model) == []
