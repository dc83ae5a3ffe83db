"""Damaged checkpoints are never resumed from and always named; a save that is cut off at any operation loses nothing."""

import logging
import re
import shutil
import signal
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest
from faults import FileSizeLimit, KillInSave, Strike
from forked_runs import Outcome, run
from same_run import differences

from ppdet_ext.checkpoint import newest_checkpoint
from ppdet_ext.errors import UserError
from tests.resume.cells import Setting

RUN = Path("out", "tiny")
SETTING = Setting("ema", evaluate=True)
FILES = ("model.pdparams", "model.pdopt", "model.pdema", "state.json", "config.yml", "manifest.json")
KEPT = ("epoch_2_step_2", "epoch_1", "epoch_1_step_4")


@dataclass(frozen=True)
class Runs:
    """`whole` was left alone, `killed` ended in epoch 2 with the checkpoints KEPT, `before_save` in the last step of 1."""

    config: str
    whole: Path
    killed: Path
    before_save: Path

    def train(self, folder: Path, *changes) -> Outcome:
        return run(["-c", self.config, *SETTING.argv], folder, changes=(*SETTING.changes, *changes))


@pytest.fixture(scope="module")
def runs(config: str, tmp_path_factory: pytest.TempPathFactory, executor: ThreadPoolExecutor) -> Runs:
    folder = tmp_path_factory.mktemp("torn")
    found = Runs(config, *(folder / name for name in ("whole", "killed", "before_save")))
    work = [(found.whole,), (found.killed, Strike(2, 2)), (found.before_save, Strike(1, 4))]
    codes = [outcome.codes for outcome in executor.map(lambda arguments: found.train(*arguments), work)]
    assert codes == [(0,), (-signal.SIGKILL,), (-signal.SIGKILL,)]
    assert {path.name for path in (found.killed / RUN / "checkpoints").iterdir()} == set(KEPT)
    return found


def flip(path: Path, share: float) -> None:
    """Flip one bit of the byte at this share of a file's length."""
    content = bytearray(path.read_bytes())
    content[min(len(content) - 1, int(len(content) * share))] ^= 4
    path.write_bytes(content)


DAMAGES = {
    "truncated to half": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    "truncated by a byte": lambda path: path.write_bytes(path.read_bytes()[:-1]),
    "emptied": lambda path: path.write_bytes(b""),
    "removed": lambda path: path.unlink(),
    "a byte more": lambda path: path.write_bytes(path.read_bytes() + b"\0"),
    "zeros": lambda path: path.write_bytes(bytes(path.stat().st_size)),
    **{f"bit at {share}": lambda path, share=share: flip(path, share) for share in (0, 0.25, 0.5, 0.75, 1)},
}


