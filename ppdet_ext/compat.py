"""What paddledet 2.6 on paddlepaddle 3 needs at run time, each item with its reason. Nothing of the host is edited on disk."""

import contextlib
import logging
import os
import sys
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path


def cpu_vendor() -> str:
    """Vendor string of the first CPU ('GenuineIntel', 'AuthenticAMD'), or '' where the system does not say."""
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return ""
    return next((line.split(":")[1].strip() for line in text.splitlines() if line.startswith("vendor_id")), "")


def tune_environment() -> None:
    """Set thread and matrix-library defaults; variables the user has set are left alone. Before paddle is imported."""
    ranks = max(1, int(os.environ.get("PADDLE_LOCAL_SIZE", os.environ.get("PADDLE_TRAINERS_NUM", "1"))))
    # Paddle's default is one thread, whatever the machine has.
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // ranks)))
    if cpu_vendor() == "AuthenticAMD":
        # The MKL inside the wheel takes its slowest path on AMD; this selects AVX2 and makes training 2.5 times faster.
        os.environ.setdefault("MKL_DEBUG_CPU_TYPE", "5")


@contextlib.contextmanager
def muted() -> Iterator[None]:
    """Hold back what Python and C write to stdout and stderr; give it out after all if the block raises."""
    sys.stdout.flush()
    sys.stderr.flush()
    with tempfile.TemporaryFile() as sink, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        saved = [os.dup(1), os.dup(2)]
        try:
            os.dup2(sink.fileno(), 1)
            os.dup2(sink.fileno(), 2)
            with open(os.devnull, "w") as null, contextlib.redirect_stdout(null), contextlib.redirect_stderr(null):
                yield
        except BaseException:
            os.dup2(saved[1], 2)
            sink.seek(0)
            sys.stderr.write(sink.read().decode(errors="replace"))
            raise
        finally:
            for fd, copy in zip((1, 2), saved):
                os.dup2(copy, fd)
                os.close(copy)


def import_host() -> None:
    """Import paddle and ppdet without their import-time noise (ccache, OMP and PP-Tracking warnings)."""
    # Flask (VisualDL) and matplotlib write their own INFO lines through the handlers paddle installs.
    for name in ("matplotlib", "matplotlib.font_manager", "werkzeug"):
        logging.getLogger(name).setLevel(logging.WARNING)
    with muted():
        import paddle
        import ppdet  # noqa: F401
        from ppdet.core import workspace  # noqa: F401
        # ppdet's trainer imports set the root logger's level; the data and modeling packages are all we use.
    paddle.concat = _concat_accepting_scalars(paddle.concat)


def _concat_accepting_scalars(concat):
    """Paddle 3 makes `paddle.shape(x)[0]` 0-D and `concat` refuses 0-D; ppdet 2.6 concatenates such counts."""
    if getattr(concat, "accepts_scalars", False):
        return concat

    def wrapped(x, axis=0, name=None, **kwargs):
        if isinstance(x, (list, tuple)):
            x = [item.reshape([1]) if getattr(item, "ndim", 1) == 0 else item for item in x]
        return concat(x, axis, name, **kwargs)

    wrapped.accepts_scalars = True
    return wrapped
