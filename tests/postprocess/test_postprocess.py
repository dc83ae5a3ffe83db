"""What holds for all steps, settings by class, and lists of steps from a configuration."""

import re

import numpy as np
import pytest
import yaml
from postprocess_cases import IDS, NAMES, SIZE, candidates, columns, content, detections, mapped, masked, step_of, steps_of

from ppdet_ext.errors import UserError
from ppdet_ext.host.registry import STEPS
from ppdet_ext.postprocess import LikeliestClass, PostProcess, Step, per_class
from ppdet_ext.structures import Detections
from ppdet_ext.structures.candidates import Candidates

ARGUMENTS = {
    "BoxNMS": {"iou": 0.3},
    "ScoreThreshold": {"score": 0.4},
    "MaskThreshold": {"threshold": 0.4},
    "MinArea": {"area": 20},
    "FillHoles": {},
    "RemoveSmallComponents": {"area": 5},
    "SuppressOverlaps": {},
    "MaskNMS": {"iou": 0.1},
    "DropClasses": {"classes": ["shoe"]},
    "TopK": {"k": 4, "per_class": True},
    "ClassifierGate": {"threshold": 0.5},
    "SoftGate": {"area": 25, "c_factor": 3},
    "LikeliestClass": {"threshold": 0.2},
    "CoreExtent": {"core": 0.9, "extent": 0.5},
    "Components": {"min_area": 4},
}
GATES = ("ClassifierGate", "SoftGate")


@pytest.fixture
def gate_file(tmp_path) -> str:
    path = tmp_path / "gate.csv"
    path.write_text("ImageId,shirt,40,any\na.jpg,0.9,0.2,0.8\nb,0.1,0.6,0.9\nc.jpg,1,1,0.3\n")
    return str(path)


def taken_by(step: Step, rng: np.random.Generator) -> list[Candidates | Detections]:
    """Predictions of each kind that the step takes."""
    taken = [] if step.takes_masks else [mapped(rng)] + ([] if isinstance(step, LikeliestClass) else [candidates(rng)])
    return taken + ([] if step.needs_candidates else [detections(rng)])


@pytest.mark.parametrize("name", ARGUMENTS)
def test_steps_change_nothing_in_place_and_nothing_the_second_time(name: str, gate_file: str) -> None:
    arguments = ARGUMENTS[name] | ({"file": gate_file} if name in GATES else {})
    step = step_of(name, **arguments)
    changed = 0
    for seed in range(8):
        rng = np.random.default_rng(seed)
        for found in taken_by(step, rng):
            before = content(found)
            for array in (found.boxes, found.scores, found.labels):
                array.setflags(write=False)
            once = step(found, "a.jpg")
            assert content(found) == before
            assert content(step(found, "a.jpg")) == content(once)
            changed += content(once) != before
            if not step.needs_candidates or isinstance(once, Candidates):
                assert type(once) is (Detections if step.cuts_masks else type(found))
                assert content(step(once, "a.jpg")) == content(once)
    assert changed >= 3


@pytest.mark.parametrize("name", ARGUMENTS)
def test_steps_take_images_in_which_nothing_was_found(name: str, gate_file: str) -> None:
    arguments = ARGUMENTS[name] | ({"file": gate_file} if name in GATES else {})
    nobody = Candidates(
        *SIZE, np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int64), np.zeros((0, 5, 5))
    )
    result = steps_of({name: arguments})(nobody, "a.jpg")
    assert isinstance(result, Detections)
    assert len(result) == 0
    assert result.masks == []


def test_all_steps_are_tested() -> None:
    # RefineMasks, of a lower room, needs pictures and networks: tests/inference/test_refine_masks.py.
    assert set(ARGUMENTS) == set(STEPS) - {"RefineMasks"}


