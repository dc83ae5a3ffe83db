"""Files and overrides become a tree: bases, anchors, numbers, and what is no configuration."""

from pathlib import Path

import pytest
import yaml

from ppdet_ext.config.files import ROOT, apply_override, dump_tree, read_tree
from ppdet_ext.config.load import load_config, output_path, resolve_path
from ppdet_ext.errors import UserError


def test_later_bases_win_and_bases_may_nest(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "a.yml").write_text("epoch: 1\nFPN: {out_channel: 1, use_c5: false}")
    (tmp_path / "deep" / "b.yml").write_text("_BASE_: a.yml\nepoch: 2")
    (tmp_path / "c.yml").write_text("epoch: 3\nFPN: {out_channel: 3}")
    (tmp_path / "leaf.yml").write_text("_BASE_: [deep/b.yml, c.yml]\nlog_iter: 7")
    tree, origins = read_tree(tmp_path / "leaf.yml")
    assert tree == {"epoch": 3, "FPN": {"out_channel": 3, "use_c5": False}, "log_iter": 7}
    assert origins["log_iter",] == f"{tmp_path / 'leaf.yml'}:2"
    assert origins["FPN", "use_c5"] == f"{tmp_path / 'deep' / 'a.yml'}:2"


def test_missing_file_offers_the_nearest_and_bases_too(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("ppdet_ext.config.files.ROOT", tmp_path)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "configs" / "htc").mkdir(parents=True)
    (tmp_path / "configs" / "htc" / "steel.yml").write_text("_BASE_: [../bse.yml]")
    (tmp_path / "configs" / "base.yml").write_text("epoch: 1")
    with pytest.raises(UserError, match=r"steal\.yml does not exist. Nearest existing one: configs/htc/steel\.yml"):
        load_config("configs/htc/steal.yml")
    # Parts of configurations cannot be run.
    (tmp_path / "configs" / "_base_").mkdir()
    (tmp_path / "configs" / "_base_" / "nix.yml").write_text("epoch: 1")
    with pytest.raises(UserError, match=r"nix\.yml does not exist\. Shipped is for example configs/htc/steel_sample\.yml$"):
        load_config("nix.yml")
    with pytest.raises(UserError, match=r"nix2\.yml does not exist\. Nearest existing one: configs/_base_/nix\.yml"):
        load_config("configs/_base_/nix2.yml")
    with pytest.raises(UserError, match=r"steel\.yml:1: _BASE_ file \.\./bse\.yml does not exist"):
        load_config("configs/htc/steel.yml")


@pytest.mark.parametrize(("text", "message"), [
    ("a: [1", "x.yml:1: not a valid configuration"),
    ("- 1", "expected 'key: value' lines"),
    ("", "expected 'key: value' lines"),
    ("epoch: 1\nepoch: 2", "x.yml:2: key 'epoch' is given twice"),
    ("FPN: {a: 1, a: 2}", "key 'a' is given twice"),
    ("_BASE_: [x.yml]", "include each other in a circle"),
    ("a: !Nothing {}", "x.yml:1: not a valid configuration: unknown class !Nothing"),
    ("a: !SteelDataSett {}", "Did you mean 'SteelDataSet'?"),
    ("a: !SteelDataSet [1]", "takes named arguments"),
    ("a: !!python/object/apply:os.system ['true']", "not a valid configuration"),
    ("a: !!python/name:os.system ''", "not a valid configuration"),
    ("a: !Callable {full_type: os.system, args: [x]}", "unknown class !Callable"),
    ("a: &a [*a]", "an alias (*name) contains itself"),
    ("a: &a [1,1,1,1,1,1,1,1,1]\n" + "".join(
        f"{chr(98 + i)}: &{chr(98 + i)} [{','.join(['*' + chr(97 + i)] * 9)}]\n" for i in range(8)),
     "once aliases are written out"),
    ("\x00", "not a valid configuration"),
])  # fmt: skip
def test_files_that_are_no_configuration(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "x.yml"
    path.write_text(text)
    with pytest.raises(UserError) as caught:
        load_config(path)
    assert message in str(caught.value)


def test_binary_file_is_a_user_error(tmp_path: Path) -> None:
    (tmp_path / "x.yml").write_bytes(b"\xff\xfe\x80")
    with pytest.raises(UserError, match="cannot be read"):
        load_config(tmp_path / "x.yml")


def test_anchors_and_merge_keys_work(tmp_path: Path) -> None:
    (tmp_path / "x.yml").write_text("FPN: &f {out_channel: 3}\nResNet: {<<: *f, depth: 18}")
    tree, _ = read_tree(tmp_path / "x.yml")
    assert tree["ResNet"] == {"out_channel": 3, "depth": 18}
    assert yaml.safe_load(dump_tree(tree)) == tree


@pytest.mark.parametrize(("text", "value"), [("1e-4", 1e-4), ("5e3", 5000.0), ("1.e+2", 100.0), ("e5", "e5"), ("1e", "1e")])
def test_floats_as_people_write_them(text: str, value: object) -> None:
    tree: dict = {}
    apply_override(tree, {}, f"a={text}")
    assert tree == {"a": value}


def test_relative_paths_cwd_first_then_checkout(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tools").mkdir()
    assert resolve_path("tools") == Path("tools")
    assert resolve_path("ppdet_ext") == ROOT / "ppdet_ext"
    assert resolve_path("not/there") == Path("not/there")
    assert resolve_path("/not/there") == Path("/not/there")
    monkeypatch.chdir(ROOT / "tools")
    assert resolve_path("dataset/nothing") == ROOT / "dataset/nothing"
    monkeypatch.chdir(ROOT)
    assert resolve_path("dataset/nothing") == Path("dataset/nothing")


def test_results_follow_the_working_directory_even_where_the_checkout_has_their_folder(monkeypatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    assert output_path("configs") == Path("configs"), "a folder of that name in the checkout is another run's"
    assert output_path("/elsewhere") == Path("/elsewhere")
    monkeypatch.chdir(ROOT / "tools")
    assert output_path("output") == ROOT / "output"
    monkeypatch.chdir(ROOT)
    assert output_path("output") == Path("output")
