"""tools/convert.py, and convert_mmdet.py as it was, on a tiny HTC and a U-Net, there and back; what they say to other files."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from forked_runs import load_tool
from safetensors.numpy import load_file

from ppdet_ext.commands.flags import convert_mmdet_parser, convert_parser
from ppdet_ext.weights.files.paddle_file import read_data_file
from ppdet_ext.weights.files.tensor_file import open_tensors
from ppdet_ext.weights.files.torch_writer import write_torch
from ppdet_ext.weights.find import stored_classes
from tests.weights.foreign.smp_files import SAMPLE, SMPS_WIDTH, values_of

FLAGS = {"-c/--config": None, "-o/--opt": [], "--traceback": False, "--debug": False,
         "": None, "--num-classes-from-config": False,
         "--to-mmdet": False}  # fmt: skip


@pytest.fixture(scope="module")
def tool():
    """main(argv) of the tool."""
    return load_tool("convert_mmdet")


@pytest.fixture(scope="module")
def theirs(tool, trained: Path, config: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model's weights as a file for mmdetection."""
    path = tmp_path_factory.mktemp("theirs") / "tiny.pth"
    assert tool(["--to-mmdet", f"{trained}/best_model", str(path), "-c", config]) == 0
    return path


@pytest.fixture(scope="module")
def convert():
    """main(argv) of tools/convert.py."""
    return load_tool("convert")


def contents(path: Path) -> dict[str, np.ndarray]:
    with open_tensors(path) as file:
        return {name: file.read(name) for name in file.shapes}


def test_flags_are_frozen() -> None:
    """A new flag is a promise for ever; settings belong into the configuration (-o)."""
    actions = [action for action in convert_mmdet_parser()._actions if action.dest != "help"]
    assert {"/".join(action.option_strings): action.default for action in actions} == FLAGS
    assert [action.dest for action in actions if not action.option_strings] == ["source", "output"]
    newer = [action for action in convert_parser()._actions if action.dest != "help"]
    known = {flag: default for flag, default in FLAGS.items() if flag != "--to-mmdet"}
    assert {"/".join(action.option_strings): action.default for action in newer} == known


def test_a_detectors_weights_go_to_and_fro_by_the_suffix(convert, theirs: Path, config: str, tmp_path: Path) -> None:
    ours, again = tmp_path / "ours.pdparams", tmp_path / "again.safetensors"
    assert convert([str(theirs), str(ours), "-c", config]) == 0
    assert convert([str(ours), str(again), "-c", config]) == 0
    expected, found = contents(theirs), contents(again)
    assert set(found) == set(expected)
    assert all(value.tobytes() == found[name].tobytes() for name, value in expected.items())


def test_a_segmentation_nets_weights_go_to_and_fro(convert, tmp_path: Path, capfd) -> None:
    """Names of 2019 come in, today's go out; class names go along."""
    source, ours = tmp_path / "theirs.pth", tmp_path / "ours.pdparams"
    original = values_of("smp003_Unet-resnet18")
    write_torch(source, {"CLASSES": ["1", "2", "3", "4"]}, original.items())
    assert convert([str(source), str(ours), "-c", SAMPLE, "-o", SMPS_WIDTH]) == 0
    out = capfd.readouterr().out
    assert "152 of the model's 152" in out
    assert "segmentation_head.0.weight: a 1×1 kernel becomes the middle of a 3×3 one" in out
    assert stored_classes(ours).names == ("1", "2", "3", "4")
    expected = values_of("unet-resnet18")
    head = np.pad(original["decoder.final_conv.weight"], [(0, 0), (0, 0), (1, 1), (1, 1)])
    for suffix in (".pth", ".safetensors"):
        back = tmp_path / f"back{suffix}"
        assert convert([str(ours), str(back), "-c", SAMPLE, "-o", SMPS_WIDTH]) == 0
        found = contents(back)
        assert set(found) == set(expected)
        assert np.array_equal(found["segmentation_head.0.weight"], head)
        encoder = [name for name in expected if name.startswith("encoder.")]
        assert all(found[name].tobytes() == expected[name].tobytes() for name in encoder)
        assert stored_classes(back).names == ("1", "2", "3", "4")
    assert convert([str(source), str(tmp_path / "other.pth"), "-c", SAMPLE, "-o", SMPS_WIDTH]) == 1
    assert "is SMP's already" in capfd.readouterr().err
    assert convert([str(ours), str(tmp_path / "other.onnx"), "-c", SAMPLE, "-o", SMPS_WIDTH]) == 1
    assert "must end in .pdparams" in capfd.readouterr().err


def test_there_and_back_is_the_same_bits(tool, trained: Path, theirs: Path, config: str, tmp_path: Path, capfd) -> None:
    ours, again = tmp_path / "ours.pdparams", tmp_path / "again.pth"
    assert tool([str(theirs), str(ours), "-c", config]) == 0
    out = capfd.readouterr().out
    original, converted = (read_data_file(path) for path in (trained / "best_model.pdparams", ours))
    assert list(original) == list(converted)
    assert all(value.tobytes() == converted[name].tobytes() for name, value in original.items())
    assert tool(["--to-mmdet", str(ours), str(again), "-c", config]) == 0
    first, second = contents(theirs), contents(again)
    assert list(first) == list(second)
    assert all(value.dtype == second[name].dtype and value.tobytes() == second[name].tobytes() for name, value in first.items())
    counters = [value for name, value in first.items() if name.endswith("num_batches_tracked")]
    assert len(counters) == len(first) - len(converted) == sum(name.endswith("running_var") for name in first)
    assert all(value.dtype == np.int64 and value == 0 for value in counters)
    assert f"{len(first)} tensors, {len(converted)} of the model's {len(converted)} in {ours}" in out
    assert re.search(r"^roi_head\.box_heads +24 +12$", out, re.M)
    assert f"skipped {len(counters)}: batch norm's step counter" in out
    assert "missing 0, left over 0" in out


