"""Where shipped files lie; what must stand before paddle is imported: settings of threads, matrix library and malloc.

Also packages whose names are imported when they are asked for.
"""

import contextlib
import ctypes
import importlib
import logging
import os
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any

_BLOCK = 1 << 30  # bytes of the largest block that malloc takes from its heap
PACKAGE = Path(__file__).resolve().parent
# The folder of `configs`: a checkout's root, or, installed without one, the package.
ROOT = PACKAGE if (PACKAGE / "configs").is_dir() else PACKAGE.parent


def names_on_demand(package: str, modules: Mapping[str, str]) -> Callable[[str], Any]:
    """The `__getattr__` of a package (PEP 562) whose names are imported when they are asked for.

    modules: name -> module that has it, relative to the package.
    """

    def give(name: str) -> Any:
        if name not in modules:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value = getattr(importlib.import_module(f"{package}.{modules[name]}"), name)
        setattr(sys.modules[package], name, value)
        return value

    return give


def cpu_facts() -> dict[str, str]:
    """The first processor's entries of /proc/cpuinfo (vendor_id, flags, …); empty where the system has no such file."""
    try:
        first = Path("/proc/cpuinfo").read_text().split("\n\n")[0]
    except OSError:
        return {}
    return {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in first.splitlines())}


def tune_environment() -> None:
    """Set thread and matrix-library defaults; variables the user has set are left alone. Before paddle is imported."""
    ranks = max(1, int(os.environ.get("PADDLE_TRAINERS_NUM", "1")))
    # Paddle's default is one thread, whatever the machine has.
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, min(16, (os.cpu_count() or 1) // ranks))))
    # Paddle's threads spin for 200 ms after each operator, on the cores that numpy's threads want (modeling/ops/winograd.py).
    os.environ.setdefault("KMP_BLOCKTIME", "1")
    cpu = cpu_facts()
    if cpu.get("vendor_id") == "AuthenticAMD":
        # The MKL inside the wheel takes its slowest path on AMD. These select AVX-512 or AVX2: products 2.6 times faster.
        os.environ.setdefault("MKL_DEBUG_CPU_TYPE", "7" if "avx512f" in cpu.get("flags", "").split() else "5")


def send_nothing() -> None:
    """Keep the engines of exported models from reporting their use over the network, which they do unless told not to.

    ONNX Runtime (from 1.29) starts a thread for it; OpenVINO forks this process when it is imported. Variables that the user
    has set, and a telemetry package that is already imported, are left alone.
    """
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    # What OpenVINO imports where the package is absent does nothing.
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]


def keep_freed_memory() -> bool:
    """Let glibc keep freed blocks of up to 1 GiB for the next tensor, in huge pages; False where the C library is another.

    Its default returns blocks over 32 MiB to the system, which must clear every page of the next one: a fifth of a training
    step. Variables that set malloc up (MALLOC_…) go before.
    """
    if any(name.startswith("MALLOC_") for name in os.environ):
        return False
    trim_threshold, mmap_threshold = -1, -3  # of malloc.h
    try:
        libc = ctypes.CDLL("libc.so.6")
        kept = libc.mallopt(mmap_threshold, _BLOCK) == 1 and libc.mallopt(trim_threshold, -1) == 1  # -1: nothing is returned
        if kept:
            _advise_huge_pages(libc)
        return kept
    except (OSError, AttributeError):
        return False


def _advise_huge_pages(libc: ctypes.CDLL) -> None:
    """Let the heap grow by half of the machine's memory, ask for huge pages there, and free it: no page of it is touched.

    Pages of 4 KiB cost a training step an eighth of its time, and systems give larger ones on demand only. Left out where
    address space is limited: it would be missing elsewhere.
    """
    import resource  # not on Windows, which has no glibc either

    huge, page = 14, os.sysconf("SC_PAGE_SIZE")  # 14: MADV_HUGEPAGE of mman.h
    limits = [resource.getrlimit(kind)[0] for kind in (resource.RLIMIT_AS, resource.RLIMIT_DATA)]
    if limits != [resource.RLIM_INFINITY] * 2 or _is_overcommit_forbidden():
        return
    libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
    libc.free.restype, libc.free.argtypes = None, [ctypes.c_void_p]
    libc.madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    size, blocks = _BLOCK // 2, []
    for _ in range(os.sysconf("SC_PHYS_PAGES") * page // 2 // size):
        block = libc.malloc(size)
        if block is None:
            break
        blocks.append(block)
        libc.madvise(block - block % page, size + page, huge)
    for block in blocks:
        libc.free(block)


def _is_overcommit_forbidden() -> bool:
    """Whether the system counts memory that is asked for, used or not."""
    try:
        return Path("/proc/sys/vm/overcommit_memory").read_text().strip() == "2"
    except OSError:
        return True


def give_freed_memory_back() -> bool:
    """Return what glibc keeps of freed blocks to the system: where nothing as large comes again. False without glibc."""
    try:
        return ctypes.CDLL("libc.so.6").malloc_trim(0) in (0, 1)
    except (OSError, AttributeError):
        return False


def quiet_imports() -> None:
    """Ignore the warning about ccache that paddle gives when it is imported; nothing is compiled here."""
    warnings.filterwarnings("ignore", message="No ccache found")


def stand_in_home() -> None:
    """Give a home that nobody can write to where there is none, as in containers with a user id of no name.

    Path.home() and matplotlib raise there; with such a home caches are left out, as ours are.
    """
    try:
        Path.home()
    except RuntimeError:
        os.environ["HOME"] = "/nonexistent"


def open_standard_streams() -> None:
    """Open stdin, stdout and stderr on the null device where they are closed, as under some daemons.

    Otherwise the next file that is opened gets the number 1, and what a library prints goes into it.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            # The lowest number that is free, which is this one.
            os.open(os.devnull, os.O_RDWR)
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, "r" if number == 0 else "w", closefd=False))  # noqa: SIM115


@contextlib.contextmanager
def muted() -> Iterator[None]:
    """Hold back what Python and C write to stdout and stderr; give it out after all if the block raises.

    Handlers of logs that the block makes write, afterwards, where they would have written without us.
    """
    open_standard_streams()
    sys.stdout.flush()
    sys.stderr.flush()
    with tempfile.TemporaryFile() as sink, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        saved = [os.dup(1), os.dup(2)]
        try:
            os.dup2(sink.fileno(), 1)
            os.dup2(sink.fileno(), 2)
            live = sys.stdout, sys.stderr
            with (
                open(os.devnull, "w") as out,
                open(os.devnull, "w") as err,
                contextlib.redirect_stdout(out),
                contextlib.redirect_stderr(err),
            ):
                yield
                _give_back(dict(zip((out, err), live)))
        except BaseException:
            os.dup2(saved[1], 2)
            sink.seek(0)
            sys.stderr.write(sink.read().decode(errors="replace"))
            raise
        finally:
            for fd, copy in zip((1, 2), saved):
                os.dup2(copy, fd)
                os.close(copy)


def _give_back(live: dict[IO[str], IO[str]]) -> None:
    """Let handlers of logs write to the live stream in place of the held one, which is closed soon."""
    for logger in [logging.getLogger(), *logging.Logger.manager.loggerDict.values()]:
        for handler in getattr(logger, "handlers", ()):
            if getattr(handler, "stream", None) in live:
                handler.stream = live[handler.stream]


def import_paddle() -> None:
    """Import paddle without its warnings about threads and ccache."""
    with muted():
        import paddle  # noqa: F401
