"""How far exported models are from the eager ones: each model in Paddle Inference, ONNX Runtime and OpenVINO, at two sizes.

    python benchmarks/export_parity.py [--models htc_r50 …] [--run output/steel_sample …]

Weights of the detectors are made from parameter names (tests/support/recipe.py), those of the segmentation networks are
Paddle's initial ones; `--run` adds a trained one. Graphs are traced for any size, once. A cell is the largest difference of
boxes (px) / scores / mask probabilities; then, of all objects, how many have the same class and, pasted into the picture, the
same mask to the bit, and by how many pixels the others differ at most. Of maps it is the largest difference and the pixels on
another side of 0.5. Each model runs in a process of its own. Needs pip install '.[export]' in the checkout.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "support")]

FORMATS = ("paddle", "onnx", "openvino")
SIZES = ((200, 300), (250, 410))
# Reference's recipe, configuration: those of detectors, with the scores above which random weights give some objects.
DETECTORS = {
    "htc_r50": ("full_a", "htc/htc_r50_fpn_1x_coco", None),
    "htc_r50_without_semantic": ("full_b", "htc/htc_without_semantic_r50_fpn_1x_coco", None),
    "htc_x101_64x4d_dcn": ("full_c", "htc/htc_x101_64x4d_fpn_dconv_c3-c5_mstrain_400_1400_20e_coco", None),
    "mask_rcnn_r50": ("full_b", "mask_rcnn/mask_rcnn_r50_fpn_1x_coco", 0.02),
    "cascade_mask_rcnn_r50": ("full_b", "cascade_mask_rcnn/cascade_mask_rcnn_r50_fpn_1x_coco", 0.02),
}
TINY = ("tiny_a", "tiny_b", "tiny_c", "tiny_mask", "tiny_cascade")
SEGMENTORS = {
    "unet_resnet18": "unet/unet_resnet18_steel_sample",
    "fpn_resnet18": "fpn/fpn_resnet18_steel_sample",
    "deeplabv3plus_resnet18": "deeplab/deeplabv3plus_resnet18_steel_sample",
    "classifier_resnet18": "classifier/classifier_resnet18_steel_sample",
}
MODELS = (*DETECTORS, *TINY, *SEGMENTORS)


def main() -> int:
    """Print the table, a row a model; 1 where a model failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="*", choices=MODELS, default=MODELS, help="default: all")
    parser.add_argument(
        "--run", nargs="*", type=Path, default=[], help="folders of trained runs, compared on their own pictures"
    )
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker:
        print(json.dumps(measured(args.worker)))
        return 0
    print("| model | size | objects | " + " | ".join(FORMATS) + " |\n|---|---|---|" + "---|" * len(FORMATS), flush=True)
    failed = 0
    for name in (*args.models, *map(str, args.run)):
        done = subprocess.run([sys.executable, __file__, "--worker", name], capture_output=True, text=True)
        if done.returncode:
            failed += 1
            print(f"| {Path(name).name} | failed: {(done.stderr.strip().splitlines() or ['?'])[-1]} |", flush=True)
            continue
        for row in json.loads(done.stdout.splitlines()[-1]):
            cells = " | ".join(row[format] for format in FORMATS)
            print(f"| {Path(name).name} | {row['size']} | {row['objects']} | {cells} |", flush=True)
    return int(failed > 0)


def measured(name: str) -> list[dict[str, str]]:
    """Rows of a model, one a size: cells by format."""
    import ppdet_ext.register  # noqa: F401
    from ppdet_ext.export.graph import INPUT, ExportGraph
    from ppdet_ext.export.verify import eager_outputs

    model, plan, pictures = subject(name)
    graph = ExportGraph(model, plan.normalize.mean, plan.normalize.std, plan.stride)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        engines = exported(graph, (1, *(plan.size or (None, None)), 3), Path(folder))
        for pixels in pictures:
            expected = eager_outputs(model, plan, pixels[None])
            objects = str(len(expected["scores"])) if "scores" in expected else "–"
            row = {"size": "×".join(map(str, pixels.shape[:2])), "objects": objects}
            for format, engine in engines.items():
                row[format] = cell(expected, engine.run({INPUT: pixels[None]}), pixels)
            rows.append(row)
    return rows


