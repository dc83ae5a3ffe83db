"""Sheets of 12 bits in 16, mapped to the very bytes of 8-bit ones: wherever a picture is read, the same comes out."""

import json
from pathlib import Path

import cv2
import numpy as np
import paddle
import pytest
from PIL import Image

from ppdet_ext.config.load import load_config
from ppdet_ext.data.images.depth import Reading
from ppdet_ext.data.loading.build import load_dataset
from ppdet_ext.evaluation import tuning_metric
from ppdet_ext.host.build import build_model
from ppdet_ext.host.registry import STEPS
from ppdet_ext.postprocess.base import Step
from ppdet_ext.structures import Candidates, TestSettings
from ppdet_ext.training.pictures import validation_pictures
from ppdet_ext.tuning.problem import pipeline_value

SCALE = 16
RANGE = f"{{range: [0, {255 * SCALE}]}}"
VIEWS = "TestTimeAugmentation={flips: [none, horizontal]}"


def reader(name: str) -> str:
    return f"{name}.sample_transforms.0={{ReadImage: {RANGE}}}"


@pytest.fixture(scope="module")
def sheets(workspace: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    """Folders like `sheets` of the workspace whose pictures, all grey, have 8 bits, or 12 in 16, a pixel."""
    folders = {bits: tmp_path_factory.mktemp(f"bits{bits}") for bits in (8, 12)}
    for bits, folder in folders.items():
        source = workspace / "sheets"
        (folder / "train_images").mkdir()
        for name in ("train.csv", "train.txt", "val.txt"):
            (folder / name).write_text((source / name).read_text().replace(".jpg", ".png"))
        for file in (source / "train_images").glob("*.jpg"):
            grey = cv2.imread(str(file), cv2.IMREAD_GRAYSCALE)
            pixels = grey if bits == 8 else grey.astype(np.uint16) * SCALE
            Image.fromarray(pixels).save(folder / "train_images" / f"{file.stem}.png")
    return folders


@pytest.fixture(scope="module")
def weights(config: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("weights") / "fresh.pdparams"
    paddle.save(build_model(load_config(config)).state_dict(), str(path))
    return f"weights={path}"


class MeanGrey(Step):
    """A step that asks for the picture, as RefineMasks does, and keeps what it has seen."""

    needs_image = True
    seen: list[float] = []

    def apply(self, found, image):
        MeanGrey.seen.append(float(image.picture.mean()))
        return found


@pytest.fixture(autouse=True)
def known_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests of other files, in the same process, count the steps that there are."""
    monkeypatch.setitem(STEPS, "MeanGrey", MeanGrey)


@pytest.mark.parametrize("views", [False, True])
def test_infer_draws_predicts_and_refines_alike(config, weights, tools, sheets, tmp_path, capfd, views) -> None:
    seen = {}
    for bits, folder in sheets.items():
        MeanGrey.seen = []
        settings = ["-o", weights, reader("TestReader"), *([VIEWS] if views else []), "PostProcess=[MeanGrey: {}]"]
        images = ["--infer_dir", str(folder / "train_images"), "--output_dir", str(tmp_path / str(bits))]
        assert tools["infer"](["-c", config, *images, "--save_results", "--draw_threshold", "0.01", *settings]) == 0
        seen[bits] = MeanGrey.seen
    assert len(seen[8]) == 8
    assert seen[8] == seen[12]
    names = sorted(file.name for file in (tmp_path / "8").iterdir() if file.name != "origin.json")
    assert sum(name.endswith(".png") for name in names) == 8
    for name in names:
        assert (tmp_path / "8" / name).read_bytes() == (tmp_path / "12" / name).read_bytes(), name
    assert json.loads((tmp_path / "8" / "bbox.json").read_text())


def test_training_and_evaluation_read_alike(config, tools, sheets, tmp_path, capfd) -> None:
    lines = {}
    for bits, folder in sheets.items():
        settings = [f"save_dir={tmp_path}/{bits}", "epoch=1", reader("TrainReader"), reader("EvalReader")]
        settings += [f"{key}.dataset_dir={folder}" for key in ("TrainDataset", "EvalDataset")]
        assert tools["train"](["-c", config, "--eval", "-o", *settings]) == 0, capfd.readouterr().err
        text = next((tmp_path / str(bits)).rglob("metrics.jsonl")).read_text()
        rows = [json.loads(line) for line in text.splitlines()]
        lines[bits] = [{key: row[key] for key in row if "loss" in key or key in ("eval", "named")} for row in rows]
    assert any("loss" in key for line in lines[8] for key in line)
    assert lines[8] == lines[12]


def test_readers_that_read_otherwise_than_the_training_are_named(config, weights, tools, sheets, capfd) -> None:
    settings = ["-o", weights, reader("EvalReader"), f"EvalDataset.dataset_dir={sheets[12]}"]
    assert tools["eval"](["-c", config, *settings]) == 0
    said = " ".join(capfd.readouterr())
    assert "more than 8 bits with ReadImage.range None, EvalReader with (0.0, 4080.0)" in said


def test_without_a_range_the_first_picture_is_refused_with_what_to_write(config, weights, tools, sheets, capfd) -> None:
    assert tools["eval"](["-c", config, "-o", weights, f"EvalDataset.dataset_dir={sheets[12]}"]) == 1
    assert "16-bit pixels from" in (error := capfd.readouterr().err)
    assert "ReadImage: {range: 12bit}" in error


NONE = np.zeros((0, 4), np.float32)
NOTHING = Candidates(64, 128, NONE, NONE[:, 0], np.zeros(0, np.int64), np.zeros((0, 4, 4), np.float32))


class FindsNothing(paddle.nn.Layer):
    settings = TestSettings()

    def candidates(self, batch, settings):
        return [NOTHING] * len(batch["names"])


def test_tuning_and_pictures_of_a_training_read_alike(config, sheets) -> None:
    drawn, seen = {}, {}
    for bits, folder in sheets.items():
        cfg = load_config(config, [f"EvalDataset.dataset_dir={folder}", reader("EvalReader")])
        dataset = load_dataset(cfg, "EvalDataset")
        drawn[bits] = validation_pictures(dataset, cfg.EvalReader, None, 2, 0.5)(FindsNothing())
        MeanGrey.seen = []
        reading = Reading.of_transforms(cfg.EvalReader["sample_transforms"])
        args = dataset.records, dataset.class_names, dataset.category_ids, [NOTHING] * len(dataset.records)
        pipeline_value(tuning_metric("SeverstalDice"), *args, [{"MeanGrey": {}}], 0.5, reading)
        seen[bits] = MeanGrey.seen
    assert seen[8] == seen[12] != []
    for name, picture in drawn[8].items():
        np.testing.assert_array_equal(picture, drawn[12][name])
