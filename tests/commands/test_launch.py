"""Training on two ranks under paddle.distributed.launch, as its users start it and stop it."""

import importlib.util
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from ppdet_ext.weights.files.paddle_file import read_data_file

ROOT = Path(__file__).resolve().parents[2]
SECONDS = 150
EPOCHS = 5
# Three steps an epoch: enough to be met in the middle once the first checkpoint is there.
OPTIONS = [f"epoch={EPOCHS}", "TrainReader.batch_size=1", "snapshot_iter=2", "log_iter=1"]
# The loop of docs/distributed.md.
RESTARTS = """
for attempt in 1 2 3 4 5; do
    "$@" && exit
    code=$?
    case $code in 2|3|15) exit $code;; esac
done
exit $code
"""


class Processes:
    """What a test starts, and what that starts; ranks have sessions of their own and outlive a launcher that is killed."""

    def __init__(self) -> None:
        self.tag = uuid.uuid4().hex

    def start(self, command: list[str], folder: Path) -> subprocess.Popen:
        """Run `command` in `folder`; what it prints is appended to the file `printed` there."""
        folder.mkdir(parents=True, exist_ok=True)
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "TEST_LAUNCH": self.tag, "TEST_FOLDER": str(folder)}
        with (folder / "printed").open("ab") as out:
            return subprocess.Popen(command, cwd=folder, stdout=out, stderr=out, env=environment, start_new_session=True)

    def rank(self, number: int) -> int:
        """Process id of a rank."""
        return next(pid for pid, variables in self._all() if variables.get("PADDLE_TRAINER_ID") == str(number))

    def kill(self, folder: Path | None = None) -> None:
        """kill -9 of everything, or of all that was started in `folder`, until nothing of it is left."""
        while left := [pid for pid, variables in self._all() if folder is None or variables["TEST_FOLDER"] == str(folder)]:
            for pid in left:
                os.kill(pid, signal.SIGKILL)
            time.sleep(0.02)

    def _all(self) -> Iterator[tuple[int, dict[str, str]]]:
        """Process id and environment of each."""
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                items = (entry / "environ").read_text(errors="replace").split("\0")
            except OSError:
                continue
            variables = dict(item.split("=", 1) for item in items if "=" in item)
            if variables.get("TEST_LAUNCH") == self.tag:
                yield int(entry.name), variables


@pytest.fixture(scope="module")
def processes() -> Iterator[Processes]:
    processes = Processes()
    yield processes
    processes.kill()


def command(config: str, folder: Path, *flags: str) -> list[str]:
    launcher = [sys.executable, "-m", "paddle.distributed.launch", *flags]
    return [*launcher, str(ROOT / "tools" / "train.py"), "-c", config, "-r", "auto", "-o", f"save_dir={folder}", *OPTIONS]


def wait_for(condition: Callable[[], object], process: subprocess.Popen, printed: Path) -> None:
    """Until `condition` holds; an error when the process ends before, or takes too long."""
    deadline = time.monotonic() + SECONDS
    while True:
        code = process.poll()
        if condition():
            return
        assert code is None, f"ended with {code}:\n{printed.read_text()[-3000:]}"
        assert time.monotonic() < deadline, f"nothing after {SECONDS} s:\n{printed.read_text()[-3000:]}"
        time.sleep(0.05)


def end_of(process: subprocess.Popen, printed: Path) -> int:
    """Exit code; an error when it takes too long."""
    wait_for(lambda: process.poll() is not None, process, printed)
    return process.returncode


def checkpoints(folder: Path) -> list[str]:
    return sorted(entry.name for entry in (folder / "tiny" / "checkpoints").glob("epoch_*"))


def assert_same_run(one: Path, two: Path) -> None:
    """Bit-identical weights, optimizer and losses."""
    last = f"checkpoints/epoch_{EPOCHS - 1}"
    for name in ("model_final.pdparams", f"{last}/model.pdparams", f"{last}/model.pdopt"):
        before, after = (read_data_file(folder / "tiny" / name) for folder in (one, two))
        assert list(before) == list(after)
        for key, value in before.items():
            np.testing.assert_array_equal(value, after[key], err_msg=f"{name}: {key}")
    assert losses(one) == losses(two)


def losses(folder: Path) -> list[dict]:
    lines = map(json.loads, (folder / "tiny" / "metrics.jsonl").read_text().splitlines())
    return [{key: value for key, value in line.items() if "cost" not in key and key not in ("ips", "eta")} for line in lines]


