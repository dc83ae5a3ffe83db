"""A configuration from a stranger is data: nothing in it is run, none takes long, and the refusal names file and line."""

import contextlib
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
from ppdet.core.workspace import create

from ppdet_ext.config.files import read_tree
from ppdet_ext.config.load import load_config
from ppdet_ext.errors import UserError
from ppdet_ext.host import workspace
from tests.hostile.payloads import CANARY, SOURCE, appeared
from tests.hostile.yaml_payloads import HEAD, SET, firing, forged, of_ppdet

FIRING = firing()
CASES = {**FIRING, **of_ppdet(), **forged()}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Working directory, with a module that a configuration may try to import, and what some take for their base."""
    (tmp_path / f"{CANARY}.py").write_text(SOURCE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    os.mkfifo("pipe.yml")
    Path("loop.yml").symlink_to("loop.yml")
    with open("huge.yml", "wb") as huge:
        huge.truncate(1 << 40)
    for level in range(30):
        Path(f"twice_{level}.yml").write_text(f"_BASE_: [twice_{level + 1}.yml, twice_{level + 1}.yml]\n")
    Path("twice_30.yml").write_text("seed: 1\n")
    return tmp_path


@pytest.mark.parametrize("what", CASES, ids=lambda value: value.replace(" ", "-"))
def test_refused_by_name_without_running_anything(what: str, folder: Path) -> None:
    content, why = CASES[what]
    path = folder / "x.yml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    before, began = sorted(folder.iterdir()), time.process_time()
    with pytest.raises(UserError) as caught:
        load_config(path)
    message = str(caught.value)
    assert re.search(why, message), message
    assert ".yml" in message.splitlines()[0]
    assert message.replace("\n", "").isprintable()
    assert len(message) < 1000
    assert appeared(folder) == []
    assert sorted(folder.iterdir()) == before
    assert time.process_time() - began < 20  # these take less than two, and would take for ever


def test_the_same_payloads_do_fire_through_unsafe_load(folder: Path, root: Path) -> None:
    """Else the refusals above would prove nothing."""
    for index, (content, _) in enumerate(FIRING.values()):
        (folder / f"{index}.yml").write_text(content)
    done = subprocess.run(
        [sys.executable, "-m", "tests.hostile.fire", str(folder), str(len(FIRING))],
        capture_output=True,
        text=True,
        timeout=100,
        env={**os.environ, "PYTHONPATH": str(root)},
    )
    assert done.returncode == 0, done.stderr
    fired = dict(line.split(": ") for line in done.stdout.splitlines())
    assert [what for index, what in enumerate(FIRING) if not fired[str(index)]] == []


def test_ppdet_does_evaluate_such_a_text(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without our check the text is run: ppdet has not changed, and the check is needed."""
    (folder / "x.yml").write_text(f'{HEAD}TransEncoder: {{act_fn: "{SET}", num_hidden_layers: 1}}\n')
    monkeypatch.setattr("ppdet_ext.config.nodes.NodeCheck.pair", lambda *arguments: None)
    with contextlib.suppress(Exception), workspace(load_config(folder / "x.yml")):  # what the text gives is no activation
        create("TransEncoder")
    assert appeared(folder) == ["variable"]


@pytest.mark.parametrize(("text", "why"), [
    (f"weights=!!python/object/apply:os.system ['touch {CANARY}']", "!!python/object/apply:os.system is refused"),
    (f"TrainDataset=!Callable {{full_type: os.system, args: ['touch {CANARY}']}}", "unknown class !Callable"),
    (f"weights=!!python/module:{CANARY} ''", "!!python/module"),
    ("seed=!!timestamp 2001-01-01", "!!timestamp is refused"),
    ("seed=&a [*a]", "contains itself"),
    ("seed=" + "[" * 1000, "more than 40 lists"),
    ("seed=" + "9" * 5000, "is no int"),
    ("seed=1\n---\n2", "another document"),
    (f"TransEncoder.act_fn={SET}", "ppdet evaluates act_fn"),
    ("SwinTransformer.pretrained=evil.pdparams", "ppdet would unpickle"),
    ("a." * 1000 + "b=1", "expected key=value"),
])  # fmt: skip
def test_overrides_are_parsed_alike(text: str, why: str, folder: Path) -> None:
    (folder / "x.yml").write_text(HEAD)
    with pytest.raises(UserError) as caught:
        load_config(folder / "x.yml", [text])
    assert f"-o {text[:20]}" in str(caught.value)
    assert re.search(why, str(caught.value))
    assert appeared(folder) == []


@pytest.mark.parametrize("name", ["pipe.yml", ".", "/dev/zero"])
def test_what_is_no_file_does_not_hang(name: str, folder: Path) -> None:
    with pytest.raises(UserError, match="no ordinary file"):
        load_config(name)
    with pytest.raises(UserError, match=r"no ordinary file|cannot be read"):
        read_tree(Path(name))


def test_plain_values_stay_what_they_are(folder: Path) -> None:
    """Merged keys may be given again, dates are text, and names may stand where ppdet evaluates."""
    text = "a: &a {x: 1, y: 2}\nb: {<<: *a, y: 3}\nsave_dir: 2024-05-01\nc: [1, 0x10, 1e-3, .5, true, null, ~, 'on']\n"
    (folder / "x.yml").write_text(text + "VisionTransformer: {norm_layer: nn.LayerNorm, pretrained: null}\n")
    tree, _ = read_tree(folder / "x.yml")
    assert tree["b"] == {"x": 1, "y": 3}
    assert tree["save_dir"] == "2024-05-01"
    assert tree["c"] == [1, 16, 0.001, 0.5, True, None, None, "on"]
    assert tree["VisionTransformer"] == {"norm_layer": "nn.LayerNorm", "pretrained": None}


def test_two_bases_of_thousands_of_keys_are_merged_at_once(folder: Path) -> None:
    """By comparing each key with each it would take minutes."""
    for name in ("one", "two"):
        (folder / f"{name}.yml").write_text("".join(f"{name}_{i}: {{a: [1]}}\n" for i in range(3000)))
    (folder / "x.yml").write_text("_BASE_: [one.yml, two.yml]\nseed: 1\n")
    began = time.process_time()
    tree, origins = read_tree(folder / "x.yml")
    assert len(tree) == 6001
    assert len(origins) == 18004
    assert time.process_time() - began < 30
