"""From the entries of `Ensemble` and `Classifier` to models with weights and views, and to the ensemble that fits them."""

import functools
import logging
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import paddle

from ppdet_ext.config.files import find_config, read_tree
from ppdet_ext.config.keys import CLASSIFIER, ENSEMBLE, ENSEMBLE_MEAN, VIEWS
from ppdet_ext.config.load import load_config
from ppdet_ext.data.loading.build import reader_of
from ppdet_ext.errors import OtherModelError, UserError
from ppdet_ext.host import Config
from ppdet_ext.host.build import architecture_named, architecture_of, build_model
from ppdet_ext.host.registry import usable_architectures
from ppdet_ext.structures import Record, TestSettings
from ppdet_ext.weights.find import stored_classes
from ppdet_ext.weights.load import load_weights

from .classes import compare_classes, names_without_reading
from .ensemble import Ensemble
from .feature_passes import Member
from .map_ensemble import MapEnsemble, PresenceEnsemble, SoleDetector
from .protocol import AveragedDetector, Detector, MapDetector, PresenceDetector
from .stored_member import OneModel, StoredMember
from .views import Views

logger = logging.getLogger("ppdet_ext")
SUMS = 64 << 20  # bytes for the sums of maps of pictures that are worked on together
MOST_AT_ONCE = 16


def settings_of(cfg: Config) -> TestSettings:
    """The thresholds that a configuration gives its model."""
    return architecture_of(cfg).settings_from(cfg)


def members_of(cfg: Config) -> list[dict[str, Any]]:
    """The members that `Ensemble` lists, or the one of `weights`: {"weights": …, "config": …, "weight": …} each.

    Raises: UserError where there are no weights.
    """
    members = [{"weights": one} if isinstance(one, str) else dict(one) for one in cfg.get(ENSEMBLE) or [cfg.weights or ""]]
    if not all(member["weights"] for member in members):
        raise UserError("No weights are configured; add -o weights=output/…/best_model (suffix not needed).")
    return members


def classifiers_of(cfg: Config) -> list[dict[str, Any]]:
    """The models that `Classifier` names, as `members_of`; none where it is not configured."""
    named = cfg.get(CLASSIFIER) or []
    return [dict(one) for one in ([named] if isinstance(named, Mapping) else named)]


def sees_views(cfg: Config) -> bool:
    """Whether models render the pictures themselves: several members or views, or a classifier with a reader of its own."""
    return bool(cfg.get(ENSEMBLE) or cfg.get(VIEWS) or cfg.get(CLASSIFIER))


def with_weights(cfg: Config, weights: str | None, class_names: Sequence[str]) -> Any:
    """The configured model with weights, whose outputs are put in the order of the class names given.

    Raises: UserError when there are none, they are another model's, or their classes cannot be matched by name.
    """
    if not weights:
        raise UserError("No weights are configured; add -o weights=output/…/best_model (suffix not needed).")
    model: paddle.nn.Layer = build_model(cfg)
    if not isinstance(model, Detector):
        raise UserError(f"{cfg.architecture} gives no mask probabilities; use an architecture of this toolkit.")
    loaded = load_weights(model, weights, names=class_names)
    if loaded.classes is not None:
        compare_classes(class_names, loaded.classes.names, str(loaded.path))
    return model


def ensemble_of(cfg: Config, mode: str, class_names: Sequence[str]) -> Detector:
    """The configured members, or the one model, each with the views of its reader of `mode`.

    The thresholds of `cfg` hold for all, whatever configurations the members come from. Where one classifies pixels, maps are
    averaged; where all are classifiers of whole images, what they say of these.

    Raises:
        UserError: weights that do not fit; members of another number of classes, or that cannot be averaged.
    """
    entries = members_of(cfg)
    stored = len(entries) > 1 and _has_maps(cfg, entries)
    members = _members(cfg, entries, dict(cfg.get(VIEWS) or {}), mode, class_names, ENSEMBLE, stored)
    count = sum(len(member.views) for member in members)
    logger.info("Predicting with %d model(s), %d view(s) of each image in all", len(members), count)
    settings = settings_of(cfg)
    if stored or isinstance(members[0].model, MapDetector):
        return MapEnsemble(members, settings, float((cfg.get(ENSEMBLE_MEAN) or {}).get("power", 1.0)))
    models = [member.model for member in members]
    if all(isinstance(model, PresenceDetector) for model in models):
        return PresenceEnsemble(members, settings, ENSEMBLE)
    if count == 1 and not isinstance(models[0], AveragedDetector):
        return SoleDetector(members, settings)
    return Ensemble(members, settings)


