"""The same batches whatever the workers, ranks and epochs before."""

import logging

import numpy as np
import paddle
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from loader_data import TRANSFORMS, dataset_of, plain, reader
from tiny_data import HEIGHT, WIDTH, coco_content, write_coco

from ppdet_ext.data.datasets import CocoJsonDataSet, ImageFolder
from ppdet_ext.data.loading.batch_maker import BatchMaker
from ppdet_ext.data.loading.collate import PadToStride
from ppdet_ext.data.loading.sampler import EpochSampler
from ppdet_ext.errors import UserError


def test_what_a_batch_holds(steel, load):
    batch = next(iter(load(dataset_of(steel), reader(shuffle=False))))
    assert sorted(batch) == sorted(
        ["image", "im_id", "im_shape", "scale_factor", "origin_shape", "names", "gt_bbox", "gt_class", "gt_mask", "semantic"]
    )
    image, shapes = batch["image"], batch["im_shape"].numpy()
    assert image.dtype == paddle.float32
    assert image.shape[:2] == [2, 3]
    assert image.shape[2] % 16 == 0
    assert image.shape[3] % 16 == 0
    assert batch["semantic"].dtype == paddle.uint8
    assert batch["semantic"].shape == [2, *image.shape[2:]]
    assert batch["im_id"].numpy().tolist() == [0, 1]
    assert batch["im_id"].dtype == batch["origin_shape"].dtype == paddle.int64
    assert batch["names"] == ["a.jpg", "b.jpg"]
    assert batch["origin_shape"].numpy().tolist() == [[HEIGHT, WIDTH]] * 2
    np.testing.assert_allclose(batch["scale_factor"].numpy() * [HEIGHT, WIDTH], shapes, rtol=1e-6)
    for i in range(2):
        height, width = shapes[i].astype(int)
        assert (image.numpy()[i, :, height:] == 0).all()
        assert (image.numpy()[i, :, :, width:] == 0).all()
        assert (batch["semantic"].numpy()[i, height:] == 255).all()
        assert (batch["semantic"].numpy()[i, :height, :width] < 5).all()
        assert all(mask.size == (height, width) for mask in batch["gt_mask"][i])
        assert batch["gt_bbox"][i].shape == (len(batch["gt_mask"][i]), 4)
        assert batch["gt_bbox"][i].dtype == np.float32
        assert batch["gt_class"][i].dtype == np.int64
    assert [len(masks) for masks in batch["gt_mask"]] == [3, 1]


def test_evaluation_has_no_targets_and_leaves_nothing_out(steel, load):
    for mode in ("eval", "test"):
        loader = load(
            dataset_of(steel),
            reader(batch_size=3, drop_last=True, sample_transforms=[{"ReadImage": {}}, {"NormalizeToCHW": {}}]),
            mode=mode,
        )
        batches = list(loader)
        assert len(batches) == len(loader) == 3
        assert [name for batch in batches for name in batch["names"]] == [f"{c}.jpg" for c in "abcdefgh"]
        assert not {"gt_bbox", "gt_mask", "semantic"} & set(batches[0])


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_batches_do_not_depend_on_the_workers(steel, load, workers):
    here = load(dataset_of(steel), reader(), seed=3)
    there = load(dataset_of(steel), reader(), seed=3, worker_num=workers)
    for epoch in (0, 1, 4):
        here.set_epoch(epoch)
        there.set_epoch(epoch)
        expected, found = [plain(batch) for batch in here], [plain(batch) for batch in there]
        assert len(expected) == len(here) == 4
        assert found == expected


def test_epochs_and_seeds_differ_and_repeat(steel, load):
    def images(seed, epoch):
        loader = load(dataset_of(steel), reader(), seed=seed)
        loader.set_epoch(epoch)
        return [plain(batch) for batch in loader]

    assert images(0, 0) == images(0, 0)
    assert images(0, 0) != images(0, 1)
    assert images(0, 0) != images(1, 0)


def test_an_augmentation_depends_on_seed_epoch_and_index_alone(steel):
    def sample(batch_size, epoch, index):
        maker = BatchMaker(dataset_of(steel), TRANSFORMS, [], True, 7)
        return maker.sample(epoch, index).image.tobytes()

    assert sample(1, 2, 3) == sample(4, 2, 3)
    assert sample(1, 2, 3) != sample(1, 3, 3)


