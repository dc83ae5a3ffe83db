"""PaddleDetection's own configurations: what is translated, what is refused and how, and that both readers show the same."""

import logging
from pathlib import Path

import numpy as np
import pytest

from ppdet_ext.config.load import load_config
from ppdet_ext.data.datasets import CocoJsonDataSet, SteelDataSet
from ppdet_ext.data.loading.loader import build_loader
from ppdet_ext.errors import UserError
from ppdet_ext.host.dataset import our_batch
from tests.support.host_runs import ROOT, write_sheets

# configs/datasets/coco_instance.yml, configs/runtime.yml, configs/mask_rcnn/_base_/{optimizer_1x,mask_fpn_reader}.yml of 2.6
STOCK = """
_BASE_: [{root}/configs/_base_/models/ppdet_mask_rcnn_r18_fpn.yml]
use_gpu: false
use_xpu: false
use_mlu: false
log_iter: 20
save_dir: output
snapshot_epoch: 1
print_flops: false
print_params: false
export: {{post_process: true, nms: true, benchmark: false, fuse_conv_bn: false}}
weights: output/mask_rcnn/model_final
metric: COCO
num_classes: 80
TrainDataset:
  !COCODataSet
    image_dir: train2017
    anno_path: annotations/instances_train2017.json
    dataset_dir: dataset/coco
    data_fields: ['image', 'gt_bbox', 'gt_class', 'gt_poly', 'is_crowd']
EvalDataset:
  !COCODataSet
    image_dir: val2017
    anno_path: annotations/instances_val2017.json
    dataset_dir: dataset/coco
TestDataset:
  !ImageFolder
    anno_path: annotations/instances_val2017.json
worker_num: 2
TrainReader:
  sample_transforms:
  - Decode: {{}}
  - RandomResize: {{target_size: [[640, 1333], [672, 1333], [800, 1333]], interp: 2, keep_ratio: True}}
  - RandomFlip: {{prob: 0.5}}
  - NormalizeImage: {{is_scale: true, mean: [0.485,0.456,0.406], std: [0.229, 0.224,0.225]}}
  - Permute: {{}}
  batch_transforms:
  - PadBatch: {{pad_to_stride: 32}}
  batch_size: 1
  shuffle: true
  drop_last: true
  collate_batch: false
  use_shared_memory: true
EvalReader:
  sample_transforms:
  - Decode: {{}}
  - Resize: {{interp: 2, target_size: [800, 1333], keep_ratio: True}}
  - NormalizeImage: {{is_scale: true, mean: [0.485,0.456,0.406], std: [0.229, 0.224,0.225]}}
  - Permute: {{}}
  batch_transforms:
  - PadBatch: {{pad_to_stride: 32}}
  batch_size: 1
  drop_empty: false
TestReader:
  inputs_def: {{image_shape: [-1, 3, 640, 640]}}
  sample_transforms:
  - Decode: {{}}
  - Resize: {{target_size: 640, keep_ratio: False}}
  - NormalizeImage: {{mean: [0., 0., 0.], std: [1., 1., 1.], norm_type: none}}
  - Permute: {{}}
  batch_size: 1
epoch: 12
LearningRate:
  base_lr: 0.01
  schedulers:
  - !PiecewiseDecay
    gamma: 0.1
    milestones: [8, 11]
  - !LinearWarmup
    start_factor: 0.001
    steps: 1000
OptimizerBuilder:
  optimizer: {{momentum: 0.9, type: Momentum}}
  regularizer: {{factor: 0.0001, type: L2}}
"""


def stock(folder: Path) -> Path:
    (folder / "stock.yml").write_text(STOCK.format(root=ROOT))
    return folder / "stock.yml"


def test_a_stock_configuration_loads_in_our_words(tmp_path: Path, caplog, monkeypatch) -> None:
    monkeypatch.setattr(logging.getLogger("ppdet_ext"), "propagate", True)
    cfg = load_config(stock(tmp_path))
    assert isinstance(cfg.TrainDataset, CocoJsonDataSet)
    assert (cfg.TrainDataset.allow_empty, cfg.EvalDataset.anno_path) == (False, "annotations/instances_val2017.json")
    assert cfg.get("TestDataset") is None
    assert cfg.TrainReader == {
        "sample_transforms": [
            {"ReadImage": {}},
            {"ResizeShortEdge": {"short_edges": [640, 672, 800], "long_limit": 1333, "interpolation": "cubic"}},
            {"FlipImage": {"horizontal": 0.5, "vertical": 0.0}},
            {"NormalizeToCHW": {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}},
        ],
        "batch_transforms": [{"PadToStride": {"stride": 32}}],
        "batch_size": 1,
        "shuffle": True,
        "drop_last": True,
    }
    names = [next(iter(entry.values())) for entry in cfg.TestReader["sample_transforms"]]
    assert names[1:] == [{"height": 640, "width": 640}, {"mean": [0.0] * 3, "std": [1.0] * 3}]
    for key in (
        "use_xpu",
        "print_flops",
        "export",
        "TrainReader.collate_batch",
        "EvalReader.drop_empty",
        "TestReader.inputs_def",
    ):
        assert key in caplog.text
    assert "keys of ppdet that change nothing here" in caplog.text


def test_the_newer_form_of_data_sets_loads_too(tmp_path: Path) -> None:
    path = stock(tmp_path)
    path.write_text(
        path.read_text().replace("  !COCODataSet\n    image_dir: train2017", "    name: COCODataSet\n    image_dir: train2017")
    )
    assert isinstance(load_config(path).TrainDataset, CocoJsonDataSet)


