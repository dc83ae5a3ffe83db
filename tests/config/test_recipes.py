"""The recipes of iMaterialist (Fashion) and of the steel entry: what they say is what was published."""

import re
import shlex

import numpy as np
import pytest

from ppdet_ext.commands import cli, flags, search_flags
from ppdet_ext.commands.convert import model_shapes
from ppdet_ext.config.files import ROOT
from ppdet_ext.config.load import load_config
from ppdet_ext.postprocess import PostProcess
from ppdet_ext.weights.foreign.plan import make_plan
from tests.weights.foreign.reference_shapes import R50, X101_DCN, reference_shapes

PARSERS = {
    name: getattr(search_flags if name in ("kfold", "tune") else flags, f"{name}_parser")
    for name in ("average", "eval", "kfold", "split", "submit", "train", "tune")
}
WINNER = "configs/postprocess/fashion_winner.yml"
LARGE = ("fashion", "fashion_third_place", "steel_x101")


@pytest.mark.parametrize("name", [*LARGE, "fashion_r50"])
def test_schedule_is_the_winners(name: str) -> None:
    cfg = load_config(f"configs/htc/{name}.yml").resolved
    assert (cfg["epoch"], cfg["base_batch_size"], cfg["TrainReader"]["batch_size"]) == (20, 16, 2)
    decay, warm_up = cfg["LearningRate"]["schedulers"]
    assert cfg["LearningRate"]["base_lr"] == 0.03
    assert dict(decay) == {"gamma": 0.1, "milestones": [10, 18]}
    assert dict(warm_up) == {"start_factor": pytest.approx(1 / 3, abs=1e-4), "steps": 500}
    assert cfg["OptimizerBuilder"] == {
        "clip_grad_by_norm": 35.0,
        "optimizer": {"type": "Momentum", "momentum": 0.9},
        "regularizer": {"type": "L2", "factor": 0.0001},
    }


@pytest.mark.parametrize("name", [*LARGE, "fashion_r50"])
def test_coco_checkpoint_fills_all_but_the_classifiers(name: str) -> None:
    cfg = load_config(f"configs/htc/{name}.yml")
    large = name in LARGE
    file = "htc_x101_64x4d_fpn_dconv_c3-c5_mstrain_400_1400_16x1_20e_coco" if large else "htc_r50_fpn_20e_coco"
    assert f"/{file}/{file}_2020" in cfg.pretrain_weights
    assert cfg.pretrain_weights in (ROOT / "MODEL_ZOO.md").read_text()
    # Pretrained: the stem and the first stage stay, batch norm runs on its stored statistics.
    assert (cfg.HTCResNet["freeze_at"], cfg.HTCResNet["norm_eval"]) == (0, True)
    plan = make_plan(ROOT / "coco.pth", reference_shapes()[X101_DCN if large else R50], model_shapes(cfg))
    assert not plan.missing
    assert not plan.other_shape
    assert all("semantic_head" in name for name in plan.left_over)
    assert plan.dropped
    assert all(".classify." in name or ".logits." in name for name in plan.dropped)


def test_fashion_is_augmented_at_the_original_size() -> None:
    cfg = load_config("configs/htc/fashion.yml").resolved
    steps = [next(iter(item.items())) for item in cfg["TrainReader"]["sample_transforms"]]
    assert [name for name, _ in steps] == [
        *("ReadImage", "Cutout", "BrightnessContrast", "JpegCompression", "ResizeShortEdge", "FlipImage", "NormalizeToCHW")
    ]
    settings = dict(steps)
    assert settings["Cutout"] == {"count": 8, "height": 64, "width": 8, "probability": 0.5}
    assert settings["BrightnessContrast"] == {"brightness": 0.3, "contrast": 0.3, "probability": 0.5}
    assert settings["JpegCompression"] == {"quality_lower": 80, "quality_upper": 99, "probability": 0.5}
    assert settings["ResizeShortEdge"] == {"short_edges": [600, 1200], "long_limit": 1900, "mode": "range"}
    assert cfg["EvalReader"]["sample_transforms"][1] == {"ResizeShortEdge": {"short_edges": [1200], "long_limit": 1900}}
    assert cfg["HTCRoIHead"]["semantic_head"] is None
    parts = [(cfg[f"{key}Dataset"]["split"], cfg[f"{key}Dataset"]["part"]) for key in ("Train", "Eval")]
    assert parts == [("split.csv", "train"), ("split.csv", "val")]


@pytest.mark.parametrize(("sample", "recipe"), [("fashion_x101_sample", "fashion"), ("steel_x101_sample", "steel_x101")])
def test_samples_have_the_structure_of_what_they_stand_for(sample: str, recipe: str) -> None:
    small, large = (load_config(f"configs/htc/{name}.yml").resolved for name in (sample, recipe))
    assert small["HTCResNet"]["dcn_v1_stages"] == large["HTCResNet"]["dcn_v1_stages"] == [1, 2, 3]
    assert min(small["HTCResNet"]["groups"], large["HTCResNet"]["groups"]) > 1
    assert small["HTCRoIHead"]["semantic_head"] is large["HTCRoIHead"]["semantic_head"] is None
    names = [next(iter(item)) for item in small["TrainReader"]["sample_transforms"]]
    assert names[:4] == ["ReadImage", "Cutout", "BrightnessContrast", "JpegCompression"]


def test_the_winners_steps_and_views_go_over_the_recipe() -> None:
    cfg = load_config("configs/htc/fashion.yml", over=WINNER)
    head = cfg.resolved["HTCRoIHead"]
    assert (head["score_threshold"], head["nms_iou"], head["max_detections"]) == (0.5, 0.3, 100)
    names = [f"category {number}" for number in range(46)]
    steps = PostProcess(cfg.PostProcess, names, list(range(46))).steps
    assert [type(step).__name__ for step in steps] == ["MaskThreshold", "SuppressOverlaps", "MinArea", "DropClasses"]
    assert np.array_equal(steps[3]._labels, np.arange(13))
    sizes = [item["ResizeShortEdge"] for item in cfg.resolved["TestTimeAugmentation"]["resizes"]]
    assert [(*size["short_edges"], size["long_limit"]) for size in sizes] == [(1000, 1600), (1200, 1900), (1400, 2200)]
    assert cfg.resolved["TestTimeAugmentation"]["flips"] == ["none", "horizontal"]


def test_the_commands_of_the_page_and_of_the_headers_are_understood() -> None:
    pages = [ROOT / "docs" / "recipes.md", *(ROOT / "configs" / "htc" / f"{name}.yml" for name in (*LARGE, "fashion_r50"))]
    semantic = ("unet", "fpn", "pspnet", "linknet", "deeplab", "classifier")
    pages += [path for folder in semantic for path in sorted((ROOT / "configs" / folder).glob("*.yml"))]
    found = set()
    for page in pages:
        text = re.sub(r"\\\n#? *", "", page.read_text())
        for tool, arguments in re.findall(r"tools/(\w+)\.py (-c [^\n`]+)", text):
            args = PARSERS[tool]().parse_args(shlex.split(arguments, comments=True))
            if not args.config.startswith("output/"):  # kfold's, which a run writes
                cli.config_of(args)
            found.add(tool)
    assert found == set(PARSERS)
