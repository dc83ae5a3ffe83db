"""What the architectures that read whole images share: wiring by ppdet, and a batch's presence of classes."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import paddle
from paddle import nn
from ppdet.core.workspace import create, global_config

from ppdet_ext.errors import DivergenceError, UserError
from ppdet_ext.host.parts import which_part
from ppdet_ext.structures import TestSettings


class ThresholdSection:
    """The settings of an architecture whose own section has its thresholds: what inference asks of a class."""

    @classmethod
    def settings_from(cls, cfg: Mapping[str, Any]) -> TestSettings:
        """Read the settings of a configuration, whose model need not be built."""
        section = cfg[cls.__name__]
        return settings_of(**{name: section[name] for name in _THRESHOLDS if name in section.schema})

    @classmethod
    def settings_sections(cls, **thresholds: float) -> dict[str, dict[str, float]]:
        """Say in a configuration's sections what score_threshold is; there is neither NMS nor a number of objects."""
        return {cls.__name__: {name: value for name, value in thresholds.items() if name in _THRESHOLDS}}


_THRESHOLDS = ("score_threshold", "mask_threshold")


def settings_of(score_threshold: float = 0.0, mask_threshold: float = 0.5) -> TestSettings:
    """Thresholds of a model that finds one object a class."""
    return TestSettings(score_threshold=score_threshold, mask_threshold=mask_threshold)


def section_of(named: str | Mapping[str, Any], kind: type[nn.Layer], key: str) -> tuple[type[Any], Any]:
    """Class and arguments of a part that a configuration names, either as a section or as {name: section, key: value}.

    Args:
        named: what the configuration has under `key`.
        kind: what the part must be.

    Raises:
        UserError: it is something else; names what there is.
    """
    name = named if isinstance(named, str) else named["name"]
    section = global_config[name]
    found = getattr(section.pymodule, name)
    if not issubclass(found, kind):
        raise UserError(f"{key}: {name} is no {kind.__name__.lower()}.{which_part(name, kind)}")
    if not isinstance(named, str):
        # Within `workspace` the section is this configuration's own copy.
        section.update({option: value for option, value in named.items() if option != "name"})
    return found, section


def create_with(part: type[nn.Layer], defaults: Mapping[str, Any], **wired: Any) -> nn.Layer:
    """Build a registered part with `defaults` where its section does not say them; its `from_config` gets `wired`."""
    section = global_config[part.__name__]
    for key, value in defaults.items():
        if key in section.schema and key not in section:
            section[key] = value
    return create(part.__name__, **wired)


def full_precision(values: paddle.Tensor) -> paddle.Tensor:
    """Of float16 and bfloat16, which mixed precision gives, float32; float64 stays."""
    return values if values.dtype == paddle.float64 else values.astype("float32")


def finite(values: paddle.Tensor, what: str) -> np.ndarray:
    """As float32 numpy. Raises: DivergenceError where one is NaN or infinite."""
    found = values.astype("float32").numpy()
    if not np.isfinite(found).all():
        raise DivergenceError(f"{what} are not finite")
    return found
