"""From a configuration to something that predicts: a model or an ensemble with its weights, and the steps after it."""

import logging
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import paddle

from ppdet_ext.config.keys import ENSEMBLE, POSTPROCESS, VIEWS
from ppdet_ext.config.load import load_config
from ppdet_ext.data.loading.build import make_loader, reader_of
from ppdet_ext.data.loading.view_loader import ViewLoader
from ppdet_ext.distributed import world
from ppdet_ext.errors import UserError
from ppdet_ext.host import Config
from ppdet_ext.host.build import architecture_of, build_model
from ppdet_ext.postprocess import PostProcess
from ppdet_ext.structures import Candidates, Detections, TestSettings
from ppdet_ext.weights.load import load_weights

from .classes import compare_classes, names_without_reading
from .ensemble import Ensemble
from .feature_passes import Member
from .protocol import Batch, Detector
from .views import Views

logger = logging.getLogger("ppdet_ext")


class Inference:
    """A model or an ensemble with its weights, and the steps after it.

    Args:
        model: what finds objects.
        steps: what happens to these; None cuts the masks at the settings' threshold and keeps all.
        settings: thresholds of the model; None takes its own.
    """

    def __init__(self, model: Detector, steps: PostProcess | None = None, settings: TestSettings | None = None) -> None:
        self.model, self.steps, self.settings = model, steps, settings or model.settings

    @property
    def training(self) -> bool:
        """Whether the model is in training mode."""
        return self.model.training

    def train(self) -> None:
        """To training mode."""
        self.model.train()

    def eval(self) -> None:
        """To evaluation mode."""
        self.model.eval()

    def check_names(self, dataset: Any) -> None:
        """Before the images of a data set are predicted. Raises: UserError for one that a step does not know."""
        if self.steps is not None:
            self.steps.check_names([record.name for record in dataset.records])

    def candidates(self, batch: Batch) -> list[Candidates]:
        """Find the objects in each image of a batch, before any step."""
        return self.model.candidates(batch, self.settings)

    def __call__(self, batch: Batch) -> list[Detections]:
        """Find the objects in each image of a batch, best first, after all steps."""
        candidates = self.candidates(batch)
        if self.steps is None:
            return [one.detections(self.settings.mask_threshold) for one in candidates]
        return [self.steps(one, str(name)) for one, name in zip(candidates, batch["names"])]


def settings_of(cfg: Config) -> TestSettings:
    """The thresholds that a configuration gives its model."""
    return architecture_of(cfg).settings_from(cfg)


def inference_of(
    cfg: Config,
    class_names: Sequence[str],
    category_ids: Sequence[int],
    mode: str = "eval",
    settings: TestSettings | None = None,
) -> Inference:
    """Build what the configuration predicts with, in eval mode.

    Args:
        cfg: from `load_config`; `weights`, or `Ensemble` instead, and `TestTimeAugmentation`, `PostProcess` are used.
        class_names, category_ids: by label, for steps with values of a class.
        mode: "eval" or "test", whose reader's transforms make views.
        settings: thresholds of the model; None takes the configuration's.

    Raises:
        UserError: no weights, or weights, members or steps that do not go together.
    """
    chosen = settings or settings_of(cfg)
    steps = steps_of(cfg, class_names, category_ids)
    several = cfg.get(ENSEMBLE) or cfg.get(VIEWS)
    model: Detector = _ensemble(cfg, mode, class_names) if several else _with_weights(cfg, cfg.weights, class_names)
    model.eval()
    return Inference(model, steps, chosen)


def steps_of(cfg: Config, class_names: Sequence[str], category_ids: Sequence[int]) -> PostProcess | None:
    """The configured steps, or None. Raises: UserError for what is wrong with them."""
    entries = cfg.get(POSTPROCESS)
    if not entries:
        return None
    return PostProcess(entries, class_names, category_ids, float(settings_of(cfg).mask_threshold))


