"""Parts are registered without PaddleDetection, which learns of them once it is there."""

import subprocess
import sys

import pytest

from ppdet_ext import registry
from ppdet_ext.registry import KINDS, hand_over, register_step, register_transform

# What the runtime for exported models is made of.
ALONE = """
import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"paddle", "ppdet", "scipy", "pandas", "matplotlib"}:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Absent())
import numpy as np
import ppdet_ext.data.images.check, ppdet_ext.data.images.decode, ppdet_ext.data.transforms, ppdet_ext.files.manifest
from ppdet_ext.postprocess import PostProcess
from ppdet_ext.structures import Candidates

steps = PostProcess([{"ScoreThreshold": {"score": 0.5}}, {"BoxNMS": {"iou": 0.5}}, {"Components": {}}], ["a"], [1])
boxes = np.array([[0, 0, 8, 8], [0, 0, 8, 7], [2, 2, 4, 4]], np.float32)
found = Candidates(10, 12, boxes, np.array([0.9, 0.8, 0.1], np.float32), np.zeros(3, np.int64), np.ones((3, 4, 4), np.float32))
print([mask.area for mask in steps(found, "x.png").masks])
"""


def test_steps_transforms_and_pictures_need_no_framework() -> None:
    done = subprocess.run([sys.executable, "-c", ALONE], capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == ("[64]\n", "")


class FakeHost:
    """A framework that has one operator of its own, Decode."""

    def __init__(self) -> None:
        self.known: list[tuple[str, str]] = []

    def register(self, cls: type, kind: str) -> None:
        if cls.__name__ == "Decode":
            raise ValueError("taken")
        self.known.append((cls.__name__, kind))

    def kind_of(self, name: str) -> str | None:
        return "an operator" if name == "Decode" else None


@pytest.fixture(autouse=True)
def _apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_host", None)
    monkeypatch.setattr(registry, "_waiting", [])
    for kind in ("step", "transform"):
        monkeypatch.setitem(KINDS, kind, {})


def test_the_framework_learns_of_earlier_and_of_later_parts() -> None:
    register_step(type("Early", (), {}))
    host = FakeHost()
    hand_over(host)
    register_transform(type("Late", (), {}))
    assert host.known == [("Early", "step"), ("Late", "transform")]
    assert (list(KINDS["step"]), list(KINDS["transform"])) == (["Early"], ["Late"])


def test_a_name_that_the_framework_has_is_not_taken() -> None:
    hand_over(FakeHost())
    with pytest.raises(ValueError, match="taken"):
        register_transform(type("Decode", (), {}))
    assert KINDS["transform"] == {}
    register_step(type("A", (), {"__module__": "one"}))
    with pytest.raises(ValueError, match="there is a step named A already"):
        register_step(type("A", (), {"__module__": "two"}))


def test_a_name_of_the_framework_is_explained_where_it_is_there() -> None:
    assert registry.why_unknown("Decod", "transform").startswith("transform 'Decod' is not registered.")
    hand_over(FakeHost())
    assert registry.why_unknown("Decode", "transform") == (
        "Decode is an operator of ppdet, made for its own samples; here ReadImage does that."
    )
