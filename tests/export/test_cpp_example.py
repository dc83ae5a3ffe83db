"""The example in C++: it names what the exporter writes; what it has without OpenCV, compiled, does what the runtime does."""

import re
import shutil
import subprocess
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
import yaml

from ppdet_ext.data.transforms import NormalizeToCHW, ReadImage, ResizeFixed
from ppdet_ext.export.folder import DESCRIPTION, Exported, sizes_of, write_description
from ppdet_ext.export.graph import INPUT
from ppdet_ext.export.matching import BOXES, LABELS, PROBS, SCORES
from ppdet_ext.export.onnx import MODEL
from ppdet_ext.export.reader import ReaderPlan
from ppdet_ext.structures.paste import paste_masks, paste_probabilities
from ppdet_ext.structures.settings import TestSettings as Settings

FOLDER = Path(__file__).resolve().parents[2] / "examples" / "cpp"
SOURCE = (FOLDER / "detect.cpp").read_text(encoding="utf-8")
# What YAML quotes, and folds where a line is long.
NAMES = [
    *("pits", "no", "12", "it's", "'quoted'", "a: b", "- dash", "a #b", "[x]", "~", "null", "Löcher", "划痕", "bag, wallet"),
    '"so"',
    "scratches along the direction of rolling that are longer than the width of the strip and no deeper than a hair",
    "it's a name that is quoted: scratches along the direction of rolling that are longer than the width of the strip",
]
DRIVER = """
#include "exported.hpp"
#include <iostream>
int main(int argc, char** argv) {
    if (argc > 1) {
        const Description told(argv[1]);
        for (int i = 2; i < argc; ++i) {
            for (const auto& item : told.list(argv[i])) std::cout << argv[i] << "=" << item << "\\n";
            std::cout << argv[i] << "==" << told.value(argv[i]) << "\\n";
        }
        return 0;
    }
    float head[8];  // cells, height, width, threshold, box
    while (std::cin.read(reinterpret_cast<char*>(head), sizeof head)) {
        const int cells = static_cast<int>(head[0]);
        std::vector<float> probs(cells * cells);
        std::cin.read(reinterpret_cast<char*>(probs.data()), probs.size() * sizeof(float));
        const auto mask = paste(probs.data(), cells, head + 4, static_cast<int>(head[1]), static_cast<int>(head[2]), head[3]);
        std::cout.write(reinterpret_cast<const char*>(mask.data()), mask.size());
    }
}
"""


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A program around exported.hpp."""
    compiler = shutil.which("g++") or shutil.which("clang++")
    if compiler is None:
        pytest.skip("there is no compiler of C++")
    folder = tmp_path_factory.mktemp("cpp")
    (folder / "driver.cpp").write_text(DRIVER, encoding="utf-8")
    flags = ["-std=c++17", "-O1", "-Wall", "-Wextra", "-Werror", "-Wno-sign-compare", f"-I{FOLDER}"]
    command = [compiler, *flags, str(folder / "driver.cpp"), "-o", str(folder / "driver")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return str(folder / "driver")


@pytest.fixture
def described(tmp_path: Path) -> Path:
    """What the exporter writes of a detector of one size."""
    plan = ReaderPlan(ReadImage(), (ResizeFixed(128, 800),), NormalizeToCHW([0.5] * 3, [0.25] * 3), None)  # type: ignore[arg-type]
    lists = {"outputs": [BOXES, SCORES, LABELS, PROBS, "image"], "classes": NAMES, "category_ids": list(range(len(NAMES)))}
    told = Exported(
        *("onnx", "fp32", "HybridTaskCascade", {"name": INPUT, "shape": [1, 128, 800, 3]}, sizes_of([128, 800])),
        **lists,
        transforms=plan.entries(),
        stride=32,
        settings={"score_threshold": 0.001, "mask_threshold": 0.45},
        postprocess=[{"MinArea": {"area": 50}}, {"KeepBest": {"count": 3}}],
        source={},
        versions={},
        differences=[],
    )
    write_description(tmp_path, told)
    return tmp_path / DESCRIPTION


def test_it_names_what_the_exporter_writes() -> None:
    assert re.findall(r'kInput = "(\w+)"', SOURCE) == [INPUT]
    (outputs,) = re.findall(r"kOutputs\{(.*?)\}", SOURCE)
    assert re.findall(r'"(\w+)"', outputs) == [BOXES, SCORES, LABELS, PROBS]
    assert set(re.findall(r'folder / "([\w.]+)"', SOURCE)) == {DESCRIPTION, MODEL}
    lists = set(re.findall(r'\.list\("(\w+)"\)', SOURCE))
    assert lists == {"outputs", "transforms", "classes", "postprocess"}
    assert lists <= {field.name for field in fields(Exported)}
    assert set(re.findall(r'\.value\("(\w+)"\)', SOURCE)) == {"mask_threshold"} <= {field.name for field in fields(Settings)}


def test_it_is_short() -> None:
    files = [path.read_text(encoding="utf-8").splitlines() for path in (FOLDER / "detect.cpp", FOLDER / "exported.hpp")]
    assert [len(lines) for lines in files] <= [150, 100]
    assert max(len(line) for lines in files for line in lines) <= 128


@pytest.mark.parametrize("ends", ["\n", "\r\n"])
def test_the_description_is_read(driver: str, described: Path, ends: str) -> None:
    told = yaml.safe_load(described.read_text(encoding="utf-8"))
    described.write_bytes(described.read_text(encoding="utf-8").replace("\n", ends).encode())
    keys = ["classes", "outputs", "transforms", "postprocess", "mask_threshold", "differences", "nothing"]
    lines = subprocess.check_output([driver, str(described), *keys], text=True, timeout=60).splitlines()
    found = {key: [line[len(key) + 1 :] for line in lines if line.startswith(f"{key}=")] for key in keys}
    assert found["classes"] == [*told["classes"], "="]
    assert told["classes"] == NAMES
    assert found["outputs"] == [*told["outputs"], "="]
    # As the example compares them.
    (read,) = re.findall(r'"(ReadImage: [^"]+)"', SOURCE)
    (sides,) = re.findall(r'"(height: %d width: %d[^"]*)"', SOURCE)
    assert found["transforms"][:2] == [read, f"ResizeFixed: {sides % (128, 800)}"]
    assert len(found["transforms"]) == 4
    assert len(found["postprocess"]) == 3
    assert found["mask_threshold"] == ["=0.45"]
    assert found["differences"] == ["=[]"]
    assert found["nothing"] == ["="]


def test_masks_are_pasted_as_the_runtime_does(driver: str) -> None:
    """Boxes inside, across the edges, outside, of a fraction of a pixel, and without extent."""
    rng = np.random.default_rng(0)
    sides = rng.choice([0, 0.6, 4, 25, 90], (60, 2), p=[0.1, 0.1, 0.2, 0.3, 0.3]) * rng.uniform(0.5, 1, (60, 2))
    starts = rng.uniform(-20, 50, (60, 2))
    boxes = np.concatenate([starts, starts + sides], 1).astype(np.float32)
    cases, height, width, threshold, empty = [], 37, 61, 0.45, 0
    for box in boxes:
        probs = rng.random((28, 28), np.float32)
        cases.append(np.concatenate([np.array([28, height, width, threshold], np.float32), box, probs.ravel()]))
    data = subprocess.run([driver], input=np.concatenate(cases).tobytes(), capture_output=True, check=True, timeout=60).stdout
    masks = np.frombuffer(data, np.uint8).reshape(60, height, width)
    for case, box, mask in zip(cases, boxes, masks):
        probs = case[8:].reshape(1, 28, 28)
        (expected,) = paste_masks(probs, box[None], height, width, threshold)
        # Rounding decides where the sample is the threshold, all but a hundred-thousandth.
        ((y, x, soft),) = paste_probabilities(probs, box[None], height, width)
        sure = np.ones((height, width), bool)
        sure[y : y + soft.shape[0], x : x + soft.shape[1]] = np.abs(soft - threshold) > 1e-5
        np.testing.assert_array_equal(mask[sure] > 0, expected.to_bitmap()[sure] > 0)
        empty += not mask.any()
    assert 10 < empty < 40
