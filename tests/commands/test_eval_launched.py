"""tools/eval.py and tools/infer.py under paddle.distributed.launch give what they give alone."""

import json
import os
import subprocess
import sys
from pathlib import Path

import paddle
import pytest

from ppdet_ext.commands.main import run
from ppdet_ext.config.load import load_config
from ppdet_ext.host.build import build_model

ROOT = Path(__file__).resolve().parents[2]
LAUNCHED = [sys.executable, "-m", "paddle.distributed.launch", "--nproc_per_node", "2"]
RESULTS = ("bbox.json", "mask.json", "images.json")


@pytest.fixture(scope="module")
def weights(config: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of a model that has learnt nothing and sees objects everywhere."""
    paddle.seed(0)
    path = tmp_path_factory.mktemp("weights") / "fresh.pdparams"
    paddle.save(build_model(load_config(config)).state_dict(), str(path))
    return path


def launch(folder: Path, tool: str, *arguments: str) -> subprocess.Popen:
    """On two ranks, of as many threads as this process has set for itself: their number changes the last digits."""
    folder.mkdir()
    command = [*LAUNCHED, str(ROOT / "tools" / f"{tool}.py"), *arguments]
    assert "OMP_NUM_THREADS" in os.environ
    with (folder / "printed").open("w") as out:
        return subprocess.Popen(command, cwd=folder, stdout=out, stderr=out)


def done(process: subprocess.Popen, folder: Path) -> str:
    """What it printed."""
    code = process.wait(240)
    printed = (folder / "printed").read_text()
    assert code == 0, printed[-3000:]
    return printed


def test_two_ranks_write_what_one_writes(config: str, weights: Path, tmp_path: Path, capfd) -> None:
    chosen = ["-c", config, "-o", f"weights={weights}", f"save_dir={tmp_path}"]

    def words(ranks: str) -> dict[str, list[str]]:
        return {
            "eval": ["--output_eval", str(tmp_path / f"eval {ranks}"), *chosen],
            "infer": ["--save_results", "--output_dir", str(tmp_path / f"infer {ranks}"), *chosen],
        }

    started = {tool: launch(tmp_path / f"{tool} two", tool, *own) for tool, own in words("two").items()}
    printed = {}
    for tool, own in words("one").items():
        assert run(tool, own) == 0
        printed[f"{tool} one"] = capfd.readouterr().out
    printed |= {f"{tool} two": done(process, tmp_path / f"{tool} two") for tool, process in started.items()}

    alone, together = (json.loads((tmp_path / f"eval {ranks}" / "eval.json").read_text()) for ranks in ("one", "two"))
    for kind in ("bbox", "segm"):
        assert len(alone[kind]) == 12
        assert together[kind] == alone[kind]
    assert together["images"] == alone["images"] == 2
    assert printed["eval two"].count("Average Precision") == printed["eval one"].count("Average Precision") == 12
    assert "Average Precision" not in (tmp_path / "eval two" / "log" / "workerlog.1").read_text()

    for name in RESULTS:
        text = (tmp_path / "infer two" / name).read_text()
        assert text == (tmp_path / "infer one" / name).read_text()
        assert len(json.loads(text)) >= 8
    pictures = {path.name: path.read_bytes() for path in (tmp_path / "infer one").glob("*.jpg")}
    assert len(pictures) == 8
    assert {path.name: path.read_bytes() for path in (tmp_path / "infer two").glob("*.jpg")} == pictures
    assert "8 images, " in printed["infer two"]
