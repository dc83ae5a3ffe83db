"""The wheel: what is in it, and that it works without a checkout."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

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


def test_a_missing_host_is_named_with_its_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compat.importlib.util, "find_spec", lambda name: None if name == "ppdet" else object())
    with pytest.raises(UserError, match=r"ppdet is not installed\. .*: pip install --no-deps paddledet==2\.6\.0"):
        compat.demand_host()
