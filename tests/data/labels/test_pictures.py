"""Pictures found by the names that labels write."""

from pathlib import Path

import pytest
from PIL import Image

from ppdet_ext.data.labels.pictures import Pictures
from ppdet_ext.errors import UserError

FILES = (
    *("a.jpg", "Übung 1.PNG", "train/b.jpg", "val/b.jpg", "images/test/c.tif", "images/test/deep/d.bmp", "only/e.jpeg"),
    *("._a.jpg", "train/._b.jpg", "Thumbs.db", ".hidden/z.jpg", "__MACOSX/z.jpg", "notes.txt"),
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in FILES:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    return tmp_path


@pytest.mark.parametrize(
    ("name", "subset", "file"),
    [
        ("a.jpg", None, "a.jpg"),
        ("A.JPG", None, "a.jpg"),
        ("somewhere/else/a.jpg", None, "a.jpg"),
        ("a", None, "a.jpg"),
        ("a.png", None, None),
        ("U\u0308bung 1.png", None, "Übung 1.PNG"),
        ("%C3%9Cbung%201.png", None, "Übung 1.PNG"),
        ("b.jpg", None, None),
        ("b.jpg", "val", "val/b.jpg"),
        ("b", "train", "train/b.jpg"),
        ("b.jpg", "test", None),
        ("train/b.jpg", None, "train/b.jpg"),
        ("train\\b.jpg", None, "train/b.jpg"),
        ("data/train/b.jpg", "train", "train/b.jpg"),
        ("c.tif", None, "images/test/c.tif"),
        ("test/deep/d.bmp", None, "images/test/deep/d.bmp"),
        ("z.jpg", None, None),
        ("._a.jpg", None, None),
        ("notes.txt", None, None),
    ],
)
def test_pictures_are_found(folder: Path, name: str, subset: str | None, file: str | None) -> None:
    assert Pictures(str(folder)).find(name, subset) == (None if file is None else str(folder / file))


def test_what_systems_leave_beside_pictures_is_counted(folder: Path) -> None:
    pictures = Pictures(str(folder))
    assert pictures.all() == sorted(FILES[:7])
    assert pictures.sidecars == {"._*": 2, "Thumbs.db": 1}


def test_without_other_sub_folders_than_those_of_pictures(folder: Path) -> None:
    assert Pictures(str(folder), below=False).all() == ["a.jpg", "images/test/c.tif", "images/test/deep/d.bmp", "Übung 1.PNG"]


def test_sizes_come_from_headers(folder: Path) -> None:
    Image.new("RGB", (30, 20)).save(folder / "a.jpg")
    assert Pictures(str(folder)).size("x/a.jpg") == (20, 30)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("b.jpg", r"b\.jpg: may be train/b\.jpg or val/b\.jpg in .*Leave one of them there"),
        ("aa.jpg", r"aa\.jpg: no such picture in .*There is a\.jpg\. Say where the pictures are: --images DIR"),
        # Pictures of a series are not meant by each other's names, nor those that share nothing but the suffix.
        ("Übung 2.PNG", r"no such picture in .*, which has 7 other pictures\. Say"),
        ("q.jpg", r"no such picture in .*, which has 7 other pictures\. Say"),
        ("Ubung 01.png", r"There is Übung 1\.PNG\. Say"),
        ("quite another.jpg", r"no such picture in .*, which has 7 other pictures\. Say"),
    ],
)
def test_what_is_not_found_is_told_with_near_names(folder: Path, name: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        Pictures(str(folder)).size(name)


def test_no_folder() -> None:
    assert Pictures(None).find("a.jpg") is None
    assert Pictures(None).all() == []
    with pytest.raises(UserError, match=r"a\.jpg: the labels do not tell its size\. Say where the pictures are: --images DIR"):
        Pictures(None).size("a.jpg")
    with pytest.raises(UserError, match="nowhere: no such folder of pictures"):
        Pictures("nowhere")
