"""What lies in a run's folder and is not of the run that goes on there: moved aside, never deleted."""

import logging
import shutil
from pathlib import Path

from .checkpoint.folder import CHECKPOINTS, list_folders
from .checkpoint.position import Position
from .hooks.metrics_file import METRICS_FILE
from .hooks.save import BEST, FINAL

logger = logging.getLogger("ppdet_ext.engine")


def set_aside(run: Path, after: Position | None = None) -> Path | None:
    """Move checkpoints and results of an earlier run in the folder `run` to `run/earlier_<n>`; gives that, None if nothing was.

    Args:
        run: the run's folder.
        after: checkpoints up to this position stay, with the records and the best model; None moves all.
    """
    folders = [folder for folder in list_folders(run) if after is None or Position.parse(folder.name) > after]
    names = [FINAL] if after is not None else [FINAL, BEST, METRICS_FILE]
    files = [run / name for name in names if (run / name).is_file()]
    if not folders and (after is not None or not any(file.name != METRICS_FILE for file in files)):
        return None
    number = next(n for n in range(1, 10**6) if not (run / f"earlier_{n}").exists())
    target = run / f"earlier_{number}"
    (target / CHECKPOINTS).mkdir(parents=True)
    for folder in folders:
        folder.rename(target / CHECKPOINTS / folder.name)
    for file in files:
        file.rename(target / file.name)
    if after is not None and (run / METRICS_FILE).is_file():
        # The resumed run drops the lines of steps it will repeat.
        shutil.copy2(run / METRICS_FILE, target / METRICS_FILE)
    moved = ", ".join([*(folder.name for folder in reversed(folders)), *(file.name for file in files)])
    logger.warning("Moved what an earlier run left in %s to %s: %s", run, target.name, moved)
    return target
