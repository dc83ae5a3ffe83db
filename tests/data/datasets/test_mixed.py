"""`MixedDataSet`: which pseudo-labelled images are taken, and what may not be mixed."""

import logging
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_data import HEIGHT, WIDTH, block, write_coco, write_csv, write_jpeg

from ppdet_ext.checkpoint.compatibility import dataset_fingerprint
from ppdet_ext.data.datasets import CocoJsonDataSet, ImageFolder, MixedDataSet, SteelDataSet
from ppdet_ext.errors import UserError


def sheets(folder, names: list[str], shown: list[str] | None = None, **options) -> SteelDataSet:
    """A data set of these images; `shown` (all) have a defect of class 1."""
    (folder / "train_images").mkdir(parents=True)
    for seed, name in enumerate(names):
        write_jpeg(folder / "train_images" / name, seed=seed)
    write_csv(folder, [(name, 1, block(4, 4, 6, 6).to_kaggle()) for name in (names if shown is None else shown)])
    return SteelDataSet(str(folder), height=HEIGHT, width=WIDTH, **options)


@pytest.fixture(scope="module")
def parts(tmp_path_factory) -> tuple[SteelDataSet, SteelDataSet]:
    """Seven labelled and forty pseudo-labelled images."""
    folder = tmp_path_factory.mktemp("mixed")
    labelled = sheets(folder / "labelled", [f"l{i}.jpg" for i in range(7)], check_images="none")
    return labelled, sheets(folder / "pseudo", [f"p{i:02}.jpg" for i in range(40)], check_images="none")


def names(dataset) -> list[str]:
    return [record.name for record in dataset.load().records]


def test_the_ratio_is_the_share_of_all_images(parts):
    mixed = MixedDataSet(*parts, ratio=0.3).load()
    assert len(mixed) == 10
    assert names(mixed)[:7] == names(parts[0])
    assert set(names(mixed)[7:]) < set(names(parts[1]))
    assert (mixed.class_names, mixed.category_ids) == (parts[0].class_names, parts[0].category_ids)
    assert mixed.annotated
    assert mixed.num_classes == 4
    assert len(MixedDataSet(*parts).load()) == 47
    assert names(MixedDataSet(*parts, ratio=0)) == names(parts[0])


@settings(max_examples=40)
@given(st.floats(0, 0.85), st.integers(0, 3))
def test_any_ratio(parts, ratio, seed):
    mixed = MixedDataSet(*parts, ratio=ratio, seed=seed).load()
    taken = len(mixed) - 7
    assert taken <= ratio * len(mixed) + 1e-9
    assert taken + 1 > ratio * (len(mixed) + 1) - 1e-9 or taken == 40
    assert names(MixedDataSet(*parts, ratio=ratio, seed=seed)) == names(mixed)
    # A larger share holds the smaller one.
    more = set(names(MixedDataSet(*parts, ratio=min(ratio + 0.1, 0.9), seed=seed)))
    assert set(names(mixed)) <= more
    ids = [record.im_id for record in mixed.records]
    assert len(set(ids)) == len(ids)


def test_the_choice_depends_on_the_seed(parts):
    assert len({tuple(names(MixedDataSet(*parts, ratio=0.5, seed=seed))) for seed in range(6)}) > 1


def test_ids_of_labelled_images_stay_and_samples_are_those_of_the_parts(parts):
    mixed = MixedDataSet(*parts).load()
    assert [record.im_id for record in mixed.records[:7]] == [record.im_id for record in parts[0].records]
    assert min(record.im_id for record in mixed.records[7:]) > max(record.im_id for record in parts[0].records)
    sample = mixed.sample(9)
    assert (sample.name, sample.file) == (parts[1].records[2].name, parts[1].records[2].file)
    assert sample.masks == parts[1].records[2].masks
    assert not mixed.sample(9, targets=False).masks
    # The parts themselves stay as they were.
    assert parts[1].records[0].im_id == 0


def test_more_than_there_are_is_said(parts, caplog):
    with caplog.at_level(logging.WARNING, logger="ppdet_ext"):
        assert len(MixedDataSet(*parts, ratio=0.9).load()) == 47
    assert "ratio 0.9 asks for 63 pseudo-labelled images beside 7 labelled ones; there are 40, and all are taken" in caplog.text


