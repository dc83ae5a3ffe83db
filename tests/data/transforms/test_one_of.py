"""OneOf: one of several transforms, or none; also in a configuration, whose names are checked before anything is built."""

import numpy as np
import pytest
from tiny_data import HEIGHT, WIDTH
from transform_samples import make_sample

from ppdet_ext.config.load import load_config
from ppdet_ext.data.datasets import SteelDataSet
from ppdet_ext.data.loading.batch_maker import BatchMaker
from ppdet_ext.data.transforms import OneOf
from ppdet_ext.errors import UserError

SIZES = [{"ResizeFixed": {"height": height, "width": 20}} for height in (5, 6, 7)]


def drawn(transform: OneOf, count: int = 500) -> list[int]:
    sample, rng = make_sample(12, 20, 0), np.random.default_rng(0)
    return [transform(sample, rng).size[0] for _ in range(count)]


def test_each_is_drawn_as_often_as_its_weight_says() -> None:
    even = drawn(OneOf(SIZES))
    assert [even.count(height) / 500 for height in (5, 6, 7, 12)] == pytest.approx([1 / 3, 1 / 3, 1 / 3, 0], abs=0.07)
    weighed = drawn(OneOf(SIZES, [3, 0, 1], 0.8))
    assert [weighed.count(height) / 500 for height in (5, 6, 7, 12)] == pytest.approx([0.6, 0, 0.2, 0.2], abs=0.07)


def test_which_one_it_is_changes_nothing_of_what_comes_after() -> None:
    after = []
    for entries in ([{"NormalizeToCHW": None}], [{"CropAroundDefect": {"height": 4, "width": 4}}]):
        rng = np.random.default_rng(3)
        OneOf(entries)(make_sample(12, 20, 0), rng)
        after.append(rng.random(4).tolist())
    assert after[0] == after[1]


def test_it_tells_its_transforms_of_the_classes(steel) -> None:
    dataset = SteelDataSet(str(steel), height=HEIGHT, width=WIDTH).load()
    entries = [{"ReadImage": {}}, {"OneOf": {"transforms": [{"ClassMasks": {}}]}}, {"NormalizeToCHW": {}}]
    assert BatchMaker(dataset, entries, (), True, 0)([(0, 0)]).class_masks.shape == (1, 4, HEIGHT, WIDTH)


@pytest.mark.parametrize(("options", "message"), [
    ({"transforms": []}, "OneOf.transforms is empty"),
    ({"transforms": [{"ResizeFixd": {}}]}, "OneOf.transforms: .*Did you mean 'ResizeFixed'"),
    ({"transforms": SIZES, "weights": [1, 2]}, "OneOf.weights: 2 for 3 transforms"),
    ({"transforms": SIZES, "weights": [0, 0, 0]}, "OneOf.weights are all 0"),
    ({"transforms": SIZES, "weights": [1, -1, 1]}, "OneOf.weights: -1 is no number of 0 or more"),
    ({"transforms": SIZES, "probability": 2}, "OneOf.probability: 2 is no number"),
])  # fmt: skip
def test_what_cannot_be_chosen_from(options, message) -> None:
    with pytest.raises(UserError, match=message):
        OneOf(**options)


def test_a_configuration_is_told_where_it_is_wrong(tmp_path, root) -> None:
    (tmp_path / "own.yml").write_text(
        f"_BASE_: [{root}/configs/htc/steel_sample.yml]\n"
        "TrainReader:\n"
        "  sample_transforms:\n"
        "    - ReadImage: {}\n"
        "    - OneOf:\n"
        "        transforms:\n"
        "          - CLAHE: {clip_limit: [1, 2]}\n"
        "          - GaussianBlurr: {}\n"
        "          - Sharpen: {alfa: [0, 1]}\n"
        "    - NormalizeToCHW: {}\n"
    )
    with pytest.raises(UserError) as caught:
        load_config(tmp_path / "own.yml")
    text = str(caught.value)
    assert "own.yml:8: transform 'GaussianBlurr' is not registered. Did you mean 'GaussianBlur'?" in text
    assert "own.yml:9: unknown key" in text
    assert "'alpha'" in text
