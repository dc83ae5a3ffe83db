"""Writers of label tools' files: every mask comes back bit by bit through decoders that are written here."""

import base64
import csv
import io
import json
from functools import partial
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from ppdet_ext.data.formats.submission_format import Format
from ppdet_ext.data.labels.brush_rle import decode_brush, encode_brush
from ppdet_ext.data.labels.convert import DETECTIONS
from ppdet_ext.data.labels.label_set import LabelledImage, LabelledObject, LabelSet
from ppdet_ext.data.labels.writers import WRITERS, WriteOptions
from ppdet_ext.data.labels.writers.masks import indices
from ppdet_ext.data.labels.writers.palette import colour
from ppdet_ext.data.labels.writers.yolo_seg import even_odd_rings, joined
from ppdet_ext.errors import UserError
from ppdet_ext.structures import Rle

# Examples of a property write to one place in turn.
REPLACING = partial(WriteOptions, overwrite=True)
SIDES = st.integers(1, 12)
BITMAPS = st.tuples(SIDES, SIDES).flatmap(lambda size: arrays(bool, size)).filter(lambda bitmap: bitmap.any())
PROPERTY = settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
RING = np.pad(np.pad(np.ones((2, 3)), 1), 1, constant_values=1)  # an island in a hole


def labels_of(*bitmaps: np.ndarray, scores: tuple[float, ...] = (), name: str = "sub/a.jpg") -> LabelSet:
    """An image of the first bitmap's size; classes "pit" and "long scratch" in turn."""
    names = ["pit", "long scratch"]
    objects = [LabelledObject(names[number % 2], Rle.from_bitmap(bitmap)) for number, bitmap in enumerate(bitmaps)]
    for own, score in zip(objects, scores):
        own.score = score
    return LabelSet("test", names, [LabelledImage(name, *bitmaps[0].shape, objects)])


def cvat_pixels(element: ElementTree.Element, height: int, width: int) -> np.ndarray:
    """CVAT's mask, as github.com/cvat-ai/cvat/issues/5828 decodes it: runs along the rows of the box, background first."""
    left, top, box_width, box_height = (int(element.attrib[key]) for key in ("left", "top", "width", "height"))
    counts = [int(value) for value in element.attrib["rle"].split(",")]
    assert sum(counts) == box_width * box_height
    pixels = np.repeat(np.arange(len(counts)) % 2, counts).reshape(box_height, box_width)
    whole = np.zeros((height, width), bool)
    whole[top : top + box_height, left : left + box_width] = pixels
    return whole


def brush_pixels(rle: list[int], height: int, width: int) -> np.ndarray:
    """@thi.ng/rle-pack's decode, bit by bit; the alpha channel."""
    bits, place = "".join(f"{byte:08b}" for byte in rle), 0

    def read(size: int) -> int:
        nonlocal place
        place += size
        return int(bits[place - size : place], 2)

    total, word, sizes = read(32), read(5) + 1, [read(4) + 1 for _ in range(4)]
    values: list[int] = []
    while len(values) < total:
        repeated, length = read(1), read(sizes[read(2)]) + 1
        values += [read(word)] * length if repeated else [read(word) for _ in range(length)]
    assert set(values) <= {0, 255}
    return np.reshape(values, (height, width, 4))[..., 3] > 0


@PROPERTY
@given(bitmap=BITMAPS)
def test_cvat(bitmap: np.ndarray, tmp_path: Path) -> None:
    (path,) = WRITERS["cvat"](labels_of(bitmap), tmp_path, REPLACING()).files
    root = ElementTree.parse(path).getroot()
    (image,) = root.iter("image")
    (mask,) = image
    assert np.array_equal(cvat_pixels(mask, *bitmap.shape), bitmap)
    assert (image.attrib["name"], mask.attrib["label"], mask.attrib["source"]) == ("sub/a.jpg", "pit", "manual")
    assert [label.text for label in root.iter("name")] == ["pit", "long scratch"]


