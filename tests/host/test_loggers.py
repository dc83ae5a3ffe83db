"""Importing the package leaves the host's loggers as the host made them, and hides nothing but import-time noise."""

import json
import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow
SHOW = """
import json, logging, sys
found = {}
for name, logger in logging.Logger.manager.loggerDict.items():
    if name.startswith("ppdet.") or name in ("reader", "hapi", "paddle.optimizer.optimizer"):
        found[name] = [getattr(logger, "level", None), getattr(logger, "propagate", None)] + [
            [type(h).__name__, h.level, h.formatter._fmt, h.stream is sys.stdout, h.stream is sys.stderr]
            for h in getattr(logger, "handlers", [])
        ]
logging.getLogger("ppdet.engine").info("a line of the host")
print("loggers", json.dumps(found))
"""


def run(imports: str, root: str) -> tuple[list[str], dict, str]:
    """Lines on stdout, loggers by name, and stderr of a process that imports so."""
    environment = {**os.environ, "PYTHONPATH": root, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-W", "ignore", "-c", imports + SHOW]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment, check=True)
    *lines, loggers = done.stdout.splitlines()
    return lines, json.loads(loggers.removeprefix("loggers ")), done.stderr


@pytest.fixture(scope="module")
def both(root) -> tuple:
    return run("import paddle, ppdet", str(root)), run("import ppdet_ext.register", str(root))


def test_the_loggers_are_as_the_host_makes_them(both) -> None:
    (_, theirs, _), (_, ours, _) = both
    assert ours == theirs
    assert ["StreamHandler", 10, "[%(asctime)s] %(name)s %(levelname)s: %(message)s", True, False] in ours["ppdet.engine"]


def test_a_line_of_the_host_is_printed_and_import_noise_is_not(both) -> None:
    (theirs, _, _), (ours, _, errors) = both
    assert [line.split("] ", 1)[1] for line in ours] == ["ppdet.engine INFO: a line of the host"]
    assert theirs[-1].endswith("ppdet.engine INFO: a line of the host")
    assert not errors
