"""tools/new_config.py: what is held out, classes of two files, and CSVs and other files that it does not know."""

import json
import logging
from pathlib import Path

import pytest

from ppdet_ext import new_config
from ppdet_ext.commands.data_flags import new_config_parser
from ppdet_ext.config.load import load_config
from ppdet_ext.errors import UserError
from tests.support.tiny_data import HEIGHT, WIDTH, block, write_jpeg


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An own folder with the pictures `parts/pictures/0.jpg` to 5.jpg, in which the test runs."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "parts" / "pictures").mkdir(parents=True)
    for number in range(6):
        write_jpeg(tmp_path / "parts" / "pictures" / f"{number}.jpg", seed=number)
    return tmp_path


def write_coco(path: Path, numbers: range, names: tuple[str, ...] = ("pit", "scratch")) -> None:
    images = [{"id": one, "file_name": f"{one}.jpg", "height": HEIGHT, "width": WIDTH} for one in numbers]
    outline = [[4, 4, 20, 4, 20, 14, 4, 14]]
    annotations = [
        {"id": one, "image_id": one, "category_id": 1 + one % 2, "segmentation": outline, "bbox": [4, 4, 16, 10],
         "area": 160, "iscrowd": 0}
        for one in numbers
    ]  # fmt: skip
    categories = [{"id": number, "name": name} for number, name in enumerate(names, 1)]
    path.write_text(json.dumps({"images": images, "annotations": annotations, "categories": categories}))


@pytest.mark.parametrize(("names", "what"), [
    (("scratch", "pit"), "the same classes in another order"), (("pit", "hole"), "other classes"),
])  # fmt: skip
def test_classes_of_training_and_validation_are_compared(
    here: Path, caplog: pytest.LogCaptureFixture, names: tuple[str, ...], what: str
) -> None:
    write_coco(here / "parts" / "train.json", range(4))
    write_coco(here / "parts" / "val.json", range(4, 6), names)
    new_config("parts/train.json", val_annotations="parts/val.json", model="unet")
    (told,) = [record.getMessage() for record in caplog.records if "Training and evaluation" in record.getMessage()]
    assert what in told
    assert ("matched by name" in told) == ("order" in what)
    rows = [line.split() for line in told.splitlines()]
    assert ["class", "train.json", "val.json"] in rows
    assert ["2", "scratch", names[1]] in rows
    caplog.clear()
    write_coco(here / "parts" / "val.json", range(4, 6))
    new_config("parts/train.json", val_annotations="parts/val.json", model="unet", overwrite=True)
    assert "Training and evaluation" not in caplog.text


def test_a_number_a_share_or_nothing_is_held_out(here: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    write_coco(here / "parts" / "all.json", range(6))
    parser = new_config_parser()
    for text, sides in (("0", (6, 6)), ("2", (4, 2)), ("0.2", (5, 1)), ("0.7", (2, 4))):
        val = parser.parse_args(["x", "--val", text]).val
        cfg = load_config(new_config("parts/all.json", val=val, model="unet", config=Path(f"own{text}.yml")))
        assert (len(cfg.TrainDataset), len(cfg.EvalDataset)) == sides
        shared = {record.name for record in cfg.TrainDataset.records} & {record.name for record in cfg.EvalDataset.records}
        assert len(shared) == (6 if text == "0" else 0)
    assert "Nothing is held out: evaluation is on the pictures that are learnt" in caplog.text
    assert "own2_split.csv: 2 pictures held out of 6" in caplog.text
    with pytest.raises(UserError, match="9 images cannot be held out of 6"):
        new_config("parts/all.json", val=9, model="unet", config=Path("nine.yml"))
    with pytest.raises(SystemExit):
        parser.parse_args(["x", "--val", "-1"])


def test_one_picture_is_learnt_and_evaluated_on(here: Path, caplog: pytest.LogCaptureFixture) -> None:
    for number in range(1, 6):
        (here / "parts" / "pictures" / f"{number}.jpg").unlink()
    (here / "parts" / "train.csv").write_text(f"image,rle_mask\n0,{block(5, 6, 9, 8).to_kaggle()}\n")
    cfg = load_config(new_config("parts/train.csv", model="unet"))
    assert (len(cfg.TrainDataset), len(cfg.EvalDataset)) == (1, 1)
    assert "There is one picture: nothing can be held out" in caplog.text


def test_other_files_are_called_what_they_are(here: Path) -> None:
    (here / "parts" / "german.csv").write_text("Bild;Maske;Fehlerart\n0.jpg;1 3;Riss\n")
    with pytest.raises(UserError, match=r"separated by semicolons.*tr ';' , < parts/german\.csv > parts/german_commas\.csv"):
        new_config("parts/german.csv")
    (here / "parts" / "tabs.csv").write_text("Bild\tMaske\n0.jpg\t1 3\n")
    with pytest.raises(UserError, match=r"separated by tabs.*tr '\\t' , <"):
        new_config("parts/tabs.csv")
    (here / "parts" / "cvat.xml").write_text("<?xml version='1.0'?><annotations/>")
    (here / "parts" / "list.json").write_text('[{"image": "0.jpg"}]')
    for name, kind in (("cvat.xml", "XML"), ("list.json", "a JSON list")):
        with pytest.raises(UserError, match=rf"{kind}, neither COCO JSON.*import_labels\.py parts/{name}") as caught:
            new_config(f"parts/{name}")
        assert "columns" not in str(caught.value)
