"""A classifier of whole images by the tools: trained, tuned, its probabilities written, and as a gate of an HTC."""

import csv
import json
import re
from pathlib import Path

import numpy as np
import pytest
import yaml

from ppdet_ext.commands.main import run as tool
from ppdet_ext.config.load import load_config
from ppdet_ext.inference.presence import is_classifier

CONFIG = """
_BASE_: [{tiny}]
save_dir: {folder}
architecture: ImageClassifier
ImageClassifier: {{encoder: ResNetEncoder}}
ResNetEncoder: {{name: resnet18}}
TrainReader:
  sample_transforms: [ReadImage: {{}}, NormalizeToCHW: {{}}]
"""


@pytest.fixture(scope="module")
def classifier(module_path: Path, config: str) -> list[str]:
    """Flags of a trained classifier."""
    path = module_path / "classifier.yml"
    path.write_text(CONFIG.format(tiny=config, folder=module_path))
    assert tool("train", ["-c", str(path)]) == 0
    return ["-c", str(path), "-o", f"weights={module_path / 'classifier' / 'model_final'}"]


@pytest.fixture(scope="module")
def gate(classifier: list[str], module_path: Path) -> Path:
    assert tool("tune", [*classifier, "--folds", "2", "--min_instances", "1", "--keep_per_class"]) == 0
    return module_path / "classifier" / "tuned.yml"


def test_what_tuning_writes_names_the_classifier(gate: Path, classifier: list[str]) -> None:
    written = yaml.safe_load(gate.read_text())
    assert written["Classifier"] == {"config": classifier[1], "weights": classifier[3].removeprefix("weights=")}
    ((step, arguments),) = written["PostProcess"][0].items()
    assert step == "ClassifierGate"
    assert set(arguments) == {"threshold"}
    assert "F1 of each class on" in gate.read_text()
    cfg = load_config(classifier[1], [classifier[3]], training=False)
    assert is_classifier(cfg)


def test_a_file_of_probabilities_gates_as_the_classifier_does(
    gate: Path, classifier: list[str], config: str, eager: str, workspace: Path, tmp_path: Path, capsys
) -> None:
    table, images = tmp_path / "gate.csv", str(workspace / "sheets" / "train_images")
    flags = [
        "--infer_dir",
        images,
        "--output_dir",
        str(tmp_path / "drawn"),
        "--save_probabilities",
        str(table),
        "--save_results",
        "csv",
    ]
    assert tool("infer", [*classifier, *flags]) == 0
    assert re.search(r"8 images, \d+ labels? of score 0.5 or more drawn", capsys.readouterr().out)
    with open(table) as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 8
    with open(tmp_path / "drawn" / "measurements.csv", encoding="utf-8-sig") as file:
        assert {row["area_px"] for row in csv.DictReader(file)} <= {""}  # labels of whole images
    values = np.array([[float(value) for key, value in row.items() if key != "ImageId"] for row in rows])
    assert values.shape == (8, 4)
    assert values.std() > 0
    # A common threshold in the middle of what the classifier says, so that it shuts some classes out.
    threshold = float(np.median(values))
    named = yaml.safe_load(gate.read_text())["Classifier"]
    beside = tmp_path / "beside.yml"
    beside.write_text(yaml.safe_dump({"Classifier": named, "PostProcess": [{"ClassifierGate": {"threshold": threshold}}]}))
    filed = tmp_path / "filed.yml"
    filed.write_text(yaml.safe_dump({"PostProcess": [{"ClassifierGate": {"threshold": threshold, "file": str(table)}}]}))
    results = []
    for over in (beside, filed):
        folder = tmp_path / over.stem
        flags = ["-c", config, "-o", eager, "--infer_dir", images, "--save_results", "--output_dir", str(folder)]
        assert tool("infer", [*flags, "--postprocess", str(over)]) == 0
        results.append(json.loads((folder / "bbox.json").read_text()))
    # Batches of one and of two images differ in the last bits.
    pairs = [[(one["image_id"], one["category_id"], *np.round(one["bbox"], 3)) for one in result] for result in results]
    assert pairs[0] == pairs[1]
    names = {one["id"]: one["file_name"] for one in json.loads((tmp_path / "filed" / "images.json").read_text())}
    passing = {row["ImageId"]: own >= threshold for row, own in zip(rows, values)}
    assert all(passing[names[one["image_id"]]][one["category_id"] - 1] for one in results[0])
    assert not all(own.all() for own in passing.values())
    assert results[0]


def test_flags_and_models_that_do_not_go_together(
    classifier: list[str], config: str, eager: str, tmp_path: Path, capsys
) -> None:
    htc, out = ["-c", config, "-o", eager], ["--output_dir", str(tmp_path / "out")]
    for name, words, text in (
        ("tune", [*classifier, "--metric", "MeanIoU"], "--metric: the model classifies whole images"),
        ("tune", [*classifier, "--nms_iou", "0.5"], "--nms_iou: the model classifies whole images"),
        ("submit", [*classifier, "--output", str(tmp_path / "s.csv")], "no masks to submit. Use it as the gate"),
        ("infer", [*classifier, *out, "--save_results", "cvat"], "has no masks; it has results for csv and coco"),
        ("infer", [*classifier, *out, "--draw_maps"], "ImageClassifier has no maps of pixels' probabilities"),
        ("tune", [*htc, "--criterion", "f1"], "--criterion is of classifiers"),
        ("infer", [*htc, *out, "--save_probabilities", str(tmp_path / "p.csv")], "does not tell which classes are in an image"),
        ("infer", [*htc, "PostProcess=[ClassifierGate: {}]", *out], "no `file`, and no classifier tells which classes"),
        ("tune", [*htc, "PostProcess=[SoftGate: {area: 9}]"], "no `file`, and no classifier tells which classes"),
    ):
        assert tool(name, words) == 1
        assert text in capsys.readouterr().err
