"""What paddledet 2.6 on paddlepaddle 3 needs at run time, each item with its reason; no file of the host is changed."""

import importlib.util
import logging
import sys
import warnings
from typing import Any

import numpy as np

from ppdet_ext.environment import muted
from ppdet_ext.errors import UserError
from ppdet_ext.structures import Rle

from .deferred import defer

_EXTRA = 'pip install ".[train]" in the checkout'
# The extra cannot bring paddledet on every Python: its own pins have no release of numpy on 3.12.
REMEDIES = {
    "paddle": _EXTRA,
    "ppdet": _EXTRA if sys.version_info < (3, 12) else "pip install --no-deps paddledet==2.6.0",
}


def demand_host() -> None:
    """Raise UserError, with the command that installs it, if paddle or ppdet is not there."""
    for module, remedy in REMEDIES.items():
        if importlib.util.find_spec(module) is None:
            raise UserError(f"The package {module} is not installed. Install it with: {remedy}")


def import_host() -> None:
    """Import paddle and ppdet without their import-time noise (ccache, OMP and PP-Tracking warnings).

    Raises: UserError where one of them is not installed.
    """
    demand_host()
    # Flask (VisualDL) and matplotlib write their own INFO lines through the handlers paddle installs.
    for name in ("matplotlib", "matplotlib.font_manager", "werkzeug"):
        logging.getLogger(name).setLevel(logging.WARNING)
    # Said by every batch norm at every step; with stored statistics it is not even true.
    warnings.filterwarnings("ignore", message="When training, we now always track global mean and variance")
    with muted():
        defer()
        import paddle
        import ppdet  # noqa: F401  brings all its parts and their warnings
        from ppdet.modeling.proposal_generator import target
    paddle.concat = _concat_accepting_scalars(paddle.concat)
    target.rasterize_polygons_within_box = _rasterize_runs_too(target.rasterize_polygons_within_box)


def versions() -> dict[str, str | None]:
    """Of paddle and ppdet; None where a package does not say."""
    return {name: getattr(sys.modules[name], "__version__", None) for name in REMEDIES}


def _concat_accepting_scalars(concat: Any) -> Any:
    """Paddle 3 makes `paddle.shape(x)[0]` 0-D and `concat` refuses 0-D; ppdet 2.6 concatenates such counts."""
    if getattr(concat, "accepts_scalars", False):
        return concat

    def wrapped(x: Any, axis: Any = 0, name: Any = None, **kwargs: Any) -> Any:
        if isinstance(x, (list, tuple)):
            x = [item.reshape([1]) if getattr(item, "ndim", 1) == 0 else item for item in x]
        return concat(x, axis, name, **kwargs)

    wrapped.accepts_scalars = True  # type: ignore[attr-defined]
    return wrapped


def _rasterize_runs_too(rasterize: Any) -> Any:
    """ppdet 2.6 makes mask targets of polygons alone; runs (`Rle`, or COCO's dict) are sampled at the centres of the cells."""
    if getattr(rasterize, "accepts_runs", False):
        return rasterize

    def wrapped(segment: Any, box: np.ndarray, resolution: int) -> Any:
        if isinstance(segment, list):
            return rasterize(segment, box, resolution)
        mask = segment if isinstance(segment, Rle) else Rle.from_coco(segment)
        return paddle.to_tensor(mask_within_box(mask, box, resolution), dtype="int32")

    import paddle

    wrapped.accepts_runs = True  # type: ignore[attr-defined]
    return wrapped


def mask_within_box(mask: Rle, box: np.ndarray, cells: int) -> np.ndarray:
    """(cells, cells) int32 of 0 and 1: whether the centre of each cell of a box (x1, y1, x2, y2 px) lies in the mask."""
    bitmap = mask.to_bitmap()
    centres = (np.arange(cells) + 0.5) / cells
    ends = np.asarray(box, np.float64)
    columns, rows = (np.floor(ends[i] + centres * (ends[i + 2] - ends[i])).astype(np.int64) for i in (0, 1))
    inside = np.ix_((rows >= 0) & (rows < bitmap.shape[0]), (columns >= 0) & (columns < bitmap.shape[1]))
    target = np.zeros((cells, cells), np.int32)
    target[inside] = bitmap[np.ix_(rows[inside[0].ravel()], columns[inside[1].ravel()])]
    return target
