"""Tiny data sets written to a temporary folder."""

from pathlib import Path

import pytest
from tiny_data import block, coco_content, write_coco, write_csv, write_jpeg

from ppdet_ext.data.loading import build_loader
from ppdet_ext.structures import Rle


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory, monkeypatch):
    """No test reads another's cache, or writes to the user's."""
    monkeypatch.setenv("PPDET_EXT_CACHE", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture
def steel(tmp_path: Path) -> Path:
    """Eight images of 32x64; a.jpg has two defects of class 1 and one of class 3, b.jpg one of class 3, the others none."""
    (tmp_path / "train_images").mkdir()
    for i, name in enumerate("abcdefgh"):
        write_jpeg(tmp_path / "train_images" / f"{name}.jpg", seed=i)
    two = Rle.merge([block(2, 3, 5, 6), block(20, 40, 4, 8)])
    write_csv(
        tmp_path,
        [
            ("a.jpg", 1, two.to_kaggle()),
            ("a.jpg", 3, block(10, 20, 3, 3).to_kaggle()),
            ("b.jpg", 3, block(0, 0, 8, 8).to_kaggle()),
        ],
    )
    return tmp_path


@pytest.fixture
def coco(tmp_path: Path) -> Path:
    (tmp_path / "images").mkdir()
    for i, name in enumerate("ab"):
        write_jpeg(tmp_path / "images" / f"{name}.jpg", seed=i)
    write_coco(tmp_path, coco_content())
    return tmp_path


@pytest.fixture
def load():
    """build_loader, whose workers end with the test."""
    made = []

    def build(*args, **kwargs):
        made.append(build_loader(*args, **{"mode": "train", **kwargs}))
        return made[-1]

    yield build
    for loader in made:
        loader.close()