@pytest.fixture
def warnings(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    """What is logged from level WARNING on; a tool run before in this process may have cut our loggers off from the root's."""
    monkeypatch.setattr(logging.getLogger("ppdet_ext"), "propagate", True)
    caplog.set_level(logging.WARNING)
    return caplog


@pytest.fixture
def copied(runs: Runs, tmp_path: Path) -> Path:
    """A copy of the killed run's folder."""
    return Path(shutil.copytree(runs.killed / RUN, tmp_path / "run"))


@pytest.mark.parametrize(("file", "damage"), [
    (file, damage) for file in FILES for damage in DAMAGES if file != "manifest.json" or not damage.startswith("bit")
])  # fmt: skip
def test_damaged_checkpoint_is_passed_over_and_named(file: str, damage: str, copied: Path, warnings) -> None:
    DAMAGES[damage](copied / "checkpoints" / KEPT[0] / file)
    assert newest_checkpoint(copied).path.name == KEPT[1]
    assert len(warnings.messages) == 1
    assert KEPT[0] in warnings.messages[0]
    assert file in warnings.messages[0]


def test_every_byte_of_the_manifest_counts(copied: Path) -> None:
    manifest = copied / "checkpoints" / KEPT[0] / "manifest.json"
    whole, accepted = manifest.read_bytes(), []
    for place in range(0, len(whole), 7):
        manifest.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        if newest_checkpoint(copied).path.name == KEPT[0]:
            accepted.append(whole[max(0, place - 20) : place + 20])
    assert accepted == []


def test_manifest_moved_to_another_checkpoint(copied: Path, warnings) -> None:
    shutil.copy(copied / "checkpoints" / KEPT[1] / "manifest.json", copied / "checkpoints" / KEPT[0])
    assert newest_checkpoint(copied).path.name == KEPT[1]
    assert KEPT[0] in warnings.text


def test_unfinished_folders_are_no_checkpoints(copied: Path) -> None:
    folder = copied / "checkpoints"
    shutil.copytree(folder / KEPT[0], folder / ".epoch_2.part")
    shutil.copytree(folder / KEPT[0], folder / ".epoch_2_step_4.old")
    (folder / "epoch_2.bak").mkdir()
    assert newest_checkpoint(copied).path.name == KEPT[0]


def test_the_newest_two_damaged(copied: Path, warnings) -> None:
    flip(copied / "checkpoints" / KEPT[0] / "model.pdopt", 0.3)
    (copied / "checkpoints" / KEPT[1] / "state.json").unlink()
    assert newest_checkpoint(copied).path.name == KEPT[2]
    assert [name in message for name, message in zip(KEPT, warnings.messages)] == [True, True]


def test_all_damaged_is_an_error_and_nothing_is_touched(runs: Runs, tmp_path: Path) -> None:
    shutil.copytree(runs.killed, tmp_path / "run")
    for name in KEPT:
        flip(tmp_path / "run" / RUN / "checkpoints" / name / "model.pdparams", 0.5)
    with pytest.raises(UserError, match="All 3 checkpoints"):
        newest_checkpoint(tmp_path / "run" / RUN)
    shutil.copytree(tmp_path / "run", tmp_path / "tried")
    outcome = runs.train(tmp_path / "tried")
    assert outcome.codes == (1,), outcome.text
    assert all(name in outcome.text for name in KEPT)
    assert "starting anew" not in outcome.text
    assert differences(tmp_path / "run" / RUN, tmp_path / "tried" / RUN) == []


def rest(expected: Path, found: Path) -> list[str]:
    """Differences of two runs' folders, but for damaged checkpoints that were moved aside."""
    return [line for line in differences(expected / RUN, found / RUN) if not line.startswith("earlier_")]


@pytest.mark.parametrize(("name", "file", "damage", "chosen"), [
    (KEPT[0], "model.pdopt", "bit at 0.5", KEPT[1]),
    (KEPT[0], "manifest.json", "removed", KEPT[1]),
    (".epoch_2_step_4.part", "model.pdparams", "truncated to half", KEPT[0]),
])  # fmt: skip
def test_training_goes_on_to_the_same_end(name: str, file: str, damage: str, chosen: str, runs: Runs, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(runs.killed, tmp_path / "run"))
    target = folder / RUN / "checkpoints" / name
    if not target.exists():
        shutil.copytree(folder / RUN / "checkpoints" / KEPT[0], target)
    DAMAGES[damage](target / file)
    outcome = runs.train(folder)
    assert outcome.codes == (0,), outcome.text
    assert re.search(rf"Resumed from \S*/{chosen}:", outcome.text)
    assert re.search(rf"WARNING: .*{re.escape(name)}", outcome.text)
    assert rest(runs.whole, folder) == []


def test_a_save_that_is_cut_off_loses_nothing(runs: Runs, tmp_path: Path, executor: ThreadPoolExecutor) -> None:
    """SIGKILL before each file operation of an epoch's end in turn: records, checkpoint, deletion of the oldest, best model."""
    counted = kill_in_save(runs, tmp_path, 10**6)
    operations = re.findall(r"operation (\d+): (.*)", counted.text)
    described = "\n".join(text for _, text in operations)
    assert all(word in described for word in ("epoch_1.part", "metrics.jsonl", "best_model.pdparams", ".epoch_0")), described
    counts = range(1, len(operations) + 1)
    wrong = list(executor.map(lambda count: lost(runs, tmp_path, count), counts))
    # Not every operation changes a file; a run goes on in the same way from the same files.
    changed = [count for count in counts if count == 1 or not same(tmp_path / f"cut{count - 1}", tmp_path / f"cut{count}")]
    assert 10 < len(changed) < len(counts)
    wrong += list(executor.map(lambda count: ended_otherwise(runs, tmp_path, count), changed))
    assert [lines for lines in wrong if lines] == []


def kill_in_save(runs: Runs, tmp_path: Path, count: int) -> Outcome:
    folder = Path(shutil.copytree(runs.before_save, tmp_path / f"cut{count}"))
    return runs.train(folder, KillInSave(folder / RUN, 1, 4, count), Strike(2, 0, moment="before_epoch"))


def lost(runs: Runs, tmp_path: Path, count: int) -> list[str]:
    """What is wrong after a kill before the `count`-th operation."""
    outcome = kill_in_save(runs, tmp_path, count)
    folder = tmp_path / f"cut{count}"
    before, after = (path / RUN / "checkpoints" for path in (runs.before_save, folder))
    wrong = [f"it ended with {outcome.codes}"] if outcome.codes != (-signal.SIGKILL,) else []
    complete = (after / "epoch_1").is_dir()
    for old in before.iterdir():
        # Once there is a new one, which is the best too, the oldest may go.
        if not (complete and old.name == "epoch_0"):
            wrong += differences(old, after / old.name)
    chosen = newest_checkpoint(folder / RUN).path.name
    wrong += [] if chosen == ("epoch_1" if complete else "epoch_1_step_4") else [f"chosen: {chosen}"]
    return [f"before operation {count}: {line}" for line in wrong]


def same(one: Path, two: Path) -> bool:
    """Whether two runs' folders have the same files and folders."""
    names = [{path.relative_to(folder / RUN) for path in (folder / RUN).rglob("*")} for folder in (one, two)]
    return names[0] == names[1] and differences(one / RUN, two / RUN) == []


def ended_otherwise(runs: Runs, tmp_path: Path, count: int) -> list[str]:
    """What is wrong after a run that goes on from where the `count`-th operation was to be."""
    folder = tmp_path / f"cut{count}"
    outcome = runs.train(folder)
    wrong = [] if outcome.codes == (0,) else [outcome.text]
    wrong += rest(runs.whole, folder)
    return [f"going on from before operation {count}: {line}" for line in wrong]


def test_full_disk_leaves_the_old_checkpoints(runs: Runs, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(runs.before_save, tmp_path / "run"))
    outcome = runs.train(folder, FileSizeLimit(100_000))
    assert outcome.codes == (1,), outcome.text
    message = re.search(r"^error: .*", outcome.text, re.MULTILINE)[0]
    assert "File too large" in message
    assert "epoch_1" in message
    assert differences(runs.before_save / RUN / "checkpoints", folder / RUN / "checkpoints") == []
    assert runs.train(folder).codes == (0,)
    assert rest(runs.whole, folder) == []