def test_an_epoch_can_be_entered_halfway(steel, load):
    for workers in (0, 2):
        loader = load(dataset_of(steel), reader(), worker_num=workers)
        loader.set_epoch(3)
        whole = [plain(batch) for batch in loader]
        loader.set_epoch(3, start=2)
        assert [plain(batch) for batch in loader] == whole[2:]
        assert [plain(batch) for batch in loader] == whole


def test_leaving_an_epoch_early_is_harmless(steel, load):
    loader = load(dataset_of(steel), reader(), worker_num=2)
    whole = [plain(batch) for batch in loader]
    pids = [worker.process.pid for worker in loader._workers]
    for _ in range(3):
        for batch in loader:
            assert plain(batch) == whole[0]
            break
    assert [plain(batch) for batch in loader] == whole
    assert [worker.process.pid for worker in loader._workers] == pids


def test_batches_outlive_the_memory_they_came_in(steel, load):
    loader = load(dataset_of(steel), reader(), worker_num=1)
    batches = list(loader)
    assert [plain(batch) for batch in batches] == [plain(batch) for batch in load(dataset_of(steel), reader())]


@settings(max_examples=80)
@given(st.integers(1, 50), st.integers(1, 7), st.integers(1, 4), st.booleans(), st.booleans(), st.booleans(), st.integers(0, 3))
def test_ranks_part_an_epoch(size, batch_size, world, shuffle, drop_last, even, epoch):
    ranks = [EpochSampler(size, batch_size, shuffle, drop_last, 1, rank, world, even) for rank in range(world)]
    batches = [sampler.batches(epoch) for sampler in ranks]
    seen = [index for own in batches for batch in own for e, index in batch]
    assert all(len(own) == len(sampler) for own, sampler in zip(batches, ranks))
    assert all(e == epoch for own in batches for batch in own for e, _ in batch)
    assert len(seen) == len(set(seen))
    assert set(seen) <= set(range(size))
    if even:
        assert len({len(own) for own in batches}) == 1
    if not drop_last:
        assert len(seen) == (size - size % world if even else size)
    if drop_last:
        assert all(len(batch) == batch_size for own in batches for batch in own)


def test_the_order_depends_on_seed_and_epoch():
    def order(**changes):
        options = {"size": 100, "batch_size": 4, "shuffle": True, "drop_last": True, "seed": 1, **changes}
        return EpochSampler(**options).order(5).tolist()

    assert order() == order(batch_size=7, drop_last=False)
    assert order() != order(seed=2)
    assert order(shuffle=False) == list(range(100))
    assert sorted(order()) == list(range(100))


def test_a_data_set_smaller_than_a_batch(steel, load):
    with pytest.raises(UserError, match=r"8 images, fewer than one batch \(9 on each of 1"):
        load(dataset_of(steel), reader(batch_size=9))
    with pytest.raises(UserError, match="5 on each of 2"):
        load(dataset_of(steel), reader(batch_size=5), world_size=2)
    assert len(load(dataset_of(steel), reader(batch_size=9, drop_last=False))) == 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sample_transforms": [{"ReadImages": {}}]}, "transform 'ReadImages' is not registered. Did you mean 'ReadImage'?"),
        ({"sample_transforms": [{"RandomFlip": {}}]}, "RandomFlip is an operator of ppdet"),
        ({"sample_transforms": [{"FlipImage": {"prob": 1}}]}, "sample_transforms: FlipImage: .*'prob'"),
        ({"sample_transforms": ["ReadImage"]}, "not of the form"),
        ({"sample_transforms": [{"ReadImage": {}, "FlipImage": {}}]}, "not of the form"),
        ({"batch_transforms": [{"PadBatch": {}}]}, "PadBatch is an operator of ppdet"),
        ({"batch_transforms": [{"PadToStride": {}}, {"PadToStride": {}}]}, "once"),
        ({"batchsize": 3}, "unknown key batchsize"),
        ({"batch_size": 0}, "batch_size is 0"),
    ],
)
def test_wrong_settings_are_named(steel, load, changes, message):
    with pytest.raises(UserError, match=message):
        load(dataset_of(steel), reader(**changes))


def test_a_wrong_mode_is_named(steel, load):
    with pytest.raises(UserError, match="mode: 'training'"):
        load(dataset_of(steel), reader(), mode="training")


