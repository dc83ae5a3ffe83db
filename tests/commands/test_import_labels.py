"""tools/import_labels.py and tools/new_config.py: what they write, refuse and say; and the whole way to a table."""

import csv
import json
import logging
import os
import re
import shlex
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ppdet_ext import import_labels, new_config
from ppdet_ext.commands.data_flags import MODEL_NAMES, import_labels_parser, new_config_parser
from ppdet_ext.commands.import_labels import renamed
from ppdet_ext.commands.main import main
from ppdet_ext.commands.new_config import arguments_of
from ppdet_ext.commands.split import make_split
from ppdet_ext.config.load import load_config
from ppdet_ext.data.datasets import SteelDataSet
from ppdet_ext.data.labels.convert import labels_of_records
from ppdet_ext.data.labels.writers import cvat
from ppdet_ext.data.synthetic import SampleSpec, write_sample_set
from ppdet_ext.errors import UserError
from ppdet_ext.starter.models import MODEL_NAMES as KNOWN_MODELS
from tests.commands.conftest import ROOT
from tests.support.tiny_data import HEIGHT, WIDTH, block, coco_content, write_jpeg

NAMES = ["pits", "scratches", "blotches", "patches"]
IMPORT_FLAGS = {"": None, "--format": "auto", "--images": None, "--out": None, "--config": None, "--model": "htc",
                "--overwrite": False, "--traceback": False, "--val": 0.2, "--split_anew": False, "--no-duplicates": True,
                "--seed": 0, "--copy": "stay", "--link": "stay", "--unlabelled": "leave_out", "--on_error": "error",
                "--rename": []}  # fmt: skip
NEW_FLAGS = {"": None, "--images": None, "--val_annotations": None, "--val_images": None, "--test_images": None, "--val": 0.2,
             "--data": [], "--config": None, "--model": "htc", "--overwrite": False, "--traceback": False}  # fmt: skip


@pytest.mark.parametrize(("parser", "flags"), [(import_labels_parser(), IMPORT_FLAGS), (new_config_parser(), NEW_FLAGS)])
def test_flags_are_frozen(parser, flags: dict) -> None:
    actions = [action for action in parser._actions if action.dest != "help"]
    assert {"/".join(action.option_strings): action.default for action in actions} == flags
    assert set(MODEL_NAMES) == set(KNOWN_MODELS)


