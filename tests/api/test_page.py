"""docs/python.md and the README: every example runs, and prints what it says."""

import doctest
import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture
def folder(run_folder: Path, config: str, sheets: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The page's folder, which is the working directory."""
    shutil.copytree(run_folder, tmp_path / "output" / "steel_sample")
    shutil.copytree(Path(sheets[0]).parent, tmp_path / "sheets")
    shutil.copy(sheets[0], tmp_path / "sheet.jpg")
    demo = tmp_path / "dataset" / "steel_sample" / "train_images"
    demo.mkdir(parents=True)
    shutil.copy(sheets[0], demo / "sheet_00012.jpg")
    (tmp_path / "mine.yml").write_text(f"_BASE_: [{config}]\nsave_dir: {tmp_path}/output\n")
    (tmp_path / "marks").mkdir()
    for sheet in sheets:
        corners = [[10, 10], [60, 10], [60, 30], [10, 30]]
        shapes = [{"label": "scratch", "points": corners, "shape_type": "polygon", "group_id": None}]
        content = {"version": "5.5.0", "imagePath": Path(sheet).name, "imageHeight": 64, "imageWidth": 128, "shapes": shapes}
        (tmp_path / "marks" / f"{Path(sheet).stem}.json").write_text(json.dumps(content))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.slow
def test_the_examples_print_what_they_say(folder: Path, root: Path) -> None:
    # A fence is no part of what is printed.
    text = (root / "docs" / "python.md").read_text().replace("```", "")
    page = doctest.DocTestParser().get_doctest(text, {}, "python.md", "docs/python.md", 0)
    said: list[str] = []
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
    outcome = runner.run(page, out=said.append)
    assert (outcome.failed, "".join(said)) == (0, "")
    assert outcome.attempted > 35
    assert (folder / "drawn.png").is_file()


def test_python_of_the_readme_runs(folder: Path, root: Path, capsys: pytest.CaptureFixture) -> None:
    (block,) = re.findall(r"```python\n(.*?)```", (root / "README.md").read_text(), re.S)
    names: dict[str, Any] = {}
    exec(block, names)
    assert names["mask"].area == 5
    assert len(capsys.readouterr().out.splitlines()) == len(names["table"]) == len(names["sure"])
    assert len(names["sure"]) == int((names["found"].scores >= 0.5).sum()) < len(names["found"])