def test_transforms_that_make_no_input_are_named(steel, load):
    with pytest.raises(UserError, match="begin with ReadImage and end with NormalizeToCHW"):
        next(iter(load(dataset_of(steel), reader(sample_transforms=[{"ReadImage": {}}]))))
    for nothing in ([], None):
        with pytest.raises(UserError, match="sample_transforms is empty; they begin with ReadImage"):
            load(dataset_of(steel), reader(sample_transforms=nothing), worker_num=2)


def test_crowds_are_marked_but_no_targets(coco, load, caplog):
    caplog.set_level(logging.DEBUG, "ppdet_ext")
    dataset = CocoJsonDataSet(str(coco), "instances.json", "images")
    loader = load(
        dataset, reader(sample_transforms=[{"ReadImage": {}}, {"SemanticFromMasks": {}}, {"NormalizeToCHW": {}}], shuffle=False)
    )
    batches = list(loader)
    assert batches[0]["gt_class"][0].tolist() == [1, 0]
    assert len(batches[0]["gt_mask"][0]) == len(batches[0]["gt_bbox"][0]) == 2
    semantic = batches[0]["semantic"].numpy()[0]
    assert (semantic[:, 50:] == 255).all()
    assert semantic[6, 6] == 2
    assert semantic[6, 32] == 1
    assert batches[0]["gt_bbox"][1].shape == (0, 4)
    assert "2 objects, 1 crowd" in caplog.text
    [told] = [record for record in caplog.records if record.getMessage().startswith("epoch")]
    assert told.levelno == logging.DEBUG
    assert told.getMessage() == "epoch 0: 1 crowd is no target"


def test_instances_cut_too_small_are_reported_those_outside_are_not(coco, load, caplog):
    content = coco_content()
    content["annotations"] = content["annotations"][:1]
    write_coco(coco, content)
    for min_area, kept, level in ((65, 0, logging.INFO), (1, 1, logging.DEBUG)):
        caplog.clear()
        crop = {"height": 8, "width": 8, "probability": 1.0, "min_area": min_area}
        transforms = [{"ReadImage": {}}, {"CropAroundDefect": crop}, {"NormalizeToCHW": {}}]
        loader = load(CocoJsonDataSet(str(coco), "instances.json", "images"), reader(sample_transforms=transforms))
        with caplog.at_level(logging.DEBUG, "ppdet_ext"):
            assert sum(len(masks) for batch in loader for masks in batch["gt_mask"]) == kept
        [told] = [record for record in caplog.records if record.getMessage().startswith("epoch 0")]
        assert (
            told.getMessage()
            == f"epoch 0: {'0 objects' if kept else '1 object'} left out: cropping or resizing left too "
            + ("few of their pixels" if kept else "few of its pixels")
        )
        assert told.levelno == level


def test_image_folders_go_through_the_same_loader(coco, load):
    loader = load(
        ImageFolder(str(coco / "images")),
        reader(
            batch_size=1,
            sample_transforms=[
                {"ReadImage": {}},
                {"ResizeFixed": {"height": 48, "width": 48, "keep_ratio": True}},
                {"NormalizeToCHW": {}},
            ],
        ),
        mode="test",
        worker_num=1,
    )
    batches = list(loader)
    assert [batch["names"] for batch in batches] == [["a.jpg"], ["b.jpg"]]
    assert batches[0]["im_shape"].numpy().tolist() == [[24, 48]]
    assert batches[0]["scale_factor"].numpy().tolist() == [[0.75, 0.75]]
    assert batches[0]["image"].shape == [1, 3, 32, 48]


@pytest.mark.parametrize("stride", [1, 32])
def test_padding_to_a_stride(steel, stride):
    maker = BatchMaker(
        dataset_of(steel),
        [{"ReadImage": {}}, {"ResizeFixed": {"height": 20, "width": 50}}, {"NormalizeToCHW": {}}],
        [],
        True,
        0,
    )
    batch = PadToStride(stride)([maker.sample(0, 0)], True)
    assert batch["image"].shape == ((1, 3, 20, 50) if stride == 1 else (1, 3, 32, 64))
    with pytest.raises(UserError, match=r"PadToStride\.stride: 0 is no whole number of 1 or more"):
        PadToStride(0)
