"""What is counted and measured of a data set, on records made for it."""

import json
from dataclasses import asdict

import numpy as np
import pytest
from explore_cases import HEIGHT, WIDTH, config_of, data, mask, part, record

from ppdet_ext.explore.facts import class_facts, distributions, places, together
from ppdet_ext.explore.leaks import find_leaks, odd_images
from ppdet_ext.explore.pixels import Pixels
from ppdet_ext.explore.suspicious import overlaps, suspicions


def test_classes_are_counted_by_part() -> None:
    one = record("a.jpg", [(0, mask(0, 0, 10, 10)), (0, mask(20, 20, 5, 5)), (1, mask(0, 40, 4, 10))])
    two = record("b.jpg", [(1, mask(0, 0, 2, 2))])
    rows = class_facts(data([part("train", [one, record("c.jpg")]), part("eval", [two])]))
    assert [[(own.objects, own.images) for own in row.parts] for row in rows] == [[(2, 1), (0, 0)], [(1, 1), (1, 1)]]
    assert rows[0].parts[0].area_share == pytest.approx(125 / (2 * HEIGHT * WIDTH))
    assert (rows[0].area, rows[0].fill, rows[1].aspect) == (62.5, 1.0, pytest.approx((0.4 + 1.0) / 2))
    # As many objects of each: the weights are alike.
    assert [row.weight for row in rows] == [1.0, 1.0]


def test_crowds_are_no_objects_and_histograms_lose_nothing() -> None:
    crowd = record("a.jpg", [(0, mask(0, 0, 10, 10)), (1, mask(0, 20, 8, 8))], crowd=[False, True])
    made = data([part("train", [crowd, record("b.jpg")])])
    assert len(made.objects) == 1
    assert made.images.crowds.tolist() == [1, 0]
    for one in distributions(made):
        assert sum(sum(layer.counts) for layer in one.layers) == (1 if one.of == "objects" else 2), one.key
        assert len(one.edges) == len(one.layers[0].counts) + 1


def test_places_and_pairs() -> None:
    made = data([part("train", [record("a.jpg", [(0, mask(0, 0, 4, 4)), (1, mask(38, 78, 2, 2))]), record("b.jpg")])])
    found = places(made)
    assert found is not None
    assert np.sum(found.all) == 2
    assert (found.by_class[0][0][0], found.by_class[1][-1][-1]) == (1, 1)
    assert together(made).images == [[1, 1], [1, 1]]
    assert (together(data([part("train", [record("a.jpg", [(0, mask(0, 0, 4, 4))])])])), places(data([part("train", [])]))) == (
        None,
        None,
    )


def test_what_is_suspicious_is_found_once_each() -> None:
    wrong = record(
        "a.jpg",
        [
            (0, mask(0, 0, 3, 3)),  # tiny
            (1, mask(20, 20, 10, 10)),
            (0, mask(20, 20, 10, 10)),  # under two classes
            (1, mask(20, 40, 10, 10)),
            (1, mask(20, 40, 10, 9)),  # annotated twice
        ],
    )
    whole = record("b.jpg", [(0, mask(0, 0, HEIGHT, WIDTH))])
    made = data([part("train", [wrong, whole])])
    pairs = overlaps(made)
    found = {one.key: one for one in suspicions(made, pairs)}
    assert {key: [(spot.name, spot.place) for spot in one.spots] for key, one in found.items()} == {
        "tiny": [("a.jpg", 0)],
        "whole": [("b.jpg", 0)],
        "two_classes": [("a.jpg", 2)],
        "twice": [("a.jpg", 4)],
    }
    assert pairs.best[:2].tolist() == [0, 1]
    assert np.isnan(pairs.best[5])
    assert found["two_classes"].spots[0].note == "scratches and pits, IoU 1.00"


def test_boxes_alone_are_compared_as_boxes() -> None:
    boxes = record("a.jpg", [(0, mask(0, 0, 10, 10)), (0, mask(0, 0, 10, 9))], masks=False)
    made = data([part("train", [boxes])])
    assert made.objects.area.tolist() == [100, 90]
    assert made.objects.measured == 0
    assert overlaps(made).ious.tolist() == [0.9]


def test_images_that_parts_share_are_found_by_file_picture_and_name() -> None:
    train = part("train", [record("a.jpg"), record("b.jpg"), record("x_jpg.rf.1.jpg"), record("d.jpg")])
    held = part("eval", [record("a.jpg"), record("c.jpg"), record("x_jpg.rf.2.jpg"), record("e.jpg")])
    test = part("test", [record("e.jpg")])
    made = data([train, held, test])
    # b and c are one picture; d stands twice in training's own part.
    pixels = Pixels(np.zeros((9, 3)), np.array([0, 1, 2, 1, 0, 1, 5, 6, 6]), {})
    found = find_leaks(made, pixels)
    assert [leak.kind for leak in found.groups] == ["file", "picture", "photograph"]
    assert found.groups[1].images == [("train", "b.jpg"), ("train", "d.jpg"), ("eval", "c.jpg")]
    assert (found.affected, found.twice) == (3, 1)
    assert find_leaks(made, None).count == 2
    alone = find_leaks(data([train]), Pixels(pixels.values[:4], pixels.group[:4], {}))
    assert (alone.count, alone.twice) == (0, 1)


def test_odd_images_are_those_far_from_the_others() -> None:
    made = data([part("train", [record(f"{i}.jpg") for i in range(20)])])
    values = np.tile([100.0, 30.0, 500.0], (20, 1)) + np.arange(20)[:, None]
    values[7, 0], values[3, 2] = 2, 1
    found = odd_images(made, Pixels(values, np.arange(20), {}))
    assert [(one.what, one.name) for one in found] == [("darkest", "7.jpg"), ("blurriest", "3.jpg")]


def test_facts_are_plain_and_finite() -> None:
    made = data([part("train", [record("a.jpg", [(0, mask(0, 0, 10, 10))])])])
    parts = [*class_facts(made), *distributions(made), places(made)]
    json.dumps([asdict(one) for one in parts if one is not None], allow_nan=False)
    assert config_of(num_classes=2).num_classes == 2
