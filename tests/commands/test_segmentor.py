"""A network that classifies pixels by all tools: alone, in an ensemble with an HTC, beside a classifier."""

import csv
import json
from pathlib import Path

import cv2
import paddle
import pytest
import yaml

from ppdet_ext.commands.main import run as tool
from ppdet_ext.config.load import load_config
from ppdet_ext.host.build import build_model
from ppdet_ext.inference.members import pictures_at_once
from ppdet_ext.structures import Record

CONFIG = """
_BASE_: [{tiny}]
metric: SeverstalDice
EvalDataset: {{class_names: [pits, scratches, blotches, patches]}}
architecture: {architecture}
SemanticSegmentor: {{encoder: ResNetEncoder, decoder: UNetDecoder}}
ResNetEncoder: {{name: resnet18}}
UNetDecoder: {{channels: [32, 16, 16, 8, 8]}}
TrainReader:
  sample_transforms: [ReadImage: {{}}, ClassMasks: {{}}, NormalizeToCHW: {{}}]
"""


def written(folder: Path, config: str, name: str, architecture: str, count: int) -> list[str]:
    """Flags of an untrained network, whose weights of several seeds are `<name>_<seed>.pdparams`."""
    path = folder / f"{name}.yml"
    path.write_text(CONFIG.format(tiny=config, architecture=architecture))
    cfg = load_config(str(path))
    for seed in range(count):
        paddle.seed(seed)
        paddle.save(build_model(cfg).state_dict(), str(folder / f"{name}_{seed}.pdparams"))
    return ["-c", str(path), "-o", f"weights={folder / f'{name}_0.pdparams'}"]


@pytest.fixture(scope="module")
def unet(module_path: Path, config: str) -> list[str]:
    return written(module_path, config, "unet", "SemanticSegmentor", 2)


@pytest.fixture(scope="module")
def classifier(module_path: Path, config: str) -> dict[str, str]:
    """An entry of `Classifier`."""
    flags = written(module_path, config, "whole", "ImageClassifier", 1)
    return {"config": flags[1], "weights": flags[3].removeprefix("weights=")}


def value_of(folder: Path) -> float:
    return json.loads((folder / "eval.json").read_text())["named"]["SeverstalDice"]["all"]


def test_tuned_thresholds_are_what_eval_and_submit_use(unet: list[str], module_path: Path, tmp_path: Path) -> None:
    tuned = tmp_path / "tuned.yml"
    assert tool("tune", [*unet, "--folds", "2", "--min_instances", "1", "--output", str(tuned)]) == 0
    steps = yaml.safe_load(tuned.read_text())["PostProcess"]
    assert [next(iter(step)) for step in steps] == ["ScoreThreshold", "MaskThreshold", "MinArea"]
    assert tool("eval", [*unet, "--postprocess", str(tuned), "--output_eval", str(tmp_path)]) == 0
    said = float(tuned.read_text().split("images, ")[1].split(" ")[0])
    assert value_of(tmp_path) == pytest.approx(said, abs=2e-3)
    table = tmp_path / "submission.csv"
    assert tool("submit", [*unet, "--postprocess", str(tuned), "--output", str(table)]) == 0
    assert len(table.read_text().splitlines()) == 1 + 8 * 4


def test_pictures_of_maps(unet: list[str], tmp_path: Path, config: str, eager: str, capsys) -> None:
    drawn = ["--num_images", "2", "--draw_maps", "--output_dir", str(tmp_path)]
    assert tool("infer", [*unet, *drawn]) == 0
    pictures = sorted(path.name for path in tmp_path.glob("*.png"))
    assert len(pictures) == 2
    height, width = cv2.imread(str(tmp_path / pictures[0])).shape[:2]
    assert width == 128
    assert height > 64 * 3  # four classes, each likely somewhere
    assert len(list(tmp_path.iterdir())) == 4
    assert tool("infer", ["-c", config, "-o", eager, *drawn]) == 1
    assert "has no maps of pixels' probabilities" in capsys.readouterr().err
    assert tool("infer", [*unet, "--num_images", "0"]) == 1
    assert "--num_images is 0" in capsys.readouterr().err


