"""Writes what `run.py` takes to a machine with a GPU and without Paddle: exported models, without the weights that were drawn.

    python benchmarks/gpu/prepare.py --output .gpu [--sample output/steel_sample] [--pictures FOLDER] [--only htc_r50 …]

HTC and Mask R-CNN (R50-FPN, 80 classes) and U-Net (R50, 4 classes) have random weights from a seed (`weights.py`). So that they
find as much as a trained model would, the last convolution of each residual block is weakened, which keeps the features' size,
and the class logits are scaled to a spread of `SPREAD`. `--sample` is the run of a trained model; it is exported as
`tools/export.py` does, and pictures go with it. Needs the extra `export`.
"""

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(Path(__file__).parent)]

import ppdet_ext.register  # noqa: E402, F401, I001  first: it sets threads and silences the host
import paddle  # noqa: E402
from weights import Drawn, digest, drawn_for, strip  # noqa: E402

from ppdet_ext.config.load import load_config  # noqa: E402
from ppdet_ext.data.transforms import NormalizeToCHW  # noqa: E402
from ppdet_ext.export import onnx  # noqa: E402
from ppdet_ext.export.graph import ExportGraph  # noqa: E402
from ppdet_ext.export.half import to_half  # noqa: E402
from ppdet_ext.export.paddle import save_paddle  # noqa: E402
from ppdet_ext.export.verify import random_pixels  # noqa: E402
from ppdet_ext.host.build import build_model  # noqa: E402

STEEL, COCO = (256, 1600), (800, 1344)
# Model -> its configuration, and the graphs that are made: (height, width), images at a time, detections.
CASES: dict[str, tuple[str, list[tuple[tuple[int, int], int, int]]]] = {
    "htc_r50": (
        "configs/htc/htc_r50_fpn_1x_coco.yml",
        [(size, batch, count) for size in (STEEL, COCO) for batch, count in ((1, 100), (1, 10), (8, 100))],
    ),
    "mask_rcnn_r50": (
        "configs/mask_rcnn/mask_rcnn_r50_fpn_1x_coco.yml",
        [(size, batch, 100) for size in (STEEL, COCO) for batch in (1, 8)],
    ),
    "unet_r50": ("configs/unet/unet_resnet50_steel.yml", [(STEEL, 1, 0), (STEEL, 8, 0)]),
}
SPREAD, RESIDUAL = 2.5, 0.2


def drawn_model(config: str) -> tuple[Any, dict[str, Drawn]]:
    """A model in evaluation mode, its large weights drawn; and these by digest."""
    paddle.seed(0)
    model = build_model(load_config(str(ROOT / config), []))
    model.eval()
    _neutral(model)
    parameters = model.named_parameters()
    drawn = {one.name: own for name, one in parameters if (own := drawn_for(name, one.numpy())) is not None}
    for parameter in model.parameters():
        if parameter.name in drawn:
            parameter.set_value(drawn[parameter.name].values())
    for head, mean, spread in spreads(model):
        own = drawn[head.weight.name]
        drawn[head.weight.name] = own = replace(own, scale=own.scale * SPREAD / spread)
        head.weight.set_value(own.values())
        head.bias.set_value(-mean * SPREAD / spread)
    halves = [replace(own, half=True) for own in drawn.values()]
    return model, {digest(own.values()): own for own in [*drawn.values(), *halves]}


def _neutral(model: Any) -> None:
    """Let batch norms do nothing, which folds into convolutions without a change of a bit, and weaken residual branches."""
    for name, layer in model.named_sublayers():
        if isinstance(layer, paddle.nn.BatchNorm2D):
            layer._variance.set_value(paddle.full_like(layer._variance, 1.0 - layer._epsilon))
        if name.endswith(("branch2c.conv", "conv3")):
            layer.weight.set_value(layer.weight * RESIDUAL)


def spreads(model: Any) -> Iterator[tuple[Any, Any, float]]:
    """Each layer of class logits, their mean by class and their deviation from it, over regions of random pixels."""
    if not hasattr(model, "roi_head"):
        return
    heads = [head.classify for head in model.roi_head.box_heads]
    found: dict[int, Any] = {}
    hooks = [
        head.register_forward_post_hook(lambda layer, x, y, k=k: found.__setitem__(k, y - layer.bias))
        for k, head in enumerate(heads)
    ]
    with paddle.no_grad():
        graph_of(model).outputs(paddle.to_tensor(random_pixels(1, 256, 512)))
    for hook in hooks:
        hook.remove()
    for k, head in enumerate(heads):
        mean = found[k].mean(axis=0)
        # Logits of the stages are averaged.
        yield head, mean, float((found[k] - mean).std()) / len(heads) ** 0.5


def graph_of(model: Any) -> ExportGraph:
    """The model as `tools/export.py` exports it."""
    normalize = NormalizeToCHW()
    return ExportGraph(model, normalize.mean, normalize.std, 32)


def write_cases(name: str, output: Path) -> None:
    """Write the graphs of a model."""
    config, cases = CASES[name]
    model, known = drawn_model(config)
    for size, batch, count in cases:
        if count:
            model.roi_head.max_detections = count
        graph = graph_of(model)
        stem = f"{name}_{size[0]}x{size[1]}_b{batch}" + (f"_d{count}" if count else "")
        with tempfile.TemporaryDirectory() as scratch:
            save_paddle(graph, (batch, *size, 3), Path(scratch))
            onnx.convert_to_onnx(Path(scratch), Path(scratch) / onnx.MODEL, graph.names)
            for precision in ("fp32", "fp16"):
                if precision == "fp16":
                    to_half(Path(scratch) / onnx.MODEL, Path(scratch) / onnx.MODEL)
                target = output / f"{stem}_{precision}.onnx"
                left = strip(Path(scratch) / onnx.MODEL, target, known)
                print(f"{target.name}: {left / 1e6:.1f} MB of constants", flush=True)


def write_sample(run: Path, pictures: Path, output: Path, count: int = 24) -> None:
    """Export a trained model, and copy some pictures."""
    for precision in ("fp32", "fp16"):
        command = [sys.executable, str(ROOT / "tools/export.py"), "-c", str(run / "config.yml"), "--precision", precision]
        command += ["--output", str(output / f"{run.name}_{precision}"), "-o", f"weights={run / 'best_model'}"]
        subprocess.run(command, check=True)
    (output / "pictures").mkdir(exist_ok=True)
    for file in sorted(pictures.iterdir())[:count]:
        (output / "pictures" / file.name).write_bytes(file.read_bytes())


def main() -> None:
    """Write them all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=ROOT / ".gpu")
    parser.add_argument("--sample", type=Path, help="folder of a run")
    parser.add_argument("--pictures", type=Path, help="folder of pictures for it")
    parser.add_argument("--only", nargs="*", choices=CASES, default=list(CASES), help="of the random ones")
    args = parser.parse_args()
    args.output.mkdir(parents=True, exist_ok=True)
    if args.sample:
        write_sample(args.sample, args.pictures, args.output)
    for name in args.only:
        write_cases(name, args.output)


if __name__ == "__main__":
    main()