def classifier_of(cfg: Config, mode: str, class_names: Sequence[str]) -> PresenceEnsemble | None:
    """What `Classifier` names, each with reader and views of its own configuration; None where it names nothing.

    Raises:
        UserError: weights that do not fit, a model that is no classifier, or one of other classes.
    """
    entries = classifiers_of(cfg)
    if not entries:
        return None
    return PresenceEnsemble(_members(cfg, entries, {}, mode, class_names, CLASSIFIER))


def _members(
    cfg: Config,
    entries: Sequence[Mapping[str, Any]],
    views: Mapping[str, Any],
    mode: str,
    class_names: Sequence[str],
    key: str,
    stored: bool = False,
) -> list[Any]:
    """Models with weights and views, in the order of their entries: `Member`s, or `StoredMember`s.

    views: of `TestTimeAugmentation` for all; a member of another configuration has its own where there are none.
    key: which key of the configuration lists them, for messages.
    """
    classes = cfg.num_classes, names_without_reading(cfg)
    members: list[Any] = []
    held = OneModel()
    for entry in entries:
        own = _config_of(cfg, entry)
        name = " with ".join(filter(None, (entry.get("config"), str(entry["weights"]))))
        _check_classes(own, name, *classes, key, str(entry["weights"]))
        own_views = _views_of(own, views or dict(own.get(VIEWS) or {}), mode)
        make = functools.partial(_model_of, own, entry, class_names, f"{key}, {name}")
        rest = own_views, float(entry.get("weight", 1.0)), name
        members.append(StoredMember(held, make, *rest) if stored else Member(make(), *rest))
    return members


def _config_of(cfg: Config, entry: Mapping[str, Any]) -> Config:
    """That of a member: its own, or the one that lists it."""
    device = f"use_gpu={str(cfg.use_gpu).lower()}"
    return load_config(entry["config"], [device], training=False) if entry.get("config") else cfg


def _model_of(cfg: Config, entry: Mapping[str, Any], class_names: Sequence[str], who: str) -> Any:
    """A member's model; what is wrong with it is said of `who`."""
    try:
        return with_weights(cfg, entry["weights"], class_names)
    except UserError as error:
        hint = ""
        if isinstance(error, OtherModelError) and not entry.get("config"):
            hint = (
                f"\nA member of another model names its configuration too: {{weights: {entry['weights']}, config: FILE.yml}}."
            )
        raise UserError(f"{who}: {error}{hint}") from error


def _has_maps(cfg: Config, entries: Sequence[Mapping[str, Any]]) -> bool:
    """Whether one of the members classifies pixels, by the architecture that its configuration names."""
    named = [read_tree(find_config(entry["config"]))[0].get("architecture") for entry in entries if entry.get("config")]
    own = [cfg.architecture] if len(named) < len(entries) else []
    known = set(usable_architectures())
    return any(hasattr(architecture_named(name), "class_maps") for name in [*own, *named] if name in known)


def pictures_at_once(cfg: Config, records: Sequence[Record]) -> int:
    """How many pictures the members of an ensemble of maps see before the next one's model is made.

    As many as `SUMS` bytes have room for their sums: the time to make a model anew is then little beside that to use it.
    """
    entries = members_of(cfg)
    if len(entries) < 2 or not records or not _has_maps(cfg, entries):
        return 1
    pixels = max(record.height * record.width for record in records)
    return int(np.clip(SUMS // (8 * max(pixels, 1) * cfg.num_classes), 1, MOST_AT_ONCE))


def _views_of(cfg: Config, chosen: Mapping[str, Any], mode: str) -> Views:
    reader = reader_of(cfg, mode)
    return Views(
        reader["sample_transforms"],
        reader.get("batch_transforms") or (),
        chosen.get("resizes") or (),
        chosen.get("flips") or ("none",),
    )


def _check_classes(cfg: Config, name: str, count: int, names: Sequence[str], key: str, weights: str) -> None:
    """UserError for a member of another number of classes; a warning where it calls one by another name."""
    if cfg.num_classes != count:
        raise UserError(f"{key}: {name} has {cfg.num_classes} classes, the configuration {count}; all need the same.")
    its = names_without_reading(cfg)
    if its != list(names) and sorted(its) == sorted(names) and stored_classes(weights):
        # The weights tell their order, and are put in this one's.
        return
    differing = ((at, ours, own) for at, (own, ours) in enumerate(zip(its, names)) if own != ours)
    for at, ours, own in differing:
        text = "%s: %s calls class %d %r, the configuration %r; both must mean the same"
        logger.warning(text, key, name, at, own, ours)
        break
