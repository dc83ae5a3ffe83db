"""tools/eval.py and tools/infer.py under paddle.distributed.launch give what they give alone."""

import json
import os
import subprocess
import sys
from pathlib import Path

import paddle
import pytest

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


def run(folder: Path, command: list[str], tool: str, *arguments: str) -> subprocess.Popen:
    """One thread each, for its number changes the last digits."""
    folder.mkdir()
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with (folder / "printed").open("w") as out:
        return subprocess.Popen(
            [*command, str(ROOT / "tools" / tool), *arguments], cwd=folder, stdout=out, stderr=out, env=environment
        )


def done(process: subprocess.Popen, folder: Path) -> str:
    """What it printed."""
    code = process.wait(240)
    printed = (folder / "printed").read_text()
    assert code == 0, printed[-3000:]
    return printed


def test_two_ranks_write_what_one_writes(config: str, weights: Path, tmp_path: Path) -> None:
    chosen = ["-c", config, "-o", f"weights={weights}", f"save_dir={tmp_path}"]
    started = {}
    for ranks, command in (("one", [sys.executable]), ("two", LAUNCHED)):
        evaluated, inferred = tmp_path / f"eval {ranks}", tmp_path / f"infer {ranks}"
        started[evaluated] = run(evaluated, command, "eval.py", "--output_eval", str(evaluated), *chosen)
        started[inferred] = run(inferred, command, "infer.py", "--save_results", "--output_dir", str(inferred), *chosen)
    printed = {folder.name: done(process, folder) for folder, process in started.items()}

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
