"""A small network exported by the command; what is refused, and that nothing is left of it then."""

import signal
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import paddle
import pytest
import yaml
from tiny_run import write_workspace

from ppdet_ext.api.predictor import Predictor as EagerPredictor
from ppdet_ext.commands.export import _orderly_end
from ppdet_ext.commands.main import run as tool
from ppdet_ext.config.load import load_config
from ppdet_ext.distributed.interrupt import Stop
from ppdet_ext.errors import UserError
from ppdet_ext.export import child
from ppdet_ext.export.folder import demand_replaceable
from ppdet_ext.export.paddle import PaddleEngine
from ppdet_ext.export.pictures import calibration_batches
from ppdet_ext.export.run import _check_steps
from ppdet_ext.files.atomic import digest
from ppdet_ext.host.build import build_model
from ppdet_ext.postprocess import PostProcess
from ppdet_ext.runtime.predictor import Predictor

CONFIG = """
_BASE_: [{tiny}]
architecture: SemanticSegmentor
EvalDataset: {{class_names: [pits, scratches, blotches, patches]}}
SemanticSegmentor: {{encoder: ResNetEncoder, decoder: UNetDecoder, classifier: true}}
ResNetEncoder: {{name: resnet18}}
UNetDecoder: {{channels: [32, 16, 16, 8, 8]}}
"""


