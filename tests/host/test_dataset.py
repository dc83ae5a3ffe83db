"""Our data sets and HTC in ppdet's own Trainer: training, evaluation, and what passes between."""

import json
from pathlib import Path

import numpy as np
import paddle
import pytest
from pycocotools.coco import COCO

from ppdet_ext.data.loading.loader import build_loader
from ppdet_ext.errors import UserError
from ppdet_ext.evaluation.run import run_evaluation
from ppdet_ext.host import Config
from ppdet_ext.host.dataset import coco_json, host_outputs, our_batch, roidb_of
from ppdet_ext.host.workspace import workspace
from ppdet_ext.inference.build import Inference
from ppdet_ext.modeling.detection import HybridTaskCascade
from ppdet_ext.structures import Candidates, Detections, Record, Rle
from tests.support.host_runs import ROOT, write_sheets
from tests.support.tiny_run import SMALL_HTC

CONFIG = """
_BASE_: [{root}/configs/_base_/models/htc_r50_fpn.yml]
num_classes: 4
epoch: 1
log_iter: 1
snapshot_epoch: 1
worker_num: 0
use_gpu: false
metric: COCO
weights: {folder}/out/theirs/model_final
save_dir: {folder}/out
output_eval: {folder}/out
TrainDataset: !SteelDataSet {{dataset_dir: {folder}/sheets, split: train.txt, height: 64, width: 128}}
EvalDataset: !SteelDataSet {{dataset_dir: {folder}/sheets, split: val.txt, height: 64, width: 128}}
TestDataset: !SteelDataSet {{dataset_dir: {folder}/sheets, split: val.txt, height: 64, width: 128}}
TrainReader:
  sample_transforms:
    - Decode: {{}}
    - Resize: {{target_size: [64, 96], keep_ratio: false}}
    - RandomFlip: {{prob: 0.5}}
    - NormalizeImage: {{mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225], is_scale: true}}
    - Permute: {{}}
  batch_transforms: [PadBatch: {{pad_to_stride: 32}}]
  batch_size: 2
  collate_batch: false
EvalReader:
  sample_transforms:
    - Decode: {{}}
    - NormalizeImage: {{mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225], is_scale: true}}
    - Permute: {{}}
  batch_transforms: [PadBatch: {{pad_to_stride: 32}}]
  batch_size: 1
  drop_last: false
TestReader:
  sample_transforms: [Decode: {{}}, Permute: {{}}]
LearningRate:
  base_lr: 1.0e-3
  schedulers: [!PiecewiseDecay {{gamma: 0.1, milestones: [8, 11]}}, !LinearWarmup {{start_factor: 0.1, steps: 2}}]
OptimizerBuilder: {{clip_grad_by_norm: 1.0, optimizer: {{type: Momentum, momentum: 0.9}}}}
"""
READER = {"sample_transforms": [{"ReadImage": {}}, {"NormalizeToCHW": {}}], "batch_transforms": [{"PadToStride": {}}]}


@pytest.fixture
def theirs(tmp_path: Path):
    """ppdet's configuration, read by ppdet."""
    from ppdet.core.workspace import load_config

    write_sheets(tmp_path)
    (tmp_path / "theirs.yml").write_text(CONFIG.format(root=ROOT, folder=tmp_path) + SMALL_HTC)
    with workspace(Config({}, {}, "")):
        yield load_config(str(tmp_path / "theirs.yml"))


def test_ppdets_trainer_trains_and_evaluates(theirs, tmp_path: Path) -> None:
    from ppdet.engine import Trainer
    from ppdet.engine.callbacks import Callback

    losses: list[dict[str, float]] = []

    class Losses(Callback):
        def on_step_end(self, status: dict) -> None:
            if status["mode"] == "train":
                losses.append({name: meter.deque[-1] for name, meter in status["training_staus"].meters.items()})

    paddle.seed(0)
    trainer = Trainer(theirs, mode="train")
    trainer.register_callbacks([Losses(trainer)])
    trainer.train(validate=True)
    assert len(losses) == 3
    assert all(np.isfinite(list(step.values())).all() and step["loss_semantic"] > 0 for step in losses)
    assert {"loss", "loss_mask_stage2", "loss_bbox_reg_stage0"} <= set(losses[0])
    assert (tmp_path / "out" / "theirs" / "model_final.pdparams").is_file()
    assert json.loads((tmp_path / "out" / "bbox.json").read_text())
    assert json.loads((tmp_path / "out" / "mask.json").read_text())


def test_ppdets_evaluation_gives_our_numbers(theirs, monkeypatch) -> None:
    from ppdet.engine import Trainer
    from ppdet.metrics import COCOMetric

    numbers: dict = {}
    monkeypatch.setattr(COCOMetric, "log", lambda metric: numbers.update(metric.eval_results))
    trainer = Trainer(theirs, mode="eval")
    records = {record.im_id: record for record in trainer.dataset.records}
    monkeypatch.setattr(HybridTaskCascade, "candidates", lambda self, batch, settings: _near_the_truth(batch, records))
    trainer.evaluate()
    dataset = trainer.dataset
    outcome = run_evaluation(Inference(trainer.model), dataset, build_loader(dataset, READER, mode="eval"))
    assert 0.2 < outcome.numbers["segm"][0] < 1
    np.testing.assert_allclose(numbers["bbox"], outcome.numbers["bbox"], atol=1e-6)
    np.testing.assert_allclose(numbers["mask"], outcome.numbers["segm"], atol=1e-6)