def test_pseudo_labels_have_a_row_for_each_class(unet: list[str], tmp_path: Path) -> None:
    table = tmp_path / "labels.csv"
    assert tool("pseudo_label", [*unet, "--score", "0.3", "--output", str(table)]) == 0
    with open(table) as file:
        rows = [(row["ImageId"], row["ClassId"]) for row in csv.DictReader(file)]
    assert len(rows) == len(set(rows)) > 4


def test_an_htc_and_networks_of_pixels_are_one_ensemble(
    unet: list[str], classifier: dict, module_path: Path, config: str, eager: str, tmp_path: Path, capsys
) -> None:
    members = [
        str(module_path / "unet_0.pdparams"),
        {"weights": str(module_path / "unet_1.pdparams"), "config": unet[1], "weight": 0.5},
        {"weights": eager.partition("=")[2], "config": config},
    ]
    over = tmp_path / "ensemble.yml"
    gate = {"Classifier": classifier, "PostProcess": [{"ClassifierGate": {"threshold": 0.0}}, {"SoftGate": {"area": 5}}]}
    flips = {"TestTimeAugmentation": {"flips": ["none", "horizontal"]}, "EnsembleMean": {"power": 2.0}}
    over.write_text(yaml.safe_dump({"Ensemble": members, **flips, **gate}))
    assert tool("eval", [*unet[:2], "--postprocess", str(over), "--output_eval", str(tmp_path)]) == 0
    log = "".join(capsys.readouterr())
    assert "Predicting with 3 model(s), 6 view(s) of each image in all" in log
    assert log.count("Loaded ") == 4
    assert log.count("section FPN is not used by SemanticSegmentor") == 2  # of the configuration, and of the second member
    # Of large pictures fewer are worked on together; of one member alone, none need wait for the others.
    cfg, alone = load_config(unet[1], over=over, training=False), load_config(unet[1], unet[3:], training=False)
    sizes = {pixels: [Record(0, "", "", pixels, pixels)] for pixels in (64, 1000, 20_000)}
    assert [pictures_at_once(cfg, records) for records in sizes.values()] == [16, 2, 1]
    assert pictures_at_once(alone, sizes[64]) == 1
    assert pictures_at_once(load_config(config, [eager], training=False), sizes[64]) == 1
    # The same members by the other architecture's configuration.
    members[0] = {"weights": members[0], "config": unet[1]}
    over.write_text(yaml.safe_dump({"Ensemble": members, **flips, **gate}))
    first = value_of(tmp_path)
    given = ["-c", config, "--metric", "SeverstalDice", "--postprocess", str(over), "--output_eval", str(tmp_path)]
    assert tool("eval", given) == 0
    assert value_of(tmp_path) == pytest.approx(first, abs=1e-9)


def test_what_does_not_go_together(
    unet: list[str], classifier: dict, module_path: Path, config: str, eager: str, capsys
) -> None:
    whole, htc = classifier["weights"], eager.partition("=")[2]
    for overrides, text in (
        (f"Ensemble=[{module_path}/unet_0.pdparams, {{weights: {whole}, config: {classifier['config']}}}]",
         "name it under Classifier"),
        (f"Ensemble=[{module_path}/unet_0.pdparams, {htc}]",
         f"A member of another model names its configuration too: {{weights: {htc}, config: FILE.yml}}."),
        (f"Classifier={{config: {config}, weights: {htc}}}", "does not tell the classes of an image"),
        (f"Classifier={{weights: {whole}}}", "{config: path, weights: path}"),
        ("EnsembleMean={power: 0}", "0.1 or more"),
    ):  # fmt: skip
        assert tool("eval", [*unet, overrides]) == 1
        assert text in " ".join(capsys.readouterr().err.split())