def test_content_decides_whether_a_training_goes_on(parts):
    """What resumption compares: the same mix is equal, another ratio or seed is not."""
    found = [
        dataset_fingerprint(MixedDataSet(*parts, ratio=ratio, seed=seed).load())
        for ratio, seed in ((0.5, 0), (0.5, 1), (0.3, 0))
    ]
    assert len(set(found)) == 3
    assert dataset_fingerprint(MixedDataSet(*parts, ratio=0.5).load()) == found[0]


def test_an_image_in_both_is_named(tmp_path, parts):
    other = sheets(tmp_path / "other", ["x.jpg", "l3.jpg"])
    with pytest.raises(UserError, match=r"1 image both in labelled and in pseudo: l3\.jpg\. Take"):
        MixedDataSet(parts[0], other, ratio=0).load()


def test_classes_must_agree(tmp_path, parts):
    other = sheets(tmp_path / "other", ["x.jpg"], class_names=["defect_1", "defect_2", "dent", "defect_4"])
    with pytest.raises(UserError, match=re.escape("differing: 3 defect_3 and 3 dent")):
        MixedDataSet(parts[0], other).load()
    (tmp_path / "coco" / "images").mkdir(parents=True)
    write_jpeg(tmp_path / "coco" / "images" / "y.jpg")
    entry = {"id": 1, "file_name": "y.jpg", "height": HEIGHT, "width": WIDTH}
    classes = [{"id": i, "name": f"defect_{i}"} for i in range(1, 5)]
    shown = {"id": 1, "image_id": 1, "category_id": 2, "bbox": [1, 1, 5, 5], "segmentation": [[1, 1, 6, 1, 6, 6, 1, 6]]}
    write_coco(tmp_path / "coco", {"images": [entry], "categories": classes, "annotations": [shown]})
    mixed = MixedDataSet(parts[0], CocoJsonDataSet(str(tmp_path / "coco"), "instances.json", "images")).load()
    assert mixed.records[-1].labels.tolist() == [1]


def test_of_the_same_classes_in_another_order_the_names_decide(tmp_path, parts, caplog):
    names = ["defect_4", "defect_2", "defect_1", "defect_3"]
    other = sheets(tmp_path / "other", ["x.jpg", "y.jpg"], class_names=names)
    records = MixedDataSet(parts[0], other).load().records
    before = {record.name: record for record in other.records}
    assert any(record.labels.tolist() for record in before.values())
    for record in records[-2:]:
        theirs = [names[label] for label in before[record.name].labels]
        assert [f"defect_{label + 1}" for label in record.labels] == theirs
        assert record.masks == before[record.name].masks
    assert [record.labels.tolist() for record in records[:-2]] == [record.labels.tolist() for record in parts[0].records]
    assert "with other ids or in another order; the names decide" in caplog.text


@pytest.mark.parametrize("ratio", [-0.1, 1, 1.5])
def test_a_ratio_is_a_share(parts, ratio):
    with pytest.raises(UserError, match=f"ratio: {ratio} is not a share"):
        MixedDataSet(*parts, ratio=ratio)


def test_what_cannot_be_mixed(parts):
    with pytest.raises(UserError, match=r"pseudo: 'train\.csv' is no data set"):
        MixedDataSet(parts[0], "train.csv")
    with pytest.raises(UserError, match=r"labelled: .* is no data set that can be mixed"):
        MixedDataSet(MixedDataSet(*parts), parts[1])
    folder = ImageFolder(parts[1].image_folder, parts[0].class_names)
    with pytest.raises(UserError, match="both need annotations"):
        MixedDataSet(parts[0], folder).load()


def test_images_that_no_label_names_are_pointed_out(tmp_path, parts, caplog):
    with caplog.at_level(logging.WARNING, logger="ppdet_ext"):
        pseudo = sheets(tmp_path / "one", ["p0.jpg", "doubtful.jpg"], shown=["p0.jpg"])
        assert len(MixedDataSet(parts[0], pseudo).load()) == 9
    assert "1 of 2 pseudo-labelled images have no object" in caplog.text
    caplog.clear()
    with caplog.at_level(logging.WARNING, logger="ppdet_ext"):
        pseudo = sheets(tmp_path / "two", ["p0.jpg", "doubtful.jpg"], shown=["p0.jpg"], split="train.csv")
        assert names(MixedDataSet(parts[0], pseudo))[7:] == ["p0.jpg"]
    assert not caplog.text
