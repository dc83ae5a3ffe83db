"""All that knows PaddleDetection. Importing this room imports paddle and ppdet, without their noise."""

from . import compat

compat.import_host()

from .workspace import Config, workspace  # noqa: E402  after the muted import

__all__ = ["Config", "compat", "workspace"]
