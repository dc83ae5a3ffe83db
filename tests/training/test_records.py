"""What a training leaves behind and shows: log line, bar, metrics file, VisualDL's curves and pictures, names of files."""

import io
import json
import logging
import re
import sys
import types
from pathlib import Path

import numpy as np
import paddle
import pytest

from ppdet_ext.checkpoint import Position
from ppdet_ext.errors import UserError
from ppdet_ext.training.hooks import AverageWeights, LogLine, ProgressBar, VisualDL
from ppdet_ext.training.hooks.log_line import grouped
from tests.support.engine_fakes import TinyLoader, make_trainer, run_tiny


def test_log_line_is_ppdets(tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch) -> None:
    monkeypatch.setattr(logging.getLogger("ppdet_ext"), "propagate", True)
    caplog.set_level(logging.INFO, logger="ppdet_ext")
    run_tiny(tmp_path, epochs=1, loader=TinyLoader(11), log_iter=5)
    lines = [record.getMessage() for record in caplog.records if record.getMessage().startswith("Epoch:")]
    assert len(lines) == 3
    pattern = (
        r"Epoch: \[0\] \[ 5/11\] learning_rate: 0\.050000 loss: \d+\.\d{4} \(fit \d+\.\d{3} size \d+\.\d{3}\) "
        r"eta: 0:00:\d\d batch_cost: \d+\.\d{3} data_cost: \d+\.\d{3} ips: \d+\.\d{2} images/s"
    )
    assert re.fullmatch(pattern, lines[1]), lines[1]
    assert lines[2].startswith("Epoch: [0] [10/11] learning_rate: 0.010000")


def test_log_line_shows_the_median_of_the_window(tmp_path: Path) -> None:
    with paddle.utils.unique_name.guard():
        trainer = make_trainer(tmp_path)
    hook = LogLine(3)
    for value in (100.0, 1.0, 3.0, 2.0):
        trainer.state.losses, trainer.state.batch_cost, trainer.state.data_cost = {"loss": value}, 0.5, 0.1
        hook.after_step(trainer.state)
    assert "loss: 2.0000" in hook.line(trainer.state)
    assert "batch_cost: 0.500 data_cost: 0.100 ips: 10.00 images/s" in hook.line(trainer.state)


HTC_LOSSES = {
    "loss_rpn_cls": 0.5,
    "loss_rpn_reg": 0.25,
    "loss_semantic": 2.0,
    **{f"loss_{kind}_stage{stage}": 10.0 for kind in ("bbox_cls", "bbox_reg", "mask") for stage in range(3)},
    "loss": 92.75,
}


def test_log_line_shows_the_total_and_the_parts_of_the_model(tmp_path: Path) -> None:
    assert grouped(HTC_LOSSES) == {"loss": 92.75, "rpn": 0.75, "semantic": 2.0, "bbox": 60.0, "mask": 30.0}
    ppyoloe = {"loss_cls": 1.0, "loss_iou": 2.0, "loss_dfl": 3.0, "loss_l1": 4.0}
    assert grouped(ppyoloe) == {"cls": 1.0, "iou": 2.0, "dfl": 3.0, "l1": 4.0}
    listed = {"loss_bce": 1.0, "loss_batch_dice": 2.0, "loss_batch_jaccard": 3.0, "loss_bce2": 4.0, "loss_presence": 5.0}
    assert grouped(listed) == {name.removeprefix("loss_"): value for name, value in listed.items()}
    with paddle.utils.unique_name.guard():
        state = make_trainer(tmp_path, epochs=120).state
    state.epoch, state.step, state.steps_per_epoch = 100, 12345, 99999
    state.losses, state.batch_cost, state.learning_rate, state.batch_size = HTC_LOSSES, 1.0, 0.0123456, 1024
    hook = LogLine(20)
    hook.after_step(state)
    assert len(hook.line(state)) <= 200
    assert "loss: 92.7500 (rpn 0.750 semantic 2.000 bbox 60.000 mask 30.000) eta: 23 days" in hook.line(state)


def test_a_bar_is_shown_on_a_terminal_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "84")
    for terminal in (True, False):
        shown = io.StringIO()
        monkeypatch.setattr(shown, "isatty", lambda terminal=terminal: terminal)
        monkeypatch.setattr(sys, "stderr", shown)
        run_tiny(tmp_path / str(terminal), epochs=2, loader=TinyLoader(4), extra=(ProgressBar(),))
        words = ("Epoch 0 of 2: step ", "Epoch 1 of 2: step 4/4 |", " images/s ", " left ")
        assert all(text in shown.getvalue() for text in words) == terminal
        assert terminal or not shown.getvalue()


def test_numbers_of_an_evaluation_have_names(tmp_path: Path) -> None:
    run_tiny(tmp_path, epochs=1)
    line = json.loads((tmp_path / "metrics.jsonl").read_text().splitlines()[-1])
    assert line["named"] == {"segm": {"AP": line["segm"][0]}}
    assert line["bbox"] == [0.5] + [0.0] * 11


