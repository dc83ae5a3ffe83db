"""tools/infer.py: pictures as the reader sees them, and outputs that cannot be written are told before predicting."""

import csv
import json
import re
from pathlib import Path

import numpy as np
import paddle
import pytest
from PIL import Image

from ppdet_ext.commands import infer
from ppdet_ext.config.load import load_config
from ppdet_ext.data.datasets import ImageFolder
from ppdet_ext.errors import UserError
from ppdet_ext.host.build import build_model
from ppdet_ext.structures import Rle

READER = "TestReader.sample_transforms=[ReadImage: {{exif: {}}}, NormalizeToCHW: {{}}]"


@pytest.fixture(scope="module")
def weights(config: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("weights") / "fresh.pdparams"
    paddle.save(build_model(load_config(config)).state_dict(), str(path))
    return f"weights={path}"


@pytest.mark.parametrize("configured", [False, True])
@pytest.mark.parametrize(("exif", "size"), [("true", (64, 128)), ("false", (128, 64))])
def test_a_rotated_picture_is_drawn_as_it_is_read(config, weights, tools, tmp_path, capfd, exif, size, configured) -> None:
    (tmp_path / "in").mkdir()
    turned = Image.Exif()
    turned[0x0112] = 6
    Image.fromarray(np.zeros((64, 128, 3), np.uint8)).save(tmp_path / "in" / "a.jpg", exif=turned)
    settings = ["-o", weights, READER.format(exif)]
    images = [] if configured else ["--infer_dir", str(tmp_path / "in")]
    settings += [f"TestDataset.images={tmp_path}/in"] if configured else []
    command = ["-c", config, *images, "--output_dir", str(tmp_path / "out")]
    assert tools["infer"]([*command, *settings]) == 0, capfd.readouterr().err
    with Image.open(tmp_path / "out" / "a.jpg") as picture:
        assert picture.size == size
    assert tools["submit"](["-c", config, *images, "--output", str(tmp_path / "s.csv"), *settings]) == 0


def test_image_folder_counts_pixels_either_way(tmp_path: Path) -> None:
    turned = Image.Exif()
    turned[0x0112] = 8
    Image.fromarray(np.zeros((64, 128, 3), np.uint8)).save(tmp_path / "a.jpg", exif=turned)
    sizes = [
        (record.height, record.width) for exif in (True, False) for record in ImageFolder(str(tmp_path), exif=exif).records
    ]
    assert sizes == [(128, 64), (64, 128)]


@pytest.mark.parametrize("tool", ["infer", "submit"])
def test_an_output_that_cannot_be_written_is_told_before_predicting(config, weights, tools, monkeypatch, capfd, tool) -> None:
    def predictions(*_: object) -> None:
        raise UserError("predicted")

    monkeypatch.setattr(infer.ImagePredictor, "predictions", predictions)
    output = {"infer": ["--output_dir", "/proc/none"], "submit": ["--output", "/proc/none/s.csv"]}[tool]
    assert tools[tool](["-c", config, *output, "-o", weights]) == 1
    error = capfd.readouterr().err
    assert "Cannot write /proc/none/" in error
    assert f"Choose another {output[0]}." in error


def test_pictures_of_one_name_in_two_folders_stay_apart(config, weights, tools, tmp_path, capfd) -> None:
    images = []
    for number, folder in enumerate(("batch_1", "batch_2")):
        (tmp_path / "in" / folder).mkdir(parents=True)
        Image.fromarray(np.zeros((64, 128, 3), np.uint8)).save(tmp_path / "in" / folder / "a.jpg")
        images.append({"id": number, "file_name": f"{folder}/a.jpg", "height": 64, "width": 128})
    content = {"images": images, "categories": [{"id": n, "name": f"class {n}"} for n in range(1, 5)]}
    (tmp_path / "val.json").write_text(json.dumps(content))
    dataset = f"TestDataset=!CocoJsonDataSet {{dataset_dir: {tmp_path}, anno_path: val.json, image_dir: in}}"
    command = ["-c", config, "--output_dir", str(tmp_path / "out"), "-o", weights, dataset]
    assert tools["infer"](command) == 0, capfd.readouterr().err
    found = sorted(str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*.jpg"))
    assert found == ["batch_1/a.jpg", "batch_2/a.jpg"]


def images_named(folder: Path, names: list[str]) -> str:
    images = []
    for number, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.zeros((64, 128, 3), np.uint8)).save(folder / name)
        images.append({"id": number, "file_name": name, "height": 64, "width": 128})
    content = {"images": images, "categories": [{"id": n, "name": f"class {n}"} for n in range(1, 5)]}
    (folder / "val.json").write_text(json.dumps(content))
    return f"TestDataset=!CocoJsonDataSet {{dataset_dir: {folder}, anno_path: val.json, image_dir: .}}"


def test_pictures_are_never_written_over_each_other_or_over_the_images(config, weights, tools, tmp_path, capfd) -> None:
    dataset = images_named(tmp_path / "one", ["a.bmp", "b/a.bmp", "a.tif"])
    command = ["-c", config, "--output_dir", str(tmp_path / "out"), "-o", weights]
    assert tools["infer"]([*command, dataset]) == 0, capfd.readouterr().err
    found = sorted(str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*.png"))
    assert found == ["a.bmp.png", "a.tif.png", "b/a.bmp.png"]
    dataset = images_named(tmp_path / "two", ["a.bmp", "a.bmp.png"])
    assert tools["infer"]([*command, dataset]) == 1
    assert "their pictures would be written over each other" in capfd.readouterr().err
    # None of the images lies in the output's folder itself.
    dataset = images_named(tmp_path / "three", ["val/a.jpg"])
    before = (tmp_path / "three" / "val" / "a.jpg").read_bytes()
    assert tools["infer"](["-c", config, "--output_dir", str(tmp_path / "three"), "-o", weights, dataset]) == 1
    assert "would be written over an image, val/a.jpg. Choose another --output_dir." in capfd.readouterr().err
    assert (tmp_path / "three" / "val" / "a.jpg").read_bytes() == before


def test_results_of_several_kinds_are_of_the_same_objects(config, weights, tools, tmp_path, capfd) -> None:
    kinds = ["coco", "csv", "cvat", "label_studio", "labelme", "yolo_seg", "masks"]
    given = ["-c", config, "--output_dir", str(tmp_path), "--draw_threshold", "0", "--num_images", "2", "-o", weights]
    assert tools["infer"]([*given, "--save_results", *kinds, "--mm_per_pixel", "0.5"]) == 0, capfd.readouterr().err
    results = [own for own in json.loads((tmp_path / "mask.json").read_text()) if Rle.from_coco(own["segmentation"])]
    with (tmp_path / "measurements.csv").open(encoding="utf-8-sig", newline="") as stream:
        rows = [row for row in csv.DictReader(stream) if row["area_px"] != "0"]
    names = {image["id"]: image["file_name"] for image in json.loads((tmp_path / "images.json").read_text())}
    expected = [(names[own["image_id"]], Rle.from_coco(own["segmentation"]).area) for own in results]
    assert results
    assert sorted((row["image"], int(row["area_px"])) for row in rows) == sorted(expected)
    assert all(float(row["area_mm2"]) == int(row["area_px"]) * 0.25 for row in rows)
    assert (tmp_path / "cvat" / "annotations.xml").read_text().count("<mask ") == len(results)
    tasks = json.loads((tmp_path / "label_studio" / "tasks.json").read_text())
    assert sum(len(one["result"]) for task in tasks for one in task.get("predictions", [])) == len(results)
    # The names a person sees, of pictures and of files.
    stems = {Path(name).stem for name in names.values()}
    assert {path.stem for path in (tmp_path / "labelme").iterdir()} == stems
    assert {path.stem for path in (tmp_path / "masks" / "SegmentationClass").iterdir()} == stems


def test_where_nothing_is_drawn_the_highest_score_is_told(config, weights, tools, tmp_path, capfd) -> None:
    command = ["-c", config, "--output_dir", str(tmp_path), "--num_images", "2", "-o", weights]
    assert tools["infer"]([*command[:-2], "--draw_threshold", "1", *command[-2:]]) == 0
    (lower,) = re.findall(
        r"Nothing is drawn: the highest score found is 0\.\d+\. To see .* --draw_threshold (\S+)", capfd.readouterr().out
    )
    assert tools["infer"]([*command[:-2], "--draw_threshold", lower, *command[-2:]]) == 0
    out = capfd.readouterr().out
    assert "Nothing is drawn" not in out
    assert f"of score {lower} or more drawn" in out
    steps = "PostProcess=[{ScoreThreshold: {score: 1}}]"
    assert tools["infer"]([*command, steps]) == 0
    assert "No objects of any score are left by the model and its PostProcess steps" in capfd.readouterr().out
