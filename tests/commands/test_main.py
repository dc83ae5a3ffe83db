"""The console command, and what the tools do before paddle is imported."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from ppdet_ext import __version__
from ppdet_ext.checkpoint import CHANGES
from ppdet_ext.commands import demo, flags, train
from ppdet_ext.commands.main import COMMANDS, main

ROOT = Path(__file__).resolve().parents[2]
HEAVY = ("paddle", "ppdet", "cv2", "numpy")
LOADED = """import sys
from ppdet_ext.commands.main import main
try: main([{words}])
finally: print(set({heavy}) & set(sys.modules))"""


@pytest.mark.parametrize("words", ["'--help'", *(f"{name!r}, '--help'" for name in COMMANDS)])
def test_help_imports_nothing_heavy_and_answers_at_once(words: str, tmp_path: Path) -> None:
    code = LOADED.format(words=words, heavy=HEAVY)
    start = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("usage: ppdet-ext ")
    assert done.stdout.endswith("set()\n")
    assert time.perf_counter() - start < 2  # 0.1 s; on a busy machine more


def test_structures_import_neither_paddle_nor_ppdet() -> None:
    code = "import sys; from ppdet_ext.structures import Rle; print({'paddle', 'ppdet'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "set()\n", "")


def test_every_tool_is_a_command_of_the_same_name() -> None:
    tools = {path.stem for path in (ROOT / "tools").glob("*.py")}
    assert tools == set(COMMANDS) - {"make_sample"}  # which is python -m ppdet_ext.data.synthetic


@pytest.mark.parametrize(("words", "code", "out", "error"), [
    ([], 2, "usage: ppdet-ext COMMAND", ""),
    (["--help"], 0, "usage: ppdet-ext COMMAND", ""),
    (["--version"], 0, f"ppdet-ext {__version__}\n", ""),
    (["trian"], 2, "", "error: there is no command 'trian'. Did you mean 'train'? See ppdet-ext --help.\n"),
    (["--eval"], 2, "", "error: there is no command '--eval'."),
])  # fmt: skip
def test_words_that_are_no_command(words: list[str], code: int, out: str, error: str, capsys) -> None:
    assert main(words) == code
    printed = capsys.readouterr()
    assert printed.out.startswith(out)
    assert printed.err.startswith(error)
    assert bool(printed.err) == bool(error)


def test_a_command_runs_under_its_name(tmp_path: Path, capsys) -> None:
    assert main(["make_sample", "--out", str(tmp_path / "set"), "--images", "8", "--height", "64", "--width", "128"]) == 0
    assert "8 sheets 128×64" in capsys.readouterr().out
    assert main(["make_sample", "--out", str(tmp_path / "set"), "--kind", "steal"]) == 1
    assert "id you mean 'steel'?" in capsys.readouterr().err
    assert main(["eval", "-c", "no_such.yml"]) == 1
    assert "error: Config file no_such.yml does not exist." in capsys.readouterr().err


def test_changes_that_may_be_allowed_are_those_that_are_found() -> None:
    assert tuple(CHANGES) == flags.CHANGES


@pytest.mark.parametrize(("found", "shown"), [("/bin/ppdet-ext", "ppdet-ext train"), (None, "/bin/ppdet-ext train")])
def test_how_to_go_on_names_the_console_command(found: str | None, shown: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["/bin/ppdet-ext", "train", "--eval"])
    monkeypatch.setattr(sys, "orig_argv", ["python", "/bin/ppdet-ext", "train", "--eval"])
    monkeypatch.setattr(train.shutil, "which", lambda name: found)
    assert train.resume_command("tools/train.py", ["--eval"]) == f"{shown} -r auto --eval"


def test_the_demo_calls_the_tools_and_ends_with_their_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    called: list[list[str]] = []
    codes = {"submit": 0}

    def run(command: list[str], **_: object) -> subprocess.CompletedProcess:
        called.append(command[1:])
        return subprocess.CompletedProcess(command, codes.get(Path(command[1]).stem, 0))

    monkeypatch.setattr(demo, "_folder", lambda: tmp_path)
    monkeypatch.setattr(demo.subprocess, "run", run)
    monkeypatch.setattr(demo.signal, "signal", lambda *_: None)
    (tmp_path / demo.RUN).mkdir(parents=True)
    (tmp_path / demo.RUN / "eval.json").write_text('{"bbox": [0.5, 0.9], "segm": [0.4, 0.8]}')
    assert main(["demo"]) == 0
    assert [Path(words[0]).stem for words in called] == ["train", "eval", "infer", "submit"]
    assert called[0][1:] == ["-c", demo.CONFIG, "-r", "auto"]
    out = capsys.readouterr().out
    assert "$ python tools/train.py -c configs/htc/steel_sample.yml -r auto\n" in out
    assert "masks             0.400  0.800" in out
    assert "tools/report.py --run output/steel_sample\n" in out
    assert out.endswith("tools/view.py --run output/steel_sample\n")
    codes["eval"] = 130
    with pytest.raises(demo.Failed) as ended:
        main(["demo"])
    assert ended.value.code == 130
    assert "`make demo` goes on from there." in capsys.readouterr().err