def test_cvat_puts_the_higher_score_on_top_and_counts_what_it_cannot_hold(tmp_path: Path) -> None:
    labels = labels_of(np.ones((3, 3)), np.eye(3), np.zeros((3, 3)), scores=(0.9, 0.5, 0.7))
    labels.images[0].objects.append(LabelledObject("pit", Rle.full(3, 3), crowd=True))
    labels.images[0].name = labels.class_names[0] = labels.images[0].objects[0].class_name = "<&\" 'ü'\n>.jpg"
    labels.images[0].objects[3].class_name = labels.class_names[0]
    done = WRITERS["cvat"](labels, tmp_path, REPLACING())
    (image,) = ElementTree.parse(done.files[0]).getroot().iter("image")
    assert [mask.attrib["z_order"] for mask in image] == ["1", "0"]
    assert image.attrib["name"] == labels.class_names[0] == image[0].attrib["label"]
    assert (done.objects, +done.lost) == (2, {"crowds": 1, "empty masks": 1, "scores": 2})
    labels.images[0].name = "a\x07.jpg"
    with pytest.raises(UserError, match=r"cannot hold the character .* Rename"):
        WRITERS["cvat"](labels, tmp_path, REPLACING())


@PROPERTY
@given(bitmap=BITMAPS)
def test_label_studios_brush(bitmap: np.ndarray) -> None:
    mask = Rle.from_bitmap(bitmap)
    code = encode_brush(mask)
    assert np.array_equal(brush_pixels(code, *bitmap.shape), bitmap)
    assert decode_brush(code, *mask.size) == mask


def test_label_studios_brush_of_long_runs() -> None:
    bitmap = np.zeros((300, 400), bool)
    bitmap[100:220] = True  # 4 * 48,000 values in a run, of which a record holds 65,536
    assert np.array_equal(brush_pixels(encode_brush(Rle.from_bitmap(bitmap)), 300, 400), bitmap)


def test_label_studio_predicts_what_has_a_score_and_annotates_the_rest(tmp_path: Path) -> None:
    labels = labels_of(RING, np.ones(RING.shape), scores=(0.75,), name="sheet ü/a b.jpg")
    labels.images.append(LabelledImage("clean.jpg", 5, 4))
    options = REPLACING(model_version="steel, epoch 3")
    tasks_file, config_file = WRITERS["label_studio"](labels, tmp_path, options).files
    task, clean = json.loads(tasks_file.read_text())
    (prediction,), (annotation,) = task["predictions"], task["annotations"]
    assert task["data"] == {"image": "/data/local-files/?d=sheet%20%C3%BC/a%20b.jpg"}
    assert (prediction["model_version"], prediction["score"]) == ("steel, epoch 3", 0.75)
    (result,) = prediction["result"]
    assert (result["original_height"], result["original_width"], result["score"]) == (*RING.shape, 0.75)
    assert np.array_equal(brush_pixels(result["value"]["rle"], *RING.shape), RING > 0)
    assert annotation["result"][0]["value"]["brushlabels"] == ["long scratch"]
    # Reviewed, and found to have nothing.
    assert clean["annotations"] == [{"was_cancelled": False, "result": []}]
    labels.format = DETECTIONS
    tasks_file, _ = WRITERS["label_studio"](labels, tmp_path, options).files
    assert list(json.loads(tasks_file.read_text())[1]) == ["data"]  # what a model says is not yet reviewed
    view = ElementTree.parse(config_file).getroot()
    assert [label.attrib["value"] for label in view.iter("Label")] == labels.class_names
    assert {view.find("BrushLabels").attrib["name"], view.find("Image").attrib["name"]} == {
        result["from_name"],
        result["to_name"],
    }


@PROPERTY
@given(bitmap=BITMAPS)
def test_labelme(bitmap: np.ndarray, tmp_path: Path) -> None:
    done = WRITERS["labelme"](labels_of(bitmap), tmp_path, REPLACING())
    assert done.files == [tmp_path / "sub" / "a.json"]
    assert done.pictures == {"sub/a.jpg": tmp_path / "sub" / "a.jpg"}
    content = json.loads(done.files[0].read_text())
    (shape,) = content["shapes"]
    (x1, y1), (x2, y2) = shape["points"]
    part = np.array(Image.open(io.BytesIO(base64.b64decode(shape["mask"]))))
    whole = np.zeros(bitmap.shape, bool)
    # labelme counts both corners in.
    whole[y1 : y2 + 1, x1 : x2 + 1] = part
    assert np.array_equal(whole, bitmap)
    assert (content["imagePath"], content["imageHeight"], content["imageWidth"]) == ("a.jpg", *bitmap.shape)


