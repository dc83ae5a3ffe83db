"""What is chosen for a data set: anchors, sizes, schedule; and that the configuration with it is accepted."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ppdet_ext.config.load import load_config
from ppdet_ext.errors import UserError
from ppdet_ext.modeling.detection.anchors import AnchorGrid
from ppdet_ext.starter.anchors import STRIDES, USUAL_RATIOS, best_overlaps, choose_anchors
from ppdet_ext.starter.choose import CPU, WANTED_SIZE, Machine, choose
from ppdet_ext.starter.models import MODELS, model_named
from ppdet_ext.starter.statistics import statistics_of
from ppdet_ext.starter.write import DataSection, DataSections, Naming, configuration
from ppdet_ext.structures import Record, Rle

CPU_20_GB = Machine(False, 20e9)


def records(sizes, boxes_of, crowd: bool = False, labels: int = 1) -> list[Record]:
    """Images of these sizes, each with these boxes (x1, y1, x2, y2), full masks, classes in turn."""
    made = []
    for number, (height, width) in enumerate(sizes):
        boxes = np.array(boxes_of, np.float32).reshape(-1, 4)
        masks = []
        for x1, y1, x2, y2 in boxes.astype(int):
            masks.append(Rle.full(y2 - y1, x2 - x1).place(y1, x1, height, width))
        of_class = np.arange(len(boxes)) % labels
        made.append(
            Record(number, f"{number}.png", f"{number}.png", height, width, boxes, of_class, masks, np.full(len(boxes), crowd))
        )
    return made


def iou_matrix(boxes: np.ndarray, others: np.ndarray) -> np.ndarray:
    low = np.maximum(boxes[:, None, :2], others[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], others[None, :, 2:])
    common = np.clip(high - low, 0, None).prod(axis=2)
    area = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)[:, None] + (others[:, 2:] - others[:, :2]).prod(axis=1)[None]
    return common / (area - common)


@settings(max_examples=40)
@given(st.integers(0, 10**6), st.booleans(), st.sampled_from([3.0, 8.0]))
def test_overlaps_are_those_with_the_models_own_anchors(seed: int, inside: bool, scale: float) -> None:
    rng = np.random.default_rng(seed)
    height, width = (int(edge) for edge in rng.integers(64, 320, 2))
    corner = rng.uniform(0, 0.8, (6, 2)) * (width, height)
    boxes = np.column_stack([corner, corner + rng.uniform(4, 100, (6, 2))]).clip(0, (width, height, width, height))
    ratios = (0.125, 1.0, 5.657)
    grid = AnchorGrid(STRIDES, ratios, scale)
    expected = np.zeros((6, 3))
    for level, stride in enumerate(STRIDES):
        anchors = grid.level(level, -(-height // stride), -(-width // stride)).astype(np.float64)
        overlaps = iou_matrix(boxes, anchors)
        outside = (anchors < -1e-4).any(axis=1) | (anchors[:, 2] > width + 1e-4) | (anchors[:, 3] > height + 1e-4)
        overlaps[:, outside & inside] = 0
        for column in range(3):
            expected[:, column] = np.maximum(expected[:, column], overlaps[:, column::3].max(axis=1))
    found = best_overlaps(boxes, np.tile([height, width], (6, 1)).astype(np.float64), ratios, scale, inside)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_usual_anchors_stay_where_they_fit_and_scratches_get_their_own() -> None:
    squares = np.array([[40 + 8 * i, 40 + 8 * i, 72 + 8 * i, 72 + 8 * i] for i in range(20)], np.float64)
    sizes = np.full((20, 2), 320.0)
    assert choose_anchors(squares, sizes).ratios == USUAL_RATIOS
    scratches = np.array([[20, 30 + 10 * i, 240, 40 + 10 * i] for i in range(20)], np.float64)
    found = choose_anchors(scratches, sizes)
    assert min(found.ratios) < 0.1
    assert set(USUAL_RATIOS) <= set(found.ratios)
    assert found.usual == 0
    assert found.reached > 0.9


def test_small_objects_make_images_larger_and_large_ones_smaller() -> None:
    def chosen(side: int):
        found = statistics_of(records([(500, 1000)] * 20, [[100, 100, 100 + side, 100 + side]]), ["pit"], "x")
        return choose(found, MODELS["htc_small"], CPU_20_GB)

    large, small, speck = chosen(200), chosen(24), chosen(3)
    assert large.shown[0] < small.shown[0] < speck.shown[0]
    assert large.shown[0] * large.shown[1] >= CPU.least * 0.9
    assert small.small >= WANTED_SIZE
    # Within what is bearable, and no more than enlarged twice.
    assert speck.shown[0] * speck.shown[1] <= CPU.most * 1.01
    assert large.window is None
    assert speck.window is not None
    assert speck.window[0] * speck.window[1] <= CPU.window


@settings(max_examples=60)
@given(
    st.lists(st.tuples(st.integers(1, 5000), st.integers(1, 5000)), min_size=1, max_size=6),
    st.integers(0, 10**6),
    st.sampled_from(sorted(MODELS)),
    st.floats(0, 200e9),
)
def test_whatever_the_data_the_choices_go_together(sizes, seed: int, name: str, memory: float) -> None:
    rng = np.random.default_rng(seed)
    own = []
    for number, (height, width) in enumerate(sizes):
        y, x = rng.integers(0, height), rng.integers(0, width)
        boxes = np.array([[x, y, rng.integers(x + 1, width + 1), rng.integers(y + 1, height + 1)]], np.float32)
        masks = [Rle.full(1, 1).place(int(y), int(x), height, width)]
        own.append(Record(number, "", "", height, width, boxes, np.zeros(1, np.int64), masks, np.zeros(1, bool)))
    found = statistics_of(own, ["a"], "x")
    chosen = choose(found, MODELS[name], Machine(False, memory))
    assert 1 <= chosen.short_edge <= 2 * min(found.usual_size)
    assert chosen.long_limit >= chosen.short_edge
    assert 1 <= chosen.batch <= len(own)
    assert 0 < chosen.milestones[0] < chosen.milestones[1] < chosen.epochs
    assert 1 <= chosen.warmup <= max(1, chosen.milestones[0] * chosen.steps)
    if chosen.window is not None:
        assert all(1 <= edge <= whole for edge, whole in zip(chosen.window, chosen.shown))
    if chosen.anchors is not None:
        assert chosen.anchors.reached >= chosen.anchors.usual


def test_schedule_batch_and_empty_images() -> None:
    some = records([(128, 256)] * 10, [[10, 10, 60, 60]])
    empty = records([(128, 256)] * 30, [])
    few = choose(statistics_of(some, ["a"], "x"), MODELS["htc_small"], CPU_20_GB)
    assert few.epochs == CPU.seen // 10
    assert few.empty_ratio is None
    assert 0 < few.milestones[0] < few.milestones[1] < few.epochs
    assert few.warmup <= few.milestones[0] * few.steps // 4
    assert choose(statistics_of([*some, *empty], ["a"], "x"), MODELS["htc_small"], CPU_20_GB).empty_ratio == 0.25
    assert choose(statistics_of(some, ["a"], "x"), MODELS["htc_small"], Machine(False, 1e9)).batch == 1
    assert choose(statistics_of(some * 1000, ["a"], "x"), MODELS["htc_small"], CPU_20_GB).epochs == CPU.epochs[0]
    one = choose(statistics_of(some[:1], ["a"], "x"), MODELS["htc_small"], CPU_20_GB)
    assert (one.batch, one.epochs) == (1, CPU.epochs[1])


def test_a_class_that_tells_sides_is_not_mirrored() -> None:
    found = statistics_of(records([(128, 256)], [[10, 10, 60, 60]]), ["left_shoe"], "x")
    assert not choose(found, MODELS["htc_small"], CPU_20_GB).mirror


def test_nothing_to_learn_from_is_said() -> None:
    with pytest.raises(UserError, match="none of 2 images has an object"):
        statistics_of(records([(64, 64)] * 2, [[1, 1, 9, 9]], crowd=True), ["a"], "x")
    with pytest.raises(UserError, match="there is no image"):
        statistics_of([], ["a"], "x")
    with pytest.raises(UserError, match="Did you mean 'htc_small'"):
        model_named("htc_smal", False)
    assert model_named("htc", True) is MODELS["htc_r50"]


@pytest.mark.parametrize("name", MODELS)
def test_the_configuration_is_accepted_from_any_folder(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    classes = ['rust: "red"', "Zunder # 2", "no", "\x07bell", "划痕"]
    own = records([(256, 1600)] * 8, [[10, 10, 60, 60], [0, 100, 1600, 106], [5, 5, 9, 9]], labels=5)
    found = statistics_of(own, classes, "x")
    chosen = choose(found, MODELS[name], CPU_20_GB)
    train = DataSection("CocoJsonDataSet", {"dataset_dir": 'my "data"', "anno_path": "a.json"})
    data = DataSections(train, train, None)
    text = configuration(found, chosen, MODELS[name], CPU_20_GB, data, Naming("mine", "marks", ("train",)))
    assert max(map(len, text.splitlines())) <= 200
    (tmp_path / "mine.yml").write_text(text, encoding="utf-8")
    cfg = load_config("mine.yml")
    assert cfg.num_classes == 5
    assert cfg.TrainDataset.dataset_dir == 'my "data"'
    # Half of the 4 x 4 px that the smallest have.
    assert cfg.get("PostProcess") == ([{"Components": {"min_area": 8}}] if name == "unet" else None)
    if chosen.anchors is not None:
        assert tuple(cfg.resolved["HTCRPNHead"]["ratios"]) == chosen.anchors.ratios


def test_a_shipped_base_is_found_and_one_beside_the_file_goes_before_it(tmp_path: Path) -> None:
    (tmp_path / "mine.yml").write_text("_BASE_: [configs/htc/steel_sample.yml]\nepoch: 3\n")
    assert load_config(tmp_path / "mine.yml").architecture == "HybridTaskCascade"
    (tmp_path / "configs" / "htc").mkdir(parents=True)
    (tmp_path / "configs" / "htc" / "steel_sample.yml").write_text("architecture: Own\n")
    with pytest.raises(UserError, match="'Own' is not registered"):
        load_config(tmp_path / "mine.yml")
    (tmp_path / "typo.yml").write_text("_BASE_: [configs/htc/steel_sampl.yml]\n")
    with pytest.raises(UserError, match=r"Did you mean 'configs/htc/steel_sample\.yml'"):
        load_config(tmp_path / "typo.yml")
