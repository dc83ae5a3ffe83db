"""Gates by a classifier's probabilities: from a file, or from what predicts."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from postprocess_cases import IDS, NAMES, SIZE, candidates, columns, mapped, masked, step_of, steps_of

from ppdet_ext.errors import UserError
from ppdet_ext.postprocess import GateFile, ImageContext, write_gate_file

SHARES = st.floats(0, 1, width=32)


def passing(presence: list[float], **arguments) -> list[int]:
    found = masked([columns(0, 4)] * 3, [0, 1, 2], [0.9, 0.8, 0.7])
    image = ImageContext("a.jpg", np.array(presence, np.float32))
    return step_of("ClassifierGate", **arguments).apply(found, image).labels.tolist()


def test_without_a_file_the_classifier_beside_the_model_decides() -> None:
    assert passing([0.5, 0.4, 0.9]) == [0, 2]
    assert passing([0.5, 0.4, 0.9], threshold={"shoe": 0.3, "default": 0.8}) == [1, 2]
    with pytest.raises(UserError, match=r"no `file`, and no classifier tells of a\.jpg"):
        steps_of({"ClassifierGate": {}})(candidates(np.random.default_rng(0)), "a.jpg")
    with pytest.raises(UserError, match="tells of 2 classes, of 3"):
        passing([0.5, 0.5])


@pytest.mark.parametrize("place", ["first", "after masks are cut"])
def test_presence_goes_along_with_candidates(place: str) -> None:
    found = replace(mapped(np.random.default_rng(1)), presence=np.array([0.9, 0.1, 0.6], np.float32))
    gate: dict = {"ClassifierGate": {}}
    steps = steps_of(*([gate] if place == "first" else [{"FillHoles": {}}, gate]))
    assert steps.needs_presence
    assert set(steps(found, "a.jpg").labels.tolist()) == {0, 2}


@given(presence=st.lists(SHARES, min_size=3, max_size=3), threshold=st.floats(0, 1), area=st.integers(0, 400))
def test_a_file_says_the_same_as_the_classifier_that_wrote_it(
    tmp_path_factory, presence: list[float], threshold: float, area: int
) -> None:
    path = tmp_path_factory.mktemp("gate") / "gate.csv"
    write_gate_file(path, [("a.jpg", np.array(presence, np.float32))], NAMES, IDS, "--save_probabilities")
    found = masked([columns(0, 3), columns(5, 12), columns(20, 22)], [0, 1, 2], [0.9, 0.8, 0.7])
    image = ImageContext("a.jpg", np.array(presence, np.float32))
    for name, arguments in (("ClassifierGate", {"threshold": threshold}), ("SoftGate", {"area": area})):
        own = step_of(name, **arguments).apply(found, image)
        filed = step_of(name, file=str(path), **arguments).apply(found, ImageContext("a.jpg"))
        assert own.labels.tolist() == filed.labels.tolist()


@given(area=st.integers(0, 300), factor=st.floats(1, 20), share=SHARES)
def test_soft_gates_ask_for_more_where_the_classifier_doubts(area: int, factor: float, share: float) -> None:
    found = masked([columns(0, 6)], [1], [0.9])
    wanted = area * factor - area * (factor - 1) * share
    step = step_of("SoftGate", area={"shoe": area}, c_factor=factor)
    kept = len(step.apply(found, ImageContext("a.jpg", np.array([0, share, 0], np.float32))))
    assert kept == (6 * SIZE[0] >= wanted)
    # A classifier that is sure leaves MinArea's threshold alone, whatever the factor.
    sure = len(step.apply(found, ImageContext("a.jpg", np.ones(3, np.float32))))
    assert sure == len(step_of("MinArea", area=area)(found, "a.jpg"))


def test_soft_gates_of_classes_without_a_column_or_an_area(tmp_path: Path) -> None:
    path = tmp_path / "gate.csv"
    path.write_text("ImageId,shirt\na.jpg,0\n")
    found = masked([columns(0, 4)] * 3, [0, 1, 2], [0.9, 0.8, 0.7])
    step = step_of("SoftGate", area={"shirt": 48, "shoe": 96}, c_factor=3, file=str(path))
    assert step.apply(found, ImageContext("a.jpg")).labels.tolist() == [1, 2]
    with pytest.raises(UserError, match=r"SoftGate\.c_factor: 0\.5 is not 1 or more"):
        step_of("SoftGate", area=10, c_factor=0.5)
    with pytest.raises(UserError, match=r"SoftGate: .*gate\.csv has no row for b\.jpg"):
        step.check_names(["b.jpg"])


def test_columns_that_could_be_mistaken_are_named_by_their_id(tmp_path: Path) -> None:
    path, names, ids = tmp_path / "gate.csv", ["any", "shoe", "shoe", "default"], [7, 40, 12, 3]
    write_gate_file(path, [("a", np.array([0.1, 0.2, 0.3, 0.4]))], names, ids, "--save_probabilities")
    assert path.read_text().splitlines()[0] == "ImageId,7,40,12,3"
    assert GateFile.read(str(path), names, ids, "ClassifierGate").presence["a"].tolist() == [0.1, 0.2, 0.3, 0.4]
    with pytest.raises(UserError, match="no column can mean the class 'any'"):
        write_gate_file(path, [], ["any", "7"], [7, 8], "--save_probabilities")
