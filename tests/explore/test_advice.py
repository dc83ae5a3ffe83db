"""What a configuration should have otherwise is said, and the line that is to mend it does."""

import shlex

import pytest
from explore_cases import config_of, data, mask, part, record

from ppdet_ext.explore.advice import Found, advice, option_line
from ppdet_ext.explore.facts import class_facts
from ppdet_ext.explore.fit import anchor_facts, resized_facts
from ppdet_ext.explore.leaks import find_leaks
from ppdet_ext.explore.objects import Data
from ppdet_ext.explore.schema import Advice, Problem
from ppdet_ext.explore.suspicious import overlaps, suspicions
from ppdet_ext.host import Config
from ppdet_ext.modeling.segmentation.losses import build_losses

BOTH = [(0, mask(0, 0, 10, 10)), (1, mask(12, 20, 14, 14))]


def found_in(made: Data, cfg: Config, problems: list[Problem] | None = None) -> list[Advice]:
    return advice(
        Found(
            cfg, "configs/mine.yml", made, class_facts(made), find_leaks(made, None), problems or [],
            suspicions(made, overlaps(made)), resized_facts(cfg, made), anchor_facts(cfg, made),
        )
    )  # fmt: skip


def only(given: list[Advice], word: str) -> Advice:
    (one,) = [one for one in given if word in one.text]
    return one


def mended(one: Advice, *overrides: str, num_classes: int = 2) -> Config:
    """The configuration with the line of an advice, as a shell splits it."""
    words = shlex.split(option_line(one.options))
    assert words[0] == "-o"
    return config_of(num_classes, *overrides, *words[1:])


def test_anchors_that_do_not_fit_thin_objects() -> None:
    thin = [record(f"{i}.jpg", [(0, mask(0, 4 * i, 40, 2)), (1, mask(0, 40, 38, 2))]) for i in range(8)]
    made = data([part("train", thin)])
    one = only(found_in(made, config_of()), "Anchors")
    cfg = mended(one)
    before, after = anchor_facts(config_of(), made), anchor_facts(cfg, made)
    assert before is not None
    assert after is not None
    assert before.reached < 0.5 < after.reached == before.best_reached
    assert not [one for one in found_in(made, cfg) if "Anchors" in one.text]


@pytest.mark.parametrize(
    ("path", "shrink"),
    [
        ("configs/htc/steel_sample.yml", ["ResizeFixed.height=20", "ResizeFixed.width=40"]),
        ("configs/htc/htc_r18_small_coco_mini.yml", ["ResizeShortEdge.short_edges=[20]", "ResizeShortEdge.long_limit=40"]),
    ],
)
def test_objects_that_vanish_when_images_are_resized(path: str, shrink: list[str]) -> None:
    overrides = [f"{reader}.sample_transforms.1.{text}" for reader in ("TrainReader", "EvalReader") for text in shrink]
    cfg = config_of(2, *overrides, path=path)
    made = data([part("train", [record("a.jpg", BOTH)]), part("eval", [record("b.jpg", BOTH)])])
    one = only(found_in(made, cfg), "resized to 40x20 px")
    assert one.text.startswith("100 % of the objects measure less than 8 px")
    words = shlex.split(option_line(one.options))[1:]
    after = config_of(2, *overrides, *words, path=path)
    assert [row.small for row in resized_facts(cfg, made)] == [2, 2]
    assert [row.small for row in resized_facts(after, made)] == [0, 0]


def test_the_number_of_classes_and_missing_classes() -> None:
    made = data([part("train", [record("a.jpg", BOTH[:1])]), part("eval", [record("b.jpg", BOTH)])])
    given = found_in(made, config_of(3))
    assert mended(only(given, "num_classes is 3"), num_classes=3).num_classes == 2
    assert only(given, "cannot be learnt: scratches").grave
    nowhere = data([part("train", [record("a.jpg", BOTH[:1])])])
    assert not only(found_in(nowhere, config_of()), "cannot be learnt").grave
    other = [part("train", [record("a.jpg", BOTH)]), part("eval", [record("b.jpg", BOTH)], ["scratches", "pits"])]
    assert "eval: scratches, pits" in only(found_in(data(other), config_of()), "other classes").text


def test_rare_classes_and_clean_images() -> None:
    many = [record(f"{i}.jpg", BOTH[:1]) for i in range(20)] + [record("x.jpg", BOTH[1:])]
    given = found_in(data([part("train", many + [record(f"{i}.png") for i in range(40)])]), config_of())
    assert mended(only(given, "pits has 20 objects"))["TrainReader"]["sampler"] == {"balance": 0.5}
    assert only(given, "66 % of the images").options == ["TrainDataset.empty_ratio=0.25"]


def test_a_loss_of_maps_may_count_rare_classes_more() -> None:
    path = "configs/unet/unet_resnet18_steel_sample.yml"
    made = data([part("train", [record(f"{i}.jpg", BOTH[:1]) for i in range(30)] + [record("x.jpg", BOTH[1:])])])
    one = only(found_in(made, config_of(path=path)), "the loss Dice can count rare classes more")
    after = config_of(2, *shlex.split(option_line(one.options))[1:], path=path)
    (_, dice) = build_losses(after["SemanticSegmentor"]["losses"], "multilabel")
    assert (dice.weight, dice.class_weights) == (0.4, [0.0645, 1.94])
    assert not [one for one in found_in(made, after) if "In place of a sampler" in one.text]
    assert not [one for one in found_in(made, config_of()) if "In place of a sampler" in one.text]


def test_more_objects_than_detections_are_kept() -> None:
    crowded = record("a.jpg", [(i % 2, mask(2 * (i // 26), 3 * (i % 26), 1, 2)) for i in range(120)])
    cfg = mended(only(found_in(data([part("train", [crowded])]), config_of()), "more than 100 objects"))
    assert (cfg["HTCRoIHead"]["max_detections"], cfg["HTCRPNHead"]["test_proposals"]) == (150, 300)


def test_faults_leaks_and_suspicious_objects() -> None:
    tiny = [*BOTH, (0, mask(30, 60, 2, 2))]
    made = data([part("train", [record("a.jpg", tiny)]), part("eval", [record("a.jpg", BOTH)])])
    given = found_in(made, config_of(), [Problem("train", "bad rows", 5, [], "")])
    assert [one.section for one in given if one.grave] == ["leaks", "problems"]
    assert only(given, "5 faults").options == ["TrainDataset.on_error=skip"]
    assert only(given, "a.jpg (train) = a.jpg (eval)").command == "python tools/split.py -c configs/mine.yml"
    assert only(given, "Smaller than 16 px²: 1 object").options == [
        "TrainDataset.min_instance_area=16",
        "EvalDataset.min_instance_area=16",
    ]


def test_a_data_set_that_suits_has_no_advice() -> None:
    one, two = record("a.jpg", BOTH), record("b.jpg", BOTH)
    cfg = config_of(path="configs/unet/unet_resnet18_steel_sample.yml")
    assert found_in(data([part("train", [one]), part("eval", [two])]), cfg) == []
