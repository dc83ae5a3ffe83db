"""What lies in a run's folder and is not of the run that goes on there: moved aside, never deleted."""

import logging
import shutil
from pathlib import Path

from .folder import (
    BEST,
    CHECKPOINTS,
    CONFIG_FILE,
    CURVES,
    ENVIRONMENT_FILE,
    EVENTS,
    FINAL,
    LOG_FILE,
    METRICS_FILE,
    REPORT_FILES,
    Position,
    list_folders,
)

# A resumed run goes on with these.
_SHARED = (METRICS_FILE, CONFIG_FILE, ENVIRONMENT_FILE)
logger = logging.getLogger("ppdet_ext")


def set_aside(run: Path, after: Position | None = None) -> Path | None:
    """Move checkpoints and results of an earlier run in the folder `run` to `run/earlier_<n>`; gives that, None if nothing was.

    Args:
        run: the run's folder.
        after: checkpoints up to this position stay; None moves all.
    """
    folders = [folder for folder in list_folders(run) if after is None or (Position.parse(folder.name) or after) > after]
    files = [run / name for name in (FINAL, BEST) if (run / name).is_file()]
    if not folders and (after is not None or not files):
        return None
    target = _new_folder(run)
    for file in [run / name for name in _SHARED if (run / name).is_file()]:
        shutil.copy2(file, target / file.name)
    # Checkpoints last: as long as they are there, a run that is ended in the midst can be resumed or set aside again.
    for file in files:
        file.rename(target / file.name)
    for path in [run / name for name in (CURVES, EVENTS, LOG_FILE, *REPORT_FILES) if after is None and (run / name).exists()]:
        path.rename(target / path.name)
    for folder in folders:
        folder.rename(target / CHECKPOINTS / folder.name)
    moved = ", ".join([*(folder.name for folder in reversed(folders)), *(file.name for file in files)])
    what = "what an earlier run left" if after is None else f"checkpoints after {after.name} (damaged, or of another course)"
    logger.warning("Moved %s in %s to %s: %s", what, run, target.name, moved)
    return target


def set_aside_one(run: Path, position: Position) -> None:
    """Move the checkpoint of one position, if there is one."""
    folder = run / CHECKPOINTS / position.name
    if folder.is_dir():
        target = _new_folder(run)
        folder.rename(target / CHECKPOINTS / folder.name)
        logger.warning("Moved %s of an earlier run to %s", folder, target.name)


def _new_folder(run: Path) -> Path:
    number = next(n for n in range(1, 10**6) if not (run / f"earlier_{n}").exists())
    (run / f"earlier_{number}" / CHECKPOINTS).mkdir(parents=True)
    return run / f"earlier_{number}"
