"""The configurations that come with the project: they build, and have the reference's settings."""

import contextlib
import re
from pathlib import Path

import numpy as np
import paddle
import pytest

from ppdet_ext.config.files import ROOT
from ppdet_ext.config.load import load_config
from ppdet_ext.host.build import build_model

# The other folders hold parts of configurations.
SEMANTIC = ("unet", "fpn", "pspnet", "linknet", "deeplab", "classifier")
MODELS = ("cascade_mask_rcnn", "htc", "mask_rcnn", "ppdet", *SEMANTIC)
SHIPPED = sorted(path for path in (ROOT / "configs").glob("*/*.yml") if path.parent.name in MODELS)
COCO = [path for path in SHIPPED if path.stem.endswith("_coco")]
EPOCHS = {"1x": (12, [8, 11]), "20e": (20, [16, 19]), "2x": (24, [16, 22])}
# Tensors (without num_batches_tracked) and millions of values of mmdetection's models of the same name.
SIZES = {
    "htc_without_semantic_r50": (351, 77.509),
    "htc_r50": (373, 80.311),
    "htc_r101": (628, 99.356),
    "htc_x101_32x4d": (628, 99.017),
    "htc_x101_64x4d": (628, 138.359),
    "htc_x101_64x4d_fpn_dconv_c3-c5_mstrain_400_1400": (688, 143.502),
    "cascade_mask_rcnn_r50": (347, 77.378),
    "cascade_mask_rcnn_r101": (602, 96.422),
    "cascade_mask_rcnn_x101_32x4d": (602, 96.083),
    "cascade_mask_rcnn_x101_64x4d": (602, 135.426),
    "mask_rcnn_r50": (307, 44.449),
    "mask_rcnn_r101": (562, 63.494),
    "mask_rcnn_x101_32x4d": (562, 63.155),
    "mask_rcnn_x101_64x4d": (562, 102.497),
}


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_shipped_configuration_loads_and_builds(path: Path) -> None:
    cfg = load_config(path)
    assert cfg.filename == path.stem
    assert cfg.weights == f"output/{path.stem}/model_final"
    # The structure alone, nothing is drawn; but PP-YOLOE computes with its weights while it is built.
    with contextlib.nullcontext() if "ppyoloe" in path.stem else paddle.LazyGuard():
        model = build_model(cfg)
    if path not in COCO:
        return
    tensors, millions = SIZES[path.stem.rsplit("_", 2)[0].removesuffix("_fpn")]
    state = model.state_dict()
    assert len(state) == tensors
    assert sum(int(np.prod(v.shape)) for v in state.values()) / 1e6 == pytest.approx(millions, abs=5e-4)
    frozen = [k for k, p in model.named_parameters() if p.stop_gradient and not k.endswith(("_mean", "_variance"))]
    assert len(frozen) == 33


@pytest.mark.parametrize("path", COCO, ids=lambda path: path.stem)
def test_coco_configuration_starts_from_its_backbones_imagenet_weights(path: Path) -> None:
    """With layers frozen it could not do without; the name's digits are the file's checksum."""
    kind, rest = re.search(r"_(r|x)(\d+(?:_\d+x4d)?)_", path.stem).groups()
    backbone = {"r": "resnet", "x": "resnext"}[kind] + rest
    assert re.search(rf"/{backbone}-[0-9a-f]{{8}}\.pth$", load_config(path).pretrain_weights)