def subject(name: str) -> tuple[Any, Any, list[np.ndarray]]:
    """A model in evaluation mode, what its reader does, and two pictures (h, w, 3) uint8 as the graph takes them."""
    import paddle
    from recipe import image

    from ppdet_ext.config.load import load_config
    from ppdet_ext.host.build import build_model

    noise = [(image(3, *size)[0] * 58 + 120).clip(0, 255).astype(np.uint8).transpose(1, 2, 0) for size in SIZES]
    if name in TINY:
        from reference_zoo import build

        model = build(name)
    elif name in DETECTORS:
        from recipe_weights import give_weights

        recipe, file, threshold = DETECTORS[name]
        model = build_model(load_config(str(ROOT / "configs" / f"{file}.yml")))
        give_weights(model, recipe)
        model.roi_head.score_threshold = threshold or model.roi_head.score_threshold
    elif name in SEGMENTORS:
        paddle.seed(0)
        model = build_model(load_config(str(ROOT / "configs" / f"{SEGMENTORS[name]}.yml")))
    else:
        return trained(Path(name))
    model.eval()
    return model, plan_of(), noise


def trained(folder: Path) -> tuple[Any, Any, list[np.ndarray]]:
    """The model of a run's folder, its reader, and its first pictures, the second one without its last quarter."""
    from ppdet_ext.config.load import load_config
    from ppdet_ext.export.pictures import own_pictures
    from ppdet_ext.export.reader import ReaderPlan
    from ppdet_ext.inference.classes import class_list
    from ppdet_ext.inference.members import with_weights

    weights = folder / "best_model"
    cfg = load_config(str(folder / "config.yml"), [f"weights={weights}"])
    names, ids, _ = class_list(cfg, weights_first=True)
    plan = ReaderPlan.of(cfg, names, ids)
    model = with_weights(cfg, str(weights), names)
    model.eval()
    first, second = (plan.resized(file) for file in own_pictures(cfg, ("EvalDataset",), 2))
    return model, plan, [first, second if plan.size else second[:, : second.shape[1] * 3 // 4]]


def plan_of() -> Any:
    """A reader that normalises and pads alone."""
    from ppdet_ext.data.datasets import ImageFolder
    from ppdet_ext.data.loading.batch_maker import BatchMaker
    from ppdet_ext.export.reader import ReaderPlan

    maker = BatchMaker(ImageFolder([], ["object"], [1]), [{"ReadImage": {}}, {"NormalizeToCHW": {}}], [], False, 0)
    return ReaderPlan(maker.transforms[0], (), maker.transforms[1], maker)


def exported(graph: Any, shape: Any, folder: Path) -> dict[str, Any]:
    """Engines by format, of the graph in each."""
    from ppdet_ext.export import onnx, openvino
    from ppdet_ext.export.paddle import PaddleEngine, save_paddle
    from ppdet_ext.modeling.ops.seam import convertible_operators
    from ppdet_ext.runtime.open import open_engine

    own, converted = folder / "paddle", folder / "converted"
    own.mkdir()
    converted.mkdir()
    save_paddle(graph, shape, own)
    with convertible_operators():
        save_paddle(graph, shape, converted)
    onnx.convert_to_onnx(converted, converted / onnx.MODEL, graph.names)
    openvino.convert_to_openvino(converted / onnx.MODEL, converted, graph.names)
    open_: Callable[[str], Any] = lambda name: open_engine(converted, name, device="cpu", threads=None, precision="fp32")  # noqa: E731
    return {"paddle": PaddleEngine(own, graph.names), "onnx": open_("onnx"), "openvino": open_("openvino")}


def cell(expected: dict[str, np.ndarray], got: dict[str, np.ndarray], pixels: np.ndarray) -> str:
    """What one engine's outputs differ by from the eager ones."""
    from ppdet_ext.export.matching import match, object_differences

    if "scores" not in expected:
        apart = " / ".join(f"{np.abs(value - got[name]).max():.1e}" for name, value in expected.items())
        other = [int(((value > 0.5) != (got[name] > 0.5)).sum()) for name, value in expected.items() if name == "maps"]
        return apart + "".join(f", {count} px" for count in other)
    apart = object_differences(expected, got)
    text = " / ".join(f"{apart[name][0]:.1e}" for name in ("boxes", "scores", "probs") if name in apart)
    rows, columns = match(expected, got)
    a, b = (masks_of(own, pixels) for own in (expected, got))
    pairs = [(a[row], b[column]) for row, column in zip(rows, columns)]
    most = max((int((one.to_bitmap() != other.to_bitmap()).sum()) for one, other in pairs), default=0)
    return f"{text}, {sum(one == other for one, other in pairs)} of {max(len(a), len(b))}, {most} px"


def masks_of(outputs: dict[str, np.ndarray], pixels: np.ndarray) -> list[Any]:
    """Masks (`Rle`) in the picture, in the order of the outputs."""
    from ppdet_ext.structures import Candidates

    size, count = pixels.shape[:2], len(outputs["scores"])
    # `Candidates` sort by score; here each keeps its place.
    own = Candidates(*size, outputs["boxes"], np.ones(count, np.float32), outputs["labels"].astype(np.int64), outputs["probs"])
    return own.detections().masks


if __name__ == "__main__":
    sys.exit(main())
