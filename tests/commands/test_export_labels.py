"""tools/export_labels.py: data sets, saved predictions and label tools' files into those of another tool."""

import csv
import json
from pathlib import Path

import numpy as np
import paddle
import pytest

from ppdet_ext.commands.data_flags import EXPORTED
from ppdet_ext.commands.main import run
from ppdet_ext.config.load import load_config
from ppdet_ext.data.labels.formats import read_labels
from ppdet_ext.data.labels.writers import WRITERS
from ppdet_ext.host.build import build_model
from ppdet_ext.structures import Rle


def test_formats_of_the_flag_are_those_that_are_written() -> None:
    assert set(EXPORTED) == set(WRITERS)


@pytest.fixture(scope="module")
def exported(config: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """CVAT's file of the training data, with the pictures."""
    out = tmp_path_factory.mktemp("cvat")
    flags = ["-c", config, "--dataset", "TrainDataset", "--to", "cvat", "--out", str(out), "--copy_images"]
    assert run("export_labels", flags) == 0
    return out


def masks_of(folder: Path) -> dict[str, list[tuple[str, Rle]]]:
    return {image.name: [(own.class_name, own.mask) for own in image.objects] for image in read_labels([str(folder)]).images}


def test_a_data_set_goes_to_cvat_and_on_to_others_without_losing_a_pixel(config: str, exported: Path, tmp_path: Path) -> None:
    records = load_config(config)["TrainDataset"].load().records
    expected = {record.name: list(record.masks) for record in records}
    found = masks_of(exported)
    assert {name: [mask for _, mask in own] for name, own in found.items()} == expected
    assert {path.name for path in (exported / "images").iterdir()} == set(expected)
    before = exported
    for tool in ("label_studio", "labelme", "coco"):
        out = tmp_path / tool
        flags = ["--labels", str(before), "--to", tool, "--out", str(out), "--copy_images"]
        assert run("export_labels", [*flags, "--images", str(exported / "images")]) == 0
        assert masks_of(out) == found
        before = out


def test_pictures_that_are_missing_are_told_before_anything_is_written(exported: Path, tmp_path: Path, capfd) -> None:
    (tmp_path / "annotations.xml").write_bytes((exported / "annotations.xml").read_bytes())
    flags = ["--labels", str(tmp_path / "annotations.xml"), "--to", "yolo_seg", "--out", str(tmp_path / "out"), "--copy_images"]
    assert run("export_labels", flags) == 1
    assert "not found beside the labels: " in (told := capfd.readouterr().err)
    assert "Say where they are: --images DIR" in told
    assert list((tmp_path / "out").rglob("*.txt")) == []


def test_pictures_of_others_are_not_written_over(exported: Path, tmp_path: Path, capfd) -> None:
    pictures = tmp_path / "images"
    pictures.mkdir()
    name = min(path.name for path in (exported / "images").iterdir())
    (pictures / name).write_bytes(b"somebody's")
    flags = ["--labels", str(exported), "--to", "coco", "--out", str(tmp_path), "--copy_images"]
    assert run("export_labels", flags) == 1
    assert f"{pictures / name} is there already" in capfd.readouterr().err
    assert (pictures / name).read_bytes() == b"somebody's"
    # Where the files and pictures are the same, again does nothing but write the labels.
    assert run("export_labels", [*flags, "--overwrite"]) == 0
    before = (pictures / name).stat().st_mtime_ns
    assert run("export_labels", [*flags, "--overwrite"]) == 0
    assert (pictures / name).stat().st_mtime_ns == before


def test_kaggles_table_has_the_data_sets_own_ids(config: str, tmp_path: Path) -> None:
    flags = ["-c", config, "--dataset", "TrainDataset", "--to", "kaggle", "--out", str(tmp_path)]
    assert run("export_labels", [*flags, "-o", "worker_num=0"]) == 0
    dataset = load_config(config)["TrainDataset"].load()
    expected = {}
    for record in dataset.records:
        for label in set(record.labels.tolist()):
            # Severstal has one row for all objects of a class.
            union = Rle.merge([record.masks[place] for place in np.flatnonzero(record.labels == label)])
            expected[record.name, str(dataset.category_ids[label])] = union.to_kaggle()
    (path,) = tmp_path.iterdir()
    with path.open(newline="") as stream:
        rows = [row for row in csv.DictReader(stream) if row["EncodedPixels"]]
    assert {(row["ImageId"], row["ClassId"]): row["EncodedPixels"] for row in rows} == expected


def test_saved_predictions_become_label_studios(config: str, tools, tmp_path: Path, capfd) -> None:
    paddle.save(build_model(load_config(config)).state_dict(), str(tmp_path / "fresh.pdparams"))
    results = str(tmp_path / "results")
    given = ["-c", config, "--output_dir", results, "--num_images", "2", "-o", f"weights={tmp_path}/fresh.pdparams"]
    assert tools["infer"]([*given, "--save_results"]) == 0, capfd.readouterr().err
    out = tmp_path / "ls"
    flags = ["-c", config, "--results", results, "--to", "label_studio", "--out", str(out)]
    flags += ["--model_version", "m", "--image_prefix", "s3://b/"]
    assert run("export_labels", flags) == 0, capfd.readouterr().err
    masks = [own for own in json.loads((tmp_path / "results" / "mask.json").read_text()) if Rle.from_coco(own["segmentation"])]
    predictions = [one for task in json.loads((out / "tasks.json").read_text()) for one in task["predictions"]]
    assert sum(len(one["result"]) for one in predictions) == len(masks) > 0
    assert {one["model_version"] for one in predictions} == {"m"}
    # Corrections are not written over.
    assert run("export_labels", flags) == 1
    assert "tasks.json is there already, and may have been corrected since. --overwrite replaces it." in capfd.readouterr().err
    middle = str(sorted(own["score"] for own in masks)[len(masks) // 2])
    assert run("export_labels", [*flags, "--overwrite", "--min_score", middle]) == 0
    kept = [one for task in json.loads((out / "tasks.json").read_text()) for one in task.get("predictions", ())]
    assert 0 < sum(len(one["result"]) for one in kept) < len(masks)


def test_results_of_the_same_classes_with_other_ids_go_by_the_names(config: str, tools, tmp_path: Path, capfd) -> None:
    paddle.save(build_model(load_config(config)).state_dict(), str(tmp_path / "fresh.pdparams"))
    results = str(tmp_path / "results")
    given = ["-c", config, "--output_dir", results, "--num_images", "2", "-o", f"weights={tmp_path}/fresh.pdparams"]
    assert tools["infer"]([*given, "--save_results"]) == 0, capfd.readouterr().err
    names = [f"defect_{number}" for number in (1, 2, 3, 4)]
    assert json.loads((tmp_path / "results" / "origin.json").read_text())["classes"] == [
        [i + 1, n] for i, n in enumerate(names)
    ]
    texts, printed = [], []
    for out, listed in (("a", names), ("b", [names[1], names[0], *names[2:]]), ("c", ["w", "x", "y", "z"])):
        flags = ["-c", config, "--results", results, "--to", "labelme", "--out", str(tmp_path / out)]
        assert run("export_labels", [*flags, "-o", f"EvalDataset.class_names=[{', '.join(listed)}]"]) == 0
        texts.append({file.name: file.read_text() for file in (tmp_path / out).rglob("*.json")})
        printed.append(capfd.readouterr().out)
    assert texts[0] == texts[1]
    assert any("defect_1" in text for text in texts[0].values()) or any("defect_2" in text for text in texts[0].values())
    assert "Classes" not in printed[0]
    assert "1 defect_1, 2 defect_2, 3 defect_3, 4 defect_4; the configuration: 1 defect_2, 2 defect_1, 3" in printed[1]
    assert "Classes of other names" in printed[2]


def test_results_of_images_with_nothing_have_the_pictures_sizes(config: str, workspace: Path, tmp_path: Path, capfd) -> None:
    name = min(path.name for path in (workspace / "sheets" / "train_images").iterdir())
    (tmp_path / "mask.json").write_text("[]")
    (tmp_path / "images.json").write_text(json.dumps([{"id": 1, "file_name": name}]))
    flags = ["-c", config, "--results", str(tmp_path), "--to", "cvat", "--out", str(tmp_path / "out")]
    assert run("export_labels", flags) == 1
    printed = capfd.readouterr()
    assert "1 image without an object: left out, for results do not tell their sizes; with --images DIR" in printed.out
    assert "No image is left to export." in printed.err
    assert run("export_labels", [*flags, "--images", str(workspace / "sheets" / "train_images")]) == 0
    assert f'name="{name}" width="128" height="64"' in (tmp_path / "out" / "annotations.xml").read_text()


@pytest.mark.parametrize(("flags", "message"), [
    (["--to", "coco"], "What is to be exported? Give -c CONFIG"),
    (["-c", "{config}", "--labels", "{exported}", "--to", "coco"], "--labels are files of a label tool, without -c"),
    (["-c", "{config}", "--dataset", "EvalDatset", "--to", "coco"], "Did you mean 'EvalDataset'?"),
    (["-c", "{config}", "--dataset", "TestDataset", "--to", "coco"], "TestDataset has no annotations"),
    (["--labels", "{exported}", "--to", "kaggle:severstal_stage3"], "Did you mean 'severstal_stage2'?"),
    (["--labels", "{exported}", "--to", "coco", "--min_score", "2"], "--min_score is 2"),
    (["-c", "{config}", "--results", "{exported}", "--to", "coco"], "make it with infer.py --save_results"),
])  # fmt: skip
def test_what_cannot_be_exported_is_told(flags, message, config, exported, tmp_path, capfd) -> None:
    words = [flag.format(config=config, exported=exported) for flag in flags]
    assert run("export_labels", [*words, "--out", str(tmp_path)]) == 1
    assert message in capfd.readouterr().err


def test_a_mistyped_format_is_told_with_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    for text in ("cvt", "coco:severstal_stage1"):
        with pytest.raises(SystemExit):
            run("export_labels", ["--to", text, "--out", "x"])
    error = capsys.readouterr().err
    assert "no format is called 'cvt'. Did you mean 'cvat'?" in error
    assert "kaggle:<template>" in error
