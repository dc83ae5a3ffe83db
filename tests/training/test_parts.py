"""The smaller parts of the engine: evaluation, progress, building, ranks, the run's folder."""

import io
import json
import logging
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import paddle
import pytest

from ppdet_ext import distributed
from ppdet_ext.checkpoint.run_folder import describe_run, environment, run_folder
from ppdet_ext.config.load import load_config
from ppdet_ext.data.loading.build import load_dataset, make_loader
from ppdet_ext.distributed.progress import track
from ppdet_ext.errors import DivergenceError, UserError
from ppdet_ext.evaluation.run import run_evaluation
from ppdet_ext.host.build import build_model, build_optimizer
from ppdet_ext.inference.classes import class_list
from ppdet_ext.inference.predict import predict
from ppdet_ext.structures import Detections, Record, Rle

CONFIG = """
architecture: HybridTaskCascade
num_classes: 4
TrainDataset: !SteelDataSet {dataset_dir: nowhere}
LearningRate:
  base_lr: 0.1
  schedulers:
    - !PiecewiseDecay {gamma: 0.1, milestones: [2, 4]}
    - !LinearWarmup {start_factor: 0.5, steps: 10}
"""


@pytest.fixture
def cfg(tmp_path: Path):
    (tmp_path / "small.yml").write_text(CONFIG)
    return load_config(tmp_path / "small.yml", [f"save_dir={tmp_path}/out"])


@pytest.fixture
def logged(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> pytest.LogCaptureFixture:
    monkeypatch.setattr(logging.getLogger("ppdet_ext"), "propagate", True)
    caplog.set_level(logging.INFO, logger="ppdet_ext")
    return caplog


def square(top: int, left: int, side: int = 20) -> Rle:
    bitmap = np.zeros((64, 96), np.uint8)
    bitmap[top : top + side, left : left + side] = 1
    return Rle.from_bitmap(bitmap)


def records(count: int = 3) -> list[Record]:
    """Images with one square each, of class image % 2."""
    masks = [square(5 * i, 10 * i) for i in range(count)]
    return [Record(10 + i, f"{i}.jpg", f"{i}.jpg", 64, 96, np.array([mask.box], np.float32), np.array([i % 2]), [mask],
                   np.zeros(1, bool)) for i, mask in enumerate(masks)]  # fmt: skip


class Oracle(paddle.nn.Layer):
    """Predicts what the records hold, one column to the right for images in `wrong`."""

    def __init__(self, known: list[Record], wrong: tuple[int, ...] = (), with_masks: bool = True) -> None:
        super().__init__()
        self.known = {record.im_id: record for record in known}
        self.wrong, self.with_masks = wrong, with_masks
        self.modes: list[tuple[bool, bool]] = []

    def forward(self, batch: dict) -> list[Detections]:
        self.modes.append((self.training, paddle.is_grad_enabled()))
        found = []
        for im_id in batch["im_id"].tolist():
            record = self.known[im_id]
            shift = 30.0 if im_id in self.wrong else 0.0
            masks = [square(5 * (im_id - 10), 10 * (im_id - 10) + int(shift))] if self.with_masks else None
            boxes = record.boxes + np.array([shift, 0, shift, 0], np.float32)
            found.append(Detections(64, 96, boxes, np.array([0.9], np.float32), record.labels, masks))
        return found


def batches(known: list[Record], size: int = 2) -> list[dict]:
    parts = [known[i : i + size] for i in range(0, len(known), size)]
    return [{"im_id": paddle.to_tensor([r.im_id for r in part]), "names": [r.name for r in part]} for part in parts]


def as_dataset(known: list[Record]) -> SimpleNamespace:
    return SimpleNamespace(records=known, class_names=["a", "b"], category_ids=[1, 2], annotated=True)


def test_perfect_predictions_score_one_and_the_mode_is_put_back() -> None:
    known = records()
    model = Oracle(known)
    model.train()
    outcome = run_evaluation(model, as_dataset(known), batches(known))
    assert outcome.numbers["bbox"][:3] == outcome.numbers["segm"][:3] == [1.0, 1.0, 1.0]
    assert outcome.images == 3
    assert model.modes == [(False, False)] * 2
    assert model.training
    assert "Average Precision" in outcome.metrics[0].summary


def test_a_wrong_prediction_costs() -> None:
    known = records()
    outcome = run_evaluation(Oracle(known, wrong=(11,)), as_dataset(known), batches(known))
    assert outcome.numbers["segm"][0] == pytest.approx(0.5)


def test_model_without_masks_is_evaluated_on_boxes() -> None:
    known = records()
    outcome = run_evaluation(Oracle(known, with_masks=False), as_dataset(known), batches(known))
    assert list(outcome.numbers) == ["bbox"]


def test_predictions_only(tmp_path: Path) -> None:
    known = records()
    outcome = run_evaluation(Oracle(known), as_dataset(known), batches(known), with_metrics=False)
    assert outcome.numbers == {}
    names = [path.name for path in outcome.write_predictions(tmp_path / "new")]
    assert names == ["bbox.json", "mask.json"]
    assert [result["image_id"] for result in json.loads((tmp_path / "new" / "mask.json").read_text())] == [10, 11, 12]
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="Cannot write predictions"):
        outcome.write_predictions(tmp_path / "file")