@pytest.fixture(scope="module")
def export(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with `cvat/annotations.xml`, an export of twelve drawn sheets, and their pictures in `sheets`."""
    folder = tmp_path_factory.mktemp("export")
    write_sample_set(folder / "drawn", SampleSpec(images=12, height=64, width=128))
    (folder / "drawn" / "train_images").rename(folder / "sheets")
    dataset = SteelDataSet(str(folder / "drawn"), image_dir="../sheets", height=64, width=128, class_names=NAMES).load()
    (folder / "cvat").mkdir()
    cvat.write(labels_of_records(dataset.records, NAMES), folder / "cvat")
    return folder


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> Path:
    monkeypatch.chdir(tmp_path)
    caplog.set_level(logging.INFO, "ppdet_ext")
    return tmp_path


def test_masks_arrive_bit_by_bit_with_a_configuration(export: Path, here: Path, caplog) -> None:
    written = import_labels(
        [str(export / "cvat" / "annotations.xml")], out="dataset/mine", images=str(export / "sheets"), val=3, duplicates=False
    )
    assert written == Path("configs/mine.yml")
    original = SteelDataSet(str(export / "drawn"), image_dir="../sheets", height=64, width=128, class_names=NAMES).load()
    content = json.loads((here / "dataset/mine/annotations/all.json").read_text())
    assert content["info"]["description"] == "made by import_labels of annotations.xml (CVAT for images)"
    assert {item["iscrowd"] for item in content["annotations"]} == {0}
    assert isinstance(content["annotations"][0]["segmentation"]["counts"], str)
    cfg = load_config(written)
    train, val = cfg.TrainDataset.load().records, cfg.EvalDataset.load().records
    assert len(val) == 3
    assert cfg.weights == "output/mine/best_model"
    assert cfg.EvalDataset.class_names == NAMES
    masks = {(record.name, mask.counts) for record in (*train, *val) for mask in record.masks}
    assert masks <= {(record.name, mask.counts) for record in original.records for mask in record.masks}
    assert len(masks) == sum(len(record.masks) for record in original.records)
    assert "python" in written.read_text().splitlines()[1]
    assert "left out" not in caplog.text.split("CVAT for images")[1].split("dataset/mine")[0]
    # Pictures stay where they are; outside of the working directory they have their full path.
    assert {Path(record.file).parent for record in train} == {export / "sheets"}


def test_what_is_there_is_not_overwritten_unless_asked(export: Path, here: Path) -> None:
    arguments = [str(export / "cvat"), "--images", str(export / "sheets"), "--out", "mine", "--config", "c.yml"]
    arguments += ["--no-duplicates"]
    assert main(["import_labels", *arguments]) == 0
    before = {path: path.read_bytes() for path in (here / "mine").rglob("*.json")}
    (here / "c.yml").write_text("mine")
    assert main(["import_labels", *arguments]) == 1
    assert (here / "c.yml").read_text() == "mine"
    assert main(["import_labels", *arguments, "--overwrite", "--val", "0", "--link"]) == 0
    assert not (here / "mine/annotations/val.json").exists()
    assert set(before) > set((here / "mine").rglob("*.json"))
    cfg = load_config("c.yml")
    assert cfg.TrainDataset.image_dir == "images"
    assert cfg.EvalDataset.anno_path == "annotations/train.json"
    link = here / "mine/images/sheet_00000.jpg"
    assert link.is_symlink()
    assert main(["import_labels", *arguments, "--overwrite", "--copy"]) == 0
    assert not link.is_symlink()
    # The pictures of the data set itself, which stay.
    again = [word.replace(str(export / "sheets"), "mine/images") for word in arguments]
    assert main(["import_labels", *again, "--overwrite", "--link"]) == 0
    assert not link.is_symlink()
    assert link.read_bytes() == (export / "sheets" / link.name).read_bytes()


def test_another_picture_in_the_place_is_not_replaced(export: Path, here: Path, capsys) -> None:
    taken = here / "mine" / "images" / "sheet_00000.jpg"
    taken.parent.mkdir(parents=True)
    taken.write_bytes(b"somebody's")
    arguments = ["import_labels", str(export / "cvat"), "--images", str(export / "sheets"), "--out", "mine", "--no-duplicates"]
    assert main([*arguments, "--copy"]) == 1
    assert "is another picture than" in capsys.readouterr().err
    assert taken.read_bytes() == b"somebody's"
    assert main([*arguments, "--link", "--overwrite"]) == 0
    assert taken.resolve() == export / "sheets" / "sheet_00000.jpg"


def test_a_broken_label_file_and_a_truncated_picture_are_left_out_and_counted(here: Path, caplog, capsys, monkeypatch) -> None:
    (here / "work").mkdir()
    outline = {"label": "pit", "points": [[4, 4], [20, 4], [20, 14]], "shape_type": "polygon", "group_id": None}
    for number in range(8):
        write_jpeg(here / "work" / f"{number}.jpg", seed=number)
        content = {"shapes": [outline], "imagePath": f"{number}.jpg", "imageHeight": HEIGHT, "imageWidth": WIDTH}
        (here / "work" / f"{number}.json").write_text(json.dumps(content))
    arguments = ["import_labels", "work", "--out", "mine", "--model", "unet"]
    for broken, text in (("2.json", "not JSON, or not all of it"), ("5.jpg", "the JPEG is truncated"), ("7.json", "not JSON")):
        if broken == "7.json":
            # Also a picture without labels.
            (here / "work" / broken).unlink()
            broken = "7.jpg"
            text = "truncated"
        file = here / "work" / broken
        whole = file.read_bytes()
        file.write_bytes(whole[: len(whole) // 2])
        assert main([*arguments, "--unlabelled", "keep"]) == 1
        assert text in capsys.readouterr().err
        if broken == "2.json":
            assert main([*arguments, "--format", "labelme"]) == 1
        if broken != "7.jpg":
            file.write_bytes(whole)
    for name in ("2.json", "5.jpg"):
        (here / "work" / name).write_bytes((here / "work" / name).read_bytes()[:60])
    files = [f"work/{number}.json" for number in range(7)]
    monkeypatch.setattr(logging.getLogger("ppdet_ext"), "propagate", True)
    for number, (given, kind) in enumerate(((["work"], "auto"), (["work"], "labelme"), (files, "auto"))):
        caplog.clear()
        options = {"on_error": "skip", "unlabelled": "keep", "out": f"mine{number}", "model": "unet", "format": kind}
        import_labels(given, **options)
        found = json.loads((here / f"mine{number}/annotations/all.json").read_text())
        # Of 2.jpg nobody knows what it shows.
        assert [image["file_name"] for image in found["images"]] == [f"{one}.jpg" for one in (0, 1, 3, 4, 6)]
        assert re.search(r"left out: label files that cannot be read +1", caplog.text)
        assert re.search(r"left out: pictures that cannot be used +2", caplog.text)
    (here / "work" / "only").mkdir()
    (here / "work" / "only" / "a.json").write_text("{")
    assert main(["import_labels", "work/only", "--out", "none", "--on_error", "skip"]) == 1
    assert "No file of labels can be read. work/only/a.json: not JSON" in capsys.readouterr().err


def test_labels_are_not_written_over_themselves(export: Path, here: Path, capsys) -> None:
    arguments = ["--images", str(export / "sheets"), "--out", "mine", "--no-duplicates", "--config", "c.yml"]
    assert main(["import_labels", str(export / "cvat"), *arguments]) == 0
    for labels in ("mine/annotations/all.json", "mine/annotations", "mine"):
        assert main(["import_labels", labels, *arguments, "--overwrite"]) == 1
        assert "is among the labels to import, and would be written over" in capsys.readouterr().err
    other = ["--out", "other", "--config", "o.yml", "--images", str(export / "sheets"), "--val", "0"]
    assert main(["import_labels", "mine/annotations/all.json", *other]) == 0
    before, after = (json.loads((here / name / "annotations" / "all.json").read_text()) for name in ("mine", "other"))
    assert before["annotations"] == after["annotations"]


def test_faults_are_said_before_anything_is_written(export: Path, here: Path, capsys) -> None:
    arguments = ["import_labels", str(export / "cvat"), "--out", "mine"]
    assert main(arguments) == 1
    assert "12 labelled pictures not found" in capsys.readouterr().err
    assert main([*arguments, "--images", str(export / "sheets"), "--rename", "pit=hole"]) == 1
    assert "Did you mean 'pits'?" in capsys.readouterr().err
    assert main([*arguments, "--images", str(export / "sheets"), "--model", "hct_small"]) == 1
    assert "Did you mean 'htc_small'?" in capsys.readouterr().err
    assert list((here / "mine" / "annotations").glob("*.json")) == []
    assert not (here / "configs" / "mine.yml").exists()
    assert list(here.iterdir()) == []
    (here / "mine").mkdir()
    assert main(arguments) == 1
    assert list(here.rglob("*")) == [here / "mine"]
    with pytest.raises(UserError, match="expected OLD=NEW"):
        renamed(["pit"])


def test_16_bit_pictures_get_a_range(export: Path, here: Path) -> None:
    (here / "deep").mkdir()
    rng = np.random.default_rng(0)
    for path in (export / "sheets").iterdir():
        Image.fromarray(rng.integers(1000, 5000, (64, 128)).astype(np.uint16)).save(here / "deep" / f"{path.stem}.png")
    text = (export / "cvat" / "annotations.xml").read_text().replace(".jpg", ".png")
    (here / "labels.xml").write_text(text)
    cfg = load_config(import_labels(["labels.xml"], out="mine", images="deep", duplicates=False))
    low, high = cfg.resolved["TrainReader"]["sample_transforms"][0]["ReadImage"]["range"]
    assert 1000 <= low < 1100
    assert 4900 < high < 5000
    assert cfg.resolved["EvalReader"]["sample_transforms"][0] == cfg.resolved["TrainReader"]["sample_transforms"][0]
    assert cfg.TrainDataset.image_dir == "../deep"


def test_a_configuration_for_coco_json(here: Path) -> None:
    (here / "data" / "annotations").mkdir(parents=True)
    (here / "data" / "train2017").mkdir()
    content = coco_content()
    content["images"] = [
        {"id": number, "file_name": f"{number}.jpg", "height": HEIGHT, "width": WIDTH} for number in range(7, 17)
    ]
    content["annotations"] = [
        {**content["annotations"][0], "id": number, "image_id": number, "category_id": (3, 90)[number % 2]}
        for number in range(7, 17)
    ]
    for number in range(7, 17):
        write_jpeg(here / "data" / "train2017" / f"{number}.jpg", seed=number)
    annotations = here / "data" / "annotations" / "instances_train2017.json"
    annotations.write_text(json.dumps(content))
    cfg = load_config(new_config("data/annotations/instances_train2017.json", model="unet"))
    assert cfg.filename == "data"
    assert (cfg.architecture, cfg.num_classes) == ("SemanticSegmentor", 2)
    assert (len(cfg.TrainDataset), len(cfg.EvalDataset)) == (8, 2)
    with pytest.raises(UserError, match=r"configs/data\.yml exists already"):
        new_config(str(annotations))
    with pytest.raises(UserError, match=r"!CocoJsonDataSet has no such argument\. Did you mean 'on_error'"):
        new_config(str(annotations), data={"on_eror": "skip"}, overwrite=True)
    (here / "elsewhere.json").write_bytes(annotations.read_bytes())
    with pytest.raises(UserError, match="no folder of its pictures beside it; say where they are: --images DIR"):
        new_config("elsewhere.json")
    cfg = load_config(new_config(str(annotations), val_annotations="elsewhere.json", config=Path("two.yml")))
    assert len(cfg.EvalDataset) == len(cfg.TrainDataset) == 10
    # Dealt out anew, evaluation is on the same file's images.
    make_split(cfg, holdout=3, config="two.yml", output="parts.csv")
    cfg = load_config("two_parts.yml")
    assert (len(cfg.TrainDataset), len(cfg.EvalDataset)) == (7, 3)
    assert cfg.EvalDataset.anno_path == cfg.TrainDataset.anno_path


def test_a_configuration_for_a_csv_names_its_competition(export: Path, here: Path) -> None:
    drawn = export / "drawn"
    written = new_config(
        str(drawn / "train.csv"), images=str(export / "sheets"), config=Path("c.yml"),
        data=arguments_of(["height=64", "width=128", "class_names=[pits, scratches, blotches, patches]"]),
    )  # fmt: skip
    cfg = load_config(written)
    assert (cfg.TrainDataset.preset, cfg.TrainDataset.part, cfg.EvalDataset.part) == ("severstal", "train", "val")
    assert cfg.TrainDataset.class_names == NAMES
    assert len(cfg.EvalDataset) == 3
    # Described, of pictures in a folder of any name.
    (here / "fungi" / "caps").mkdir(parents=True)
    for number in range(6):
        write_jpeg(here / "fungi" / "caps" / f"{number}.jpg", seed=number)
    rows = [f"{number}.jpg,{block(5, 6, 9 + number, 8).to_kaggle()}" for number in range(6)]
    (here / "fungi" / "masks.csv").write_text("\n".join(["file,mask", *rows]))
    given = arguments_of(['columns={file: "{name}", mask: "{rle}"}', "class_names=[cap]"])
    cfg = load_config(new_config("fungi/masks.csv", data=given))
    assert (cfg.filename, cfg.TrainDataset.image_dir) == ("fungi", "caps")
    assert len(cfg.TrainDataset) + len(cfg.EvalDataset) == 6
    with pytest.raises(UserError, match=r"known\. By their names and cells perhaps: --data") as caught:
        new_config("fungi/masks.csv", overwrite=True)
    assert str(caught.value).count("{rle}") == 1
    told = shlex.split(str(caught.value).partition("--data ")[2])
    cfg = load_config(new_config("fungi/masks.csv", data=arguments_of(told), config=Path("told.yml")))
    assert cfg.TrainDataset.columns == {"file": "{name}", "mask": "{rle}"}
    (here / "fungi" / "other.csv").write_text("what,where\na,b\n")
    with pytest.raises(UserError, match=r"which holds the picture's name.*--data 'columns=\{HEADER"):
        new_config("fungi/other.csv", overwrite=True)
    (here / "fungi" / "odd.json").write_text('{"shapes": []}')
    with pytest.raises(UserError, match=r"no COCO JSON.*import_labels\.py fungi/odd\.json --out dataset/mine"):
        new_config("fungi/odd.json", overwrite=True)
    with pytest.raises(UserError, match="--data height: expected KEY=VALUE"):
        arguments_of(["height"])


@pytest.mark.slow
def test_from_an_export_to_a_table_in_three_commands(export: Path, tmp_path: Path) -> None:
    """As the README shows it, from another folder, the first as the console command."""
    began = time.monotonic()

    def run(*words: str) -> str:
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        done = subprocess.run(
            [sys.executable, *words], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300
        )
        assert (done.returncode, done.stderr) == (0, ""), done.stderr
        return done.stdout

    pictures = str(export / "sheets")
    command = ("-m", "ppdet_ext.commands.main", "import_labels", str(export / "cvat" / "annotations.xml"))
    assert "Now:" in run(*command, "--images", pictures, "--out", "dataset/mine")
    run(str(ROOT / "tools" / "train.py"), "-c", "configs/mine.yml", "--eval", "-o", "epoch=1")
    infer = (str(ROOT / "tools" / "infer.py"), "-c", "configs/mine.yml", "--infer_dir", pictures, "--num_images", "3")
    run(*infer, "--save_results", "csv", "--draw_threshold", "0.01")
    with (tmp_path / "output" / "infer" / "measurements.csv").open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    assert rows
    assert {row["class"] for row in rows} <= set(NAMES)
    assert all(int(row["area_px"]) > 0 for row in rows)
    print(f"from CVAT to a table: {time.monotonic() - began:.0f} s")
