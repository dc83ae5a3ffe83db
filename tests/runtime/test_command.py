"""`python -m ppdet_ext.runtime`: files, messages; and that neither Paddle nor what only training needs is imported."""

import csv
import json
import logging
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from runtime_models import READER, write_folder

import ppdet_ext
from ppdet_ext.api.predictor import Predictor as LibraryPredictor
from ppdet_ext.data.images.depth import AS_SHOWN
from ppdet_ext.drawing import fonts
from ppdet_ext.runtime import __main__ as command
from ppdet_ext.runtime.__main__ import main
from ppdet_ext.runtime.prediction import Prediction
from ppdet_ext.runtime.predictor import Predictor

# As in an environment made by `pip install ".[runtime]"`.
ALONE = """import sys
absent = ("paddle", "ppdet", "scipy", "pandas", "matplotlib", "threadpoolctl", "safetensors")
sys.modules.update(dict.fromkeys(absent))
"""


@pytest.fixture(scope="module")
def sheets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sheets")
    for number in range(3):
        pixels = np.random.default_rng(number).integers(0, 256, (40, 60, 3), dtype=np.uint8)
        cv2.imwrite(str(folder / f"{number}.{'bmp' if number else 'png'}"), pixels)
    return folder


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folder(tmp_path_factory.mktemp("exported") / "tiny")