def test_values_by_class() -> None:
    def values(value: object) -> list[float]:
        return per_class(value, NAMES, IDS, "Step.value", 0.25).tolist()

    assert values(0.5) == [0.5, 0.5, 0.5]
    assert values([1, 2, 3.5]) == [1, 2, 3.5]
    assert values({"shoe": 1, "default": 2}) == [2, 1, 2]
    assert values({12: 3, "7": 4}) == [4, 0.25, 3]
    # A class whose name is another's id is meant by the name.
    assert per_class({"40": 9}, ["40", "x"], [7, 40], "k", 0).tolist() == [9, 0]


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ({"shoes": 1}, "no class 'shoes'. Did you mean 'shoe'?"),
        ({99: 1}, "no class 99. There are shirt, shoe, bag."),
        ([1, 2], "2 values for 3 classes"),
        ({"shoe": 1, 40: 2}, "'shoe' and 40 are the same class"),
        ("0.5", "'0.5' is no number"),
        ({"shoe": True}, "True is no number"),
        (float("nan"), "nan is no number"),
        (1.5, "1.5 is not from 0 to 1"),
        ({"bag": -0.1}, "-0.1 is not from 0 to 1"),
    ],
)
def test_values_by_class_that_cannot_be(value: object, words: str) -> None:
    with pytest.raises(UserError) as fault:
        steps_of({"ScoreThreshold": {"score": value}})
    assert str(fault.value).startswith("ScoreThreshold.score")
    assert words in str(fault.value)


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ({"MaskThreshold": {"threshold": 0}}, "MaskThreshold.threshold: 0 is not from 0.001 to 1"),
        ({"MinArea": {"area": -1}}, "MinArea.area: -1 is not 0 or more"),
        ({"TopK": {"k": 0}}, "TopK.k: 0"),
        ({"TopK": {}}, "missing 1 required positional argument: 'k'"),
        ({"DropClasses": {"classes": "shoe"}}, "no list"),
        ({"DropClasses": {"classes": ["shir"]}}, "Did you mean 'shirt'?"),
        ({"BoxNms": {"iou": 0.5}}, "step 'BoxNms' is not registered. Did you mean 'BoxNMS'?"),
        ({"BoxNMS": {"threshold": 0.5}}, "unexpected keyword argument 'threshold'"),
        ("BoxNMS", "is not of the form"),
    ],
)
def test_entries_that_cannot_be(entry: dict, words: str) -> None:
    with pytest.raises(UserError) as fault:
        steps_of(entry)
    assert words in str(fault.value)


def test_steps_run_in_the_order_of_the_configuration() -> None:
    # The better mask is small. Dropped first, it leaves its pixels to the other one; dropped last, it does not.
    small, big = columns(0, 2), columns(0, 10)
    found = masked([small, big], [0, 0], [0.9, 0.8])
    area, overlaps = {"MinArea": {"area": 100}}, {"SuppressOverlaps": {}}
    assert steps_of(area, overlaps)(found, "a.jpg").masks == [big]
    assert steps_of(overlaps, area)(found, "a.jpg").masks == [columns(2, 10)]


def test_masks_are_cut_where_the_first_step_needs_them() -> None:
    found = candidates(np.random.default_rng(0))
    assert content(steps_of(mask_threshold=0.7)(found, "a.jpg")) == content(found.detections(0.7))
    assert content(steps_of({"FillHoles": {}}, mask_threshold=0.7)(found, "a.jpg")) == content(
        step_of("FillHoles")(found.detections(0.7), "a.jpg")
    )
    whole = steps_of(
        {"BoxNMS": {"iou": 0.4}}, {"ScoreThreshold": {}}, {"MaskThreshold": {"threshold": 0.3}}, {"TopK": {"k": 3}}
    )
    kept = step_of("ScoreThreshold")(step_of("BoxNMS", iou=0.4)(found, "a.jpg"), "a.jpg")
    assert content(whole(found, "a.jpg")) == content(kept.select(np.arange(len(kept))[:3]).detections(0.3))


