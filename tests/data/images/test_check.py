"""Which files of a folder are pictures."""

import logging

import pytest
from PIL import Image

from ppdet_ext.data.datasets import ImageFolder
from ppdet_ext.data.images.check import images_below, is_sidecar, list_images, near_file
from ppdet_ext.data.images.decode import image_size, read_image
from ppdet_ext.errors import UserError


def test_files_that_systems_put_beside_pictures_are_left_out_and_counted_once(tmp_path, caplog):
    for name in ("a.jpg", "b.PNG"):
        Image.new("RGB", (4, 4)).save(tmp_path / name)
    for name in ("._a.jpg", "._b.PNG", ".DS_Store", "Thumbs.db", "desktop.ini"):
        (tmp_path / name).write_bytes(b"\0\5\x16\7")
    (tmp_path / "__MACOSX").mkdir()
    (tmp_path / "__MACOSX" / "a.jpg").write_bytes(b"\0\5\x16\7")
    with caplog.at_level(logging.INFO):
        assert list_images(str(tmp_path)) == list_images(str(tmp_path)) == ["a.jpg", "b.PNG"]
        assert images_below(str(tmp_path)) == []
    assert [record.getMessage() for record in caplog.records] == [
        f"{tmp_path}: 6 files of macOS or Windows left out, no pictures (.DS_Store, ._a.jpg, ._b.PNG, …)"
    ]


def test_names_that_only_look_alike_are_pictures():
    assert not any(map(is_sidecar, ("_a.jpg", ".a.jpg", "thumbs.db.png", "a._b.jpg")))


@pytest.mark.parametrize(
    ("name", "data", "told"),
    [
        ("a.jpg", b"\0\0\0\x18ftypheic\0\0\0\0", "it is HEIC, as of phones. Convert it to JPEG or PNG."),
        ("a.png", b"version https://git-lfs.github.com/spec/v1\n", "it is a Git LFS pointer. .*git lfs pull"),
        ("a.jpg", b"\n<!DOCTYPE HTML><html>", "it is a web page"),
        ("a.png", b'<svg xmlns="http://www.w3.org/2000/svg"/>', "it is SVG"),
        ("a.png", bytes(128) + b"DICM", "it is DICOM"),
        ("a.png", b"%PDF-1.7", "it is PDF"),
        ("a.png", b"PK\x03\x04", "it is a ZIP archive"),
        ("._a.jpg", b"\0\x05\x16\x07", "it is what macOS puts beside one"),
        ("a.png", b"something else", "it is of no kind that is known here"),
    ],
)
def test_what_is_no_picture_is_called_what_it_is(tmp_path, name, data, told):
    (tmp_path / name).write_bytes(data)
    for read in (read_image, image_size):
        with pytest.raises(UserError, match=rf"{name}: .*({told})"):
            read(str(tmp_path / name))


def test_a_picture_of_nearly_the_name_is_offered(tmp_path):
    Image.new("RGB", (4, 4)).save(tmp_path / "a.jpg")
    for name in ("a.JPG", "a.png", "a"):
        with pytest.raises(UserError, match=rf"{name}: no such picture or folder\. There is a\.jpg\."):
            ImageFolder(str(tmp_path / name)).load()


def test_a_folder_without_pictures_counts_none_below(tmp_path):
    (tmp_path / "._a.jpg").write_bytes(b"x")
    with pytest.raises(UserError) as caught:
        ImageFolder(str(tmp_path)).load()
    assert "sub-folders" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("A.JPG", "a.jpg"),
        ("x/a.jpg", "a.jpg"),
        ("x\\a.jpg", "a.jpg"),
        ("a", "a.jpg"),
        ("a.png", "a.jpg"),
        ("b", None),
        ("c.jpg", None),
    ],
)
def test_files_of_nearly_a_name(tmp_path, name, found):
    for file in ("a.jpg", "b.jpg", "b.png", "._c.jpg"):
        (tmp_path / file).write_bytes(b"x")
    assert near_file(str(tmp_path), name) == found