def test_class_names_go_along(theirs: Path) -> None:
    assert b"CLASSES" in theirs.read_bytes()


def test_safetensors_both_ways(tool, theirs: Path, trained: Path, config: str, tmp_path: Path) -> None:
    path, ours = tmp_path / "tiny.safetensors", tmp_path / "ours.pdparams"
    assert tool(["--to-mmdet", f"{trained}/best_model.pdparams", str(path), "-c", config]) == 0
    expected = contents(theirs)
    found = load_file(path)
    assert set(found) == set(expected)
    assert all(value.tobytes() == expected[name].tobytes() for name, value in found.items())
    assert tool([str(path), str(ours), "-c", config]) == 0
    assert len(read_data_file(ours)) == sum(not name.endswith("num_batches_tracked") for name in expected)


def test_another_number_of_classes_needs_a_word(tool, theirs: Path, config: str, tools, tmp_path: Path, capfd) -> None:
    other = tmp_path / "three.yml"
    text = Path(config).read_text().replace("num_classes: 4", "num_classes: 3")
    other.write_text(re.sub(r"(?m)^(Train|Eval|Test)Dataset:.*$", "", text))
    ours = tmp_path / "ours.pdparams"
    assert tool([str(theirs), str(ours), "-c", str(other)]) == 1
    error = capfd.readouterr().err
    assert "it has 4 classes, the configured model 3. Set num_classes to the file's, or add --num-classes-from-config" in error
    assert not ours.exists()
    assert tool([str(theirs), str(ours), "-c", str(other), "--num-classes-from-config"]) == 0
    out = capfd.readouterr().out
    assert "dropped 14 for another number of classes:\n  roi_head.semantic_head.logits.weight: [5, 8, 1, 1]" in out
    assert f"it is for training: -o pretrain_weights={ours}" in out
    assert not any("classify" in name or "logits" in name for name in read_data_file(ours))


def test_every_tool_takes_the_file_itself(tool, theirs: Path, trained: Path, config: str, tools, tmp_path: Path, capfd) -> None:
    numbers = []
    for weights in (theirs, trained / "best_model"):
        assert tools["eval"](["-c", config, "-o", f"weights={weights}", f"save_dir={tmp_path}"]) == 0
        record = json.loads((tmp_path / "tiny" / "eval.json").read_text())
        numbers.append((record["bbox"], record["segm"]))
    assert numbers[0] == numbers[1]
    capfd.readouterr()
    options = [f"pretrain_weights={theirs}", f"save_dir={tmp_path}", "epoch=1"]
    assert tools["train"](["-c", config, "-o", *options]) == 0
    total = len(read_data_file(trained / "best_model.pdparams"))
    assert f"{total} tensors loaded, 0 of the model not in the file" in capfd.readouterr().out


@pytest.mark.parametrize(("arguments", "message"), [
    (["{tmp}/none.pth", "{tmp}/o.pdparams"], "none.pth does not exist"),
    (["{tmp}/page.pth", "{tmp}/o.pdparams"], "page.pth: it is a web page; download it again"),
    (["{tmp}/evil.pth", "{tmp}/o.pdparams"], "it asks for os.system, which is not data; refused, nothing of it was run"),
    (["{tmp}/short.pth", "{tmp}/o.pdparams"], "2 tensors match, "),
    (["{theirs}", "{tmp}/o.pth"], "must end in .pdparams"),
    (["{theirs}", "{tmp}/file/o.pdparams"], "Cannot write {tmp}/file/o.pdparams"),
    (["--to-mmdet", "{trained}/best_model", "{tmp}/o.pdparams"], "must end in .pth or .safetensors"),
    (["--to-mmdet", "{trained}/best_modle", "{tmp}/o.pth"], "best_model.pdparams"),
    (["--to-mmdet", "{trained}/best_model", "{tmp}/o.pth", "-o", "HTCRoIHead.fc_channels=24"], "tensors match, 18 differ"),
])  # fmt: skip
def test_bad_input_is_one_message(arguments, message, tool, theirs, trained, config, tmp_path, capfd) -> None:
    (tmp_path / "file").write_text("in the way")
    (tmp_path / "page.pth").write_text("<html>")
    (tmp_path / "evil.pth").write_bytes(
        theirs.read_bytes().replace(b"ccollections\nOrderedDict\n", b"cos\nsystem\n" + b"X" * 14)
    )
    held = {"backbone.conv1.weight", "rpn_head.rpn_cls.bias"}
    write_torch(tmp_path / "short.pth", {}, ((name, value) for name, value in contents(theirs).items() if name in held))
    places = {"tmp": tmp_path, "theirs": theirs, "trained": trained}
    assert tool(["-c", config, *(text.format(**places) for text in arguments)]) == 1
    error = capfd.readouterr().err
    assert error.startswith("error: ")
    assert message.format(**places) in error
    assert "Traceback" not in error
    assert not list(tmp_path.glob("o.*"))


def test_back_from_a_file_that_is_mmdetections_is_refused_and_leaves_it(tool, theirs: Path, config: str, capfd) -> None:
    before = theirs.read_bytes()
    assert tool(["--to-mmdet", str(theirs), str(theirs), "-c", config]) == 1
    assert "is mmdetection's already" in capfd.readouterr().err
    assert theirs.read_bytes() == before
