"""The engines of exported models: missing ones, models that fail, names of outputs, a GPU that does not start, signals."""

import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from runtime_models import opened, write_folder

from ppdet_ext.errors import UserError
from ppdet_ext.runtime.onnx import OnnxEngine
from ppdet_ext.runtime.openvino import OpenVinoEngine, shared_core
from ppdet_ext.runtime.predictor import Predictor


class Session:
    """ONNX Runtime's, that goes on with the CPU where CUDA does not start."""

    def __init__(self, file: str, options: Any, providers: list[Any]) -> None:
        self.asked = providers

    def get_providers(self) -> list[str]:
        return ["CPUExecutionProvider"]

    def get_outputs(self) -> list[Any]:
        return []


def test_a_gpu_that_does_not_start_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runtime = SimpleNamespace(
        __version__="1.2",
        InferenceSession=Session,
        SessionOptions=SimpleNamespace,
        get_available_providers=lambda: ["CUDAExecutionProvider", "CPUExecutionProvider"],
    )
    monkeypatch.setattr("ppdet_ext.runtime.onnx.import_engine", lambda package, extra: runtime)
    with pytest.raises(UserError, match=r"could not start CUDAExecutionProvider: .* or there is no GPU 3"):
        OnnxEngine(tmp_path, "gpu", number=3)
    assert OnnxEngine(tmp_path, "auto", number=3)._session.asked == [
        ("CUDAExecutionProvider", {"device_id": 3}),
        "CPUExecutionProvider",
    ]
    assert OnnxEngine(tmp_path)._session.asked == ["CPUExecutionProvider"]
    runtime.get_available_providers = lambda: ["CPUExecutionProvider"]
    assert OnnxEngine(tmp_path, "auto")._session.asked == ["CPUExecutionProvider"]
    with pytest.raises(UserError, match="install onnxruntime-gpu in its place"):
        OnnxEngine(tmp_path, "gpu")


def test_a_missing_engine_is_named_with_its_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "onnxruntime", None)
    with pytest.raises(UserError, match=r'Install it with: pip install "\.\[runtime\]" in the checkout'):
        Predictor(write_folder(tmp_path))


FAILS = r"model\.onnx: .* cannot run it on pixels \(32, 48, 3\) uint8: [^\n]*\. Export the model anew"


def test_a_model_that_fails_while_it_runs_is_one_line(tmp_path: Path) -> None:
    predictor = opened(write_folder(tmp_path))
    run = predictor._engine.run
    predictor._engine.run = lambda inputs: run({"pixels": inputs["pixels"][0]})  # type: ignore[method-assign]
    with pytest.raises(UserError, match=FAILS):
        predictor.predict(np.zeros((32, 48, 3), np.uint8))


def test_openvino_that_fails_while_it_runs_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = opened(write_folder(tmp_path), "openvino")._engine

    def request() -> None:
        raise RuntimeError("Exception from node.cpp:\nBatch size is zero\n\n")

    monkeypatch.setattr(engine, "_request", request)
    with pytest.raises(UserError, match=FAILS):
        engine.run({"pixels": np.zeros((32, 48, 3), np.uint8)})


def test_openvino_gives_an_output_its_own_name(tmp_path: Path) -> None:
    """Compiling leaves out what does nothing, and the output's tensor has the names of both."""
    openvino = pytest.importorskip("openvino")
    from openvino import opset13 as ops

    pixels = ops.parameter([1, 4, 6], np.float32, name="pixels")
    pixels.output(0).set_names({"pixels"})
    between = ops.reshape(ops.relu(pixels), np.array([4, 6]), special_zero=False)
    between.output(0).set_names({"before"})
    same = ops.convert(between, np.float32)
    same.output(0).set_names({"probs"})
    model = openvino.Model([ops.result(same, name="probs/sink_port_0")], [pixels], "named")
    openvino.save_model(model, str(tmp_path / "model.xml"), compress_to_fp16=False)
    engine = OpenVinoEngine(tmp_path / "model.xml")
    assert engine._model.outputs[0].get_names() == {"before", "probs"}
    assert set(engine.input_shapes) == {"pixels"}
    assert engine.run({"pixels": np.ones((1, 4, 6), np.float32)})["probs"].shape == (4, 6)


def test_threads_that_begin_together_share_one_core(monkeypatch: pytest.MonkeyPatch) -> None:
    cores: list[object] = []

    def core() -> object:
        time.sleep(0.05)  # the others come meanwhile
        cores.append(object())
        return cores[-1]

    engine = SimpleNamespace(Core=core, __version__="1.2")
    monkeypatch.setattr("ppdet_ext.runtime.openvino.import_engine", lambda package, extra: engine)
    monkeypatch.setattr("ppdet_ext.runtime.openvino._shared", None)
    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(lambda _: shared_core(), range(4)))
    assert found == [(cores[0], "1.2")] * 4


SIGNALLED = """
import faulthandler, os, signal, sys
faulthandler.enable()
from ppdet_ext.runtime.predictor import Predictor
one, two = (Predictor(sys.argv[1], engine="openvino", threads=1) for _ in range(2))
del one
del two
heard = []
signal.signal(signal.SIGTERM, lambda number, frame: heard.append(number))
os.kill(os.getpid(), signal.SIGTERM)
print(heard)
"""


def test_a_signal_after_two_predictors_have_ended(tmp_path: Path) -> None:
    pytest.importorskip("openvino")
    words = [sys.executable, "-c", SIGNALLED, str(write_folder(tmp_path))]
    done = subprocess.run(words, cwd=Path(__file__).parents[2], timeout=60, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "[15]\n"), done.stderr