class Curves:
    """Stands in for VisualDL's LogWriter: leaves a file."""

    def __init__(self, folder: str) -> None:
        Path(folder).mkdir(exist_ok=True)
        Path(folder, "vdlrecords.1.log").touch()

    def add_scalar(self, *arguments: object) -> None: ...

    def close(self) -> None: ...


def test_curves_of_an_earlier_run_are_moved_aside_with_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "visualdl", types.SimpleNamespace(LogWriter=Curves))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: True)
    for _ in range(2):
        run_tiny(tmp_path, epochs=1, extra=(VisualDL(tmp_path / "vdl", 2),))
    assert (tmp_path / "earlier_1" / "vdl" / "vdlrecords.1.log").is_file()
    assert (tmp_path / "vdl" / "vdlrecords.1.log").is_file()


def test_files_have_ppdets_names_and_best_follows_mask_ap(tmp_path: Path) -> None:
    run_tiny(tmp_path, epochs=5, snapshot_epoch=2)
    assert {path.name for path in tmp_path.glob("*.pdparams")} == {"model_final.pdparams", "best_model.pdparams"}
    assert {path.name for path in (tmp_path / "checkpoints").iterdir()} == {"epoch_1", "epoch_3", "epoch_4"}
    scores = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    by_epoch = {line["epoch"]: line["segm"][0] for line in scores if line["kind"] == "eval"}
    assert set(by_epoch) == {1, 3, 4}
    state = json.loads((tmp_path / "checkpoints" / "epoch_4" / "state.json").read_text())["trainer"]["SaveCheckpoints"]
    best = max(by_epoch, key=by_epoch.get)
    assert state == {"best": by_epoch[best], "best_metric": "mask AP", "best_checkpoint": f"epoch_{best}"}
    for name, epoch in (("best_model", best), ("model_final", 4)):
        own = tmp_path / "checkpoints" / f"epoch_{epoch}" / "model.pdparams"
        assert (tmp_path / f"{name}.pdparams").read_bytes() == own.read_bytes()


def test_metrics_file_holds_means_and_drops_damaged_lines(tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").write_text('{"kind": "train", "epoch": 0, "note": "old"}\n{"kind": "tr')
    with paddle.utils.unique_name.guard():
        trainer = make_trainer(tmp_path)
        trainer.state.start = Position(1, 0)
        hook = next(hook for hook in trainer.hooks if type(hook).__name__ == "MetricsFile")
        hook.before_train(trainer.state)
    for step, value in enumerate((1.0, 2.0, 6.0)):
        trainer.state.step, trainer.state.losses = step, {"loss": value}
        hook.after_step(trainer.state)
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert lines[0]["note"] == "old"
    assert [line["losses"]["loss"] for line in lines[1:]] == [1.0, 4.0]


def test_visualdl_gets_ppdets_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written = []

    class LogWriter:
        def __init__(self, folder: str) -> None:
            self.folder = folder

        def add_scalar(self, name: str, value: float, step: int) -> None:
            written.append((name, step))

        def close(self) -> None:
            written.append(("closed", 0))

    monkeypatch.setitem(sys.modules, "visualdl", types.SimpleNamespace(LogWriter=LogWriter))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: True)
    run_tiny(tmp_path, epochs=2, extra=(VisualDL(tmp_path / "vdl", 2),))
    names = {name for name, _ in written}
    assert names == {"loss_fit", "loss_size", "loss", "learning_rate", "bbox-mAP", "mask-mAP", "closed"}
    assert [step for name, step in written if name == "loss"] == [0, 2, 3, 5]


def test_visualdl_gets_pictures_of_the_weights_that_are_evaluated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written = []

    class LogWriter(Curves):
        def add_image(self, name: str, picture: np.ndarray, step: int) -> None:
            written.append((name, float(picture), step))

    def draw(model: paddle.nn.Layer) -> dict[str, np.ndarray]:
        return {"a.jpg": model.last.weight.numpy().sum()}

    monkeypatch.setitem(sys.modules, "visualdl", types.SimpleNamespace(LogWriter=LogWriter))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: True)
    run_tiny(tmp_path, epochs=3, snapshot_epoch=2, extra=(AverageWeights(0.9), VisualDL(tmp_path / "vdl", 2, draw)))
    assert [(name, step) for name, _, step in written] == [("a.jpg", 1), ("a.jpg", 2)]
    saved = paddle.load(str(tmp_path / "model_final.pdparams"))
    assert written[-1][1] == pytest.approx(float(saved["last.weight"].numpy().sum()), rel=1e-6)


def test_visualdl_missing_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UserError, match="pip install visualdl"):
        VisualDL(tmp_path, 1)
