"""What the user sees: one line, exit code 1, and nothing done."""

from pathlib import Path

import numpy as np
import paddle
import pytest

from ppdet_ext.checkpoint.ppdet_pair import read_pair
from ppdet_ext.errors import UserError
from tests.commands.conftest import config, tools, workspace  # noqa: F401  fixtures
from tests.hostile.forgeries import forgeries
from tests.hostile.opcodes import schedule, text
from tests.hostile.payloads import CANARY, appeared, payloads
from tests.hostile.yaml_payloads import firing
from tests.support.engine_fakes import TinyModel


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Working directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("what", ["REDUCE os.system", "STACK_GLOBAL os.system", "torch's checkpoint renamed"])
def test_eval_refuses_weights_in_one_line(what: str, folder: Path, tools, config: str, capsys) -> None:  # noqa: F811
    content, why = (payloads() | forgeries())[what]
    (folder / "evil.pdparams").write_bytes(content)
    assert tools["eval"](["-c", config, "-o", f"weights={folder / 'evil.pdparams'}"]) == 1
    lines = capsys.readouterr().err.splitlines()
    assert [line.startswith(f"error: Weights file {folder / 'evil.pdparams'}: it ") for line in lines] == [True]
    assert why.replace("\\", "") in lines[0]
    assert appeared(folder) == []


def test_eval_refuses_a_configuration_in_one_line(folder: Path, tools, capsys) -> None:  # noqa: F811
    (folder / "evil.yml").write_text(firing()["apply os.system"][0])
    assert tools["eval"](["-c", "evil.yml"]) == 1
    lines = capsys.readouterr().err.splitlines()
    assert [line.startswith("error: evil.yml:1: ") for line in lines] == [True]
    assert "!!python/object/apply:os.system" in lines[0]
    assert not (folder / CANARY).exists()


def test_training_refuses_a_schedule_of_text_before_it_resumes(
    folder: Path,
    tools,  # noqa: F811
    config: str,  # noqa: F811
    capsys,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def never(*arguments: object) -> None:
        raise AssertionError("the state has reached the optimizer")

    monkeypatch.setattr(paddle.optimizer.Optimizer, "set_state_dict", never)
    paddle.save(TinyModel().state_dict(), "7.pdparams")
    Path("7.pdopt").write_bytes(schedule(last_epoch=text("3")))
    assert tools["train"](["-c", config, "-r", str(folder / "7")]) == 1
    assert "7.pdopt: LR_Scheduler.last_epoch is '3'; expected a whole number." in capsys.readouterr().err


def test_a_pair_of_ppdet_with_such_a_schedule_is_refused(folder: Path) -> None:
    paddle.save({"w": paddle.to_tensor(np.ones(3, "float32"))}, "7.pdparams")
    Path("7.pdopt").write_bytes(schedule(last_lr=text("0.1")))
    with pytest.raises(UserError, match=r"7\.pdopt: LR_Scheduler\.last_lr is '0\.1'; expected a finite number"):
        read_pair(folder / "7")