def test_divergence_in_evaluation_names_images_and_puts_the_mode_back() -> None:
    known = records()
    model = Oracle(known)
    model.train()

    def diverge(batch: dict) -> None:
        raise DivergenceError("NaN boxes")

    model.forward = diverge
    with pytest.raises(DivergenceError, match=r"NaN boxes \(images: 0\.jpg, 1\.jpg\)"):
        list(predict(model, batches(known), 3, "Eval"))
    assert model.training


def test_progress_is_a_few_lines_without_a_terminal(logged, monkeypatch) -> None:
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    assert list(track(range(200), 400, "Eval", lambda item: 2)) == list(range(200))
    lines = [record.getMessage() for record in logged.records]
    assert len(lines) == 9
    assert lines[0].startswith("Eval: [40/400] eta: 0:00:0")
    assert lines[0].endswith(" images/s")


def test_progress_is_a_bar_on_a_terminal(logged, monkeypatch) -> None:
    terminal = io.StringIO()
    terminal.isatty = lambda: True
    monkeypatch.setattr(sys, "stderr", terminal)
    assert list(track("abc", 3, "Infer")) == ["a", "b", "c"]
    assert "Infer" in terminal.getvalue()
    assert not logged.records


def test_schedule_counts_epochs_in_steps_of_the_loader(cfg) -> None:
    schedule, optimizer = build_optimizer(cfg, paddle.nn.Linear(1, 1), 7)
    seen = []
    for _ in range(30):
        seen.append(optimizer.get_lr())
        schedule.step()
    assert seen[0] == pytest.approx(0.05)
    assert seen[10:14] == pytest.approx([0.1] * 4)
    assert seen[14:28] == pytest.approx([0.01] * 14)
    assert seen[28] == pytest.approx(0.001)


def test_schedule_that_cannot_be_is_refused(cfg, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="with 4 steps per epoch the warm-up does not end before") as caught:
        build_optimizer(cfg, paddle.nn.Linear(1, 1), 4)
    assert str(caught.value).endswith("(epoch 2, step 8). Shorten it: -o LearningRate.schedulers.1.steps=4")
    fitting = load_config(tmp_path / "small.yml", ["LearningRate.schedulers.1.steps=4"])
    assert build_optimizer(fitting, paddle.nn.Linear(1, 1), 4)[0].boundaries == [1, 2, 3, 4, 8, 16]


def test_schedule_without_warm_up_is_an_error_that_names_the_section(cfg, tmp_path: Path) -> None:
    only = "LearningRate.schedulers=[!PiecewiseDecay {milestones: [1]}]"
    with pytest.raises(UserError, match="LearningRate or OptimizerBuilder"):
        build_optimizer(load_config(tmp_path / "small.yml", [only]), paddle.nn.Linear(1, 1), 5)


