"""The wheel: what is in it, and that it works without a checkout."""

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ppdet_ext.errors import UserError
from ppdet_ext.host import compat

FILES = ("ppdet_ext", "configs", "pyproject.toml", "setup.py", "README.md", "LICENSE")


@pytest.fixture(scope="module")
def installed(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with what the wheel holds."""
    folder = tmp_path_factory.mktemp("wheel")
    for name in FILES:
        source = root / name
        if source.is_dir():
            shutil.copytree(source, folder / "source" / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, folder / "source" / name)
    code = f"from setuptools import build_meta; build_meta.build_wheel({str(folder)!r})"
    subprocess.run([sys.executable, "-c", code], cwd=folder / "source", check=True, capture_output=True, timeout=120)
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "site")
    return folder / "site"


def test_the_wheel_holds_package_configs_and_command(installed: Path, root: Path) -> None:
    def listed(folder: Path, suffix: str) -> set[str]:
        return {str(path.relative_to(folder)) for path in folder.rglob(f"*.{suffix}")}

    assert listed(installed / "ppdet_ext" / "configs", "yml") == listed(root / "configs", "yml")
    assert listed(installed / "ppdet_ext", "py") == listed(root / "ppdet_ext", "py")
    for kind in ("html", "css", "js"):
        assert listed(installed / "ppdet_ext", kind) == listed(root / "ppdet_ext", kind) != set()
    assert (installed / "ppdet_ext" / "py.typed").is_file()
    assert {path.name for path in installed.iterdir() if path.suffix != ".dist-info"} == {"ppdet_ext"}
    (entries,) = installed.glob("*.dist-info/entry_points.txt")
    assert "ppdet-ext = ppdet_ext.commands.main:main" in entries.read_text()


def test_installed_commands_find_the_configs_from_any_folder(installed: Path, tmp_path: Path) -> None:
    def run(*words: str) -> subprocess.CompletedProcess:
        command = [sys.executable, "-m", "ppdet_ext.commands.main", *words]
        environment = {**os.environ, "PYTHONPATH": str(installed)}
        return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120)

    assert "severstal_stage2" in run("submit", "--help").stdout
    done = run("eval", "-o", f"EvalDataset.dataset_dir={tmp_path}/none", "SampleData=null")
    assert done.returncode == 1
    assert f"{tmp_path}/none" in done.stderr
    done = run("eval", "-c", "configs/htc/stel.yml")
    assert "Config file configs/htc/stel.yml does not exist. Nearest existing one: configs/htc/steel.yml" in done.stderr


def test_an_installed_command_writes_a_configuration_of_its_own_files(installed: Path, tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    images = [{"id": number, "file_name": f"{number}.png", "height": 64, "width": 96} for number in range(5)]
    for image in images:
        pixels = np.random.default_rng(image["id"]).integers(0, 256, (64, 96, 3)).astype(np.uint8)
        Image.fromarray(pixels).save(tmp_path / "images" / image["file_name"])
    square = {
        "category_id": 1,
        "iscrowd": 0,
        "bbox": [8, 8, 24, 24],
        "area": 576,
        "segmentation": [[8, 8, 32, 8, 32, 32, 8, 32]],
    }
    objects = [{**square, "id": number + 1, "image_id": number} for number in range(5)]
    content = {"images": images, "annotations": objects, "categories": [{"id": 1, "name": "pit"}]}
    (tmp_path / "labels.json").write_text(json.dumps(content))
    words = ("import_labels", "labels.json", "--images", "images", "--out", "dataset/mine")
    command = [sys.executable, "-m", "ppdet_ext.commands.main", *words]
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")
    assert "ppdet-ext train -c configs/mine.yml --eval" in done.stdout
    assert "configs/_base_/models/htc_r18_small.yml" in (tmp_path / "configs" / "mine.yml").read_text()


@pytest.mark.parametrize("package", ["paddle", "ppdet"])
def test_a_missing_host_is_named_with_its_remedy(package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compat.importlib.util, "find_spec", lambda name: None if name == package else object())
    by_itself = package == "ppdet" and sys.version_info >= (3, 12)
    remedy = r"pip install --no-deps paddledet==2\.6\.0" if by_itself else r'pip install "\.\[train\]" in the checkout'
    with pytest.raises(UserError, match=rf"{package} is not installed\. Install it with: {remedy}"):
        compat.demand_host()