def drawn(tool: str, polygon: list[float], out: Path, mask: Rle | None = None) -> tuple[str, list[float]]:
    """(kind of the shape that is written, its polygon in pixels) of an object that was drawn so in 8 x 8 pixels."""
    labels = labels_of(np.ones((8, 8)))
    labels.images[0].objects = [LabelledObject("pit", mask or Rle.from_polygons([polygon], 8, 8), polygons=[polygon])]
    text = WRITERS[tool](labels, out, REPLACING()).files[0].read_text()
    if tool == "labelme":
        (shape,) = json.loads(text)["shapes"]
        return shape["shape_type"], np.ravel(shape["points"]).tolist()
    if tool == "cvat":
        ((element,),) = ElementTree.fromstring(text).iter("image")
        return element.tag, [float(value) for value in element.get("points", "").replace(";", ",").split(",") if value]
    return "polygon", [float(value) * 8 for value in text.split()[1:]]


@pytest.mark.parametrize("tool", ["labelme", "cvat", "yolo_seg"])
def test_a_polygon_that_was_drawn_stays_unless_its_pixels_are_others(tool: str, tmp_path: Path) -> None:
    polygon = [0.5, 0.25, 7.5, 1.0, 4.0, 7.75]
    assert drawn(tool, polygon, tmp_path) == ("polygon", polygon)
    kind, points = drawn(tool, polygon, tmp_path, Rle.full(8, 8))
    assert (kind == "mask") == (tool != "yolo_seg")
    assert points != polygon
    # Beyond the picture YOLO cannot say it; what is inside has the same pixels, or it is not taken.
    outside = [-3.0, -2.0, 12.0, 1.0, 4.0, 7.75]
    _, points = drawn(tool, outside, tmp_path)
    assert tool != "yolo_seg" or Rle.from_polygons([points], 8, 8) == Rle.from_polygons([outside], 8, 8)


@PROPERTY
@given(bitmap=BITMAPS)
def test_a_polygon_with_bridges_has_the_pixels_of_holes_and_parts(bitmap: np.ndarray) -> None:
    mask = Rle.from_bitmap(bitmap)
    assert Rle.from_polygons([joined(even_odd_rings(mask)).ravel().tolist()], *mask.size) == mask


@PROPERTY
@given(bitmap=BITMAPS)
def test_yolo(bitmap: np.ndarray, tmp_path: Path) -> None:
    done = WRITERS["yolo_seg"](labels_of(bitmap, np.ones(bitmap.shape)), tmp_path, REPLACING())
    text, described = done.files
    assert text == tmp_path / "labels" / "train" / "sub" / "a.txt"
    assert done.pictures == {"sub/a.jpg": tmp_path / "images" / "train" / "sub" / "a.jpg"}
    first, second = (line.split() for line in text.read_text().splitlines())
    points = np.reshape(list(map(float, first[1:])), (-1, 2)) * bitmap.shape[::-1]
    assert Rle.from_polygons([points.ravel().tolist()], *bitmap.shape) == Rle.from_bitmap(bitmap)
    assert (first[0], second[0]) == ("0", "1")
    content = yaml.safe_load(described.read_text())
    assert content == {
        "path": ".", "train": "images/train", "val": "images/train", "names": {0: "pit", 1: "long scratch"},
    }  # fmt: skip


def test_yolo_says_which_objects_are_joined_and_writes_an_empty_file_for_an_image_with_nothing(tmp_path: Path) -> None:
    labels = labels_of(RING, np.ones(RING.shape), scores=(0.5,))
    labels.images.append(LabelledImage("b.png", 4, 4, subset="val"))
    done = WRITERS["yolo_seg"](labels, tmp_path, REPLACING())
    assert +done.changed == {"objects with holes or of several parts, joined by bridges": 1}
    assert +done.lost == {"scores": 1}
    assert (tmp_path / "labels" / "val" / "b.txt").read_text() == ""
    assert yaml.safe_load((tmp_path / "data.yaml").read_text())["val"] == "images/val"


