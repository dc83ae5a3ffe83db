"""Models with their weights: the one of a configuration, or those of an ensemble with their views."""

import logging
from collections.abc import Mapping
from typing import Any

import paddle

from ppdet_ext.config.inference import ENSEMBLE, VIEWS
from ppdet_ext.config.load import load_config
from ppdet_ext.data.loading.build import reader_of
from ppdet_ext.errors import UserError
from ppdet_ext.host import Config
from ppdet_ext.host.build import build_model
from ppdet_ext.weights.load import load_weights

from .ensemble import Ensemble, Member
from .views import Views

logger = logging.getLogger("ppdet_ext.engine")


def model_with_weights(cfg: Config, weights: str | None) -> paddle.nn.Layer:
    """The configured model with weights. Raises: UserError when there are none or they are another model's."""
    if not weights:
        raise UserError("No weights are configured; add -o weights=output/…/best_model (suffix not needed).")
    model = build_model(cfg)
    if not hasattr(model, "candidates"):
        raise UserError(f"{cfg.architecture} gives no mask probabilities; use an architecture of this toolkit.")
    load_weights(model, weights)
    return model


def ensemble_of(cfg: Config, mode: str = "eval") -> Ensemble:
    """The configured members, or the one model, each with the views of its reader of `mode`.

    The thresholds of `cfg` hold for all, whatever configurations the members come from.

    Raises:
        UserError: weights that do not fit; members of another number of classes, or that cannot be averaged.
    """
    entries = [{"weights": entry} if isinstance(entry, str) else dict(entry) for entry in cfg.get(ENSEMBLE) or ()]
    entries = entries or [{"weights": cfg.weights}]
    settings, classes = dict(cfg.get(VIEWS) or {}), (cfg.num_classes, _class_names(cfg))
    device = f"use_gpu={str(cfg.use_gpu).lower()}"
    members = []
    for entry in entries:
        own = load_config(entry["config"], [device], training=False) if entry.get("config") else cfg
        members.append(_member(own, entry, settings, classes, mode))
    views = sum(len(member.views) for member in members)
    logger.info("Predicting with %d model(s), %d view(s) of each image in all", len(members), views)
    first = members[0].model
    for name in ("score_threshold", "nms_iou", "max_detections"):
        setattr(first.roi_head, name, cfg["HTCRoIHead"][name])
    proposing = cfg["HTCRPNHead"]
    first.rpn_head.nms_iou = proposing["nms_iou"]
    first.rpn_head.limits[False] = (proposing["test_pre_nms"], proposing["test_proposals"])
    first.mask_threshold = cfg[cfg.architecture]["mask_threshold"]
    return Ensemble(members)


def _class_names(cfg: Config) -> list[str]:
    """Of the first data set that tells them without its annotations being read; else none."""
    for key in ("EvalDataset", "TrainDataset", "TestDataset"):
        try:
            names = getattr(cfg.get(key), "class_names", None)
        except UserError:
            continue
        if names:
            return [str(name) for name in names]
    return []


def _member(
    cfg: Config, entry: Mapping[str, Any], settings: Mapping[str, Any], classes: tuple[int, list[str]], mode: str
) -> Member:
    name = " with ".join(filter(None, (entry.get("config"), str(entry["weights"]))))
    count, names = classes
    if cfg.num_classes != count:
        raise UserError(f"{ENSEMBLE}: {name} has {cfg.num_classes} classes, the configuration {count}; all need the same.")
    own = _class_names(cfg)
    if own and names and own != names:
        at = next(i for i, pair in enumerate(zip(own, names)) if pair[0] != pair[1])
        logger.warning(
            "%s: %s calls class %d %r, the configuration %r; both must mean the same",
            ENSEMBLE,
            name,
            at,
            own[at],
            names[at],
        )
    reader = reader_of(cfg, mode)
    # A member of another configuration brings its own views, unless there are some for all.
    chosen = settings or dict(cfg.get(VIEWS) or {})
    views = Views(
        reader["sample_transforms"],
        reader.get("batch_transforms") or (),
        chosen.get("resizes") or (),
        chosen.get("flips") or ("none",),
    )
    try:
        model = model_with_weights(cfg, entry["weights"])
    except UserError as error:
        raise UserError(f"{ENSEMBLE}, {name}: {error}") from error
    return Member(model, views, float(entry.get("weight", 1.0)), name)