def test_cosine_decay_after_warm_up_is_accepted(cfg, tmp_path: Path) -> None:
    cosine = "LearningRate.schedulers=[!CosineDecay {max_epochs: 4}, !LinearWarmup {steps: 3, start_factor: 0.1}]"
    schedule, optimizer = build_optimizer(load_config(tmp_path / "small.yml", [cosine]), paddle.nn.Linear(1, 1), 5)
    seen = []
    for _ in range(20):
        seen.append(optimizer.get_lr())
        schedule.step()
    assert seen[3] == pytest.approx(0.1)
    assert seen[4:] == sorted(seen[4:], reverse=True)
    assert seen[-1] < 0.01


def test_parts_that_do_not_go_together_are_a_user_error(cfg, tmp_path: Path) -> None:
    cfg = load_config(tmp_path / "small.yml", ["HybridTaskCascade.backbone=HTCResNet", "HTCResNet.depth=17"])
    with pytest.raises(UserError, match=r"HybridTaskCascade cannot be built from this configuration: .*depth 17"):
        build_model(cfg)


def test_missing_sections_are_named(cfg) -> None:
    with pytest.raises(UserError, match="no EvalDataset"):
        load_dataset(cfg, "EvalDataset")
    with pytest.raises(UserError, match="no EvalDataset"):
        load_dataset(cfg.replaced(EvalDataset=None), "EvalDataset")
    with pytest.raises(UserError, match="no TestReader"):
        make_loader(cfg, cfg.TrainDataset, "test")


def test_class_count_is_checked_once_the_data_set_is_read(cfg) -> None:
    loaded = []
    dataset = SimpleNamespace(load=lambda: loaded.append(1), num_classes=3, class_names=["x", "y", "z"])
    with pytest.raises(UserError, match=r"num_classes is 4, but EvalDataset has 3 classes \(x, y, z\)"):
        load_dataset(cfg.replaced(EvalDataset=dataset), "EvalDataset")
    assert loaded == [1]


def test_class_names_come_from_a_data_set_or_are_numbers(cfg, logged) -> None:
    assert class_list(cfg) == (["defect_1", "defect_2", "defect_3", "defect_4"], [1, 2, 3, 4], False)

    def fail() -> None:
        raise UserError("file.json does not exist\nmore")

    cfg = cfg.replaced(TrainDataset=SimpleNamespace(load=fail, num_classes=0))
    assert class_list(cfg) == (["class 1", "class 2", "class 3", "class 4"], [1, 2, 3, 4], True)
    assert "not to be had from TrainDataset: file.json does not exist" in logged.text


def test_run_folder_holds_configuration_and_environment(cfg, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(sys, "argv", ["tools/train.py", "-c", "small.yml"])
    folder = run_folder(cfg)
    assert folder == tmp_path / "out" / "small"
    describe_run(folder, cfg)
    again = load_config(folder / "config.yml")
    assert again.LearningRate["base_lr"] == 0.1
    written = json.loads((folder / "environment.json").read_text())
    assert written["command"] == ["tools/train.py", "-c", "small.yml"]
    assert written == environment()
    assert all(written["versions"].values())


def test_one_rank_needs_no_other(monkeypatch) -> None:
    monkeypatch.delenv("PADDLE_TRAINERS_NUM", raising=False)
    model = paddle.nn.Linear(1, 1)
    distributed.start()
    distributed.barrier("anything")
    assert distributed.parallel(model, False) is model
    assert distributed.world() == (0, 1)


def test_synchronized_norms_are_not_silently_plain_ones(monkeypatch, caplog) -> None:
    monkeypatch.setattr(logging.getLogger("ppdet_ext"), "propagate", True)
    model = paddle.nn.Sequential(paddle.nn.Conv2D(1, 1, 1), paddle.nn.BatchNorm2D(1))
    assert distributed.synchronize_norms(model, "bn") is model
    assert caplog.text == ""
    assert distributed.synchronize_norms(model, "sync_bn") is model
    assert "sync_bn has an effect on several GPUs only" in caplog.text
    monkeypatch.setattr("ppdet_ext.distributed.group.world", lambda: (0, 2))
    monkeypatch.setattr("paddle.device.get_device", lambda: "gpu:0")
    assert isinstance(distributed.synchronize_norms(model, "sync_bn")[1], paddle.nn.SyncBatchNorm)