@pytest.mark.parametrize("number", [3, 300])
def test_masks_are_lossless_indices_with_the_higher_score_on_top(number: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    bitmaps = [rng.random((30, 40)) < 0.1 for _ in range(number)]
    scores = tuple(rng.permutation(number) / number)
    labels = labels_of(*bitmaps, scores=scores)
    done = WRITERS["masks"](labels, tmp_path, REPLACING())
    classes, instances = (Image.open(path) for path in done.files[:2])
    expected = np.zeros((30, 40), int)
    for place in np.argsort(scores):
        expected[bitmaps[place]] = place + 1
    assert np.array_equal(np.array(instances), expected)
    assert (classes.mode, instances.mode == "P") == ("P", number < 256)
    assert np.array_equal(np.array(classes), np.where(expected, (expected - 1) % 2 + 1, 0))
    assert done.changed["objects partly covered by others"] + done.lost["objects wholly covered by others"] >= number - 1
    lines = (tmp_path / "labelmap.txt").read_text().splitlines()
    assert lines[1:] == ["background:0,0,0::", "pit:128,0,0::", "long scratch:0,128,0::"]
    assert (tmp_path / "ImageSets" / "Segmentation" / "default.txt").read_text() == "sub/a\n"
    assert classes.getpalette()[6:9] == list(colour(2))


def test_masks_without_scores_put_the_later_object_on_top() -> None:
    canvas = indices([(1, Rle.full(2, 2)), (2, Rle.from_bitmap(np.eye(2)))], 2, 2)
    assert canvas.tolist() == [[2, 1], [1, 2]]


@PROPERTY
@given(bitmap=BITMAPS)
def test_coco(bitmap: np.ndarray, tmp_path: Path) -> None:
    labels = labels_of(bitmap, np.ones(bitmap.shape), scores=(0.25,))
    labels.images[0].objects[1].crowd = True
    (path,) = WRITERS["coco"](labels, tmp_path, REPLACING(class_ids=[7, 3])).files
    content = json.loads(path.read_text())
    first, second = content["annotations"]
    assert Rle.from_coco(first["segmentation"]) == Rle.from_bitmap(bitmap)
    x, y, w, h = map(int, first["bbox"])
    assert bitmap.sum() == first["area"] == bitmap[y : y + h, x : x + w].sum()
    assert (first["score"], first["iscrowd"], second["iscrowd"], "score" in second) == (0.25, 0, 1, False)
    assert [(one["id"], one["name"]) for one in content["categories"]] == [(7, "pit"), (3, "long scratch")]


def test_coco_has_a_file_for_each_subset(tmp_path: Path) -> None:
    labels = labels_of(np.ones((2, 2)))
    labels.images[0].subset = "train/1"
    labels.images.append(LabelledImage("b.jpg", 2, 2, subset="val"))
    names = [path.name for path in WRITERS["coco"](labels, tmp_path, REPLACING()).files]
    assert names == ["instances_train_1.json", "instances_val.json"]


@PROPERTY
@given(bitmap=BITMAPS)
def test_kaggle(bitmap: np.ndarray, tmp_path: Path) -> None:
    form = Format({"ImageId": "{name}", "EncodedPixels": "{rle}", "ClassId": "{class_id}"}, source="mine")
    labels = labels_of(bitmap, np.ones(bitmap.shape))
    (path,) = WRITERS["kaggle"](labels, tmp_path, REPLACING(form=form)).files
    with path.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["ClassId"] for row in rows] == ["1", "2"]
    assert Rle.from_kaggle(rows[0]["EncodedPixels"], *bitmap.shape) == Rle.from_bitmap(bitmap)


def test_kaggle_needs_a_template(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="needs a template"):
        WRITERS["kaggle"](labels_of(np.ones((2, 2))), tmp_path, REPLACING())


@pytest.mark.parametrize("tool", ["labelme", "masks", "yolo_seg"])
def test_pictures_that_differ_in_suffix_or_capitals_alone_have_files_of_their_own(tool: str, tmp_path: Path) -> None:
    labels = labels_of(np.ones((2, 2)), name="a.jpg")
    labels.images += [LabelledImage("A.png", 2, 2), LabelledImage("b.jpg", 2, 2)]
    files = WRITERS[tool](labels, tmp_path, REPLACING()).files
    assert len({str(path).casefold() for path in files}) == len(files)
    assert [path.stem for path in files if path.stem.startswith(("a", "A"))][:1] == ["a.jpg"]


def test_names_that_are_not_utf8_are_told(tmp_path: Path) -> None:
    labels = labels_of(np.ones((2, 2)), name="a\udcff.jpg")
    with pytest.raises(UserError, match="Rename the picture"):
        WRITERS["cvat"](labels, tmp_path, REPLACING())
