"""What keeps a model from being exported: differences from the eager one, and what cannot be traced."""

from pathlib import Path

import numpy as np
import paddle
import pytest

from ppdet_ext.errors import UserError
from ppdet_ext.export.graph import ExportGraph
from ppdet_ext.export.paddle import save_paddle
from ppdet_ext.export.verify import check, compare


class Told:
    """An engine that says what it was told to."""

    def __init__(self, maps: np.ndarray) -> None:
        self.maps = maps

    def run(self, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        return {"maps": self.maps}


@pytest.mark.parametrize(
    ("maps", "message"),
    [
        (np.full((1, 1, 4, 4), 0.01, np.float32), r"by more than fp32 may: maps 0.01 .*, allowed \(0.001, 0.0001\)"),
        (np.full((1, 1, 4, 4), np.nan, np.float32), "output maps is not finite"),
        (np.zeros((1, 1, 4, 5), np.float32), r"output maps is of shape \(1, 1, 4, 5\)"),
    ],
)
def test_differences_are_refused(maps: np.ndarray, message: str, monkeypatch):
    monkeypatch.setattr("ppdet_ext.export.verify.eager_outputs", lambda *_: {"maps": np.zeros((1, 1, 4, 4), np.float32)})
    pixels = [np.zeros((1, 4, 4, 3), np.uint8)]
    with pytest.raises(UserError, match=message):
        check(compare(None, None, Told(maps), pixels), "fp32")  # type: ignore[arg-type]
    (found,) = compare(None, None, Told(np.full((1, 1, 4, 4), 1e-5, np.float32)), pixels)  # type: ignore[arg-type]
    assert found.largest == pytest.approx(1e-5)
    check([found], "fp32")


class Untraceable(paddle.nn.Layer):
    """A model whose size must be known."""

    def traced(self, images: paddle.Tensor, im_shape: paddle.Tensor) -> dict[str, paddle.Tensor]:
        raise UserError("Untraceable pools fields: export it with --size HEIGHT WIDTH.")


def test_what_cannot_be_traced_is_one_line(tmp_path: Path, capfd):
    model = Untraceable()
    model.eval()
    with pytest.raises(
        UserError, match=r"^Untraceable cannot be traced: [^\n]*pools fields: export it with --size HEIGHT WIDTH\.$"
    ):
        save_paddle(ExportGraph(model, [0.5], [0.5], 32), (1, None, None, 3), tmp_path)
    assert capfd.readouterr() == ("", "")
