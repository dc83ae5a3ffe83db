"""The functions behind the tools, for programs: train, evaluate, tune, infer, submit.

Each takes a configuration (`load_config`'s arguments) and explicit options, raises the errors of `ppdet_ext.errors`, and leaves
signal handlers, loggers, the working directory and the random generators of numpy and Python as they were. Several in one
process, one after the other, do not know of each other. What they log goes to the logger "ppdet_ext".
"""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ppdet_ext.checkpoint.folder import BEST, FINAL, METRICS_FILE
from ppdet_ext.checkpoint.run_folder import run_folder
from ppdet_ext.commands import eval as eval_command
from ppdet_ext.commands import infer as infer_command
from ppdet_ext.commands import report as report_command
from ppdet_ext.commands import submit as submit_command
from ppdet_ext.commands import tune as tune_command
from ppdet_ext.commands.flags import CHANGES, TUNED_FILE
from ppdet_ext.commands.tune_classifier import tune_classifier
from ppdet_ext.distributed import share
from ppdet_ext.distributed.group import among_ranks
from ppdet_ext.errors import UserError, paths_of
from ppdet_ext.evaluation.run import Evaluation
from ppdet_ext.host import Config
from ppdet_ext.inference.presence import is_classifier
from ppdet_ext.registry import one_of
from ppdet_ext.training import train as training
from ppdet_ext.training.evaluation import BestFound
from ppdet_ext.training.hooks import Hook
from ppdet_ext.tuning.options import CRITERIA, Predicting, Searching
from ppdet_ext.tuning.presence import PresenceTuned
from ppdet_ext.tuning.tuner import Tuned

from .configuration import Overrides, PathLike, Source, Steps, Weights, config_file, left_as_found, load_config, texts_of


@dataclass(frozen=True)
class TrainingRun:
    """A finished training.

    Attributes:
        folder: of the run; what `Predictor` and the other functions take.
        final: weights after the last epoch.
        best: weights of the best evaluation; None without evaluations.
        metrics: the last evaluation's numbers by name, {"segm": {"AP": 0.50, …}}; empty without evaluations.
    """

    folder: Path
    final: Path
    best: Path | None
    metrics: dict[str, dict[str, float]]


@dataclass(frozen=True)
class TuningRun:
    """Thresholds that were searched.

    Attributes:
        file: YAML, as `postprocess` of the other functions and of `Predictor` takes it.
        outcome: what was chosen and what it gains; None beside rank 0.
    """

    file: Path
    outcome: Tuned | PresenceTuned | None


def train(
    config: Source,
    overrides: Overrides = None,
    *,
    evaluate: bool = False,
    resume: str | None = None,
    amp: bool = False,
    use_vdl: bool = False,
    allow_change: str | Sequence[str] = (),
    hooks: Sequence[Hook] = (),
) -> TrainingRun:
    """Train, as tools/train.py does.

    Args:
        config, overrides: see `load_config`.
        evaluate: at each snapshot epoch, and keep the best weights. Of a run that was finished without, the final weights.
        resume: "auto" goes on from the newest checkpoint of the run's folder, if there is one; see tools/train.py -r.
        amp: mixed precision, on GPUs.
        use_vdl: write curves for VisualDL.
        allow_change: what may differ from the run that is resumed.
        hooks: further ones, see `ppdet_ext.training.hooks.Hook`.

    Raises:
        UserError: for what the caller can mend.
        DivergenceError: a loss became NaN or infinite.
        KeyboardInterrupt: a signal came; what is needed to go on has been saved.
    """
    cfg = load_config(config, overrides)
    allow_change = [one_of(kind, CHANGES, "allow_change") for kind in paths_of(allow_change, "allow_change")]
    with left_as_found():
        kept = BestFound() if evaluate and cfg.report else None
        folder = training.train(
            cfg, evaluate=evaluate, resume=resume, amp=amp, use_vdl=use_vdl, allow_change=allow_change, hooks=hooks, best=kept
        )
        metrics = _metrics_of(cfg, folder) if evaluate else _last_metrics(folder / METRICS_FILE)
        if kept is not None:
            report_command.report_of_training(cfg, folder, kept)
    best = folder / BEST
    return TrainingRun(folder, folder / FINAL, best if best.is_file() else None, metrics)


def evaluate(
    config: Source,
    weights: Weights = None,
    overrides: Overrides = None,
    *,
    postprocess: Steps | None = None,
    output_dir: PathLike | None = None,
) -> Evaluation:
    """Evaluate weights on EvalDataset, as tools/eval.py does; writes `eval.json`, too.

    Args:
        config, weights, overrides: see `load_config`.
        postprocess: steps in place of the configuration's, see `load_config`.
        output_dir: folder for `eval.json`; the run's by default.

    Returns:
        Numbers by name, `.named["segm"]["AP50"]`, and for each metric the one that counts, `.values["COCO"]`.

    Raises:
        UserError: for what the caller can mend.
    """
    cfg = _predicting(config, weights, overrides, postprocess)
    with left_as_found():
        return eval_command.evaluate(cfg, output_eval=_path(output_dir))


