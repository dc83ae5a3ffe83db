"""Files that would take all memory, read in a process of their own that may take little of it."""

import os
import resource
import subprocess
import sys
from pathlib import Path

from ppdet_ext.environment import give_freed_memory_back

ROOT = Path(__file__).resolve().parents[2]
LIMIT = 256 << 20


def limit_memory() -> None:
    """From now on this process gets no more than `LIMIT` bytes beside what its imports have taken."""
    give_freed_memory_back()  # and the address space that is kept for more
    taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (taken + LIMIT, taken + LIMIT))


def demand_refusals(module: str, expected: dict[str, str]) -> None:
    """Run a module that prints "what: why" for each file that it refuses; why has to hold the text that is expected."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", module]
    done = subprocess.run(command, capture_output=True, text=True, timeout=500, env=environment, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    found = dict(line.split(": ", 1) for line in done.stdout.splitlines())
    assert list(found) == list(expected)
    assert {what: found[what] for what, text in expected.items() if text not in found[what]} == {}
