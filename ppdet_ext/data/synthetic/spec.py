"""The parameters of a sample set, and the kinds there are."""

from dataclasses import dataclass, fields
from typing import Any

from ppdet_ext.errors import UserError, nearest

from .base import Kind
from .fashion import FashionKind
from .flags import KIND, QUALITY, SEED
from .steel import SteelKind

KINDS: dict[str, Kind] = {"steel": SteelKind(), "fashion": FashionKind()}


def kind_of(name: Any) -> Kind:
    """The kind of this name. Raises: UserError naming the nearest."""
    if isinstance(name, str) and name in KINDS:
        return KINDS[name]
    raise UserError(f"there is no kind {name!r} of sample pictures.{nearest(name, KINDS)} There are {', '.join(KINDS)}.")


@dataclass(frozen=True)
class SampleSpec:
    """Parameters of a set. None is the kind's default.

    Attributes:
        images: number of pictures, 4 or more.
        seed: another one draws others.
        height, width: px; fashion pictures vary around them, steel sheets have exactly that size.
        quality: of the JPEG files, 1 to 100.
        kind: "steel" or "fashion".
    """

    # None does not outlive the constructor.
    images: int = None  # type: ignore[assignment]
    seed: int = SEED
    height: int = None  # type: ignore[assignment]
    width: int = None  # type: ignore[assignment]
    quality: int = QUALITY
    kind: str = KIND

    def __post_init__(self) -> None:
        """Raise UserError for an unknown kind and for sizes that cannot hold what is drawn."""
        drawn = kind_of(self.kind)
        for key in ("images", "height", "width"):
            if getattr(self, key) is None:
                object.__setattr__(self, key, getattr(drawn, key))
        if self.images < 4:
            raise UserError(f"--images {self.images}: give at least 4 (each fourth {drawn.noun} is held out)")
        if self.seed < 0:
            raise UserError(f"--seed {self.seed}: must not be negative")
        drawn.check_size(self.height, self.width)
        if not 1 <= self.quality <= 100:
            raise UserError(f"--quality {self.quality}: JPEG quality lies between 1 and 100")

    @property
    def meta(self) -> dict:
        """What identifies a set on disk. Sets of steel, the first kind there was, do not name it."""
        drawn = kind_of(self.kind)
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        if self.kind == "steel":
            del values["kind"]
        return {"generator": "ppdet_ext.data.sample", "version": drawn.version, **values}