@pytest.fixture(scope="module")
def whole(processes: Processes, config: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a run of two ranks that nothing interrupted."""
    folder = tmp_path_factory.mktemp("launch")
    launcher = processes.start(command(config, folder, "--nproc_per_node", "2"), folder)
    assert end_of(launcher, folder / "printed") == 0, (folder / "printed").read_text()[-3000:]
    return folder


def test_two_ranks_on_a_cpu(whole: Path) -> None:
    first, second = ((whole / "log" / f"workerlog.{rank}").read_text() for rank in (0, 1))
    assert "Saved" in first
    assert "Saved" not in second
    assert "Epoch: " not in second
    assert [line["iteration"] for line in losses(whole)] == list(range(EPOCHS * 3))
    assert all(np.isfinite(value).all() for value in read_data_file(whole / "tiny" / "model_final.pdparams").values())


def test_sigterm_to_the_launcher_saves_and_the_same_command_goes_on_to_the_same_bits(
    processes: Processes, config: str, whole: Path, tmp_path: Path
) -> None:
    arguments = command(config, tmp_path, "--nproc_per_node", "2")
    launcher = processes.start(arguments, tmp_path)
    wait_for(lambda: checkpoints(tmp_path), launcher, tmp_path / "printed")
    launcher.terminate()
    assert end_of(launcher, tmp_path / "printed") == signal.SIGTERM
    log = (tmp_path / "log" / "workerlog.0").read_text()
    saved = checkpoints(tmp_path)
    assert f"epoch_{EPOCHS - 1}" not in saved
    assert "Interrupted. Saved: " in log
    assert "Traceback" not in log

    assert end_of(processes.start(arguments, tmp_path), tmp_path / "printed") == 0
    assert "Resumed from " in (tmp_path / "log" / "workerlog.0").read_text()[len(log) :]
    assert_same_run(whole, tmp_path)


def test_sigusr1_to_a_whole_job_step_saves_and_ends_with_0(processes: Processes, config: str, tmp_path: Path) -> None:
    deaf = ["bash", "-c", 'trap "" USR1; exec "$@"', "-", *command(config, tmp_path, "--nproc_per_node", "2")]
    launcher = processes.start(deaf, tmp_path)
    wait_for(lambda: checkpoints(tmp_path), launcher, tmp_path / "printed")
    for pid in (launcher.pid, processes.rank(1), processes.rank(0)):
        os.kill(pid, signal.SIGUSR1)
    assert end_of(launcher, tmp_path / "printed") == 0
    assert "Interrupted. Saved: " in (tmp_path / "log" / "workerlog.0").read_text()
    assert not (tmp_path / "tiny" / "model_final.pdparams").exists()


def test_a_rank_that_is_killed_ends_the_run_and_is_named(processes: Processes, config: str, tmp_path: Path) -> None:
    launcher = processes.start(command(config, tmp_path, "--nproc_per_node", "2"), tmp_path)
    wait_for(lambda: checkpoints(tmp_path), launcher, tmp_path / "printed")
    os.kill(processes.rank(1), signal.SIGKILL)
    assert launcher.wait(30) not in (0, signal.SIGTERM)
    assert "rank 1 is gone" in (tmp_path / "log" / "workerlog.0").read_text()
    assert not (tmp_path / "tiny" / "model_final.pdparams").exists()


NO_ETCD = shutil.which("etcd") is None or importlib.util.find_spec("etcd3") is None


def start_etcd(processes: Processes, port: int, folder: Path) -> None:
    urls = [f"http://127.0.0.1:{number}" for number in (port, port + 1)]
    flags = ["--listen-client-urls", urls[0], "--advertise-client-urls", urls[0], "--listen-peer-urls", urls[1]]
    processes.start(["etcd", "--data-dir", str(folder / "data"), *flags], folder)


@pytest.mark.parametrize("master", [
    "",
    pytest.param("etcd://", marks=pytest.mark.skipif(NO_ETCD, reason="etcd and etcd3 are not installed")),
])  # fmt: skip
def test_a_machine_that_is_lost_and_comes_back(
    processes: Processes, config: str, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, master: str
) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    nodes = [tmp_path / "node0", tmp_path / "node1"]
    common = ["--nnodes", "2", "--nproc_per_node", "1", "--master", f"{master}127.0.0.1:{port}"]
    if master:
        # docs/distributed.md says why.
        monkeypatch.setenv("PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION", "python")
        monkeypatch.setenv("GRPC_ENABLE_FORK_SUPPORT", "0")
        start_etcd(processes, port, tmp_path / "etcd")
        common += ["--elastic_level", "1", "--job_id", "test"]

    def start(number: int) -> subprocess.Popen:
        flags = [*common, "--rank", str(number)]
        return processes.start(["bash", "-c", RESTARTS, "-", *command(config, tmp_path, *flags)], nodes[number])

    loops = [start(0), start(1)]
    wait_for(lambda: checkpoints(tmp_path), loops[0], nodes[0] / "printed")
    processes.kill(nodes[1])
    assert not (tmp_path / "tiny" / "model_final.pdparams").exists()
    loops[1] = start(1)
    assert [end_of(loop, node / "printed") for loop, node in zip(loops, nodes)] == [0, 0]
    log = (nodes[0] / "log" / "workerlog.0").read_text()
    assert "rank 1 is gone" in log
    assert "Resumed from " in log
    assert_same_run(whole, tmp_path)