def test_pictures_results_and_a_table(model: Path, sheets: Path, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    words = ["predict", str(model), "--images", str(sheets), "--output", str(tmp_path), "--threads", "1"]
    done = subprocess.run(
        [sys.executable, "-c", f"{ALONE}from ppdet_ext.runtime.__main__ import main; sys.exit(main({words}))"],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-1] == f"3 images, 1 object of score 0.5 or more, in {tmp_path}"
    assert {path.name for path in tmp_path.iterdir()} == {
        *("0.png", "1.bmp.png", "2.bmp.png"),
        *("bbox.json", "mask.json", "images.json", "measurements.csv"),
    }
    assert main([*words, "--draw_threshold", "0.2", "--mm_per_pixel", "0.5", "--save", "json", "csv"]) == 0
    names = {one["id"]: one["file_name"] for one in json.loads((tmp_path / "images.json").read_text())}
    assert list(names.values()) == ["0.png", "1.bmp", "2.bmp"]
    predictor = Predictor(model)
    own = [one for number, found in enumerate(predictor.predict(sheets)) for one in found.to_coco(number)]
    assert json.loads((tmp_path / "mask.json").read_text()) == [
        {key: value for key, value in one.items() if key != "bbox"} for one in own
    ]
    with (tmp_path / "measurements.csv").open(encoding="utf-8-sig", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["class"] for row in rows] == ["pit", "scratch"] * 3
    assert "area_mm2" in rows[0]


class OneFaint:
    """A predictor that finds one object of score 0.0153 in each picture."""

    has_steps, classes, category_ids, reading = False, ("pit",), (1,), AS_SHOWN

    def __init__(self, folder: str, **options: Any) -> None: ...

    def check_size(self, height: int, width: int, name: str) -> None: ...

    def predict(self, files: Iterator[Path]) -> Iterator[Prediction]:
        box, score, label = np.float32([[4, 4, 20, 20]]), np.float32([0.0153]), np.int64([0])
        own = {"height": 40, "width": 60, "boxes": box, "scores": score, "labels": label, "masks": None}
        return (Prediction(**own, name=file.name, classes=self.classes, category_ids=self.category_ids) for file in files)


def test_the_highest_score_is_told_where_nothing_is_drawn(
    sheets: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.INFO, "ppdet_ext")
    monkeypatch.setattr(logging.getLogger("ppdet_ext"), "propagate", True)
    monkeypatch.setattr(command, "Predictor", OneFaint)
    words = ["predict", "any", "--images", str(sheets), "--output", str(tmp_path), "--save", "pictures"]
    assert main(words) == 0
    assert caplog.messages[-1].endswith("the highest score found is 0.0153. To see what there is: --draw_threshold 0.015")
    assert main([*words, "--draw_threshold", "0.015"]) == 0
    assert caplog.messages[-1].startswith("3 images, 3 objects of score 0.015 or more")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["{model}x", "--images", "{sheets}", "--output", "{tmp}"], "There is no exported model in"),
        (["{model}", "--images", "{sheets}x", "--output", "{tmp}"], "no such picture or folder"),
        (["{model}", "--images", "{tmp}", "--output", "{tmp}/out"], "no picture there"),
        (["{model}", "--images", "{sheets}", "--output", "{sheets}"], "holds the images themselves"),
        (["{model}", "--images", "{sheets}", "--output", "{tmp}", "--draw_threshold", "2"], "scores lie between 0 and 1"),
        (["{model}", "--images", "{sheets}", "--output", "{tmp}", "--mm_per_pixel", "-1"], "--mm_per_pixel"),
        (["{model}", "--images", "{sheets}", "--output", "{tmp}", "--postprocess", "{tmp}/none.yml"], "cannot be read"),
    ],
)
def test_bad_input_is_one_line(
    words: list[str], message: str, model: Path, sheets: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("onnxruntime")
    assert main(["predict", *(word.format(model=model, sheets=sheets, tmp=tmp_path) for word in words)]) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert message in error
    assert error.count("\n") == 1


def test_pictures_that_cannot_be_read_are_told_before_anything_is_written(
    model: Path, sheets: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("onnxruntime")
    pictures = tmp_path / "pictures"
    shutil.copytree(sheets, pictures)
    whole = (sheets / "0.png").read_bytes()
    (pictures / "2half.png").write_bytes(whole[: len(whole) // 2])
    words = ["predict", str(model), "--images", str(pictures), "--output", str(tmp_path / "new" / "found")]
    assert main(words) == 1
    assert re.fullmatch(r"error: \S*2half\.png: .*\n", capsys.readouterr().err)
    cv2.imwrite(str(pictures / "3deep.png"), np.full((9, 9), 3000, np.uint16))
    (pictures / "4.jpg").touch()
    assert main(words) == 1
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "error: 3 of 6 pictures cannot be used; nothing was written:"
    assert [Path(line.split(": ")[0]).name for line in lines[1:]] == ["2half.png", "3deep.png", "4.jpg"]
    assert not (tmp_path / "new").exists()


def test_sizes_are_looked_at_before_anything_is_predicted(
    sheets: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("onnxruntime")
    folder = write_folder(tmp_path / "any", transforms=[READER[0], READER[2]])
    shutil.copytree(sheets, tmp_path / "pictures")
    cv2.imwrite(str(tmp_path / "pictures" / "3.png"), np.zeros((40, 65, 3), np.uint8))
    words = ["predict", str(folder), "--images", str(tmp_path / "pictures"), "--output", str(tmp_path / "found")]
    assert main(words) == 1
    assert re.search(r"3\.png: 40x65 px .* exported for a width of 8 to 64 px", capsys.readouterr().err)
    assert not (tmp_path / "found").exists()
    (tmp_path / "pictures" / "3.png").unlink()
    assert main(words) == 0


def test_two_at_a_time_may_write_the_same_folder(sheets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "Predictor", OneFaint)
    words = ["predict", "any", "--images", str(sheets), "--output", str(tmp_path), "--draw_threshold", "0"]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(main, [words] * 16)) == [0] * 16
    assert len(list(tmp_path.iterdir())) == 7


def test_a_near_name_is_told(model: Path, sheets: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["predict", str(model), "--images", str(sheets / "0.pnk"), "--output", str(tmp_path)]) == 1
    assert f"0.pnk: no such picture or folder. Did you mean '{sheets / '0.png'}'?" in capsys.readouterr().err


def test_the_library_gives_the_runtime_its_folders(model: Path, sheets: Path) -> None:
    pytest.importorskip("onnxruntime")
    found = LibraryPredictor(model)
    assert type(found) is Predictor
    code = f"{ALONE}from ppdet_ext import Predictor; print(len(Predictor({str(model)!r}).predict({str(sheets / '0.png')!r})))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == ("3\n", "")
    assert ppdet_ext.Predictor is LibraryPredictor


def test_pillows_font_draws_ascii_names_where_there_is_no_other(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(fonts.logger.parent, "propagate", True)
    monkeypatch.setattr(fonts, "matplotlib", None)
    cached = (fonts.system_fonts, fonts._characters, fonts.font_file)
    for one in cached:
        one.cache_clear()
    assert fonts.drawable_names(["scratch", "划痕"], [1, 7]) == ["scratch", "class 7"]
    assert "Install matplotlib, which brings a font of more scripts" in caplog.text
    assert fonts.font_of("scratch", 20).getbbox("scratch")[2] > 30
    for one in cached:
        one.cache_clear()
