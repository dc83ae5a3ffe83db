"""The loader of views: every picture once, decoded ahead, whoever reads and however the reading ends."""

import threading

import numpy as np
import pytest
from loader_data import dataset_of
from PIL import Image
from tiny_data import write_jpeg

from ppdet_ext.data.datasets import ImageFolder
from ppdet_ext.data.loading import build_loader
from ppdet_ext.data.loading.view_loader import ViewLoader
from ppdet_ext.data.transforms import ReadImage
from ppdet_ext.errors import UserError
from ppdet_ext.inference.views import Views

TRANSFORMS = [{"ReadImage": {}}, {"ResizeFixed": {"height": 40, "width": 90}}, {"NormalizeToCHW": {}}]


def ids(loader) -> list[int]:
    return [int(batch["im_id"][0]) for batch in loader]


def decoders() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("decode")]


def test_a_view_is_what_the_loader_of_batches_gives(steel):
    data, views = dataset_of(steel), Views(TRANSFORMS)
    batches = list(build_loader(data, {"sample_transforms": TRANSFORMS}, mode="eval"))
    pictures = list(ViewLoader(data, TRANSFORMS))
    assert len(pictures) == len(batches) == 8
    for picture, batch in zip(pictures, batches):
        rendered, _ = views.render(picture["sample"], 0)
        assert picture["names"] == rendered["names"] == batch["names"]
        np.testing.assert_array_equal(picture["im_id"], batch["im_id"].numpy())
        for key in ("image", "im_shape", "scale_factor", "origin_shape"):
            np.testing.assert_array_equal(rendered[key], batch[key].numpy())
        assert len(picture["sample"].boxes) == 0, "predicting needs no annotations"


@pytest.mark.parametrize("world_size", [1, 3, 10])
def test_ranks_share_the_images_as_the_loader_does(steel, world_size):
    data = dataset_of(steel)
    loaders = [ViewLoader(data, TRANSFORMS, rank, world_size) for rank in range(world_size)]
    shards = [ids(loader) for loader in loaders]
    assert sorted(im_id for shard in shards for im_id in shard) == list(range(8))
    assert [loader.images for loader in loaders] == [len(loader) for loader in loaders] == [len(shard) for shard in shards]
    reader = {"sample_transforms": TRANSFORMS}
    for rank, shard in enumerate(shards):
        plain = build_loader(data, reader, mode="eval", rank=rank, world_size=world_size)
        assert ids(plain) == shard


def test_what_is_done_is_left_out_and_nothing_else(steel):
    data = dataset_of(steel)
    shards = [ViewLoader(data, TRANSFORMS, rank, 2, skip) for rank, skip in ((0, [0, 1, 6]), (1, {1}))]
    assert [ids(shard) for shard in shards] == [[2, 4], [3, 5, 7]]
    assert [shard.images for shard in shards] == [2, 3]
    nothing = ViewLoader(data, TRANSFORMS, skip=range(8))
    assert ids(nothing) == []
    assert nothing.images == 0


def test_each_picture_is_decoded_once_one_ahead_and_beside_the_main_thread(steel, monkeypatch):
    decoded, read = [], ReadImage.__call__
    second = threading.Event()

    def noting(self, sample, rng):
        decoded.append((sample.name, threading.current_thread() is threading.main_thread()))
        if len(decoded) == 2:
            second.set()
        return read(self, sample, rng)

    monkeypatch.setattr(ReadImage, "__call__", noting)
    views = Views(TRANSFORMS, (), None, ["none", "horizontal", "vertical", "both"])
    for number, picture in enumerate(ViewLoader(dataset_of(steel), TRANSFORMS)):
        for k in range(len(views)):
            views.render(picture["sample"], k)
        if number == 0:
            assert second.wait(20), "the second picture is decoded while the first is worked on"
            assert len(decoded) == 2, "no more than one ahead"
    assert decoded == [(f"{name}.jpg", False) for name in "abcdefgh"]


def test_an_iteration_left_halfway_leaves_no_thread(steel):
    loader = ViewLoader(dataset_of(steel), TRANSFORMS)
    for _ in loader:
        assert decoders()
        break
    assert decoders() == []
    assert ids(loader) == list(range(8)), "and the next begins anew"


def test_an_unreadable_picture_is_an_error_naming_it_after_those_before(tmp_path):
    write_jpeg(tmp_path / "a.jpg")
    write_jpeg(tmp_path / "b.jpg")
    loader = ViewLoader(ImageFolder(str(tmp_path)).load(), TRANSFORMS)
    (tmp_path / "b.jpg").write_bytes((tmp_path / "b.jpg").read_bytes()[:300])
    seen = []
    with pytest.raises(UserError, match=r"b\.jpg"):
        seen.extend(batch["names"][0] for batch in loader)
    assert seen == ["a.jpg"]
    assert decoders() == []


@pytest.mark.parametrize(("exif", "size"), [(True, (64, 32)), (False, (32, 64))])
def test_pictures_are_read_as_the_reader_says(tmp_path, exif, size):
    turned = Image.Exif()
    turned[0x0112] = 6
    Image.fromarray(np.zeros((32, 64, 3), np.uint8)).save(tmp_path / "a.jpg", exif=turned)
    data = ImageFolder(str(tmp_path)).load()
    data.records[0].height, data.records[0].width = size
    picture = next(iter(ViewLoader(data, [{"ReadImage": {"exif": exif}}, *TRANSFORMS[1:]])))
    assert picture["sample"].original_size == size


@pytest.mark.parametrize(("transforms", "message"), [(TRANSFORMS[1:], "begin with ReadImage"), ([], "is empty")])
def test_readers_begin_with_reading(steel, transforms, message):
    with pytest.raises(UserError, match=message):
        ViewLoader(dataset_of(steel), transforms)