def _near_the_truth(batch: dict, records: dict[int, Record]) -> list[Candidates]:
    """Annotated objects, some moved, some of another class, none in every other image."""
    found = []
    for im_id in np.asarray(batch["im_id"]).reshape(-1).tolist():
        record, rng = records[im_id], np.random.default_rng(im_id)
        n = len(record.labels) if im_id % 2 else 0
        boxes = (record.boxes[:n] + rng.normal(0, 1, (n, 4))).astype(np.float32)
        probs = np.ones((n, 4, 4), np.float32)
        scores = np.sort(rng.random(n).astype(np.float32))[::-1].copy()
        found.append(Candidates(record.height, record.width, boxes, scores, record.labels[:n], probs))
    return found


def test_both_pipelines_show_the_model_the_same(theirs) -> None:
    from ppdet.engine import Trainer

    paddle.seed(0)
    trainer = Trainer(theirs, mode="eval")
    trainer.model.eval()
    ours = build_loader(trainer.dataset, READER, mode="eval")
    for own, other in zip(ours, trainer.loader):
        np.testing.assert_allclose(own["image"].numpy(), other["image"].numpy(), atol=1e-5)
        settings = trainer.model.settings
        (one,), (two,) = (trainer.model.candidates(batch, settings) for batch in (own, our_batch(other)))
        assert (one.height, one.width, len(one)) == (two.height, two.width, len(two))
        np.testing.assert_allclose(one.boxes, two.boxes, atol=1e-2)


def test_what_mixes_images_is_refused(theirs) -> None:
    with pytest.raises(UserError, match=r"TrainReader\.mosaic_epoch"):
        theirs["TrainDataset"].set_kwargs(mosaic_epoch=2, mixup_epoch=-1)


def test_our_transforms_are_refused_in_ppdets_trainer(theirs) -> None:
    from ppdet.data.reader import Compose

    with pytest.raises(UserError, match="ReadImage is a transform of ppdet_ext"):
        theirs["TrainDataset"].set_transform(Compose([{"ReadImage": {}}]))


def _record() -> Record:
    masks = [Rle.from_polygons([[2, 2, 12, 2, 12, 9, 2, 9]], 16, 24), Rle.from_polygons([[1, 1, 5, 1, 5, 5, 1, 5]], 16, 24)]
    boxes = np.array([mask.box for mask in masks], np.float32)
    return Record(7, "a.jpg", "a.jpg", 16, 24, boxes, np.array([1, 0]), masks, np.array([False, True]))


def test_annotations_as_cocos_json_and_as_roidb_hold_the_same() -> None:
    record = _record()
    coco = COCO()
    coco.dataset = json.loads(json.dumps(coco_json([record], ["x", "y"], [10, 30])))
    coco.createIndex()
    one, two = coco.loadAnns(coco.getAnnIds(7))
    assert (one["category_id"], two["category_id"], one["iscrowd"], two["iscrowd"]) == (30, 10, 0, 1)
    assert Rle.from_coco(one["segmentation"]) == record.masks[0]
    roidb = roidb_of(record, with_objects=True)
    assert roidb["gt_class"].tolist() == [[1]]
    assert Rle.from_coco(roidb["gt_poly"][0]) == record.masks[0]
    assert set(roidb_of(record, with_objects=False)) == {"im_file", "im_id", "h", "w"}


def test_a_batch_of_ppdets_reader_becomes_ours() -> None:
    runs = Rle.from_polygons([[2, 2, 12, 2, 12, 9, 2, 9]], 16, 24)
    batch = {
        "image": paddle.zeros([1, 3, 32, 32]),
        "im_shape": paddle.to_tensor([[16.0, 24.0]]),
        "scale_factor": paddle.to_tensor([[0.5, 0.5]]),
        "im_id": paddle.to_tensor([[7]]),
        "curr_iter": 0,
        "epoch_id": 3,
        "is_crowd": [paddle.to_tensor([[0], [1]])],
        "gt_class": [paddle.to_tensor([[1], [2]])],
        "gt_bbox": [paddle.to_tensor([[2.0, 2.0, 12.0, 9.0], [0.0, 0.0, 4.0, 4.0]])],
        "gt_poly": [[[[2, 2, 12, 2, 12, 9, 2, 9]], runs.to_coco()]],
    }
    ours = our_batch(batch)
    assert (ours["epoch"], ours["im_id"].tolist(), ours["origin_shape"].tolist()) == (3, [7], [[32, 48]])
    assert ours["gt_class"][0].tolist() == [1]
    assert ours["gt_mask"] == [[runs]]
    semantic = ours["semantic"].numpy()[0]
    assert set(semantic[:16, :24].ravel().tolist()) == {0, 2}
    assert (semantic[16:] == 255).all()
    assert our_batch(ours) is ours
    with pytest.raises(UserError, match="collate_batch: false"):
        our_batch(batch | {"gt_bbox": paddle.zeros([1, 2, 4])})


def test_detections_become_what_the_metrics_take() -> None:
    mask = Rle.from_polygons([[0, 0, 4, 0, 4, 2, 0, 2]], 6, 8)
    one = Detections(6, 8, np.array([[0, 0, 4, 2]], np.float32), np.array([0.5], np.float32), np.array([3]), [mask])
    outputs = host_outputs([one, Detections.empty(4, 10)])
    assert outputs["bbox"].tolist() == [[3, 0.5, 0, 0, 4, 2], [-1, 0, 0, 0, 1, 1]]
    assert outputs["bbox_num"].tolist() == [1, 1]
    assert outputs["mask"].shape == (2, 6, 10)
    np.testing.assert_array_equal(outputs["mask"][0, :, :8], mask.to_bitmap())
    assert (outputs["mask"][0, :, 8:] == -1).all()
    assert (outputs["mask"][1, 4:] == -1).all()
    assert "mask" not in host_outputs([Detections.empty(4, 10, with_masks=False)])
