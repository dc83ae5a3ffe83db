"""tools/view.py: what its flags show; a server that a browser could ask, ended by a signal."""

import argparse
import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import numpy as np
import pytest
from flask import Flask
from PIL import Image
from runtime_models import write_folder
from viewer_cases import Page, session

from ppdet_ext.commands.main import main
from ppdet_ext.commands.page_flags import view_parser
from ppdet_ext.commands.view import _name_of_model, _tell, session_of
from ppdet_ext.errors import UserError
from ppdet_ext.structures import Rle
from ppdet_ext.viewer.serving import address_of, make, serve
from ppdet_ext.viewer.session import Session


def flags(*words: object) -> argparse.Namespace:
    return view_parser().parse_args([str(word) for word in words])


def opened(tmp_path: Path, *words: object) -> Session:
    return session_of(flags("--output_dir", tmp_path / "view", *words))


def test_flags_are_frozen() -> None:
    assert vars(flags()) == {
        "opt": [], "traceback": False, "part": None, "infer_dir": None, "watch": None, "model": None, "results": None,
        "score": 0.5, "mm_per_pixel": None, "output_dir": "output/view", "host": "127.0.0.1", "port": None,
    }  # fmt: skip


def test_a_data_set_with_its_parts_and_a_model_that_is_loaded_late(config: str, eager: str, tmp_path: Path) -> None:
    session = opened(tmp_path, "-c", config, "--part", "train", "eval", "-o", eager, "--mm_per_pixel", 0.1)
    parts = [item.part for item in session.catalogue.items]
    assert {"train", "eval"} == set(parts) or any(part.startswith("fold") for part in parts)
    assert all(item.truth is not None and item.found is None for item in session.catalogue.items)
    assert session.worker._model is None
    session.worker.ask(session.catalogue.items[:1])
    end = time.monotonic() + 60
    while session.catalogue.items[0].state and time.monotonic() < end:
        time.sleep(0.05)
    assert session.catalogue.items[0].error == ""
    assert session.catalogue.items[0].found is not None
    assert session.catalogue.items[0].match is not None
    assert "kaggle" in session.exports.formats
    session.stop()


def test_weights_that_are_not_there_are_an_error_only_where_they_were_asked_for(config: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nowhere.pdparams does not exist"):
        opened(tmp_path, "-c", config, "-o", f"weights={tmp_path}/nowhere")
    assert not opened(tmp_path, "-c", config).worker.can_predict


def test_saved_predictions_are_shown_and_compared(config: str, eager: str, tools, tmp_path: Path) -> None:
    results = tmp_path / "results"
    given = ["-c", config, "-o", eager, "--output_dir", str(results), "--save_results"]
    assert tools["infer"](given) == 0
    names = {image["file_name"] for image in json.loads((results / "images.json").read_text())}
    session = opened(tmp_path, "-c", config, "--part", "test", "--results", results)
    shown = {item.name for item in session.catalogue.items if item.found is not None}
    assert shown
    assert shown <= names
    with pytest.raises(UserError, match=r"has no results"):
        opened(tmp_path, "-c", config, "--results", tmp_path)


def test_results_of_another_tool_are_told_by_the_data_sets_numbers(config: str, tmp_path: Path) -> None:
    own = opened(tmp_path, "-c", config)
    first = own.catalogue.items[0]
    row = {"image_id": first.im_id, "category_id": own.class_ids[1], "score": 0.7}
    file = tmp_path / "mmdet.segm.json"
    file.write_text(json.dumps([row | {"segmentation": Rle.full(*first.size).to_coco(text=True)}]))
    session = opened(tmp_path, "-c", config, "--results", file)
    assert [len(item.found) for item in session.catalogue.items[:2]] == [1, 0]  # type: ignore[arg-type]
    file.write_text(json.dumps([row | {"bbox": [1, 2, 10, 5]}]))
    session = opened(tmp_path, "-c", config, "--results", file)
    assert session.catalogue.items[0].found.masks is None  # type: ignore[union-attr]
    told = Page(session).objects(0)["found"][0]
    assert (told["path"], told["box"], told["area"], told["label"]) == ("", [1, 2, 11, 7], 50, 1)


def test_an_exported_model_on_a_folder_of_pictures(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    exported = write_folder(tmp_path / "exported")
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for number in range(2):
        Image.fromarray(np.full((40, 60, 3), 90 + number, np.uint8)).save(pictures / f"{number}.png")
    session = opened(tmp_path, "--model", exported, "--infer_dir", pictures)
    assert session.title == "exported"
    assert [item.name for item in session.catalogue.items] == ["0.png", "1.png"]
    assert (session.class_names, session.class_ids) == (["pit", "scratch"], [7, 3])
    session.worker.ask(session.catalogue.items)
    end = time.monotonic() + 30
    while session.worker.waiting and time.monotonic() < end:
        time.sleep(0.02)
    assert [item.state for item in session.catalogue.items] == ["", ""]
    assert all(len(item.found or ()) for item in session.catalogue.items)
    session.stop()
    with pytest.raises(UserError, match="neither an exported model"):
        opened(tmp_path, "--model", pictures)
    with pytest.raises(UserError, match="are of a data set"):
        opened(tmp_path, "--model", exported, "--part", "eval")


def test_decisions_that_are_taken_up_are_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "ppdet_ext")
    made = session(tmp_path)
    _tell(made)
    assert "taken up" not in caplog.text
    made.decisions.decide(made.catalogue.items[0].name, "key", {"verdict": "accepted"})
    _tell(made)
    assert f"Decisions on 1 picture are taken up from {made.decisions.file};" in caplog.text
    made.stop()


def test_the_page_is_called_by_the_model_and_not_by_its_format(tmp_path: Path) -> None:
    exported = tmp_path / "onnx"
    exported.mkdir()
    assert _name_of_model(exported) == "onnx"
    for text, name in (("source: {configuration: steel}", "steel, onnx"), ("source: []", "onnx"), ("a: [", "onnx")):
        (exported / "inference.yml").write_text(text)
        assert _name_of_model(exported) == name


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("--score", "2"), "scores lie between 0 and 1"),
        (("--port", "70000"), "ports are numbers"),
        (("--mm_per_pixel", "0"), "--mm_per_pixel is the side of a pixel"),
        (("--watch", "nowhere/at/all"), "--watch nowhere/at/all: there is no such folder"),
    ],
)
def test_wrong_flags_are_said_in_a_line(words: tuple[str, str], text: str, tmp_path: Path, capsys) -> None:
    exported = write_folder(tmp_path / "exported")
    assert main(["view", "--model", str(exported), "--output_dir", str(tmp_path / "view"), *words]) == 1
    assert text in capsys.readouterr().err


