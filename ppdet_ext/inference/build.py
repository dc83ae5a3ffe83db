"""From a configuration to something that predicts: a model or an ensemble with its weights, and the steps after it."""

import logging
from collections.abc import Callable, Collection, Sequence
from typing import Any

import numpy as np

from ppdet_ext.config.keys import POSTPROCESS
from ppdet_ext.data.images.decode import read_record
from ppdet_ext.data.images.depth import AS_SHOWN, Reading
from ppdet_ext.data.loading.build import make_loader, reader_of
from ppdet_ext.data.loading.view_loader import ViewLoader
from ppdet_ext.distributed import world
from ppdet_ext.errors import UserError, counted
from ppdet_ext.host import Config
from ppdet_ext.postprocess import PostProcess
from ppdet_ext.structures import Candidates, Detections, Record, TestSettings

from .map_ensemble import PresenceEnsemble, with_presence
from .members import classifier_of, ensemble_of, pictures_at_once, sees_views, settings_of, with_weights
from .protocol import Batch, Detector, PresenceDetector

logger = logging.getLogger("ppdet_ext")


class Inference:
    """A model or an ensemble with its weights, and the steps after it.

    Args:
        model: what finds objects.
        steps: what happens to these; None cuts the masks at the settings' threshold and keeps all.
        settings: thresholds of the model; None takes its own.
        classifier: says what classes are in an image; None leaves that to the model.
        reading: how pictures that steps ask for are read, which is as the reader does.
    """

    def __init__(
        self,
        model: Detector,
        steps: PostProcess | None = None,
        settings: TestSettings | None = None,
        classifier: PresenceEnsemble | None = None,
        reading: Reading = AS_SHOWN,
    ) -> None:
        self.model, self.steps, self.settings = model, steps, settings or model.settings
        self.classifier, self.reading = classifier, reading
        self._records: dict[int, Record] = {}

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
        if self.classifier is not None:
            self.classifier.eval()

    def check_names(self, dataset: Any) -> None:
        """Before the images of a data set are predicted. Raises: UserError for one that a step does not know."""
        if self.steps is not None:
            self.steps.check_names([record.name for record in dataset.records])
            self._records = {record.im_id: record for record in dataset.records} if self.steps.needs_image else {}

    def candidates(self, batch: Batch) -> list[Candidates]:
        """Find the objects in each image of a batch, before any step."""
        found = self.model.candidates(batch, self.settings)
        return found if self.classifier is None else with_presence(found, batch, self.classifier)

    def __call__(self, batch: Batch) -> list[Detections]:
        """Find the objects in each image of a batch, best first, after all steps."""
        return self.detections(batch, self.candidates(batch))

    def detections(self, batch: Batch, candidates: list[Candidates]) -> list[Detections]:
        """What the steps make of the `candidates` of a batch."""
        if self.steps is None:
            return [one.detections(self.settings.mask_threshold) for one in candidates]
        ids = np.asarray(batch["im_id"]).reshape(-1).tolist()
        return [
            self.steps(one, str(name), self._reader_of(batch, place, im_id))
            for place, (one, name, im_id) in enumerate(zip(candidates, batch["names"], ids))
        ]

    def _reader_of(self, batch: Batch, place: int, im_id: int) -> Callable[[], np.ndarray] | None:
        """Gives the picture of an image, for steps that ask for it; None where it is not known."""
        if "samples" in batch:
            # A batch of `ViewLoader` has it decoded.
            return lambda: batch["samples"][place].image
        record = self._records.get(im_id)
        return None if record is None else lambda: read_record(record, self.reading)


def inference_of(
    cfg: Config,
    class_names: Sequence[str],
    category_ids: Sequence[int],
    mode: str = "eval",
    settings: TestSettings | None = None,
) -> Inference:
    """Build what the configuration predicts with, in eval mode.

    Args:
        cfg: from `load_config`; `weights`, or `Ensemble` instead, `TestTimeAugmentation`, `Classifier`, `PostProcess` are used.
        class_names, category_ids: by label, for steps with values of a class.
        mode: "eval" or "test", whose reader's transforms make views.
        settings: thresholds of the model; None takes the configuration's.

    Raises:
        UserError: no weights, or weights, members or steps that do not go together.
    """
    chosen = settings or settings_of(cfg)
    steps = steps_of(cfg, class_names, category_ids)
    model: Detector = ensemble_of(cfg, mode, class_names) if sees_views(cfg) else with_weights(cfg, cfg.weights, class_names)
    model.eval()
    warn_of_other_range(cfg, mode)
    classifier = classifier_of(cfg, mode, class_names)
    if steps is not None and steps.needs_presence and classifier is None and not sees_views(cfg):
        _demand_presence(model, steps)
    return Inference(model, steps, chosen, classifier, reading_of(cfg, mode))


def tells_presence(model: Detector) -> bool:
    """Whether a model says which classes are in an image."""
    return isinstance(model, PresenceDetector) and bool(getattr(model, "tells_presence", True))


def _demand_presence(model: Detector, steps: PostProcess) -> None:
    """UserError, before anything is predicted, where a step asks for a classifier and there is none."""
    if tells_presence(model):
        return
    names = ", ".join(type(step).__name__ for step in steps.steps if step.needs_presence)
    raise UserError(
        f"PostProcess: {names} has no `file`, and no classifier tells which classes are in an image; configure one "
        "(Classifier: {config: …, weights: …}), or name a file of probabilities."
    )


def reading_of(cfg: Config, mode: str) -> Reading:
    """How the reader of `mode` reads pictures. UserError when there is no such reader, or for a range that is none."""
    return Reading.of_transforms(reader_of(cfg, mode).get("sample_transforms"))


def warn_of_more_objects(dataset: Any, settings: TestSettings) -> None:
    """Say that images have more objects than detections are kept."""
    most = {record.name: int((~record.crowd).sum()) for record in dataset.records}
    over = [name for name, count in most.items() if count > settings.max_detections]
    if over:
        first = max(over, key=most.__getitem__)
        logger.warning(
            "%s with more objects than detections are kept of one, max_detections: %d (%s has %d objects). Set it higher, and "
            "the numbers of proposals too (`HTCRoIHead: {max_detections: %d}`, HTCRPNHead)",
            counted(len(over), "images"),
            settings.max_detections,
            first,
            most[first],
            most[first],
        )


def warn_of_other_range(cfg: Config, mode: str) -> None:
    """Say that pictures deeper than 8 bits are shown to the model otherwise than it has learnt them."""
    if not cfg.get("TrainReader"):
        return
    trained, shown = reading_of(cfg, "train").range, reading_of(cfg, mode).range
    if trained != shown:
        logger.warning(
            "TrainReader reads pictures of more than 8 bits with ReadImage.range %s, %sReader with %s; what was learnt on the "
            "one says little of the other. Write the same range in all readers.",
            trained,
            mode.capitalize(),
            shown,
        )


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
    if sees_views(cfg):
        group = pictures_at_once(cfg, dataset.records)
        return ViewLoader(dataset, reader_of(cfg, mode)["sample_transforms"], rank, size, skip, group)
    return make_loader(cfg, dataset, mode, skip=skip)
