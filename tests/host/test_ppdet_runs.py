"""ppdet's architectures with our tools and data: train, evaluate, go on in mid-epoch, predict, tune, submit."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import paddle
import pytest

from tests.support.forked_runs import load_tool, run
from tests.support.host_runs import MODELS, WITH_MASKS, write_config, write_sheets

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def sheets(module_path: Path) -> Path:
    return write_sheets(module_path)


@pytest.fixture(scope="module", params=MODELS)
def trained(request, sheets: Path) -> Iterator[tuple[str, str, Path]]:
    """Name, configuration and folder of a finished run."""
    config = str(write_config(sheets, request.param))
    assert load_tool("train")(["-c", config, "--eval"]) == 0
    folder = sheets / "out" / request.param
    yield request.param, config, folder
    # Its checkpoints take 600 MB.
    shutil.rmtree(folder)


def weights_of(path: Path) -> dict[str, np.ndarray]:
    return paddle.load(f"{path}.pdparams", return_numpy=True)


def test_a_run_that_goes_on_in_mid_epoch_ends_with_the_same_bits(trained, tmp_path: Path) -> None:
    name, config, folder = trained
    found = sorted(path.name for path in (folder / "checkpoints").iterdir() if path.is_dir() and "step" in path.name)
    assert load_tool("train")(["-c", config, "-r", str(folder / "checkpoints" / found[0]), "-o", f"save_dir={tmp_path}"]) == 0
    expected, ours = weights_of(folder / "model_final"), weights_of(tmp_path / name / "model_final")
    assert list(expected) == list(ours)
    differing = [key for key in expected if expected[key].tobytes() != ours[key].tobytes()]
    assert not differing


def test_evaluation_says_boxes_alone_where_there_are_no_masks(trained, capsys) -> None:
    name, config, folder = trained
    assert load_tool("eval")(["-c", config, "-o", f"weights={folder / 'best_model'}"]) == 0
    numbers = json.loads((folder / "eval.json").read_text())
    assert ("segm" in numbers) == (name in WITH_MASKS)
    assert ("boxes without masks" in capsys.readouterr().out) == (name not in WITH_MASKS)


def test_pictures_are_drawn(trained, tmp_path: Path) -> None:
    _, config, folder = trained
    flags = ["--draw_threshold", "0.001", "--output_dir", str(tmp_path), "--save_results"]
    assert load_tool("infer")(["-c", config, *flags, "-o", f"weights={folder / 'model_final'}"]) == 0
    assert len(list(tmp_path.glob("*.jpg"))) == 8
    assert json.loads((tmp_path / "bbox.json").read_text())


def test_thresholds_are_tuned_and_submitted_where_there_are_masks(trained, tmp_path: Path, capsys) -> None:
    name, config, folder = trained
    weights = ["-o", f"weights={folder / 'model_final'}"]
    tuned = ["--metric", "MeanIoU", "--score_threshold", "0.001", "--folds", "2", "--min_instances", "1"]
    tuning = load_tool("tune")(["-c", config, *weights, *tuned, "--output", str(tmp_path / "tuned.yml")])
    with_steps = ["--postprocess", str(tmp_path / "tuned.yml")] if tuning == 0 else []
    submitting = load_tool("submit")(["-c", config, *weights, *with_steps, "--output", str(tmp_path / "s.csv")])
    if name in WITH_MASKS:
        assert (tuning, submitting) == (0, 0)
        assert len((tmp_path / "s.csv").read_text().splitlines()) > 8
        return
    assert (tuning, submitting) == (1, 1)
    assert capsys.readouterr().err.count("no masks") == 2


def test_views_of_ppdets_models_are_refused_with_a_reason(trained, capsys) -> None:
    _, config, folder = trained
    flips = "TestTimeAugmentation={flips: [none, horizontal]}"
    assert load_tool("eval")(["-c", config, "-o", f"weights={folder / 'model_final'}", flips]) == 1
    assert "cannot be averaged" in capsys.readouterr().err


@pytest.mark.parametrize("model", ["mask_rcnn_r18_fpn", "ppyoloe_crn_tiny"])
def test_two_ranks_train_and_evaluate(sheets: Path, tmp_path: Path, model: str) -> None:
    config = write_config(sheets, model)
    options = ["epoch=1", "TrainReader.batch_size=1", f"save_dir={tmp_path}"]
    outcome = run(["-c", str(config), "--eval", "-o", *options], tmp_path, ranks=2)
    assert outcome.codes == (0, 0), outcome.text
    weights = weights_of(tmp_path / model / "model_final")
    assert all(np.isfinite(value).all() for value in weights.values())