@pytest.mark.parametrize("before", [{"FillHoles": {}}, {"MaskThreshold": {}}])
def test_thresholds_of_masks_come_before_what_needs_masks(before: dict) -> None:
    with pytest.raises(UserError, match=f"put it before {next(iter(before))}"):
        steps_of(before, {"ScoreThreshold": {}}, {"MaskThreshold": {"threshold": 0.4}})


def test_models_without_masks_or_with_other_classes() -> None:
    boxes = np.array([[0, 0, 5, 5]], np.float32)
    boxes_only = Candidates(*SIZE, boxes, np.ones(1, np.float32), np.zeros(1, np.int64))
    assert steps_of({"BoxNMS": {}}, {"ScoreThreshold": {}})(boxes_only, "a.jpg").masks is None
    with pytest.raises(UserError, match=r"a\.jpg has no masks, which MinArea works on"):
        steps_of({"MinArea": {}})(boxes_only, "a.jpg")
    other = Candidates(*SIZE, boxes, np.ones(1, np.float32), np.full(1, 3))
    with pytest.raises(UserError, match=r"a\.jpg: the model predicts class number 4 of 3"):
        steps_of({"ScoreThreshold": {}})(other, "a.jpg")


def test_classifier_gate(gate_file: str) -> None:
    found = masked([columns(0, 4)] * 3, [0, 1, 2], [0.9, 0.8, 0.7])

    def left(name: str, **arguments) -> list[int]:
        return step_of("ClassifierGate", file=gate_file, **arguments)(found, name).labels.tolist()

    assert left("a.jpg") == [0, 2]  # bags have no column
    assert left("b.jpg") == [1, 2]  # named without its suffix
    assert left("c.jpg") == []
    assert left("c.jpg", any_threshold=0.3) == [0, 1, 2]
    assert left("a.jpg", threshold={"shirt": 0.95, "shoe": 0.2}) == [1, 2]
    with pytest.raises(UserError, match=r"gate\.csv has no row for d\.jpg"):
        left("d.jpg")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "the columns are ImageId and classes"),
        ("image,shirt\n", "the columns are ImageId and classes"),
        ("ImageId,shirt,shirt\n", "each once"),
        ("ImageId\na.jpg\n", "no column of a class"),
        ("ImageId,shirts\n", "Did you mean 'shirt'?"),
        ("ImageId,shirt\na.jpg,0.5\na.jpg,0.6\n", "line 3: a.jpg occurs twice"),
        ("ImageId,shirt\na.jpg,1.5\n", "line 2, column shirt: '1.5' is no probability"),
        ("ImageId,shirt\na.jpg,\n", "line 2, column shirt: '' is no probability"),
        ("ImageId,shirt\na.jpg\n", "line 2: has not as many values"),
        ("ImageId,shirt\na.jpg,0.5,0.5\n", "line 2: has not as many values"),
    ],
)
def test_classifier_files_that_cannot_be(text: str, words: str, tmp_path) -> None:
    path = tmp_path / "gate.csv"
    path.write_text(text)
    with pytest.raises(UserError) as fault:
        step_of("ClassifierGate", file=str(path))
    assert words in str(fault.value)
    with pytest.raises(UserError, match=r"cannot read .*nowhere\.csv"):
        step_of("ClassifierGate", file=str(tmp_path / "nowhere.csv"))


def test_the_documented_configuration(root) -> None:
    text = (root / "docs" / "postprocess.md").read_text()
    entries = yaml.safe_load(text.split("```yaml\n")[1].split("```")[0])["PostProcess"]
    steps = PostProcess(entries, ["shoe", "jacket", "bag", "belt"], [3, 13, 40, 5])
    assert [type(step).__name__ for step in steps.steps] == [next(iter(entry)) for entry in entries]
    assert set(STEPS) | {"RefineMasks"} == set(re.findall(r"^\| `(\w+): ", text, re.MULTILINE))