def tune(
    config: Source,
    weights: Weights = None,
    overrides: Overrides = None,
    *,
    output: PathLike | None = None,
    predicting: Predicting | None = None,
    searching: Searching | None = None,
    criterion: str = CRITERIA[0],
) -> TuningRun:
    """Search thresholds on EvalDataset, as tools/tune.py does; writes them to `output`, by default `tuned.yml` of the run.

    Args:
        config, weights, overrides: see `load_config`; the first `metric` is what is raised.
        output: YAML file.
        predicting, searching: options, see there.
        criterion: what is raised of a classifier of whole images, "f1" or "accuracy".

    Raises:
        UserError: for what the caller can mend.
    """
    one_of(criterion, CRITERIA, "criterion")
    cfg = _predicting(config, weights, overrides)
    file = Path(output) if output is not None else run_folder(cfg) / TUNED_FILE
    words = _as_flags(config, weights, overrides)
    predicting, searching = predicting or Predicting(), searching or Searching()
    with left_as_found():
        if is_classifier(cfg):
            named, options = config_file(config), {"criterion": criterion}
            return TuningRun(file, tune_classifier(cfg, named, output=file, searching=searching, command=words, **options))
        return TuningRun(file, tune_command.tune(cfg, output=file, predicting=predicting, searching=searching, command=words))


def infer(
    config: Source,
    images: PathLike | None = None,
    weights: Weights = None,
    overrides: Overrides = None,
    *,
    output_dir: PathLike = "output/infer",
    postprocess: Steps | None = None,
    draw_threshold: float | None = None,
    save_results: bool | str | Sequence[str] = False,
    mm_per_pixel: float | None = None,
    save_probabilities: PathLike | None = None,
    draw_maps: bool = False,
    num_images: int | None = None,
) -> int:
    """Draw predictions, and write result files, as tools/infer.py does; returns the number of images.

    Args:
        config, weights, overrides: see `load_config`.
        images: a picture or a folder; None takes TestDataset's.
        output_dir: folder of what is written.
        postprocess: steps in place of the configuration's, see `load_config`.
        draw_threshold: lowest score drawn; None: 0.5, or all where steps decide.
        save_results: write COCO results too, or files of a kind, "csv", or of several, as `--save_results`
            takes them.
        mm_per_pixel: side of a pixel in millimetres, for the table of measurements.
        save_probabilities: CSV file for what a classifier says.
        draw_maps: draw the maps of a network that classifies pixels, too.
        num_images: only the first so many images.

    Raises:
        UserError: for what the caller can mend.
    """
    cfg = _predicting(config, weights, overrides, postprocess)
    with left_as_found():
        return infer_command.infer(
            cfg,
            images=_path(images),
            output_dir=Path(output_dir),
            draw_threshold=draw_threshold,
            save_results=save_results,
            mm_per_pixel=mm_per_pixel,
            save_probabilities=_path(save_probabilities),
            draw_maps=draw_maps,
            num_images=num_images,
        )


def submit(
    config: Source,
    output: PathLike,
    images: PathLike | None = None,
    weights: Weights = None,
    overrides: Overrides = None,
    *,
    postprocess: Steps | None = None,
    form: PathLike | None = None,
    threshold: float | None = None,
    results: PathLike | None = None,
) -> int:
    """Write a submission, as tools/submit.py does; returns the number of its rows.

    Args:
        config, weights, overrides: see `load_config`.
        output: CSV file.
        images: a picture or a folder; None takes TestDataset's.
        postprocess: steps in place of the configuration's, see `load_config`.
        form: name of a format, or file of a template.
        threshold: lowest score that counts.
        results: folder of `infer(…, save_results=True)`; None predicts now.

    Raises:
        UserError: for what the caller can mend.
    """
    cfg = _predicting(config, weights, overrides, postprocess)
    chosen = None if form is None else os.fspath(form)
    with left_as_found():
        return submit_command.submit(
            cfg, results=_path(results), images=_path(images), output=Path(output), threshold=threshold, form=chosen
        )


def _predicting(config: Source, weights: Weights, overrides: Overrides, postprocess: Steps | None = None) -> Config:
    return load_config(config, overrides, weights=weights, postprocess=postprocess, training=False)


def _as_flags(config: Source, weights: Weights, overrides: Overrides) -> list[str]:
    """What to give to a tool for the same configuration; nothing where that is not known."""
    if isinstance(config, Config) or not isinstance(weights, (str, os.PathLike, type(None))):
        return []
    texts = texts_of(overrides) + ([] if weights is None else [f"weights={os.fspath(weights)}"])
    return ["-c", config_file(config), *(["-o", *texts] if texts else [])]


def _path(path: PathLike | None) -> str | None:
    if path is None:
        return None
    if not isinstance(path, (str, os.PathLike)):
        raise UserError(f"{path!r} is no path. It takes one file or folder; Predictor(…).predict takes lists of images.")
    return os.fspath(path)


def _metrics_of(cfg: Config, folder: Path) -> dict[str, dict[str, float]]:
    """As `_last_metrics`; where there are none the final weights are evaluated. Every rank calls it."""
    metrics = _last_metrics(folder / METRICS_FILE)
    with among_ranks(cfg.use_gpu, cfg.stall_timeout):
        # Rank 0 decides: its alone may be the file system with the run's files.
        missing = share(not metrics, "whether the run has been evaluated")
    return eval_command.evaluate(cfg.replaced(weights=str(folder / FINAL))).named if missing else metrics


def _last_metrics(file: Path) -> dict[str, dict[str, float]]:
    """The numbers of the last evaluation that a run has noted."""
    if not file.is_file():
        return {}
    lines = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    return next((line["named"] for line in reversed(lines) if "named" in line), {})
