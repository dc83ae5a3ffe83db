"""`best_model.pdparams` and `model_final.pdparams`: weights for plain ppdet and `-o weights=`."""

import shutil
from pathlib import Path

from ppdet_ext.files.atomic import write_atomic

from .folder import WEIGHTS


def export_weights(checkpoint: Path, target: Path) -> None:
    """Copy the weights of a checkpoint's folder to `target` (`.pdparams`), atomically.

    A copy and no link: what a user does to this file must not damage the checkpoint. UserError when it cannot be written.
    """
    write_atomic(target, lambda aside: shutil.copyfile(checkpoint / WEIGHTS, aside))
