"""ClassMasks: the target of semantic segmentation, a plane for each class; from each kind of data set to a batch."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_data import HEIGHT, WIDTH, block, write_csv, write_jpeg
from transform_samples import CLASSES, make_sample, planes_of, samples, with_masks

from ppdet_ext.data.datasets import CocoJsonDataSet, MixedDataSet, SteelDataSet
from ppdet_ext.data.datasets.rle_csv import RleCsvDataSet
from ppdet_ext.data.loading.batch_maker import BatchMaker
from ppdet_ext.data.transforms import ClassMasks
from ppdet_ext.data.transforms.sample import Sample
from ppdet_ext.errors import UserError

RNG = np.random.default_rng(0)


def target(sample: Sample, **options) -> np.ndarray:
    transform = ClassMasks(**options)
    transform.bind(CLASSES, ["red", "green", "blue", "white"])
    return transform(sample, RNG).class_masks


@settings(max_examples=60)
@given(samples, st.lists(st.booleans(), min_size=4, max_size=4))
def test_planes_show_objects_and_ignore_crowds_that_none_covers(sample, flags) -> None:
    crowd = np.array(flags[: len(sample.labels)], bool)
    sample = replace(sample, crowd=crowd)
    objects, crowds = planes_of(sample.keep(~crowd)), planes_of(sample.keep(crowd))
    found = target(sample)
    assert found.dtype == np.uint8
    assert found.flags.c_contiguous
    np.testing.assert_array_equal(found, np.where(objects, 1, crowds * 255))


@settings(max_examples=60)
@given(samples, st.lists(st.booleans(), min_size=4, max_size=4))
def test_the_smaller_object_on_top(sample, flags) -> None:
    crowd = np.array(flags[: len(sample.labels)], bool)
    sample = replace(sample, crowd=crowd)
    found = target(sample, overlaps="smaller_on_top")
    assert ((found == 1).sum(axis=0) <= 1).all()
    union = planes_of(sample.keep(~crowd)).any(axis=0)
    np.testing.assert_array_equal((found == 1).any(axis=0), union)
    np.testing.assert_array_equal(found == 255, planes_of(sample.keep(crowd)).astype(bool) & ~union)
    # The smallest object is wholly there.
    own = np.flatnonzero(~crowd)
    if len(own):
        areas = [sample.masks[i].area for i in own]
        if areas.count(min(areas)) == 1:
            smallest = own[int(np.argmin(areas))]
            assert found[sample.labels[smallest]][sample.masks[smallest].to_bitmap() > 0].min() == 1


def test_classes_that_overlap_are_refused_by_name_where_they_may_not() -> None:
    bitmaps = np.zeros((3, 8, 8), np.uint8)
    bitmaps[0, :3, :3] = bitmaps[1, 2:4, 2:4] = bitmaps[2, 6:, 6:] = 1
    sample = with_masks(make_sample(8, 8, 0), bitmaps, labels=np.array([1, 3, 0]))
    with pytest.raises(UserError, match=r"a\.jpg: objects of the classes green and white share 1 pixel, .*smaller_on_top"):
        target(sample, overlaps="refuse")
    assert target(sample)[[1, 3], 2, 2].tolist() == [1, 1]
    # Two objects of a class may, and so may a crowd of another one.
    for apart in (replace(sample, labels=np.array([1, 1, 0])), replace(sample, crowd=np.array([False, True, False]))):
        np.testing.assert_array_equal(target(apart, overlaps="refuse"), target(apart))
    empty = sample.keep(np.zeros(3, bool))
    assert not target(empty, overlaps="refuse").any()


def test_what_it_cannot_draw() -> None:
    sample = replace(make_sample(8, 8, 0, 1), labels=np.array([4]))
    with pytest.raises(UserError, match=r"a\.jpg: an object is of class 4, but the classes are 0 to 3\. Correct"):
        target(sample)
    assert target(sample, num_classes=5).shape == (5, 8, 8)
    with pytest.raises(UserError, match="give it num_classes"):
        ClassMasks()(sample, RNG)
    with pytest.raises(UserError, match=r"ClassMasks\.overlaps: 'refused' is not one of .* Did you mean 'refuse'"):
        ClassMasks(overlaps="refused")
    with pytest.raises(UserError, match="has room for 254 classes, not 255"):
        target(sample, overlaps="smaller_on_top", num_classes=255)


def reader(dataset, *transforms):
    entries = [{"ReadImage": {}}, *transforms, {"ClassMasks": {}}, {"NormalizeToCHW": {}}]
    return BatchMaker(dataset.load(), entries, [{"PadToStride": {"stride": 48}}], True, 0)


def test_every_data_set_gives_a_batch_of_them(steel, coco, tmp_path_factory) -> None:
    more = tmp_path_factory.mktemp("pseudo")
    (more / "train_images").mkdir()
    write_jpeg(more / "train_images" / "z.jpg")
    write_csv(more, [("z.jpg", 2, block(4, 4, 3, 5).to_kaggle())])
    sheets = SteelDataSet(str(steel), height=HEIGHT, width=WIDTH)
    columns = {"ImageId": "{name}", "ClassId": "{class_id}", "EncodedPixels": "{rle}"}
    described = RleCsvDataSet(
        str(steel), columns, ["one", "two", "three", "four"], "class", image_dir="train_images", height=HEIGHT, width=WIDTH
    )
    mixed = MixedDataSet(sheets, SteelDataSet(str(more), height=HEIGHT, width=WIDTH))
    expected = np.zeros((4, HEIGHT, WIDTH), np.uint8)
    expected[0, 2:7, 3:9] = expected[0, 20:24, 40:48] = expected[2, 10:13, 20:23] = 1
    for dataset in (sheets, described, mixed):
        batch = reader(dataset)([(0, 0), (0, len(dataset) - 1)])
        assert batch.class_masks.shape == (2, 4, 48, 96)
        np.testing.assert_array_equal(batch.class_masks[0, :, :HEIGHT, :WIDTH], expected)
        assert (batch.class_masks[:, :, HEIGHT:] == 255).all()
        assert (batch.class_masks[:, :, :, WIDTH:] == 255).all()
    assert batch.class_masks[1, :, :HEIGHT, :WIDTH].sum(axis=(1, 2)).tolist() == [0, 15, 0, 0]
    crowded = reader(CocoJsonDataSet(str(coco), anno_path="instances.json", image_dir="images"))([(0, 0)])
    by_class = crowded.class_masks[0, :, :HEIGHT, :WIDTH]
    assert [np.unique(plane).tolist() for plane in by_class] in ([[0, 1, 255], [0, 1]], [[0, 1], [0, 1, 255]])
    assert crowded.crowds == 1


def test_workers_carry_them(steel, load) -> None:
    entries = [{"ReadImage": {}}, {"FlipImage": {}}, {"ClassMasks": {}}, {"NormalizeToCHW": {}}]
    settings = {"sample_transforms": entries, "batch_size": 2}
    dataset = SteelDataSet(str(steel), height=HEIGHT, width=WIDTH).load()
    here, there = (list(load(dataset, settings, worker_num=number)) for number in (0, 2))
    assert len(here) == len(there) == 4
    for one, other in zip(here, there):
        assert tuple(one["class_masks"].shape) == (2, 4, HEIGHT, WIDTH)
        np.testing.assert_array_equal(one.class_masks.numpy(), other.class_masks.numpy())
    assert sum(int(batch.class_masks.numpy().sum()) for batch in here) > 0


def test_without_targets_and_without_the_transform_there_are_none(steel) -> None:
    dataset = SteelDataSet(str(steel), height=HEIGHT, width=WIDTH).load()
    plain = BatchMaker(dataset, [{"ReadImage": {}}, {"NormalizeToCHW": {}}], (), True, 0)([(0, 0)])
    assert "class_masks" not in plain
    evaluated = BatchMaker(dataset, [{"ReadImage": {}}, {"ClassMasks": {}}, {"NormalizeToCHW": {}}], (), False, 0)([(0, 0)])
    assert "class_masks" not in evaluated
