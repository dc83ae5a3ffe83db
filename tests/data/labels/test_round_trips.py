"""What a writer writes, the tool's reader reads, told by content: the same pixels, classes and images."""

import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from ppdet_ext.data.labels.formats import FORMATS, read_labels
from ppdet_ext.data.labels.label_set import LabelledImage, LabelledObject, LabelSet
from ppdet_ext.data.labels.writers import WRITERS, WriteOptions
from ppdet_ext.structures import Rle

# The others write tables of competitions.
TOOLS = {"coco": "coco", "cvat": "cvat", "label_studio": "label_studio", "labelme": "labelme", "yolo_seg": "yolo_seg",
         "masks": "voc_masks"}  # fmt: skip
CLASSES = ["pit", "long scratch", 'Riß <&> "4"']
SIDES = st.integers(1, 14)


@st.composite
def label_sets(draw: st.DrawFn) -> LabelSet:
    """Up to three images, one with an object at least; objects of holes and parts, none over another, no two alike."""
    images = []
    for number in range(draw(st.integers(1, 3))):
        height, width = draw(SIDES), draw(SIDES)
        rng = np.random.default_rng(draw(st.integers(0, 1 << 32)))
        numbers = rng.integers(0, draw(st.integers(1, 4)) + (number == 0), (height, width))
        numbers.flat[0] = 1 if number == 0 else numbers.flat[0]
        masks = [Rle.from_bitmap(numbers == place) for place in range(1, 5) if (numbers == place).any()]
        objects = [LabelledObject(CLASSES[int(rng.integers(3))], mask) for mask in masks]
        images.append(LabelledImage(f"sheet {number}.jpg", height, width, objects))
    return LabelSet("test", list(CLASSES), images)


def contents(labels: LabelSet) -> dict[str, list[tuple[str, Rle]]]:
    # YOLO's names begin with the folder of the subset.
    return {
        Path(image.name).name: sorted([(own.class_name, own.mask) for own in image.objects], key=str) for image in labels.images
    }


@pytest.mark.parametrize("tool", TOOLS)
@settings(max_examples=15)
@given(labels=label_sets())
def test_what_is_written_is_read(tool: str, labels: LabelSet) -> None:
    with tempfile.TemporaryDirectory() as folder:
        done = WRITERS[tool](labels, Path(folder), WriteOptions())
        for image in labels.images:
            # YOLO's sizes are those of the pictures.
            path = done.pictures.get(image.name, Path(folder) / image.name)
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.zeros((image.height, image.width), np.uint8)).save(path)
        found = read_labels([folder])
    assert found.format == TOOLS[tool]
    assert contents(found) == contents(labels)
    assert +found.skipped == {}
    assert set(found.class_names) >= {own.class_name for image in labels.images for own in image.objects}
    if tool in ("coco", "cvat", "yolo_seg", "masks"):
        assert found.class_names == CLASSES


@pytest.mark.parametrize("tool", ["coco", "cvat", "label_studio", "labelme", "yolo_seg"])
def test_objects_that_overlap_keep_their_pixels(tool: str, tmp_path: Path) -> None:
    masks = [Rle.full(8, 9), Rle.from_bitmap(np.eye(8, 9)), Rle.full(8, 9).subtract(Rle.from_bitmap(np.eye(8, 9)))]
    labels = LabelSet("test", CLASSES, [LabelledImage("a.png", 8, 9, [LabelledObject("pit", mask) for mask in masks])])
    done = WRITERS[tool](labels, tmp_path, WriteOptions())
    picture = done.pictures.get("a.png", tmp_path / "a.png")
    picture.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.zeros((8, 9), np.uint8)).save(picture)
    assert contents(read_labels([str(tmp_path)])) == contents(labels)


def test_more_objects_than_a_palette_has_colours_come_back(tmp_path: Path) -> None:
    numbers = np.arange(400).reshape(20, 20)
    objects = [LabelledObject("pit", Rle.from_bitmap(numbers == place)) for place in range(1, 400)]
    labels = LabelSet("test", CLASSES, [LabelledImage("a.jpg", 20, 20, objects)])
    WRITERS["masks"](labels, tmp_path, WriteOptions())
    assert contents(read_labels([str(tmp_path)])) == contents(labels)


def test_formats_that_are_written_are_those_of_the_writers() -> None:
    assert {format.writer for format in FORMATS.values() if format.writer} == set(WRITERS) - {"kaggle"}
    assert all(format.write is WRITERS[format.writer] for format in FORMATS.values() if format.writer)
