"""Formats told by content; what is none of them; and folders of several things."""

import gzip
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from label_files import write_json, write_png, write_text

from ppdet_ext.data.labels.detect import chosen_paths, detect, head_of
from ppdet_ext.data.labels.formats import FORMATS, read_labels
from ppdet_ext.errors import UserError

FIXTURES = Path(__file__).parents[2] / "fixtures" / "labels"
# Folder of the collected files -> format, with the files to name where a folder has several.
COLLECTED = {
    "cityscapes": "cityscapes",
    "coco": "coco",
    "coco_panoptic": "coco_panoptic",
    "cvat_coco": "coco",
    "cvat_images": "cvat",
    "cvat_video/annotations.xml": "cvat",
    "darwin_v7": "darwin",
    "datumaro": "datumaro",
    "label_studio/brush.json": "label_studio",
    "label_studio/polygons.json": "label_studio",
    "label_studio/brush_to_coco_export.json": "coco",
    "label_studio/coco_export_of_brush.json": "coco",
    "labelme": "labelme",
    "labelme_coco": "coco",
    "labelme_xml_mit": "labelme_xml",
    "roboflow_coco": "coco",
    "segment_anything": "segment_anything",
    "superannotate": "superannotate",
    "supervisely": "supervisely",
    "via": "via",
    "voc_palette_png": "voc_masks",
    "yolo_seg": "yolo_seg",
}
FOREIGN = {
    "package": {"name": "x", "version": "1.0.0", "dependencies": {"y": "^1"}},
    "metrics": {"bbox": {"AP": 0.3}, "segm": {"AP": 0.2}},
    "rows of metrics": [{"epoch": 1, "loss": 0.3}, {"epoch": 2, "loss": 0.2}],
    "GeoJSON": {"type": "FeatureCollection", "features": [{"type": "Feature", "geometry": None, "properties": {}}]},
    "COCO results": [{"image_id": 1, "category_id": 1, "segmentation": {"size": [1, 1], "counts": "1"}, "score": 0.5}],
    "a list of numbers": [1, 2, 3],
    "an empty list": [],
    "an empty object": {},
    "a notebook": {"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5},
    "sections of other kinds": {"images": 1, "annotations": {}, "categories": "x"},
}


def formats_of(path: Path) -> set[str]:
    """Of all files and folders that are known, as `read_labels` looks at them."""
    own = detect(head_of(str(path)), FORMATS)
    if own is not None or path.is_file():
        return {own.name} if own else set()
    files = [file for file in sorted(path.rglob("*")) if file.suffix in (".json", ".xml")]
    return set().union(*(formats_of(file) for file in files))


@pytest.mark.parametrize("name", COLLECTED)
def test_collected_files_are_told_by_content(name: str, shared: Path) -> None:
    if COLLECTED[name] in FORMATS:
        assert formats_of(shared / "data" / "labels" / name) == {COLLECTED[name]}


@pytest.mark.parametrize("name", [name for name in COLLECTED if (FIXTURES / name).exists()])
def test_names_do_not_matter(name: str, tmp_path: Path) -> None:
    source = FIXTURES / name
    files = [source] if source.is_file() else [*source.rglob("*.json"), *source.rglob("*.xml")]
    for number, file in enumerate(file for file in files if file.name != "expected.json"):
        other = tmp_path / f"{number}.txt"
        other.write_bytes(file.read_bytes())
        own = detect(head_of(str(other)), FORMATS)
        assert own is None or own.name == COLLECTED[name]


@pytest.mark.parametrize("name", FOREIGN)
def test_other_json_gets_an_error_that_lists_the_formats(name: str, tmp_path: Path) -> None:
    path = tmp_path / "file.json"
    path.write_text(json.dumps(FOREIGN[name]))
    with pytest.raises(
        UserError, match=r"file\.json: not the labels of a tool that is known\. Known are .*coco, .*label_studio"
    ):
        read_labels([str(path)])
    with pytest.raises(UserError, match=r"no labels of a tool that is known there\. Known are .*coco, "):
        read_labels([str(tmp_path)])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the file is empty"),
        (b" \n", "the file is empty"),
        (b'{"images": [', "not JSON, or not all of it .*Its end is missing"),
        (b'{"images": [}', "not JSON, or not all of it .*Export it again"),
        (b'{"images"}' + b"\xff", "not JSON"),
        (b"<annotations><image>", "not XML, or not all of it"),
        (b"<html><body/></html>", "not the labels of a tool that is known"),
        (b"PK\x03\x04....", "it is a ZIP archive; unpack it, and name the folder"),
        (gzip.compress(b"{}", mtime=0), "compressed by gzip"),
        (b"version https://git-lfs.github.com/spec/v1\n", "pointer of Git LFS"),
        (b"a,b,c\n1,2,3\n", "not the labels of a tool that is known"),
        (b"[" * 200_000, "nested too deeply"),
        (b"<a>" * 100, "nested more than 64 deep"),
    ],
    # Short ones, the same in each process of a run.
    ids=range(13),
)
def test_what_is_damaged_or_something_else(content: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "labels.json"
    path.write_bytes(content)
    with pytest.raises(UserError, match=rf"labels\.json: .*{message}"):
        read_labels([str(path)])


def test_text_in_utf_16_is_read(tmp_path: Path) -> None:
    text = (FIXTURES / "labelme_coco" / "annotations.json").read_text()
    (tmp_path / "a.json").write_text(text, encoding="utf-16")
    assert len(read_labels([str(tmp_path / "a.json")]).images) == 3


def test_files_of_several_tools_are_not_guessed() -> None:
    folder = str(FIXTURES / "label_studio")
    with pytest.raises(UserError, match=r"several label tools .*--format (coco\|label_studio|label_studio\|coco)"):
        read_labels([folder])
    assert len(read_labels([folder], format="label_studio").images) == 2


def labelme_beside(folder: Path) -> None:
    (folder / "lm").mkdir(parents=True)
    item = {"label": "pit", "points": [[1, 1], [5, 1], [5, 5]], "shape_type": "polygon"}
    content = {"version": "5.0", "shapes": [item], "imagePath": "a.png", "imageHeight": 8, "imageWidth": 10, "imageData": None}
    (folder / "lm" / "a.json").write_text(json.dumps(content))


def supervisely_project(folder: Path) -> None:
    write_json(folder / "meta.json", {"classes": [], "tags": []})
    write_json(folder / "ds" / "ann" / "a.png.json", {"size": {"height": 8, "width": 10}, "objects": []})


def yolo_folder(folder: Path) -> None:
    write_text(folder / "data.yaml", "names: [pit]")
    write_text(folder / "labels" / "a.txt", "0 0.1 0.1 0.5 0.1 0.5 0.5\n")


def voc_folder(folder: Path) -> None:
    write_png(folder / "SegmentationClass" / "a.png", np.eye(8))


@pytest.mark.parametrize("make", [supervisely_project, yolo_folder, voc_folder])
def test_labels_in_a_folder_of_another_tools_layout_are_not_passed_over(make: Callable, tmp_path: Path) -> None:
    make(tmp_path)
    write_json(tmp_path / "other.json", {"version": 1})
    alone, _, _ = chosen_paths([str(tmp_path)], None, FORMATS)
    labelme_beside(tmp_path)
    with pytest.raises(UserError, match=rf"several label tools .*labelme: .*a\.json.*--format {alone.name}\|labelme"):
        read_labels([str(tmp_path)])
    assert chosen_paths([str(tmp_path)], alone, FORMATS)[1] == [str(tmp_path)]
    assert chosen_paths([str(tmp_path)], FORMATS["labelme"], FORMATS)[1] == [str(tmp_path / "lm" / "a.json")]


def test_folders_without_labels_are_told_for_what_they_are(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="the folder is empty"):
        read_labels([str(tmp_path)])
    write_png(tmp_path / "a.png", np.random.default_rng(0).integers(0, 256, (20, 20, 3)))
    with pytest.raises(UserError, match=r"1 picture and no labels.*--images"):
        read_labels([str(tmp_path)])
    table = write_text(tmp_path / "train.csv", "ImageId,EncodedPixels\na.png,1 2\n")
    for named in (tmp_path, table):
        with pytest.raises(UserError, match=rf"Known are .*For a table of run lengths: .*new_config\.py {table}"):
            read_labels([str(named)])
    yolo_folder(tmp_path / "yolo")
    for folder in ("labels", "labels/train"):
        write_text(tmp_path / "yolo" / "labels" / "train" / "b.txt", "")
        with pytest.raises(UserError, match=rf"Name the folder above, which has the pictures, too: {tmp_path / 'yolo'}$"):
            read_labels([str(tmp_path / "yolo" / folder)])


def test_our_own_data_set_is_read_by_its_sides(tmp_path: Path) -> None:
    content = json.loads((FIXTURES / "labelme_coco" / "annotations.json").read_text())
    content["info"] = {"description": "made by import_labels of x"}
    write_json(tmp_path / "annotations" / "all.json", content)
    assert len(read_labels([str(tmp_path)]).images) == 3
    first, *rest = content["images"]
    for side, images in (("train", [first]), ("val", rest)):
        own = {one["id"] for one in images}
        chosen = [one for one in content["annotations"] if one["image_id"] in own]
        write_json(tmp_path / "annotations" / f"{side}.json", {**content, "images": images, "annotations": chosen})
    labels = read_labels([str(tmp_path)])
    assert sorted(str(image.subset) for image in labels.images) == ["train", "val", "val"]
    assert any("all.json left out: the files of its sides" in note for note in labels.notes)


def test_other_files_of_a_folder_are_told(tmp_path: Path) -> None:
    (tmp_path / "labels.json").write_bytes((FIXTURES / "labelme_coco" / "annotations.json").read_bytes())
    (tmp_path / "package.json").write_text("{}")
    labels = read_labels([str(tmp_path)])
    assert f"1 file of another kind left out: {tmp_path / 'package.json'}" in labels.notes


@pytest.mark.parametrize(
    ("labels", "named", "found"),
    [
        ("a.json", "a.json", True),
        ("annotations/a.json", "annotations/a.json", True),
        ("annotations/a.json", "annotations", True),
        ("x/a.json", "x/a.json", False),
        ("x/a.json", ".", True),
    ],
)
def test_pictures_are_looked_for_beside_the_labels(labels: str, named: str, found: bool, tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "2011_000003.jpg").write_bytes(b"")
    (tmp_path / labels).parent.mkdir(exist_ok=True)
    (tmp_path / labels).write_bytes((FIXTURES / "labelme_coco" / "annotations.json").read_bytes())
    file = read_labels([str(tmp_path / named)]).images[0].file
    assert (file is not None) == found


def test_a_damaged_file_among_others_is_no_other_kind(tmp_path: Path) -> None:
    (tmp_path / "labels.json").write_bytes((FIXTURES / "labelme_coco" / "annotations.json").read_bytes())
    (tmp_path / "more.json").write_text('{"images": [')
    with pytest.raises(UserError, match=r"more\.json: not JSON"):
        read_labels([str(tmp_path)])


def test_formats_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no format of labels is called 'cvatt'\. Did you mean 'cvat'"):
        read_labels([str(tmp_path)], format="cvatt")
    with pytest.raises(UserError, match="nothing of the format cvat there"):
        read_labels([str(tmp_path)], format="cvat")
    with pytest.raises(UserError, match="cannot be read"):
        read_labels([str(tmp_path / "none.json")])
    with pytest.raises(UserError, match="No file of labels is named"):
        read_labels([])


@pytest.mark.parametrize("name", FORMATS)
def test_named_formats_refuse_what_is_another(name: str, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"hello": 1}')
    with pytest.raises(UserError):
        read_labels([str(tmp_path / "a.json")], format=name)
