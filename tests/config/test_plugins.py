"""Parts of one's own: every block of docs/plugins.md runs, and a plugin that fails is named."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from ppdet_ext.config.load import dump_config, load_config
from ppdet_ext.data.labels.formats import read_labels
from ppdet_ext.data.labels.label_set import LabelSet
from ppdet_ext.errors import UserError
from ppdet_ext.host.registry import STEPS, register_module, register_step, register_transform, why_unknown

# Four pictures make two steps an epoch: the sample's warm-up would not end before its first milestone.
SHORT = ["epoch=1", "log_iter=1", "LearningRate.schedulers.1.steps=2"]
HEAD = "architecture: HybridTaskCascade\nnum_classes: 4\n"


def blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", page, re.S | re.M)


def write_data(folder: Path) -> None:
    """Four pictures with a bright rectangle of class 1 and a dark one of class 2."""
    rng = np.random.default_rng(0)
    for part in ("images", "masks"):
        (folder / part).mkdir(parents=True)
    for number in range(4):
        picture, mask = rng.integers(100, 140, (64, 96, 3)).astype(np.uint8), np.zeros((64, 96), np.uint8)
        for class_id, grey in ((1, 250), (2, 5)):
            y, x = rng.integers(0, 30), rng.integers(48 * (class_id - 1), 48 * class_id - 30)
            picture[y : y + 24, x : x + 24], mask[y : y + 24, x : x + 24] = grey, class_id
        cv2.imwrite(str(folder / "images" / f"{number}.jpg"), picture)
        cv2.imwrite(str(folder / "masks" / f"{number}.png"), mask)


@pytest.fixture
def page(root: Path) -> str:
    return (root / "docs" / "plugins.md").read_text()


def test_all_parts_of_the_page_train_and_evaluate_together(page: str, root: Path, tmp_path: Path) -> None:
    """By the command line, in a process of its own: what plugins register stays as long as the process."""
    programs = blocks(page, "python")
    assert len(programs) == 9
    (tmp_path / "parts").mkdir()
    for text in programs:
        (tmp_path / re.match(r"# (parts/\w+\.py)\n", text)[1]).write_text(text)
    (configuration,) = blocks(page, "yaml")
    (tmp_path / "own.yml").write_text(configuration)
    # As if `tmp_path` were the checkout.
    (tmp_path / "configs").symlink_to(root / "configs")
    write_data(tmp_path / "parts_data")
    options = ["-o", *SHORT, f"save_dir={tmp_path}/out"]
    command = [sys.executable, str(root / "tools" / "train.py"), "-c", "own.yml", "--eval", *options]
    environment = {**os.environ, "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"Recall50 +\d\.\d{4}", done.stdout)
    assert (tmp_path / "best.txt").read_text().endswith("after epoch 1\n")
    # The run's own configuration finds the plugins from anywhere.
    again = [*command[:3], "out/own/config.yml", "--eval", "-o", f"save_dir={tmp_path}/again", "report=false"]
    done = subprocess.run(again, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "section DiceLoss is not used" not in done.stdout


def configured(tmp_path: Path, text: str, options: tuple[str, ...] = (), **settings: bool) -> str:
    """The message of the refusal."""
    (tmp_path / "x.yml").write_text(HEAD + text)
    with pytest.raises(UserError) as caught:
        load_config(tmp_path / "x.yml", options, **settings)
    return str(caught.value)


@pytest.mark.parametrize(("program", "said"), [
    ("x = 1\nraise RuntimeError('no licence')\n", "plugin {file}, line 2: RuntimeError: no licence"),
    ("import no_such_module_at_all\n", "plugin {file}, line 1: ModuleNotFoundError: No module named"),
    ("def f(:\n", "SyntaxError: "),
    ("from ppdet_ext.host.registry import register_step\n@register_step\nclass BoxNMS: pass\n",
     "line 2: ValueError: there is a step named BoxNMS already; choose another name"),
    ("from ppdet_ext.host.registry import register_transform\n@register_transform\nclass Decode: pass\n",
     "line 2: ValueError: ppdet has an operator named Decode already"),
])  # fmt: skip
def test_a_plugin_that_fails_is_named_with_line_and_cause(tmp_path: Path, program: str, said: str) -> None:
    file = tmp_path / "broken.py"
    file.write_text(program)
    message = configured(tmp_path, "plugins: [broken.py]\n")
    assert message.startswith(f"{tmp_path}/x.yml:3: plugin {file}")
    assert said.format(file=file) in message
    assert STEPS["BoxNMS"].__module__.startswith("ppdet_ext.")


@pytest.mark.parametrize(("text", "said"), [
    ("plugins: [nowhere.py]", "FileNotFoundError"),
    ("plugins: [no.such.module]", "plugin no.such.module: ModuleNotFoundError"),
    ("plugins: own.py", "plugins is 'own.py'; expected a list of files (.py) or modules"),
    ("plugins: [3]", "expected a list of files"),
    ("plugins: {a: b}", "expected a list of files"),
    ('plugins: ["\\e[2J.py"]', "expected a list of files"),
])  # fmt: skip
def test_what_is_no_plugin_is_refused(tmp_path: Path, text: str, said: str) -> None:
    message = configured(tmp_path, text)
    assert said in message
    assert message.startswith(f"{tmp_path}/x.yml:3: ")
    assert message.isprintable()


def test_only_what_is_named_is_imported_once_and_relative_to_its_file(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    for name in ("one", "two"):
        (tmp_path / "deep" / f"{name}.py").write_text(f"open(__file__ + '.ran', 'a').write('x')\nNAME = '{name}'\n")
    (tmp_path / "deep" / "base.yml").write_text(f"{HEAD}plugins: [one.py]\n")
    (tmp_path / "leaf.yml").write_text("_BASE_: [deep/base.yml]\n")
    cfg = load_config(tmp_path / "leaf.yml")
    load_config(tmp_path / "leaf.yml", ["plugins=[]"])
    (tmp_path / "elsewhere.yml").write_text(dump_config(cfg))
    load_config(tmp_path / "elsewhere.yml")
    assert [path.name for path in sorted((tmp_path / "deep").glob("*.ran"))] == ["one.py.ran"]
    assert (tmp_path / "deep" / "one.py.ran").read_text() == "x"


def test_a_plugin_may_lie_below_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "own.py").write_text("open(__file__ + '.ran', 'w')\n")
    (tmp_path / "x.yml").write_text(f"{HEAD}plugins: [~/own.py]\n")
    assert load_config(tmp_path / "x.yml").plugins == [f"{tmp_path}/home/own.py"]
    assert (tmp_path / "home" / "own.py.ran").exists()


def test_without_permission_no_plugin_runs(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text("open(__file__ + '.ran', 'w')\n")
    message = configured(tmp_path, "plugins: [own.py]", plugins=False)
    assert "is not allowed here; remove plugins from the file" in message
    assert not list(tmp_path.glob("*.ran"))
    load_config(tmp_path / "x.yml", ["plugins=null"], plugins=False)


def install(folder: Path, program: str, name: str, group: str = "ppdet_ext.plugins") -> None:
    """A package in `folder` as pip leaves it, with an entry point to its module."""
    (folder / f"{name}.py").write_text(program)
    about = folder / f"{name}-1.0.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(f"[{group}]\nparts = {name}\n")


def test_parts_of_an_installed_package_are_known_without_being_named(tmp_path: Path, monkeypatch) -> None:
    program = (
        "from ppdet_ext.host.registry import register_step\nfrom ppdet_ext.postprocess import Step\n"
        "@register_step\nclass InstalledStep(Step):\n    def __init__(self, k: int = 1) -> None:\n        self.k = k\n"
    )
    text = "PostProcess: [InstalledStep: {k: 2}]\n"
    assert "step 'InstalledStep' is not registered" in configured(tmp_path, text)
    (tmp_path / "site").mkdir()
    install(tmp_path / "site", program, "own_steps_package")
    monkeypatch.syspath_prepend(tmp_path / "site")
    try:
        assert load_config(tmp_path / "x.yml", plugins=False).PostProcess == [{"InstalledStep": {"k": 2}}]
        assert "k is 'a'; expected int" in configured(tmp_path, text.replace("2", "a"))
    finally:
        STEPS.pop("InstalledStep", None)


def test_a_reader_of_ones_own_is_named_by_its_file_or_brought_by_a_package(page: str, tmp_path: Path, monkeypatch) -> None:
    (program,) = [text for text in blocks(page, "python") if "parts/circles.py" in text]
    (tmp_path / "circles.py").write_text(program)
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((24, 40, 3), np.uint8))
    marks = [{"what": "pit", "x": 30, "y": 12, "radius": 5}, {"what": "pit", "x": 3, "y": 3, "radius": 0}]
    (tmp_path / "marks.json").write_text(json.dumps([{"picture": "a.png", "marks": marks}]))

    def check(labels: LabelSet) -> None:
        (image,) = labels.images
        assert [(one.class_name, one.mask.box) for one in image.objects] == [("pit", (25, 7, 36, 18))]
        assert (image.file, labels.skipped) == (str(tmp_path / "a.png"), {"marks without a radius": 1})

    check(read_labels([str(tmp_path / "marks.json")], format=str(tmp_path / "circles.py")))
    with pytest.raises(UserError, match=r"marks\.json"):
        read_labels([str(tmp_path / "marks.json")])
    (tmp_path / "site").mkdir()
    install(tmp_path / "site", program, "circles_package", "ppdet_ext.labels")
    monkeypatch.syspath_prepend(tmp_path / "site")
    check(read_labels([str(tmp_path / "marks.json")]))
    check(read_labels([str(tmp_path / "marks.json")], format="parts"))
    (tmp_path / "broken.py").write_text("1 / 0")
    with pytest.raises(UserError, match=r"broken\.py cannot be imported: ZeroDivisionError"):
        read_labels([str(tmp_path / "marks.json")], format=str(tmp_path / "broken.py"))


def test_an_installed_package_that_fails_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "site").mkdir()
    install(tmp_path / "site", "raise RuntimeError('no licence')\n", "broken_package")
    monkeypatch.syspath_prepend(tmp_path / "site")
    said = "plugin parts (broken_package) of broken_package: RuntimeError: no licence. Mend it, or uninstall broken_package."
    assert configured(tmp_path, "") == f"{tmp_path}/x.yml: {said}"


def test_hooks_are_checked_like_other_parts(tmp_path: Path) -> None:
    assert "hook 'Nothing' is not registered" in configured(tmp_path, "hooks: [Nothing: {}]\n")
    assert "hook 'Nothing' is not registered. There is none yet: plugins: names" in why_unknown("Nothing", "hook", ())
    assert "TopK is a step, no hook" in configured(tmp_path, "hooks: [TopK: {}]\n")
    assert "expected a list of '- Name: {…}'" in configured(tmp_path, "hooks: 3\n")
    assert "hooks: Own is there twice" in configured(tmp_path, "hooks: [Own: {}, Own: {}]\n")


class OwnBlur:
    def __init__(self, sigma: float) -> None:
        self.sigma = sigma


def test_a_transform_from_outside_is_configured_like_ours(tmp_path: Path) -> None:
    """It was refused as an operator of ppdet, once."""
    register_transform(OwnBlur)
    reader = "TrainReader: {{sample_transforms: [ReadImage: {{}}, OwnBlur: {{{}}}]}}"
    assert "expected float" in configured(tmp_path, reader.format("sigma: a"))
    (tmp_path / "x.yml").write_text(HEAD + reader.format("sigma: 0.5"))
    assert load_config(tmp_path / "x.yml").TrainReader["sample_transforms"][1] == {"OwnBlur": {"sigma": 0.5}}


def test_registering_anew_replaces_and_other_classes_of_the_name_are_refused() -> None:
    def make(module: str) -> type:
        return type("OwnStep", (), {"__module__": module, "__init__": lambda self, k=1: None})

    first = make(__name__)
    globals()["OwnStep"] = first
    assert register_step(first) is first
    again = make(__name__)
    globals()["OwnStep"] = again
    assert STEPS[register_step(again).__name__] is again
    with pytest.raises(ValueError, match="there is a step named OwnStep already"):
        register_step(make("os"))
    with pytest.raises(ValueError, match="already registered: FPN"):
        register_module(type("FPN", (), {"__module__": __name__}))
    del STEPS["OwnStep"]


def test_our_own_parts_are_registered_by_whoever_loads_a_configuration(root: Path) -> None:
    program = "from ppdet_ext.config.load import load_config; print(load_config('configs/htc/steel_sample.yml').TrainDataset)"
    environment = {**os.environ, "PYTHONPATH": str(root)}
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=root, env=environment, capture_output=True, text=True, check=True
    )
    assert "SteelDataSet" in done.stdout
