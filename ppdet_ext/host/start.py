"""What a training demands of its configuration before the first step: weights under frozen layers, a schedule that fits."""

import logging
from typing import Any

from ppdet_ext.errors import UserError, counted

from .workspace import Config

# Arguments of backbones that keep weights or statistics as they are -> the value that lets all of them learn.
FREEZING: dict[str, Any] = {"freeze_at": -1, "frozen_stages": -1, "norm_eval": False, "freeze_norm": False, "freeze": False}
logger = logging.getLogger("ppdet_ext")


def demand_weights(cfg: Config) -> None:
    """Before a training from scratch. Raises: UserError where the backbone would keep random weights or fresh statistics.

    Batch norm that runs on fresh statistics normalises nothing, so that activations grow from layer to layer: a ResNet-50
    begins at a loss of 13,601 and is not finite at its third step.
    """
    frozen = thawing(cfg)
    if cfg.pretrain_weights or not frozen:
        return
    prefix, section = _backbone(cfg)
    now = ", ".join(f"{key}: {_yaml(section[key])}" for key in (path.rpartition(".")[2] for path in frozen))
    cure = " ".join(f"{path}={_yaml(free)}" for path, free in frozen.items())
    raise UserError(
        f"{prefix} keeps layers or batch norm as they are ({now}), but nothing is loaded into them, and the loss would "
        f"explode. Start from pretrained weights: -o pretrain_weights=PATH. Or train it all from scratch: -o {cure}"
    )


def thawing(cfg: Config) -> dict[str, Any]:
    """Arguments of the backbone that keep weights or statistics as they are: dotted path -> value that lets all learn."""
    prefix, section = _backbone(cfg)
    return {f"{prefix}.{key}": free for key, free in FREEZING.items() if key in section and _freezes(section[key], free)}


def _backbone(cfg: Config) -> tuple[str, dict[str, Any]]:
    """Where -o reaches the arguments of the backbone, or of the encoder, and these with their defaults."""
    whole = cfg[cfg.architecture]
    part = next((one for one in ("backbone", "encoder") if one in whole.schema), "backbone")
    named = whole.get(part) or _default(whole, part)
    name, own = (named.get("name"), named) if isinstance(named, dict) else (named, {})
    if not isinstance(name, str) or not hasattr(cfg.get(name), "schema"):
        return "", {}
    section = cfg[name]
    arguments = {key: _default(section, key) for key in section.schema} | dict(section) | dict(own)
    return f"{cfg.architecture}.{part}" if own else name, arguments


def _default(section: Any, key: str) -> Any:
    return section.schema[key].default if section.has_default(key) else None


def _freezes(value: Any, free: Any) -> bool:
    return value is True if isinstance(free, bool) else isinstance(value, int) and value > free


def _yaml(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def check_schedule(cfg: Config, steps_per_epoch: int, boundaries: list[int]) -> None:
    """Check the steps at which the rate changes, and warn of milestones that no epoch comes to.

    Raises:
        UserError: the warm-up does not end before the first milestone; says how long it may be.
    """
    schedulers = cfg.resolved.get("LearningRate", {}).get("schedulers") or []
    found = {key: (i, one) for i, one in enumerate(schedulers) for key in ("milestones", "steps", "epochs") if key in one}
    at, decay = found.get("milestones", (0, {}))
    milestones = decay.get("milestones", [])
    if sorted(boundaries) != list(boundaries):
        if sorted(milestones) != list(milestones):
            raise UserError(f"LearningRate.schedulers.{at}.milestones are not ascending: {milestones}.")
        index, _ = found.get("epochs", found.get("steps", (1, {})))
        first = (milestones or [0])[0]
        # Half of the time before the first milestone: as long as can be with a while at the full rate.
        cure = f"LearningRate.schedulers.{index}.steps={max(1, first * steps_per_epoch // 2)}"
        cure += f" LearningRate.schedulers.{index}.epochs=null" if "epochs" in found else ""
        raise UserError(
            f"LearningRate: with {steps_per_epoch} steps per epoch the warm-up does not end before the first milestone "
            f"(epoch {first}, step {first * steps_per_epoch}). Shorten it: -o {cure}"
        )
    late = [one for one in milestones if one >= cfg.epoch]
    if late:
        logger.warning(
            "LearningRate.schedulers.%d.milestones: %s not reached in %s, so the rate is not lowered there%s",
            at,
            f"{', '.join(map(str, late))} {'is' if len(late) == 1 else 'are'}",
            counted(cfg.epoch, "epochs"),
            _earlier(at, len(milestones), cfg.epoch),
        )


def _earlier(at: int, count: int, epochs: int) -> str:
    """An -o with milestones at two thirds and eleven twelfths of the epochs, as usual; '' where none fit."""
    fitting = sorted({round(epochs * 2 / 3), round(epochs * 11 / 12)})
    if count != 2 or len(fitting) < 2 or not 0 < fitting[0] <= fitting[1] < epochs:
        return ""
    return f"; -o LearningRate.schedulers.{at}.milestones={fitting}".replace(", ", ",")
