"""Exported folders of three tiny models, whose ONNX files lie in tests/fixtures/runtime; what they compute, in numpy.

Run as a script (`python tests/support/runtime_models.py`, with the package onnx) it writes these files anew.
"""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from ppdet_ext.files.atomic import digest
from ppdet_ext.runtime.predictor import Predictor

FIXTURES = Path(__file__).resolve().parents[1] / "fixtures" / "runtime"
PACKAGES = {"onnx": "onnxruntime", "openvino": "openvino"}
CLASSES, CATEGORY_IDS = ["pit", "scratch"], [7, 3]
BOXES = np.array([[2, 2, 14, 10], [4, 6, 30, 20], [3, 2, 14, 10]], np.float32)
FACTORS, LABELS = np.array([1.0, 0.5, 0.25], np.float32), np.array([0, 1, 0], np.int64)
PROBS = np.linspace(0.2, 1, 48, dtype=np.float32).reshape(3, 4, 4)
OUTPUTS = {"instances": ["boxes", "scores", "labels", "image", "probs"], "maps": ["maps", "presence"], "presence": ["presence"]}
READER: list[dict[str, Any]] = [
    {"ReadImage": {"exif": True, "range": None}},
    {"ResizeFixed": {"height": 32, "width": 48, "keep_ratio": False, "interpolation": "linear"}},
    {"NormalizeToCHW": {"mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5]}},
]


def opened(folder: Path, engine: str = "onnx", **options: Any) -> Predictor:
    """The predictor of an exported folder; the test is skipped where the engine's package is missing."""
    pytest.importorskip(PACKAGES[engine])
    return Predictor(folder, engine=engine, threads=1, **options)


def expected(kind: str, pixels: np.ndarray) -> dict[str, np.ndarray]:
    """What the model gives for pixels (1, H, W, 3) uint8."""
    x = pixels.astype(np.float32) / np.float32(255)
    if kind == "instances":
        scores = x.mean(dtype=np.float32) * FACTORS
        return {"boxes": BOXES, "scores": scores, "labels": LABELS, "image": np.zeros(3, np.int64), "probs": PROBS}
    maps = x.transpose(0, 3, 1, 2)[:, :2]
    presence = maps.mean(axis=(2, 3))
    return {"presence": presence} if kind == "presence" else {"maps": maps, "presence": presence}


def write_folder(folder: Path, kind: str = "instances", *, batch: int | None = 1, **changes: Any) -> Path:
    """An exported folder; `changes` are of its `inference.yml`."""
    folder.mkdir(parents=True, exist_ok=True)
    name = f"{kind}{'' if batch == 1 else '_batches'}.onnx"
    shutil.copy(FIXTURES / name, folder / "model.onnx")
    files = {"model.onnx": {"bytes": (folder / "model.onnx").stat().st_size, "sha256": digest(folder / "model.onnx")}}
    told = {
        "version": 1, "format": "onnx", "precision": "fp32", "architecture": "Tiny",
        "input": {"name": "pixels", "shape": [batch, None, None, 3], "dtype": "uint8", "channels": "rgb"},
        "sizes": {"height": [8, 64], "width": [8, 64]}, "outputs": OUTPUTS[kind], "classes": CLASSES,
        "category_ids": CATEGORY_IDS, "transforms": READER, "stride": 16,
        "settings": {"score_threshold": 0.0, "mask_threshold": 0.5}, "postprocess": [], "files": files, **changes,
    }  # fmt: skip
    (folder / "inference.yml").write_text(yaml.safe_dump(told), encoding="utf-8")
    return folder


def _model(kind: str, batch: int | None) -> Any:
    from onnx import TensorProto, checker, helper, numpy_helper

    node, number = helper.make_node, TensorProto
    constants = {"scale": np.float32(255), "boxes_of": BOXES, "factors": FACTORS, "labels_of": LABELS, "probs_of": PROBS}
    constants |= {"first": np.array([0]), "last": np.array([2]), "axis": np.array([1]), "image_of": np.zeros(3, np.int64)}
    nodes = [node("Cast", ["pixels"], ["floats"], to=number.FLOAT), node("Div", ["floats", "scale"], ["x"])]
    if kind == "instances":
        nodes += [node("ReduceMean", ["x"], ["mean"], keepdims=0), node("Mul", ["mean", "factors"], ["scores"])]
        nodes += [node("Identity", [f"{name}_of"], [name]) for name in ("boxes", "labels", "image", "probs")]
    else:
        nodes += [node("Transpose", ["x"], ["planes"], perm=[0, 3, 1, 2])]
        nodes += [node("Slice", ["planes", "first", "last", "axis"], ["maps"])]
        nodes += [node("ReduceMean", ["maps"], ["presence"], axes=[2, 3], keepdims=0)]
    kinds = {"labels": number.INT64, "image": number.INT64}
    ranks = {"boxes": 2, "scores": 1, "labels": 1, "image": 1, "probs": 3, "maps": 4, "presence": 2}
    outputs = [helper.make_tensor_value_info(n, kinds.get(n, number.FLOAT), [None] * ranks[n]) for n in OUTPUTS[kind]]
    pixels = helper.make_tensor_value_info("pixels", number.UINT8, [batch or "B", "H", "W", 3])
    used = {name for one in nodes for name in one.input}
    held = [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items() if name in used]
    model = helper.make_model(
        helper.make_graph(nodes, kind, [pixels], outputs, held), opset_imports=[helper.make_opsetid("", 17)], ir_version=8
    )
    checker.check_model(model)
    return model


if __name__ == "__main__":
    FIXTURES.mkdir(parents=True, exist_ok=True)
    for kind in OUTPUTS:
        (FIXTURES / f"{kind}.onnx").write_bytes(_model(kind, 1).SerializeToString())
    (FIXTURES / "maps_batches.onnx").write_bytes(_model("maps", None).SerializeToString())
