"""Shared fixtures: where the optional real data lies, folders of a file's and of the session's; which tests are slow."""

import faulthandler
import gc
import importlib
import logging
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from _pytest.faulthandler import fault_handler_stderr_fd_key
from hypothesis import HealthCheck, settings

import ppdet_ext  # noqa: F401  before paddle, so that its settings hold in tests too

# Paddle logs through the root logger; without a handler, logging would bind one to the first test's captured stderr.
logging.getLogger().addHandler(logging.NullHandler())
# How long an example takes depends on what else the machine does, so no property is judged by it.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")
ROOT = Path(__file__).resolve().parents[1]
# Their tests need neither paddle nor ppdet, which take seconds to import.
LIGHT = {
    ROOT / "tests" / name for name in ("structures", "files", "pages", "data/labels", "report/test_page.py", "test_house.py")
}

# What takes more than two seconds: files, folders, or single tests that train or start processes (`-m "not slow"`).
SLOW = (
    *("resume", "modeling/test_ranks.py", "modeling/test_reference_full.py", "modeling/test_reference_training.py"),
    *("modeling/test_winograd.py::test_forked_process_computes", "host/test_ppdet_runs.py", "host/test_backbones.py"),
    *(
        "config/test_shipped_configs_run.py",
        "weights/foreign/test_bombs.py",
        "hostile/test_bombs.py",
        "data/labels/test_safety.py::test_bombs_are_refused_in_little_memory",
        "test_installed.py",
    ),
    *("distributed/test_paddle_ranks.py", "distributed/test_stalling_ranks.py", "distributed/test_failing_ranks.py"),
    *("distributed/test_interrupt.py", "evaluation/test_evaluation_ranks.py", "tuning/test_search.py"),
    *("data/synthetic/test_sample_writer.py::test_command_line", "test_package.py::test_import_is_quiet_and_registers"),
    *(
        "commands/test_classifier.py",
        "commands/test_kfold.py",
        "commands/test_launch.py",
        "commands/test_submit_resumed.py",
        "commands/test_eval_launched.py",
    ),
    *("commands/test_pseudo_label.py", "commands/test_inference_flags.py", "commands/test_tune.py", "commands/test_convert.py"),
    *("commands/test_black_box.py::test_stopped", "commands/test_black_box.py::test_eval", "commands/test_submit.py"),
    "commands/test_segmentor.py",
    *("config/test_plugins.py::test_all_parts_of_the_page", "weights/test_class_names.py::test_there_and_back"),
    *("data/synthetic/test_sample_sheet.py::test_same_arguments", "inference/test_ensemble.py::test_one_views_features"),
    *("commands/test_black_box.py::test_without_the", "commands/test_split.py::test_a_command_line"),
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark slow tests, and put their files first: two processes that share the files then end together."""
    for item in items:
        if item.nodeid.removeprefix("tests/").startswith(SLOW):
            item.add_marker(pytest.mark.slow)
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: (item.path not in slow, "resume" not in item.path.parts))


def pytest_collection_finish() -> None:
    """What is imported stays: Python need not look through it for garbage again and again (2 % of the tests' time)."""
    gc.collect()
    gc.freeze()


def pytest_collectstart(collector: pytest.Collector) -> None:
    """Before a test file is imported: make known what configurations may name, unless its room is a light one."""
    heavy = isinstance(collector, pytest.Module) and not LIGHT & {collector.path, *collector.path.parents}
    if heavy and "ppdet_ext.register" not in sys.modules:
        importlib.import_module("ppdet_ext.register")
        _tell_crashes(collector.config)


def _tell_crashes(config: pytest.Config) -> None:
    """Paddle's handlers tell of a crash on the stderr that pytest has captured, which is lost with the process."""
    importlib.import_module("paddle").disable_signal_handler()
    stderr = config.stash.get(fault_handler_stderr_fd_key, None)
    if stderr is not None:
        faulthandler.disable()
        faulthandler.enable(file=stderr)


@pytest.fixture(scope="session")
def shared() -> Path:
    """Folder of real data beside the checkout; tests that need it skip, with this reason, where it is absent."""
    folder = Path(os.environ.get("PPDET_EXT_SHARED", ROOT.parent / "shared"))
    if not (folder / "data").is_dir():
        pytest.skip(f"real data not found beside the checkout ({folder.name}/data); set PPDET_EXT_SHARED")
    return folder


@pytest.fixture(scope="session")
def root() -> Path:
    """Root of the checkout."""
    return ROOT


@pytest.fixture(scope="module")
def module_path(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """As tmp_path, for a file's fixtures: what they train goes with the file's last test, not with the session's."""
    folder = tmp_path_factory.mktemp(request.path.stem)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(autouse=True, scope="session")
def cache_of_the_tests(tmp_path_factory):
    """Downloads and conversions go to a folder of the session's, those of subprocesses too."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PPDET_EXT_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(autouse=True, scope="session")
def logging_at_first() -> tuple[int, bool, list]:
    """Level, propagation and handlers of our logger before any tool has run."""
    logger = logging.getLogger("ppdet_ext")
    return logger.level, logger.propagate, list(logger.handlers)


@pytest.fixture(autouse=True)
def logging_as_it_was(logging_at_first):
    """Tools set our logger up for their own output; what they did, in fixtures of a session too, is undone for each test."""
    logger = logging.getLogger("ppdet_ext")
    level, logger.propagate, logger.handlers[:] = logging_at_first
    logger.setLevel(level)
