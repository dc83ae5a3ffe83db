"""All that knows PaddleDetection. Importing this room imports paddle and ppdet, without their noise."""

from . import compat

compat.import_host()

from ppdet.utils.stats import SmoothedValue  # noqa: E402  after the muted import

from .workspace import Config, workspace  # noqa: E402

__all__ = ["Config", "SmoothedValue", "compat", "workspace"]
