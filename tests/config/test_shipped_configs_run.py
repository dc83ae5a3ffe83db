"""Every shipped model runs two training steps by its own reader, schedule and widths, on tiny pictures and without downloads.

Of those that differ by their schedule after the warm-up only, whose two steps are the same, the first does.

PPDET_EXT_LARGE=1 python -m pytest tests/config/test_shipped_configs_run.py            # ResNet(X)t-101, too
python -m pytest tests/config/test_shipped_configs_run.py -m "not slow"
"""

import math
import os
from pathlib import Path

import numpy as np
import paddle
import pytest
from PIL import Image

from ppdet_ext.config.files import ROOT
from ppdet_ext.config.load import load_config
from ppdet_ext.data.datasets.base import InstanceDataSet
from ppdet_ext.data.loading.build import make_loader
from ppdet_ext.errors import UserError
from ppdet_ext.host import Config
from ppdet_ext.host.build import build_model, build_optimizer
from ppdet_ext.host.start import demand_weights
from ppdet_ext.structures import Record, Rle

PARTS = ("_base_", "postprocess", "submissions")  # folders without models
HEIGHT = WIDTH = 96
FROM_SCRATCH = ["pretrain_weights=null"]
FEWER_REGIONS = ["HTCRPNHead.train_pre_nms=100", "HTCRPNHead.train_proposals=50", "HTCRoIHead.num_samples=32"]
SIZES = {
    "ResizeShortEdge": {"short_edges": [HEIGHT], "long_limit": WIDTH},
    "ResizeFixed": {"height": HEIGHT, "width": WIDTH},
    "CropAroundDefect": {"height": HEIGHT, "width": WIDTH},
}
# One of each kind and the small ones; the others differ from these by depth, groups and schedule.
QUICK = {"htc_r18_small_coco_mini", "htc_r50_fpn_1x_coco", "cascade_mask_rcnn_r50_fpn_1x_coco", "mask_rcnn_r50_fpn_1x_coco"}


def two_steps_of(path: Path) -> str:
    """All of a configuration that its first two steps can depend on, as text."""
    cfg = load_config(path)
    schedules = [
        {key: value for key, value in schedule.items() if not (key == "milestones" and min(value) > 1)}
        for schedule in cfg.resolved["LearningRate"]["schedulers"]
    ]
    others = {"epoch": None, "weights": None, "LearningRate": {**cfg.resolved["LearningRate"], "schedulers": schedules}}
    return str(sorted({**cfg.resolved, **others}.items()))


def models() -> list:
    """Every configuration with an architecture, but for those whose two steps are another's; the others are parts."""
    paths = [path for path in sorted((ROOT / "configs").glob("*/*.yml")) if path.parent.name not in PARTS]
    first: dict[str, Path] = {}
    for path in paths:
        first.setdefault(two_steps_of(path), path)
    return [pytest.param(path, id=path.stem, marks=marks(path.stem)) for path in first.values()]


def marks(name: str) -> list[pytest.MarkDecorator]:
    """Slow, but for the quick ones; of 101 layers only where the environment asks for large models (CI does)."""
    if name in QUICK or "sample" in name:
        return []
    large = "101" in name and not os.environ.get("PPDET_EXT_LARGE")
    return [pytest.mark.slow, *([pytest.mark.skip("set PPDET_EXT_LARGE=1 for models of 101 layers")] if large else [])]


