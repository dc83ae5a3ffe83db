"""The tools as their users run them: subprocesses, from another folder; each costs seconds of import, so they are few."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from ppdet_ext.commands import main

ROOT = Path(__file__).resolve().parents[2]
FLAG = re.compile(r"(?<![\w-])--?[a-z][\w-]*")


def start(tool: str, *arguments: str, cwd: Path = ROOT / "tools") -> subprocess.Popen:
    command = [sys.executable, str(ROOT / "tools" / f"{tool}.py"), *arguments]
    return subprocess.Popen(
        command,
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "COLUMNS": "100", "PYTHONUNBUFFERED": "1"},
        start_new_session=True,
    )


def run(tool: str, *arguments: str, cwd: Path = ROOT / "tools") -> tuple[int, str, str]:
    process = start(tool, *arguments, cwd=cwd)
    out, error = process.communicate(timeout=300)
    return process.returncode, out, error


@pytest.mark.parametrize(("tool", "flags"), [
    ("train", "-h --help -c --config -o --opt --traceback --eval -r --resume --allow_change --amp --use_vdl --vdl_log_dir "
     "--debug_run"),
    ("eval", "-h --help -c --config -o --opt --traceback --classwise --save_prediction_only --output_eval --metric "
     "--postprocess"),
    ("report", "-h --help -c --config -o --opt --traceback --run --results --part --compare --output --score --pictures "
     "--no-pictures --postprocess"),
    ("infer", "-h --help -c --config -o --opt --traceback --infer_img --infer_dir --output_dir --draw_threshold "
     "--save_results --mm_per_pixel --save_probabilities --draw_maps --num_images --postprocess"),
    ("submit", "-h --help -c --config -o --opt --traceback --infer_img --infer_dir --results --output "
     "--draw_threshold --format --style --postprocess"),
    ("split", "-h --help -c --config -o --opt --traceback --folds --holdout --balanced --seed --no-duplicates --output "
     "--force"),
    ("pseudo_label", "-h --help -c --config -o --opt --traceback --infer_img --infer_dir --output --score --min_area "
     "--reject_from --keep_empty --postprocess"),
    ("export_labels", "-h --help -c --config -o --opt --traceback --dataset --results --labels --format --images --to --out "
     "--min_score --copy_images --overwrite --image_prefix --model_version"),
    ("export", "-h --help -c --config -o --opt --traceback --format --precision --size --batch --opset "
     "--masks --calibration --calibration_images --evaluate --most_drop --output --postprocess"),
    ("average", "-h --help -c --config -o --opt --traceback --output --update_bn"),
    ("convert", "-h --help -c --config -o --opt --traceback --num-classes-from-config"),
    ("convert_mmdet", "-h --help -c --config -o --opt --traceback --num-classes-from-config --to-mmdet"),
])  # fmt: skip
def test_help_is_quiet_and_lists_the_flags(tool: str, flags: str) -> None:
    code, out, error = run(tool, "--help")
    assert (code, error) == (0, "")
    assert out.startswith(f"usage: {tool}.py ")
    options = [line for line in out.splitlines() if line.startswith("  -")]
    assert [flag for line in options for flag in FLAG.findall(line.split("  ")[1])] == flags.split()


@pytest.mark.parametrize(("number", "expected"), [(signal.SIGTERM, 143), (signal.SIGINT, 130), (signal.SIGUSR1, 0)])
def test_stopped_training_goes_on_to_the_same_bits_in_another_process(number, expected, config, trained, tmp_path) -> None:
    arguments = ["-c", config, "--eval", "-o", f"save_dir={tmp_path}", "worker_num=2"]
    for _ in range(3):
        process = start("train", *arguments)
        for line in process.stdout:
            if "Epoch: [0] [0/3]" in line:
                break
        os.killpg(process.pid, number)  # as a terminal does: data workers get it too
        _, error = process.communicate(timeout=120)
        if "Interrupted" in error:
            break  # on a busy machine training may be through before the signal arrives
    assert process.returncode == expected
    assert "Traceback" not in error
    assert f"{number.name}: stopping after this step" in error
    go_on = r"Saved: \S+/tiny/checkpoints/epoch_\d(_step_\d)?\. Go on from there with: \S*python\S* \S+train\.py -r auto"
    assert re.search(go_on, error)
    assert not (tmp_path / "tiny" / "model_final.pdparams").exists()
    if number != signal.SIGTERM:
        return  # what was saved is the same; tests/resume goes on from it after each signal

    code, out, error = run("train", "-r", "auto", *arguments)
    assert (code, error) == (0, "")
    assert "Resumed from" in out
    for name in ("model_final.pdparams", "checkpoints/epoch_1/model.pdopt", "metrics.jsonl"):
        assert (trained / name).read_bytes() == (tmp_path / "tiny" / name).read_bytes(), name


def test_eval_infer_and_submit_in_a_row(workspace: Path, config: str, trained: Path, tmp_path: Path) -> None:
    weights = ["-o", f"weights={trained}/best_model", f"save_dir={tmp_path}"]
    code, out, error = run("eval", "-c", config, *weights)
    assert (code, error) == (0, "")
    assert "Average Precision" in out
    code, out, error = run("infer", "-c", "tiny.yml", "--save_results", "--output_dir", str(tmp_path), *weights, cwd=workspace)
    assert (code, error) == (0, "")
    assert len(list(tmp_path.glob("*.jpg"))) == 8
    code, out, error = run("submit", "-c", config, "--results", str(tmp_path), "--output", str(tmp_path / "s.csv"))
    assert (code, error) == (0, "")
    assert len((tmp_path / "s.csv").read_text().splitlines()) == 1 + 8 * 4


def test_without_the_kaggle_data_one_screen_says_what_to_do(tmp_path: Path) -> None:
    code, out, error = run("train", "-c", "configs/htc/steel.yml", "-o", f"TrainDataset.dataset_dir={tmp_path}/dataset/steel",
                           f"save_dir={tmp_path}")  # fmt: skip
    assert code == 1
    assert error.startswith("error: ")
    assert "https://www.kaggle.com/c/severstal-steel-defect-detection" in error
    assert "configs/htc/steel_sample.yml" in error
    assert len((out + error).splitlines()) < 25
    assert "Traceback" not in out + error


def test_without_a_config_the_sample_is_used_and_that_is_said(capsys) -> None:
    assert main.run("train", ["-o", "epochs=3"]) == 1
    out, error = capsys.readouterr()
    assert "No -c given: using configs/htc/steel_sample.yml" in out
    assert "unknown key 'epochs'. Did you mean 'epoch'?" in error
