"""The folder of an exported model: what it may replace, who may write it, and how its README.md says to predict."""

import os
from pathlib import Path

import pytest

from ppdet_ext.errors import UserError
from ppdet_ext.export.folder import Exported, alone, demand_replaceable, predict_command, write_description
from ppdet_ext.files.atomic import new_folder


def test_one_process_at_a_time_exports_to_a_folder(tmp_path: Path):
    with alone(tmp_path / "out"):
        with (
            pytest.raises(UserError, match=r"exporting to \S*out; .* Wait for it or end it, or choose another --output"),
            alone(tmp_path / "out"),
        ):
            pass
        with alone(tmp_path / "other"):
            pass
    with alone(tmp_path / "out"):
        pass
    assert not list(tmp_path.iterdir())


def test_a_device_is_not_replaced(tmp_path: Path):
    os.mkfifo(tmp_path / "null")
    with pytest.raises(UserError, match="null is a file; give a folder"):  # neither a plain file nor a folder, as a device is
        demand_replaceable(tmp_path / "null")
    with pytest.raises(UserError, match=r"save_dir .*null is no folder; give one"), new_folder(tmp_path / "null"):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["null"]


@pytest.mark.parametrize(("format", "extra"), [("onnx", "runtime"), ("openvino", "openvino"), ("paddle", None)])
def test_the_way_to_predict_is_told(format: str, extra: str | None, tmp_path: Path) -> None:
    sizes, shape = {"height": [64, 64], "width": [32, 4096]}, {"name": "pixels", "shape": [1, 64, None, 3]}
    lists = {key: [] for key in ("outputs", "classes", "category_ids", "transforms", "postprocess", "differences")}
    dicts = {key: {} for key in ("settings", "source", "versions")}
    told = Exported(format, "fp32", "SemanticSegmentor", shape, sizes, stride=32, **lists, **dicts)
    write_description(tmp_path, told)
    readme = (tmp_path / "README.md").read_text()
    assert ("python -m ppdet_ext.runtime predict . --images" in readme) == (extra is not None)
    assert extra is None or f'pip install ".[{extra}]"' in readme
    expected = None if extra is None else "python -m ppdet_ext.runtime predict 'my line/3' --images FOLDER --output found"
    assert predict_command(format, Path("my line/3")) == expected