class TinyPictures(InstanceDataSet):
    """Pictures of noise with two objects each, and label maps."""

    def __init__(self, folder: Path, count: int, classes: int):
        super().__init__()
        self.folder, self.count = folder, count
        self.category_ids, self.class_names = list(range(classes)), [f"class {k}" for k in range(classes)]

    def _read(self) -> list[Record]:
        return [self._record(k) for k in range(self.count)]

    def _record(self, number: int) -> Record:
        rng = np.random.default_rng(number)
        name, labels = f"{number}.png", self.folder / f"{number}_map.png"
        Image.fromarray(rng.integers(0, 256, (HEIGHT, WIDTH, 3)).astype(np.uint8)).save(self.folder / name)
        bitmaps = np.zeros((2, HEIGHT, WIDTH), np.uint8)
        bitmaps[0, 8:40, 10:50], bitmaps[1, 30:90, 60:90] = 1, 1
        Image.fromarray(bitmaps[0] + 2 * bitmaps[1]).save(labels)
        return Record(
            im_id=number,
            file=str(self.folder / name),
            name=name,
            height=HEIGHT,
            width=WIDTH,
            boxes=np.array([[10, 8, 50, 40], [60, 30, 90, 90]], np.float32),
            labels=rng.integers(0, self.num_classes, 2),
            masks=[Rle.from_bitmap(b) for b in bitmaps],
            crowd=np.zeros(2, bool),
            semantic_file=str(labels),
        )


def cure(path: Path) -> list[str]:
    """What must be set to train without weights, in the words of the error that says so; nothing where nothing is frozen."""
    try:
        demand_weights(load_config(path, FROM_SCRATCH))
    except UserError as error:
        return str(error).rpartition("-o ")[2].split()
    return []


def tiny(path: Path) -> Config:
    """The configuration with small pictures, one a step, and without weights; of ours also with few regions."""
    own = "HTCRoIHead" in load_config(path).resolved
    cfg = load_config(path, [*FROM_SCRATCH, *cure(path), *(FEWER_REGIONS if own else [])])
    transforms = [
        {name: {**(arguments or {}), **SIZES.get(name, {})}}
        for entry in cfg.TrainReader["sample_transforms"]
        for name, arguments in entry.items()
    ]
    # Of one picture DeepLab's pooling leaves a value a channel, which batch norm cannot train on.
    batch = 2 if "DeepLab" in str(cfg[cfg.architecture].get("decoder")) else 1
    reader = {"sample_transforms": transforms, "batch_size": batch}
    # A share of pseudo-labelled images is of a mix, which the pictures here are not.
    reader |= {"sampler": None} if "pseudo_ratio" in (cfg.TrainReader.get("sampler") or {}) else {}
    return cfg.replaced(worker_num=0, TrainReader=reader)


def chance(cfg: Config) -> float:
    """The loss of a model that knows nothing: every probability the same, boxes right."""
    head = cfg.HTCRoIHead
    stages = sum(head.get("stage_loss_weights", (1, 0.5, 0.25)))
    loss = math.log(2) + stages * (math.log(cfg.num_classes + 1) + math.log(2))
    if head.get("semantic_head"):
        loss += 0.2 * math.log(cfg.FusedSemanticHead.get("num_semantic_classes") or cfg.num_classes + 1)
    return loss


def test_what_the_error_says_cures_a_model_with_frozen_layers() -> None:
    frozen = ROOT / "configs" / "htc" / "htc_r50_fpn_1x_coco.yml"
    assert cure(frozen) == ["HTCResNet.freeze_at=-1", "HTCResNet.norm_eval=false"]
    demand_weights(load_config(frozen, FROM_SCRATCH + cure(frozen)))
    assert cure(ROOT / "configs" / "htc" / "steel_sample.yml") == []


@pytest.mark.parametrize("path", models())
def test_two_steps(path: Path, tmp_path: Path) -> None:
    cfg = tiny(path)
    loader = make_loader(cfg, TinyPictures(tmp_path, 2 * cfg.TrainReader["batch_size"], cfg.num_classes), "train")
    paddle.seed(0)
    model = build_model(cfg)
    model.train()
    optimizer = build_optimizer(cfg, model, 10_000)[1]
    losses = []
    for batch in loader:
        loss = model(batch)["loss"]
        loss.backward()
        optimizer.step()
        optimizer.clear_grad()
        losses.append(float(loss))
    assert len(losses) == 2
    assert np.isfinite(losses).all()
    if cfg.architecture == "HybridTaskCascade":
        # Random features make logits that are off chance by some factor; norms frozen on no statistics by a thousand.
        assert chance(cfg) / 2 < losses[0] < 10 * chance(cfg)
    else:
        assert 0.1 < losses[0] < 100
