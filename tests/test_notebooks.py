"""The notebooks: their cells run on tiny pictures, their outputs are small, their links lead somewhere."""

import importlib.util
import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from ppdet_ext.data.synthetic import SampleSpec, write_sample_set

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = sorted((ROOT / "docs").glob("*.ipynb"))
LARGEST = 150_000  # bytes of a file
SETS = ("TrainDataset", "EvalDataset", "TestDataset")
# A model of seconds, for both configurations.
TINY = {
    "HTCResNet.depth": 18,
    "HTCResNet.base_channels": 4,
    "FPN.out_channel": 8,
    "FusedSemanticHead.channels": 8,
    "FusedSemanticHead.in_channels": 8,
    "FusedSemanticHead.num_convs": 1,
    "HTCRPNHead.channels": 8,
    "HTCRPNHead.train_proposals": 30,
    "HTCRPNHead.test_proposals": 20,
    "HTCRoIHead.channels": 8,
    "HTCRoIHead.fc_channels": 16,
    "HTCRoIHead.num_mask_convs": 1,
    "HTCRoIHead.num_samples": 16,
    "LearningRate.schedulers.1.steps": 2,
    "epoch": 1,
    "worker_num": 0,
    "log_iter": 1,
    **{f"{name}.{side}": size for name in SETS for side, size in (("height", 64), ("width", 128))},
}


def run(name: str, parameters: dict[str, Any]) -> dict[str, Any]:
    spec = importlib.util.spec_from_file_location("run_notebook", ROOT / "docs" / "site" / "run_notebook.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.run(ROOT / "docs" / name, parameters)


@pytest.mark.slow
def test_the_tutorial_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "dataset" / "steel_sample").mkdir(parents=True)  # else the one of `make demo` is taken, where it is
    monkeypatch.chdir(tmp_path)
    sample = {"SampleData.images": 8, "SampleData.height": 64, "SampleData.width": 128}
    names = run("tutorial.ipynb", {"settings": TINY | sample})
    assert (tmp_path / "dataset" / "steel_sample" / "train.csv").is_file()
    assert (tmp_path / "output" / "steel_sample" / "report.html").is_file()
    assert names["tuned"].file.is_file()
    assert names["rows"] == 4 * len(names["held_out"].records)


@pytest.mark.slow
def test_the_one_for_kaggle_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On drawn sheets in the contest's layout."""
    data, working = tmp_path / "input", tmp_path / "working"
    write_sample_set(data, SampleSpec(images=8, height=64, width=128))
    shutil.copytree(data / "train_images", data / "test_images")
    working.mkdir()
    monkeypatch.chdir(tmp_path)
    readers = {f"{name}.batch_size": 2 for name in ("TrainReader", "EvalReader", "TestReader")}
    names = run("kaggle.ipynb", {"code": str(ROOT), "data": str(data), "working": str(working), "settings": TINY | readers})
    assert (working / "submission.csv").read_text().splitlines()[0] == "ImageId,EncodedPixels,ClassId"
    assert names["rows"] == 4 * 8
    assert set(names["numbers"].values) == {"SeverstalDice"}


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.name)
def test_it_is_small_and_whole(notebook: Path) -> None:
    assert notebook.stat().st_size < LARGEST
    content = json.loads(notebook.read_text(encoding="utf-8"))
    assert (content["nbformat"], content["nbformat_minor"]) == (4, 5)
    assert len({cell["id"] for cell in content["cells"]}) == len(content["cells"])
    text = "\n".join("".join(cell["source"]) for cell in content["cells"] if cell["cell_type"] == "markdown")
    links = [link.partition("#")[0] for link in re.findall(r"\]\(([^)\s]+)\)", text) if "://" not in link]
    assert links
    assert [link for link in links if not (notebook.parent / link).is_file()] == []
    # No machine's paths but Kaggle's.
    assert not re.search(r"/(?:home|root|work|tmp)/", notebook.read_text(encoding="utf-8"))
