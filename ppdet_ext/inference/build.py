"""From a configuration to something that predicts: a model or an ensemble with its weights, and the steps after it."""

from collections.abc import Collection, Sequence
from typing import Any

from ppdet_ext.config.inference import ENSEMBLE, POSTPROCESS, VIEWS
from ppdet_ext.data.loading.build import make_loader, reader_of
from ppdet_ext.data.loading.view_loader import ViewLoader
from ppdet_ext.distributed import world
from ppdet_ext.errors import UserError
from ppdet_ext.host import Config
from ppdet_ext.postprocess import PostProcess
from ppdet_ext.structures import Detections
from ppdet_ext.structures.candidates import Candidates

from .members import ensemble_of, model_with_weights


class Inference:
    """A model or an ensemble with its weights, and the steps after it.

    Args:
        model: in eval mode has `candidates(batch)`, one `Candidates` an image.
        steps: what happens to these; None cuts the masks at the model's own threshold and keeps all.
    """

    def __init__(self, model: Any, steps: PostProcess | None = None) -> None:
        self.model, self.steps = model, steps

    @property
    def training(self) -> bool:
        return self.model.training

    def train(self) -> None:
        self.model.train()

    def eval(self) -> None:
        self.model.eval()

    def check_names(self, dataset: Any) -> None:
        """Before the images of a data set are predicted. Raises: UserError for one that a step does not know."""
        if self.steps is not None:
            self.steps.check_names([record.name for record in dataset.records])

    def candidates(self, batch: dict[str, Any]) -> list[Candidates]:
        """What the model found in each image of a batch, before any step."""
        return self.model.candidates(batch)

    def __call__(self, batch: dict[str, Any]) -> list[Detections]:
        """Final detections in each image of a batch, best first."""
        found = self.candidates(batch)
        if self.steps is None:
            return [one.detections(self.model.mask_threshold) for one in found]
        return [self.steps(one, str(name)) for one, name in zip(found, batch["names"])]


def inference_of(cfg: Config, class_names: Sequence[str], category_ids: Sequence[int], mode: str = "eval") -> Inference:
    """What the configuration predicts with, in eval mode.

    Args:
        cfg: from `load_config`; `weights`, or `Ensemble` instead, and `TestTimeAugmentation`, `PostProcess` are used.
        class_names, category_ids: by label, for steps with values of a class.
        mode: "eval" or "test", whose reader's transforms make views.

    Raises:
        UserError: no weights, or weights, members or steps that do not go together.
    """
    if cfg.get(ENSEMBLE) or cfg.get(VIEWS):
        model: Any = ensemble_of(cfg, mode)
    else:
        model = model_with_weights(cfg, cfg.weights)
    model.eval()
    return Inference(model, steps_of(cfg, class_names, category_ids))


def steps_of(cfg: Config, class_names: Sequence[str], category_ids: Sequence[int]) -> PostProcess | None:
    """The configured steps, or None. Raises: UserError for what is wrong with them."""
    entries = cfg.get(POSTPROCESS)
    if not entries:
        return None
    return PostProcess(entries, class_names, category_ids, float(cfg[cfg.architecture]["mask_threshold"]))


def lowest_score(cfg: Config, asked: float | None) -> float:
    """The score from which a detection is drawn or submitted: what was asked for, else 0.5, unless steps decide (0).

    Raises: UserError when it is no score.
    """
    if asked is None:
        return 0.0 if cfg.get(POSTPROCESS) else 0.5
    if not 0 <= asked <= 1:
        raise UserError(f"--draw_threshold is {asked:g}; scores lie between 0 and 1.")
    return asked


def inference_loader(cfg: Config, dataset: Any, mode: str, skip: Collection[int] = ()) -> Any:
    """This rank's batches of a read data set for `inference_of`, by the reader of `mode` ("eval", "test").

    skip: ids of images that need not be predicted again.
    """
    rank, size = world()
    if cfg.get(ENSEMBLE) or cfg.get(VIEWS):
        return ViewLoader(dataset, reader_of(cfg, mode)["sample_transforms"], rank, size, skip)
    return make_loader(cfg, dataset, mode, skip=skip)