def test_a_missing_flask_is_named_with_its_remedy(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys) -> None:
    for name in ("ppdet_ext.commands.view", "ppdet_ext.viewer.application", "ppdet_ext.viewer.serving"):
        monkeypatch.delitem(sys.modules, name)
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *more: None if name == "flask" else find(name, *more))
    monkeypatch.setitem(sys.modules, "flask", None)
    assert main(["view", "--model", "any", "--output_dir", str(tmp_path)]) == 1
    assert 'The package flask is not installed. Install it with: pip install ".[view]"' in capsys.readouterr().err


def test_the_page_of_exported_models_needs_no_package_of_training(root: Path) -> None:
    absent = ("paddle", "ppdet", "scipy", "pandas", "matplotlib", "threadpoolctl", "safetensors", "sklearn")
    names = ("commands.view", "viewer.application", "viewer.serving", "runtime.predictor")
    imports = "".join(f"import ppdet_ext.{name}\n" for name in names)
    code = f"import sys\nsys.modules.update(dict.fromkeys({absent}))\n{imports}"
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_port_that_is_taken_and_an_address_that_is_not_ours() -> None:
    first = make(Flask("x"), "127.0.0.1", 0)
    with pytest.raises(UserError, match=rf"--port {first.port}: cannot listen there"):
        make(Flask("x"), "127.0.0.1", first.port)
    first.server_close()
    with pytest.raises(UserError, match=r"--host 203\.0\.113\.1"):
        make(Flask("x"), "203.0.113.1", 0)
    assert address_of("0.0.0.0", 80) == "http://127.0.0.1:80/"
    assert address_of("::1", 80) == "http://[::1]:80/"


def test_an_address_that_others_reach_is_warned_of(monkeypatch: pytest.MonkeyPatch, caplog, capsys) -> None:
    class Ended:
        port = 5678

        def serve_forever(self, poll_interval: float) -> None:
            raise KeyboardInterrupt

        def server_close(self) -> None:
            pass

    monkeypatch.setattr("ppdet_ext.viewer.serving.make", lambda *_: Ended())
    for host, warned in (("127.0.0.1", False), ("0.0.0.0", True), ("::1", False)):
        caplog.clear()
        with caplog.at_level("WARNING", logger="ppdet_ext"):
            serve(Flask("x"), host, 5678)
        assert ("nothing asks for a password" in caplog.text) == warned, host
    assert "Open http://127.0.0.1:5678/ in a browser" in capsys.readouterr().out


@pytest.mark.slow
def test_the_command_serves_watches_and_ends(root: Path, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    exported, line = write_folder(tmp_path / "exported"), tmp_path / "line"
    line.mkdir()
    words = ["--model", str(exported), "--watch", str(line), "--output_dir", str(tmp_path / "view"), "--port", "0"]
    code = (
        "import atexit, sys; atexit.register(lambda: print('paddle:', 'paddle' in sys.modules)); "
        "from ppdet_ext.commands.main import script; script('view')"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(root), os.environ.get("PYTHONPATH", "")])}
    command = [sys.executable, "-c", code, *words]
    process = subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, text=True, env=environment, start_new_session=True)
    try:
        assert process.stdout is not None
        address = next(line for line in process.stdout if line.startswith("Open ")).split()[1]

        def told() -> dict:
            with urllib.request.urlopen(f"{address}api/changes?since=0", timeout=10) as answer:
                return json.load(answer)["pictures"]

        assert told()["number"] == []
        Image.fromarray(np.full((40, 60, 3), 120, np.uint8)).save(line / "new.png")
        end = time.monotonic() + 40
        while told()["predicted"] != [True] and time.monotonic() < end:
            time.sleep(0.1)
        assert told()["predicted"] == [True]
        second = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, timeout=60)
        assert second.returncode == 1
        assert "a page open that works in" in second.stderr
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=20) == 0
        rest = process.stdout.read()
        assert "Decisions are kept in" in rest
        # An exported model needs none.
        assert "paddle: False" in rest
    finally:
        process.kill()
        process.wait()
