"""What a training shows while it runs: one line on a terminal, all lines in its log file, what it is about to do, a table."""

import io
import json
import logging
import re
import sys
from argparse import Namespace
from pathlib import Path

import numpy as np
import pytest

from ppdet_ext.commands.train import next_command, page_commands
from ppdet_ext.structures import Record
from ppdet_ext.training.hooks import ProgressBar
from ppdet_ext.training.run_log import log_detail, recorded
from ppdet_ext.training.summary import Estimate, EvaluationTable, computing, evaluation_table, objects_by_class
from tests.support.engine_fakes import TinyLoader, run_tiny

logger = logging.getLogger("ppdet_ext")


@pytest.fixture
def console(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """What our log lines look like where they are shown."""
    shown = io.StringIO()
    monkeypatch.setattr(logger, "handlers", [logging.StreamHandler(shown)])
    monkeypatch.setattr(logger, "level", logging.INFO)
    return shown


def on_terminal(monkeypatch: pytest.MonkeyPatch, yes: bool) -> io.StringIO:
    """stdout and stderr are one, or neither is; gives what is written to stderr."""
    for name in ("stdout", "stderr"):
        stream = io.StringIO()
        monkeypatch.setattr(stream, "isatty", lambda: yes)
        monkeypatch.setattr(sys, name, stream)
    return stream


@pytest.mark.parametrize("terminal", [True, False])
def test_the_long_line_is_in_the_file_and_where_there_is_no_terminal(
    terminal: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, console: io.StringIO
) -> None:
    monkeypatch.setenv("COLUMNS", "84")
    errors = on_terminal(monkeypatch, terminal)
    with recorded() as log:
        logger.info("before the folder is known")
        log.open(tmp_path / "train.log")
        run_tiny(tmp_path, epochs=1, loader=TinyLoader(4), log_iter=2, extra=(ProgressBar(),))
    logger.info("after")
    kept = (tmp_path / "train.log").read_text()
    assert kept.index("before the folder is known") < kept.index("Epoch: [0] [2/4]") < kept.index("Saved")
    assert "after" not in kept.splitlines()[-1]
    assert len(re.findall(r"^\[\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\] INFO: Epoch: ", kept, re.M)) == 2
    assert ("Epoch: [0]" in console.getvalue()) != terminal
    assert "Saved" in console.getvalue()
    bar = r"Epoch 0 of 1: step 4/4 \|.*\| loss \d+\.\d{4}  \d+\.\d\d images/s  0:00:00 left  \d+\.\d GiB"
    assert bool(re.search(bar, errors.getvalue())) == terminal
    assert terminal or not errors.getvalue()


def test_without_a_log_file_no_line_is_lost(monkeypatch: pytest.MonkeyPatch, console: io.StringIO) -> None:
    on_terminal(monkeypatch, True)
    log_detail("Epoch: 100 %")
    assert console.getvalue() == "Epoch: 100 %\n"


def test_a_resumed_run_appends(tmp_path: Path, console: io.StringIO) -> None:
    for text in ("first", "second"):
        with recorded() as log:
            log.open(tmp_path / "train.log")
            logger.info(text)
    assert [line[-6:].strip() for line in (tmp_path / "train.log").read_text().splitlines()] == ["first", "second"]


def record(labels: list[int], crowd: int = 0) -> Record:
    n = len(labels)
    return Record(0, "", "", 9, 9, np.zeros((n, 4), np.float32), np.array(labels, int), crowd=np.arange(n) < crowd)


def test_objects_are_counted_by_class() -> None:
    lines = objects_by_class(
        "Train", [record([0, 0, 2]), record([2]), record([]), record([0, 2], crowd=1)], ["pit", "dent", "scratch"]
    )
    assert lines == [
        "Train: 5 objects in 3 of 4 images",
        "  scratch        3 in 3 images",
        "  pit            2 in 1 image",
        "  without any object: dent",
    ]
    many = objects_by_class("Train", [record(list(range(20)) + [3])], [f"c{i}" for i in range(20)])
    assert len(many) == 14
    assert many[1] == "  c3         2 in 1 image"
    assert many[-1] == "  and 8 classes more; the rarest is c19 with 1"
    assert objects_by_class("Train", [record([])], ["pit"]) == ["Train: 0 objects in 0 of 1 image", "  without any object: pit"]


def test_how_the_machine_is_used_is_said() -> None:
    assert computing("2", 1, False) == "2 threads, batches prepared by 1 process beside it, float32"
    assert computing("2,1", 0, True) == "OMP_NUM_THREADS: 2,1, batches prepared in between, mixed precision"


def test_the_time_is_estimated_once_after_the_first_steps(tmp_path: Path, console: io.StringIO) -> None:
    run_tiny(tmp_path, epochs=3, loader=TinyLoader(7), extra=(Estimate(),), with_eval=False)
    found = re.findall(r"[\d.]+ s a step: 0:00:00 for the 10 steps that are left, until about \d\d:\d\d; ", console.getvalue())
    assert len(found) == 1
    console.truncate(0)
    run_tiny(tmp_path / "short", epochs=1, loader=TinyLoader(7), extra=(Estimate(),), with_eval=False)
    assert "a step" not in console.getvalue()


def test_evaluations_end_in_a_table_also_of_a_resumed_run(tmp_path: Path, console: io.StringIO) -> None:
    metrics = tmp_path / "metrics.jsonl"
    run_tiny(tmp_path, epochs=2, extra=(EvaluationTable(metrics),))
    console.truncate(0)
    run_tiny(tmp_path, epochs=4, resume="auto", allow=("config",), extra=(EvaluationTable(metrics),))
    table = console.getvalue().split("Evaluations:\n")[1].splitlines()
    assert table[0].split("  ")[0] == "epoch"
    assert re.sub(" {2,}", "|", table[0]).split("|") == ["epoch", "box AP", "box AP50", "mask AP", "mask AP50"]
    lines = [json.loads(line) for line in metrics.read_text().splitlines()]
    masks = [line["segm"][0] for line in lines if line["kind"] == "eval"]
    rows = [line.split() for line in table[1:5]]
    assert [(int(row[0]), row[3]) for row in rows] == [(epoch, f"{value:.4f}") for epoch, value in enumerate(masks)]
    assert [row[0] for row in rows if row[-1] == "best"] == [str(int(np.argmax(masks)))]


def test_of_many_evaluations_the_best_and_the_last_are_shown() -> None:
    entries = [{"kind": "eval", "epoch": i, "MeanIoU": [0.9 if i == 3 else 0.1, 0.2], "named": {}} for i in range(40)]
    lines = evaluation_table(entries)
    assert lines[0] == "epoch   MeanIoU"
    assert [int(line.split()[0]) for line in lines[1:]] == [3, *range(28, 40)]
    assert lines[1] == "    3    0.9000  best"
    assert evaluation_table([]) == []


@pytest.mark.parametrize(
    ("called", "expected"),
    [
        (["python", "tools/train.py"], "python tools/infer.py -c steel.yml --infer_dir FOLDER -o use_gpu=true weights="),
        (
            ["python3", "/opt/tools/train.py"],
            "python3 /opt/tools/infer.py -c steel.yml --infer_dir FOLDER -o use_gpu=true weights=",
        ),
    ],
)
def test_the_next_command_is_said(called: list[str], expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options = ["epoch=2", "use_gpu=true", "TrainReader.sampler={balance: 0.5}", "LearningRate.base_lr=0.1"]
    words = ["-c", "steel.yml", "--eval", "-o", *options]
    monkeypatch.setattr(sys, "argv", [called[1], *words])
    monkeypatch.setattr(sys, "orig_argv", [*called, *words])
    args = Namespace(eval=True, config="steel.yml", opt=options)
    (tmp_path / "best_model.pdparams").touch()
    assert next_command(args, tmp_path) == f"{expected}{tmp_path}/best_model.pdparams"
    args.eval = False
    assert next_command(args, tmp_path) == (
        f"{called[0]} {called[1].replace('train', 'eval')} -c steel.yml -o use_gpu=true weights={tmp_path}/model_final.pdparams"
    )
    assert page_commands(tmp_path) == [
        f"{called[0]} {called[1].replace('train', tool)} --run {tmp_path}" for tool in ("report", "view")
    ]