@pytest.mark.parametrize("path", COCO, ids=lambda path: path.stem)
def test_coco_configuration_has_the_references_schedule(path: Path) -> None:
    cfg = load_config(path).resolved
    epochs, milestones = EPOCHS[path.stem.split("_")[-2]]
    decay, warm_up = cfg["LearningRate"]["schedulers"]
    assert (cfg["epoch"], cfg["LearningRate"]["base_lr"]) == (epochs, 0.02)
    assert dict(decay) == {"gamma": 0.1, "milestones": milestones}
    assert dict(warm_up) == {"start_factor": 0.001, "steps": 500}
    assert cfg["OptimizerBuilder"] == {
        "optimizer": {"type": "Momentum", "momentum": 0.9},
        "regularizer": {"type": "L2", "factor": 0.0001},
    }
    htc_x101 = path.stem.startswith("htc_x101")
    assert cfg["TrainReader"]["batch_size"] == (1 if htc_x101 else 2)
    names = [next(iter(item)) for item in cfg["TrainReader"]["sample_transforms"]]
    semantic = path.parent.name == "htc" and "without_semantic" not in path.stem
    assert names == ["ReadImage", *["SemanticFromMap"] * semantic, "ResizeShortEdge", "FlipImage", "NormalizeToCHW"]
    assert bool(cfg["TrainDataset"].get("semantic_dir")) == semantic
    assert (cfg["HTCRoIHead"]["semantic_head"] is not None) == semantic
    if semantic:
        assert cfg["FusedSemanticHead"]["num_semantic_classes"] == 183
    whole = {"short_edges": [800], "long_limit": 1333}
    drawn = {"short_edges": [400, 1400], "long_limit": 1600, "mode": "range"}
    resize = cfg["TrainReader"]["sample_transforms"][1 + semantic]["ResizeShortEdge"]
    assert resize == (drawn if "mstrain" in path.stem else whole)
    assert cfg["EvalReader"]["sample_transforms"][1]["ResizeShortEdge"] == whole


def test_leaves_are_short_and_say_how_to_run_them() -> None:
    for path in SHIPPED:
        lines = path.read_text().splitlines()
        assert len(lines) < 30, path
        header = [line for line in lines if line.startswith("#")]
        assert header[0] == lines[0], path
        # What is trained on windows around one object is not evaluated by itself.
        flag = "" if path.stem.startswith("refine") else " --eval"
        assert any(f"tools/train.py -c configs/{path.parent.name}/{path.name}{flag}" in line for line in header), path


def test_segmentation_of_real_sheets_says_that_its_figures_are_others() -> None:
    for path in SHIPPED:
        if path.parent.name in SEMANTIC and "sample" not in path.stem:
            header = " ".join(line[2:] for line in path.read_text().splitlines() if line.startswith("#"))
            assert "Not reproduced here: there is neither the data nor a GPU." in header, path


@pytest.mark.parametrize("name", ["steel_31st_place", "steel_best_known", "steel_sample_maps", "steel_sample_htc_unet"])
def test_members_of_shipped_ensembles_are_shipped(name: str) -> None:
    file = ROOT / "configs" / "postprocess" / f"{name}.yml"
    (first,) = re.findall(r"(?:tune|submit)\.py -c (\S+)", file.read_text())
    cfg = load_config(ROOT / first, over=file, training=False)
    members = [cfg["Ensemble"], cfg.get("Classifier") or []]
    for entry in [one for part in members for one in (part if isinstance(part, list) else [part])]:
        own = load_config(ROOT / entry["config"], training=False) if isinstance(entry, dict) else cfg
        assert own.num_classes == cfg.num_classes
        assert own.filename in re.split(r"_kfold|/", entry["weights"] if isinstance(entry, dict) else entry)


def test_leaves_say_what_the_reference_publishes_and_where_it_ran() -> None:
    for path in COCO:
        header = [line for line in path.read_text().splitlines() if line.startswith("#")]
        assert any(line.startswith("# Hardware: ") for line in header), path
        assert any("(published, not measured here)" in line or "publishes no figure" in line for line in header), path


def test_semantic_target_of_coco_may_come_from_the_masks() -> None:
    overrides = ["TrainDataset.semantic_dir=null", "TrainReader.sample_transforms.1={SemanticFromMasks: {}}"]
    cfg = load_config(ROOT / "configs" / "htc" / "htc_r50_fpn_1x_coco.yml", overrides)
    names = [next(iter(item)) for item in cfg.TrainReader["sample_transforms"]]
    assert names == ["ReadImage", "SemanticFromMasks", "ResizeShortEdge", "FlipImage", "NormalizeToCHW"]
    # Both are written in the reader's header.
    header = (ROOT / "configs" / "_base_" / "readers" / "coco_instance_stuff.yml").read_text()
    assert all(text in header for text in overrides)
