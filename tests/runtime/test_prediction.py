"""`Prediction`: what a program does with what was found."""

import pickle
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image

from ppdet_ext import Prediction
from ppdet_ext.errors import UserError
from ppdet_ext.structures import Detections, Rle
from ppdet_ext.structures.measurements import measurement_columns

HEIGHT, WIDTH = 24, 40


def block(y: int, x: int, height: int, width: int) -> Rle:
    bitmap = np.zeros((HEIGHT, WIDTH), np.uint8)
    bitmap[y : y + height, x : x + width] = 1
    return Rle.from_bitmap(bitmap)


@pytest.fixture
def found() -> Prediction:
    """A scratch, a pit and a scratch."""
    masks = [block(2, 3, 4, 10), block(10, 20, 2, 2), block(20, 0, 1, 30)]
    detections = Detections.of_masks(HEIGHT, WIDTH, masks, [1, 0, 1], [0.9, 0.8, 0.3])
    return Prediction.of(detections, "a.jpg", ("pit", "scratch"), (7, 3))


def test_names_and_repr(found: Prediction) -> None:
    assert found.class_names == ["scratch", "pit", "scratch"]
    assert repr(found) == "<Prediction 'a.jpg' 24x40: scratch 0.90, pit 0.80, scratch 0.30>"
    nothing = Prediction.of(Detections.empty(2, 3), "", ("pit",), (1,))
    assert (repr(nothing), len(nothing), nothing.class_names) == ("<Prediction 2x3: nothing>", 0, [])
    assert nothing.to_bitmaps().shape == (0, 2, 3)
    assert list(nothing.to_dataframe().columns) == ["image", "object", *measurement_columns()]


def test_selection_keeps_the_names(found: Prediction) -> None:
    best = found.select(found.scores > 0.5)
    assert isinstance(best, Prediction)
    assert (best.name, best.class_names) == ("a.jpg", ["scratch", "pit"])
    assert found.filter(score=0.8).class_names == ["scratch", "pit"]
    assert found.filter(classes=["scratch"], min_area=31).scores.tolist() == [0.9]
    assert found.filter(classes="pit").masks == [found.masks[1]]
    with pytest.raises(UserError, match=r"There is no class 'scrach'\. Did you mean 'scratch'"):
        found.filter(classes=["scrach"])


def test_bitmaps(found: Prediction) -> None:
    bitmaps = found.to_bitmaps()
    assert (bitmaps.shape, bitmaps.dtype) == ((3, HEIGHT, WIDTH), bool)
    assert [int(bitmap.sum()) for bitmap in bitmaps] == [40, 4, 30]
    assert bitmaps[0, 2:6, 3:13].all()
    boxes = Prediction.of(Detections(4, 4, found.boxes[:1], found.scores[:1], found.labels[:1]), "", ("a", "b"), (1, 2))
    for use in (boxes.to_bitmaps, lambda: boxes.filter(min_area=2)):
        with pytest.raises(UserError, match="boxes without masks"):
            use()
    assert "segmentation" not in boxes.to_coco()[0]


def test_coco(found: Prediction) -> None:
    first, pit, _ = found.to_coco(image_id=5)
    assert first == {
        "image_id": 5,
        "category_id": 3,
        "score": 0.9,
        "bbox": [3, 2, 10, 4],
        "segmentation": found.masks[0].to_coco(text=True),
    }
    assert pit["category_id"] == 7
    assert Rle.from_coco(first["segmentation"]) == found.masks[0]


def test_table_of_measurements(found: Prediction) -> None:
    table = found.to_dataframe(mm_per_pixel=0.5)
    assert table["class"].tolist() == found.class_names
    assert table["image"].tolist() == ["a.jpg"] * 3
    assert table["object"].tolist() == [1, 2, 3]
    assert table["area_px"].tolist() == [40, 4, 30]
    assert table["area_mm2"].tolist() == [10, 1, 7.5]
    assert table["length_mm"].tolist() == [5, 1, 15]
    assert "area_mm2" not in found.to_dataframe()


def test_a_missing_pandas_is_named_with_its_remedy(found: Prediction, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(UserError, match="Install it with: pip install pandas"):
        found.to_dataframe()


def test_it_is_drawn_on_pixels_and_files(found: Prediction, tmp_path: Path) -> None:
    pixels = np.full((HEIGHT, WIDTH, 3), (10, 20, 30), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    drawn = found.draw(pixels, threshold=0.85)
    assert (drawn.shape, drawn.dtype) == (pixels.shape, np.uint8)
    assert (drawn != pixels).any()
    assert (pixels == (10, 20, 30)).all()
    assert not np.array_equal(found.draw(pixels), drawn)
    assert np.array_equal(found.draw(tmp_path / "a.png", threshold=0.85), drawn)
    assert np.array_equal(found.draw(pixels[:, :, ::-1], threshold=0.85, channels="bgr")[:, :, ::-1], drawn)
    with pytest.raises(UserError, match="The picture is 24x39 pixels, what was found is of one of 24x40"):
        found.draw(pixels[:, 1:])


def test_it_is_pickled(found: Prediction) -> None:
    again = pickle.loads(pickle.dumps(found))
    assert (again.name, again.classes, again.masks) == (found.name, found.classes, found.masks)
    assert np.array_equal(again.boxes, found.boxes)


def test_supervision(found: Prediction, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "supervision", None)
    with pytest.raises(UserError, match="pip install supervision"):
        found.to_supervision()
    package = ModuleType("supervision")
    package.Detections = lambda **given: given
    monkeypatch.setitem(sys.modules, "supervision", package)
    given = found.to_supervision()
    assert given["data"]["class_name"].tolist() == found.class_names
    assert (given["xyxy"].dtype, given["mask"].dtype, given["class_id"].tolist()) == (np.float32, bool, [1, 0, 1])
    assert given["mask"].shape == (3, HEIGHT, WIDTH)
