"""A run that is ended anywhere and started again with the same command ends as the run that was left alone: every bit of
weights, optimizer, average, scaler, records and remaining checkpoints."""

import re
import signal
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest
from faults import Forget, Strike
from forked_runs import Outcome, run
from same_run import differences

from tests.resume.cells import CELLS, Cell, Setting

RUN = Path("out", "tiny")
EXIT = {signal.SIGKILL: -signal.SIGKILL, signal.SIGTERM: 143, signal.SIGINT: 130, signal.SIGUSR1: 0}


class Matrix:
    """Runs cells, as many at a time as the executor takes; each setting is trained without interruption once."""

    def __init__(self, config: str, folder: Path, executor: ThreadPoolExecutor) -> None:
        self.config, self.folder, self.executor = config, folder, executor
        self._references: dict[Setting, Future[Path]] = {}

    def reference(self, setting: Setting) -> Future[Path]:
        """Folder of the uninterrupted run."""
        if setting not in self._references:
            self._references[setting] = self.executor.submit(self._uninterrupted, setting)
        return self._references[setting]

    def _uninterrupted(self, setting: Setting) -> Path:
        folder = self.folder / f"reference-{setting}"
        outcome = self.run(setting, folder)
        assert set(outcome.codes) == {0}, outcome.text
        return folder / RUN

    def run(self, setting: Setting, folder: Path, *changes) -> Outcome:
        config = Path(self.config).parent / "segmentation" / "tiny.yml" if setting.segmentation else self.config
        argv = ["-c", str(config), *setting.argv]
        return run(argv, folder, ranks=setting.ranks, changes=(*setting.changes, *changes))

    def check(self, cell: Cell) -> list[str]:
        """Run a cell; what differs from the uninterrupted run."""
        folder = self.folder / str(cell)
        for strike in cell.strikes:
            outcome = self.run(cell.setting, folder, strike)
            for rank in strike.ranks:
                assert outcome.codes[rank] == EXIT[strike.signum], outcome.text
            if strike.signum != signal.SIGKILL:
                assert set(outcome.codes) == {EXIT[strike.signum]}, outcome.text
        outcome = self.run(cell.setting, folder)
        assert set(outcome.codes) == {0}, outcome.text
        return [*self._wrong_start(cell, folder), *differences(self.reference(cell.setting).result(), folder / RUN)]

    def _wrong_start(self, cell: Cell, folder: Path) -> list[str]:
        """The log says where each run began; a run that starts anew instead would end the same too."""
        lines = []
        for number, expected in enumerate(cell.resumed, 1):
            text = (folder / f"run{number}.rank0.log").read_text()
            match = re.search(r"Resumed from \S*/(epoch_\w+)", text)
            if (match and match[1]) != expected:
                lines.append(f"run {number} began at {match and match[1]}, not at {expected}")
        return lines


@pytest.fixture(scope="module")
def matrix(config: str, module_path: Path, executor: ThreadPoolExecutor) -> Matrix:
    return Matrix(config, module_path, executor)


@pytest.fixture(scope="module")
def checked(matrix: Matrix, request: pytest.FixtureRequest) -> dict[str, Future[list[str]]]:
    """Name of each cell that this session tests -> what differs; all are under way, references first."""
    chosen = [item.callspec.params.get("cell") for item in request.session.items if hasattr(item, "callspec")]
    cells = [cell for cell in chosen if isinstance(cell, Cell)]
    for cell in cells:
        matrix.reference(cell.setting)
    return {str(cell): matrix.executor.submit(matrix.check, cell) for cell in cells}


@pytest.mark.parametrize("cell", CELLS, ids=str)
def test_resumed_run_is_the_uninterrupted_one(cell: Cell, checked: dict[str, Future[list[str]]]) -> None:
    assert checked[str(cell)].result() == []


def test_number_of_workers_changes_nothing(matrix: Matrix) -> None:
    none, two = (matrix.reference(Setting("plain", 1, workers)).result() for workers in (0, 2))
    for name in ("model_final.pdparams", "metrics.jsonl", "checkpoints/epoch_2/model.pdopt"):
        assert (none / name).read_bytes() == (two / name).read_bytes()


def test_a_damaged_checkpoint_of_a_segmentor_is_passed_over(matrix: Matrix) -> None:
    setting = Setting("segmentation", 1, 2, True)
    folder = matrix.folder / "torn segmentation"
    matrix.run(setting, folder, Strike(2, 2))
    state = folder / RUN / "checkpoints" / "epoch_2_step_2" / "model.pdopt"
    state.write_bytes(state.read_bytes()[:-100])
    outcome = matrix.run(setting, folder)
    assert outcome.codes == (0,), outcome.text
    assert re.search(r"Resumed from \S*/epoch_1:", outcome.text)
    lines = differences(matrix.reference(setting).result(), folder / RUN)
    assert [line for line in lines if not line.startswith("earlier_")] == []


BROKEN = [
    ("average's count", Setting("ema"), "checkpoints/epoch_2/model.pdparams"),
    ("best so far", Setting("plain", evaluate=True), "checkpoints/epoch_2/state.json"),
    ("mean of the losses", Setting(), "metrics.jsonl"),
    ("optimizer", Setting(), "checkpoints/epoch_2/model.pdopt"),
    ("loss scale", Setting("amp"), "checkpoints/epoch_2/state.json"),
    ("place in the epoch", Setting(), "model_final.pdparams"),
    ("slow weights", Setting("segmentation", 1, 2, True), "checkpoints/epoch_2/model.pdopt"),
    ("mean loss of the epoch", Setting("segmentation-loss"), "checkpoints/epoch_2/state.json"),
]


@pytest.mark.parametrize(("thing", "setting", "file"), BROKEN, ids=[thing for thing, _, _ in BROKEN])
def test_a_resume_that_forgets_is_noticed(thing: str, setting: Setting, file: str, matrix: Matrix) -> None:
    folder = matrix.folder / f"forgets {thing}"
    matrix.run(setting, folder, Strike(2, 2))
    outcome = matrix.run(setting, folder, Forget(thing))
    assert set(outcome.codes) == {0}, outcome.text
    assert any(line.startswith(file) for line in differences(matrix.reference(setting).result(), folder / RUN))