@pytest.fixture(scope="module")
def unet(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Flags of an untrained network with weights."""
    folder = write_workspace(tmp_path_factory.mktemp("export"))
    file = folder / "unet.yml"
    file.write_text(CONFIG.format(tiny=folder / "tiny.yml"))
    paddle.seed(0)
    paddle.save(build_model(load_config(str(file))).state_dict(), str(folder / "w.pdparams"))
    return ["-c", str(file), "-o", f"weights={folder / 'w.pdparams'}"]


def read(folder: Path) -> dict:
    return yaml.safe_load((folder / "inference.yml").read_text())


def test_paddle_of_any_size(unet: list[str], tmp_path: Path, capsys, monkeypatch):
    (tmp_path / "there").mkdir()
    (tmp_path / "out").symlink_to("there")
    flags = ["--format", "paddle", "--output", str(tmp_path / "out"), "-o", "TestTimeAugmentation={flips: [none, horizontal]}"]
    assert tool("export", [*unet, *flags]) == 0, capsys.readouterr().err
    assert "Eager against exported, 4 batches: maps " in capsys.readouterr().out
    told = read(tmp_path / "out")
    assert told["input"] == {"name": "pixels", "shape": [1, None, None, 3], "dtype": "uint8", "channels": "rgb"}
    assert [next(iter(one)) for one in told["transforms"]] == ["ReadImage", "NormalizeToCHW"]
    assert told["classes"] == ["pits", "scratches", "blotches", "patches"]
    assert set(told["files"]) == {"model.json", "model.pdiparams"}
    assert all(digest(tmp_path / "out" / name) == own["sha256"] for name, own in told["files"].items())
    assert told["outputs"] == ["maps", "presence"]
    assert told["flips"] == ["none", "horizontal"]
    assert "the mean over mirrored views: none, horizontal." in (tmp_path / "out" / "README.md").read_text()
    engine = PaddleEngine(tmp_path / "out", tuple(told["outputs"]))
    found = engine.run({"pixels": np.zeros((1, 50, 70, 3), np.uint8)})
    assert {name: value.shape for name, value in found.items()} == {"maps": (1, 4, 50, 70), "presence": (1, 4)}
    assert {path.name for path in tmp_path.iterdir()} == {"out", "there"}
    # The way to predict that README.md tells.
    code = "\n".join(line[4:] for line in (tmp_path / "out" / "README.md").read_text().splitlines() if line.startswith("    "))
    monkeypatch.chdir(tmp_path / "out")
    names = {"pixels": np.zeros((1, 50, 70, 3), np.uint8)}
    exec(code, names)
    for name, value in found.items():  # of two sessions: with several threads the last bit may differ
        np.testing.assert_allclose(names[name], value, rtol=1e-5, atol=1e-6)


def test_a_cascade(unet: list[str], tmp_path: Path, capsys, monkeypatch):
    """Paddle's format; the others are made of it."""
    numbers = {"images": 3, "eager": {"bbox": 0.5}, "exported": {"bbox": 0.25}}
    monkeypatch.setattr("ppdet_ext.commands.export._judge", lambda args, options: lambda cfg, aside: numbers)
    config = str(Path(unet[1]).with_name("tiny.yml"))
    paddle.seed(0)
    paddle.save(build_model(load_config(config)).state_dict(), str(tmp_path / "w.pdparams"))
    flags = ["-c", config, "--format", "paddle", "--output", str(tmp_path / "out"), "-o", f"weights={tmp_path / 'w.pdparams'}"]
    flags += ["--masks", "full"]
    assert tool("export", flags) == 0, capsys.readouterr().err
    out = capsys.readouterr().out
    assert "The model found nothing" not in out
    told = read(tmp_path / "out")
    assert told["outputs"] == ["boxes", "scores", "labels", "probs", "image", "masks"]
    assert next(one for one in told["differences"] if one["output"] == "masks")["largest"] <= 8
    assert told["accuracy"] == numbers
    (unmatched,) = (one for one in told["differences"] if one["output"] == "unmatched")
    assert unmatched["largest"] <= 0.02


@pytest.mark.parametrize(
    ("format", "flips", "more"),
    [
        ("paddle", "none, horizontal", []),
        ("onnx", "none, vertical, both", ["HTCRoIHead.semantic_head=null"]),
        ("openvino", "none, horizontal", []),
    ],
)
def test_views_of_a_cascade(unet: list[str], tmp_path: Path, format: str, flips: str, more: list[str], capsys):
    for package in child.PACKAGES[format]:
        pytest.importorskip(package)
    config = str(Path(unet[1]).with_name("tiny.yml"))
    overrides = [f"weights={tmp_path / 'w.pdparams'}", f"TestTimeAugmentation={{flips: [{flips}]}}", *more]
    paddle.seed(0)
    paddle.save(build_model(load_config(config, overrides)).state_dict(), str(tmp_path / "w.pdparams"))
    flags = ["-c", config, "--format", format, "--size", "50", "75", "--output", str(tmp_path / "out"), "-o", *overrides]
    assert tool("export", flags) == 0, capsys.readouterr().err
    told = {one["output"]: one["largest"] for one in read(tmp_path / "out")["differences"]}
    # Random pixels alone are of that size; 0 objects would differ by 0.
    assert "The model found nothing" not in capsys.readouterr().out
    assert set(told) == {"boxes", "scores", "probs", "unmatched"}
    assert told["unmatched"] == 0
    assert told["boxes"] < 1e-2


@pytest.mark.parametrize(("format", "precision", "size"), [("onnx", "fp32", ["dynamic"]), ("openvino", "bf16", ["64", "128"])])
def test_converted(unet: list[str], tmp_path: Path, format, precision, size, capsys):
    for package in child.PACKAGES[format]:
        pytest.importorskip(package)
    flags = ["--format", format, "--precision", precision, "--size", *size, "--output", str(tmp_path / "out")]
    assert tool("export", [*unet, *flags]) == 0, capsys.readouterr().err
    told = read(tmp_path / "out")
    assert (told["format"], told["precision"], told["sizes"]["width"]) == (
        format,
        precision,
        [128, 128] if precision == "bf16" else [32, 4096],
    )
    picture = np.random.default_rng(0).integers(0, 256, (64, 128, 3)).astype(np.uint8)[: 64 if precision == "bf16" else 50]
    exported, eager = Predictor(tmp_path / "out"), EagerPredictor(unet[1], weights=unet[3].removeprefix("weights="))
    found, expected = exported.candidates(picture), eager.candidates(picture)
    assert len(found) == len(expected) > 0
    np.testing.assert_allclose(np.sort(found.scores), np.sort(expected.scores), atol=1e-5 if precision == "fp32" else 0.1)
    assert "- `maps` (1, classes, height, width) float32" in (tmp_path / "out" / "README.md").read_text()
    if format == "onnx":
        import onnx

        graph = onnx.load(tmp_path / "out" / "model.onnx").graph
        used = {name for node in graph.node for name in node.input} | {value.name for value in graph.output}
        assert all(used.intersection(node.output) for node in graph.node), "ONNX Runtime warns of what nothing uses"


def test_integers_calibrated_on_the_training_pictures(unet: list[str], tmp_path: Path, capsys):
    for package in (*child.PACKAGES["onnx"], "ml_dtypes"):
        pytest.importorskip(package)
    flags = ["--precision", "int8", "--size", "64", "128", "--calibration_images", "2", "--output", str(tmp_path / "out")]
    assert tool("export", [*unet, *flags]) == 0, capsys.readouterr().err
    assert "Calibrating int8 on 2 pictures" in capsys.readouterr().out
    told = read(tmp_path / "out")
    assert told["precision"] == "int8"
    assert told["differences"][0]["mean"] > 1e-6
    import onnx

    kinds = [node.op_type for node in onnx.load(tmp_path / "out" / "model.onnx").graph.node]
    assert kinds.count("QuantizeLinear") > 10


def test_calibration_pictures_lie_at_even_distances(tmp_path: Path):
    for number in range(10):
        cv2.imwrite(str(tmp_path / f"{number}.png"), np.full((8, 8, 3), number, np.uint8))
    plan = SimpleNamespace(resized=cv2.imread)
    for most, expected in ((4, [0, 2, 5, 7]), (1, [0]), (20, list(range(10)))):
        batches = calibration_batches({}, plan, (2, None, None, 3), str(tmp_path), most)
        assert [batch.shape for batch in batches] == [(2, 8, 8, 3)] * len(expected)
        assert [int(batch.max()) for batch in batches] == expected


def test_calibration_wants_pictures_of_the_size(unet: list[str], tmp_path: Path, capsys, monkeypatch):
    monkeypatch.setattr("ppdet_ext.export.run.demand_packages", lambda *_: None)
    flags = ["--precision", "int8", "--size", "96", "96", "--output", str(tmp_path / "out")]
    assert tool("export", [*unet, *flags]) == 1
    assert "int8 needs pictures of the model's size to be calibrated on" in capsys.readouterr().err
    assert tool("export", [*unet, *flags, "--calibration", str(tmp_path / "none")]) == 1
    assert "error: --calibration: " in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--format", "onxx"], "--format onxx: unknown. Did you mean 'onnx'? There are paddle, onnx, openvino."),
        (["--format", "paddle", "--precision", "bf16"], "bf16 is for --format openvino"),
        (["--precision", "int4"], "--precision int4: onnx is exported with fp32, fp16, int8"),
        (["--opset", "40"], "--opset 40: paddle2onnx writes opsets 11 to 19"),
        (["--opset", "12", "--precision", "int8"], "--opset 12: int8 has ranges by channel since opset 13; give 13 to 19"),
        (["--size", "64"], "--size 64: give height and width in px"),
        (["--size", "64", "9000"], "--size 64 9000: sides are from 32 to 4096 px"),
        (["--batch", "0"], "--batch 0: give 1 or more"),
        (["--calibration_images", "0"], "--calibration_images 0: give 1 or more"),
        (
            ["--format", "paddle", "-o", "PostProcess=[RefineMasks: {models: []}]"],
            "RefineMasks cannot be exported",
        ),
        (["--format", "paddle", "-o", "PostProcess=[TopKK: {k: 3}]"], "'TopKK' is not registered. Did you mean 'TopK'?"),
        (["--masks", "ful"], "--masks ful: unknown. Did you mean 'full'? There are boxes, full."),
        (["--format", "paddle", "--masks", "full"], "--masks full: a SemanticSegmentor gives no masks of boxes"),
        (
            ["--format", "paddle", "-o", "TestTimeAugmentation={flips: [none, vertical]}", "EnsembleMean={power: 2}"],
            "EnsembleMean.power: an exported graph averages views plainly",
        ),
        (
            ["--format", "paddle", "-o", "TestTimeAugmentation={resizes: [ResizeFixed: {height: 64, width: 64}]}"],
            "TestTimeAugmentation.resizes: an exported graph sees pixels of one size",
        ),
        (["--format", "paddle", "-o", "weights=null"], "No weights are configured"),
        (["--format", "paddle", "-o", "weights=nowhere"], "nowhere"),
        (
            ["--format", "paddle", "--size", "64", "64", "-o"]
            + ["TestReader.sample_transforms=[ReadImage: {}, ResizeFixed: {height: 64, width: 128}, NormalizeToCHW: {}]"],
            "--size 64 64: TestReader resizes every picture to 64 128",
        ),
        (
            ["--format", "paddle", "-o", "TestReader.sample_transforms=[ReadImage: {}, FlipImage: {}, NormalizeToCHW: {}]"],
            "TestReader: FlipImage cannot be exported",
        ),
    ],
)
def test_refused(unet: list[str], tmp_path: Path, flags: list[str], message: str, capsys):
    assert tool("export", [*unet, "--output", str(tmp_path / "out"), *flags]) == 1
    assert message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_other_files_are_not_replaced(unet: list[str], tmp_path: Path, capsys):
    (tmp_path / "notes.txt").write_text("mine")
    assert tool("export", [*unet, "--format", "paddle", "--output", str(tmp_path)]) == 1
    assert "holds other files, and would be replaced" in capsys.readouterr().err
    assert (tmp_path / "notes.txt").read_text() == "mine"
    # Nor are those that lie in the folder of an exported model.
    (tmp_path / "inference.yml").write_text("files: {model.onnx: {}}")
    with pytest.raises(UserError, match=r"would be replaced: notes.txt\. Give a new folder"):
        demand_replaceable(tmp_path)
    (tmp_path / "notes.txt").rename(tmp_path / "model.onnx")
    demand_replaceable(tmp_path)


def test_steps_that_an_exported_model_has_nothing_for(tmp_path: Path):
    (tmp_path / "gate.csv").write_text("ImageId,pits\na,1\n")
    for step, message in (
        ({"ClassifierGate": {"file": str(tmp_path / "gate.csv"), "threshold": 0.5}}, "ClassifierGate goes by a file"),
        ({"ClassifierGate": {"threshold": 0.5}}, "ClassifierGate asks which classes are in a picture"),
    ):
        with pytest.raises(UserError, match=message):
            _check_steps(PostProcess([step], ["pits"], [1]), object())
    _check_steps(PostProcess([{"TopK": {"k": 3}}], ["pits"], [1]), object())


def test_sigterm_ends_in_order():
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(Stop) as stopped, _orderly_end():
        signal.raise_signal(signal.SIGTERM)
    assert stopped.value.signum == signal.SIGTERM
    assert signal.getsignal(signal.SIGTERM) == before