def test_htc_gets_its_semantic_target_with_ppdets_operators_too() -> None:
    cfg = load_config(ROOT / "configs" / "ppdet" / "htc_r18_small_steel_sample_stock_readers.yml")
    names = [[next(iter(entry)) for entry in cfg[key]["sample_transforms"]] for key in ("TrainReader", "EvalReader")]
    assert names == [
        ["ReadImage", "ResizeFixed", "FlipImage", "SemanticFromMasks", "NormalizeToCHW"],
        ["ReadImage", "ResizeFixed", "NormalizeToCHW"],
    ]


@pytest.mark.parametrize(("override", "words"), [
    ("TrainReader.sample_transforms.1={RandomDistort: {}}", ["RandomDistort is an operator of ppdet"]),
    ("TrainReader.sample_transforms.1={RandomResize: {target_size: [[640, 1333], [800, 1000]]}}", ["long edges, [1000, 1333]"]),
    ("TrainReader.sample_transforms.1.RandomResize.random_interp=true", ["RandomResize", "random_interp: False"]),
    ("TrainReader.sample_transforms.2.RandomFlip.axis=1", ["RandomFlip has no argument axis"]),
    ("TrainReader.batch_transforms.0={BatchRandomResize: {target_size: [320]}}", ["BatchRandomResize is an operator of ppdet"]),
    ("TrainReader.batch_transforms.0={Gt2Solov2Target: {coord_sigma: 0.3}}", ["Gt2Solov2Target", "coord_sigma: 0.2"]),
    ("TrainReader.mosaic_epoch=10", ["TrainReader.mosaic_epoch mixes several images"]),
    ("TrainDataset.sample_num=100", ["TrainDataset.sample_num of ppdet's COCODataSet"]),
    ("TrainDataset=!VOCDataSet {}", ["VOCDataSet is a data set of ppdet"]),
])  # fmt: skip
def test_what_has_no_equal_is_refused_with_what_to_change(tmp_path: Path, override: str, words: list[str]) -> None:
    with pytest.raises(UserError) as caught:
        load_config(stock(tmp_path), [override])
    assert all(word in str(caught.value) for word in words)
    assert "Did you mean 'Dilated" not in str(caught.value)


def test_all_faults_are_told_at_once(tmp_path: Path) -> None:
    overrides = ["TrainReader.sample_transforms.2.RandomFlip.axis=1", "TrainReader.mosaic_epoch=1", "TrainDataset.repeat=2"]
    with pytest.raises(UserError) as caught:
        load_config(stock(tmp_path), overrides)
    assert len(str(caught.value).splitlines()) == 3


def test_what_comes_after_normalizing_is_refused(tmp_path: Path) -> None:
    overrides = ["TrainReader.sample_transforms.2={NormalizeImage: {}}", "TrainReader.sample_transforms.3={RandomFlip: {}}"]
    with pytest.raises(UserError, match="RandomFlip after NormalizeImage; put it before"):
        load_config(stock(tmp_path), overrides)


@pytest.mark.parametrize("resize", [
    "Resize: {target_size: [48, 96], keep_ratio: false, interp: 1}",
    *(f"Resize: {{target_size: [48, 96], keep_ratio: false, interp: {number}}}" for number in (0, 2, 3, 4)),
    "Resize: {target_size: [32, 80], keep_ratio: true}",
])  # fmt: skip
def test_our_reader_shows_what_ppdets_shows(tmp_path: Path, resize: str) -> None:
    from ppdet.data.reader import TrainReader

    write_sheets(tmp_path)
    normalize = "{mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225], is_scale: true}"
    reader = (
        f"sample_transforms: [Decode: {{}}, {resize}, RandomFlip: {{prob: 1.0}}, NormalizeImage: {normalize}, Permute: {{}}]"
    )
    path = stock(tmp_path)
    path.write_text(path.read_text() + f"TestReader:\n  {reader}\n  batch_transforms: [PadBatch: {{pad_to_stride: 32}}]\n")
    text = path.read_text()
    first = text.index("TestReader:")
    path.write_text(text[:first] + text[text.index("epoch: 12") :])
    cfg = load_config(path)
    dataset = SteelDataSet(str(tmp_path / "sheets"), split="train.txt", height=64, width=128).load()
    ours = build_loader(dataset, {**cfg.TestReader, "batch_size": 2}, mode="train")

    import yaml
    from ppdet.core.workspace import global_config

    entries = yaml.safe_load(reader)["sample_transforms"]
    before = global_config.get("TrainDataset")
    global_config["TrainDataset"] = dataset
    try:
        theirs = TrainReader(entries, [{"PadBatch": {"pad_to_stride": 32}}], 2, shuffle=False, collate_batch=False)(dataset, 0)
        shown = {}
        for batch in theirs:
            batch = our_batch(batch)
            shown |= {
                int(i): (batch["image"][k], batch["gt_bbox"][k], batch["gt_mask"][k]) for k, i in enumerate(batch["im_id"])
            }
    finally:
        global_config["TrainDataset"] = before
    for batch in ours:
        for k, im_id in enumerate(batch["im_id"].numpy().tolist()):
            image, boxes, masks = shown[im_id]
            np.testing.assert_allclose(batch["image"][k].numpy(), image.numpy(), atol=1e-4)
            np.testing.assert_allclose(batch["gt_bbox"][k], boxes, atol=0.01)
            if "interp" not in resize or "interp: 1" in resize:
                assert [a.size for a in batch["gt_mask"][k]] == [b.size for b in masks]
                assert all(a.iou(b) > 0.6 for a, b in zip(batch["gt_mask"][k], masks) if a.area > 60)