def inference_loader(cfg: Config, dataset: Any, mode: str, skip: Collection[int] = ()) -> Any:
    """This rank's batches of a read data set for `inference_of`, by the reader of `mode` ("eval", "test").

    skip: ids of images that need not be predicted again.
    """
    rank, size = world()
    if cfg.get(ENSEMBLE) or cfg.get(VIEWS):
        return ViewLoader(dataset, reader_of(cfg, mode)["sample_transforms"], rank, size, skip)
    return make_loader(cfg, dataset, mode, skip=skip)


def members_of(cfg: Config) -> list[dict[str, Any]]:
    """The members that `Ensemble` lists, or the one of `weights`: {"weights": …, "config": …, "weight": …} each.

    Raises: UserError where there are no weights.
    """
    members = [{"weights": one} if isinstance(one, str) else dict(one) for one in cfg.get(ENSEMBLE) or [cfg.weights or ""]]
    if not all(member["weights"] for member in members):
        raise UserError("No weights are configured; add -o weights=output/…/best_model (suffix not needed).")
    return members


def _with_weights(cfg: Config, weights: str | None, class_names: Sequence[str]) -> Any:
    """The configured model with weights, whose class names are compared with those given.

    Raises: UserError when there are none or they are another model's.
    """
    if not weights:
        raise UserError("No weights are configured; add -o weights=output/…/best_model (suffix not needed).")
    model: paddle.nn.Layer = build_model(cfg)
    if not isinstance(model, Detector):
        raise UserError(f"{cfg.architecture} gives no mask probabilities; use an architecture of this toolkit.")
    loaded = load_weights(model, weights)
    if loaded.classes is not None:
        compare_classes(class_names, loaded.classes.names, str(loaded.path))
    return model


def _ensemble(cfg: Config, mode: str, class_names: Sequence[str]) -> Ensemble:
    """The configured members, or the one model, each with the views of its reader of `mode`.

    The thresholds of `cfg` hold for all, whatever configurations the members come from.

    Raises:
        UserError: weights that do not fit; members of another number of classes, or that cannot be averaged.
    """
    views, classes = dict(cfg.get(VIEWS) or {}), (cfg.num_classes, names_without_reading(cfg))
    device = f"use_gpu={str(cfg.use_gpu).lower()}"
    members = []
    for entry in members_of(cfg):
        own = load_config(entry["config"], [device], training=False) if entry.get("config") else cfg
        members.append(_member(own, entry, views, classes, mode, class_names))
    count = sum(len(member.views) for member in members)
    logger.info("Predicting with %d model(s), %d view(s) of each image in all", len(members), count)
    return Ensemble(members, settings_of(cfg))


def _member(
    cfg: Config,
    entry: Mapping[str, Any],
    views: Mapping[str, Any],
    classes: tuple[int, list[str]],
    mode: str,
    class_names: Sequence[str],
) -> Member:
    name = " with ".join(filter(None, (entry.get("config"), str(entry["weights"]))))
    _check_classes(cfg, name, *classes)
    reader = reader_of(cfg, mode)
    # A member of another configuration brings its own views, unless there are some for all.
    chosen = views or dict(cfg.get(VIEWS) or {})
    own_views = Views(
        reader["sample_transforms"],
        reader.get("batch_transforms") or (),
        chosen.get("resizes") or (),
        chosen.get("flips") or ("none",),
    )
    try:
        model = _with_weights(cfg, entry["weights"], class_names)
    except UserError as error:
        raise UserError(f"{ENSEMBLE}, {name}: {error}") from error
    return Member(model, own_views, float(entry.get("weight", 1.0)), name)


def _check_classes(cfg: Config, name: str, count: int, names: Sequence[str]) -> None:
    """UserError for a member of another number of classes; a warning where it calls one by another name."""
    if cfg.num_classes != count:
        raise UserError(f"{ENSEMBLE}: {name} has {cfg.num_classes} classes, the configuration {count}; all need the same.")
    differing = ((at, ours, own) for at, (own, ours) in enumerate(zip(names_without_reading(cfg), names)) if own != ours)
    for at, ours, own in differing:
        text = "%s: %s calls class %d %r, the configuration %r; both must mean the same"
        logger.warning(text, ENSEMBLE, name, at, own, ours)
        break
