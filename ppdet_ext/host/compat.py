"""What paddledet 2.6 on paddlepaddle 3 needs at run time, each item with its reason; no file of the host is changed."""

import contextlib
import logging
import os
import sys
import tempfile
import warnings
from collections.abc import Iterator


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
    # Said by every batch norm at every step; with stored statistics it is not even true.
    warnings.filterwarnings("ignore", message="When training, we now always track global mean and variance")
    with muted():
        import paddle
        import ppdet  # noqa: F401  brings all its parts and their warnings
    # The host set up the root logger while its output was held back; left so, every later line would go to a closed file.
    loggers = [logging.getLogger(), *logging.Logger.manager.loggerDict.values()]
    for logger in loggers:
        for handler in list(getattr(logger, "handlers", ())):
            if getattr(getattr(handler, "stream", None), "closed", False):
                logger.removeHandler(handler)
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
