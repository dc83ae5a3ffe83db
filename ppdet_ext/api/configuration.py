"""What callers hand in as a configuration: a YAML file, the folder of a run, or one that is loaded; overrides as a mapping."""

import contextlib
import json
import os
import random
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import ppdet_ext.register  # noqa: F401  what configurations may name
from ppdet_ext.checkpoint.folder import CONFIG_FILE
from ppdet_ext.checkpoint.trained import best_weights, config_of_run, near_run
from ppdet_ext.config.files import read_tree
from ppdet_ext.config.keys import ENSEMBLE, POSTPROCESS
from ppdet_ext.config.load import load_config as load_file
from ppdet_ext.config.load import resolve_path
from ppdet_ext.errors import UserError
from ppdet_ext.host import Config

Overrides = Mapping[str, Any] | Sequence[str] | None
Source = str | os.PathLike[str] | Config
PathLike = str | os.PathLike[str]
Weights = PathLike | Sequence[PathLike] | None
Steps = PathLike | Sequence[Mapping[str, Any]]
# ppdet's workspace is one for the process: it is filled while something is built.
BUILDING = threading.RLock()


def load_config(
    config: Source,
    overrides: Overrides = None,
    *,
    weights: Weights = None,
    postprocess: Steps | None = None,
    training: bool = True,
    plugins: bool = True,
) -> Config:
    """Read a configuration, as the tools do.

    Args:
        config: YAML file (of the working directory, or one that comes with the package: "configs/htc/steel.yml"); or the folder
            of a run, whose `config.yml` and best weights are taken; or what this function has returned.
        overrides: values by dotted key, {"epoch": 3, "TrainDataset.fold": 2}, or texts "key=value" as of `-o`.
        weights: file, checkpoint's folder or URL; several are averaged (`Ensemble`). None takes the configuration's.
        postprocess: steps in place of the configuration's: a list as of `PostProcess`, or a file as of `--postprocess`, such as
            tune writes.
        training: whether it is to be trained with; otherwise what only a training must not do is no fault.
        plugins: whether the Python files and modules that it names as `plugins` are run; without, naming any is an error.

    Raises:
        UserError: missing file, invalid YAML, or all unknown keys and wrong values at once.
    """
    with BUILDING:
        if isinstance(config, Config):
            return _with_weights(_with_steps(config, overrides, postprocess), weights)
        over, texts = None, texts_of(overrides)
        if isinstance(postprocess, (str, os.PathLike)):
            over = os.fspath(postprocess)
        elif postprocess is not None:
            texts = [*texts, *texts_of({POSTPROCESS: list(postprocess)})]
        path = Path(config)
        _demand_run(path)
        if not path.is_dir():
            return _with_weights(load_file(path, texts, over, training, plugins), weights)
        cfg = config_of_run(path, texts, over, training, plugins)
        return _with_weights(cfg, best_weights(path) if weights is None and not cfg.get(ENSEMBLE) else weights)


def _demand_run(path: Path) -> None:
    """UserError for a path that is neither there nor a YAML file's, where a run has a near name."""
    if path.suffix in (".yml", ".yaml") or path.exists():
        return
    if hint := near_run(path):
        raise UserError(f"There is no run in {path}.{hint}")


def _with_steps(cfg: Config, overrides: Overrides, postprocess: Steps | None) -> Config:
    """A configuration that has been read, with other steps. UserError for what can be changed in reading alone."""
    if overrides or isinstance(postprocess, (str, os.PathLike)):
        raise UserError("A loaded configuration takes no overrides and no file of steps any more: give them to load_config.")
    return cfg if postprocess is None else cfg.replaced(**{POSTPROCESS: list(postprocess)})


def config_file(config: Source) -> str:
    """The file that a configuration comes from. Raises: UserError for one that is loaded, which does not tell."""
    if isinstance(config, Config):
        raise UserError("What is written names the configuration's file: give that or the run's folder, not what is loaded.")
    return str(Path(config) / CONFIG_FILE) if Path(config).is_dir() else os.fspath(config)


def _with_weights(cfg: Config, weights: Weights) -> Config:
    if weights is None:
        return cfg
    if isinstance(weights, (str, os.PathLike)):
        return cfg.replaced(weights=os.fspath(weights), **({ENSEMBLE: None} if cfg.get(ENSEMBLE) else {}))
    return cfg.replaced(**{ENSEMBLE: [os.fspath(one) for one in weights]})


def texts_of(overrides: Overrides) -> list[str]:
    """Overrides as `-o` takes them. Raises: UserError for a value that YAML cannot say."""
    if not overrides:
        return []
    if isinstance(overrides, str):
        raise UserError(f"overrides: {overrides!r} is one text; give a mapping, or a list of texts.")
    if not isinstance(overrides, Mapping):
        return list(overrides)
    return [f"{key}={_yaml(str(key), value)}" for key, value in overrides.items()]


def _yaml(key: str, value: Any) -> str:
    """A value in YAML, of which JSON is a part."""

    def plain(one: Any) -> Any:
        if isinstance(one, os.PathLike):
            return os.fspath(one)
        if hasattr(one, "tolist"):  # numpy's numbers and arrays
            return one.tolist()
        raise TypeError

    try:
        return json.dumps(value, default=plain, allow_nan=False, ensure_ascii=False)
    except (TypeError, ValueError) as error:
        text = f"overrides: {key} is {value!r}; expected numbers, texts, paths, lists and mappings."
        raise UserError(f"{text} A data set is changed by its arguments ('EvalDataset.fold').") from error


def steps_in(postprocess: Steps) -> list[Mapping[str, Any]]:
    """Entries of `PostProcess`: those given, or those in a YAML file such as tune's `tuned.yml`.

    Raises: UserError for a file that has none.
    """
    if not isinstance(postprocess, (str, os.PathLike)):
        return list(postprocess)
    tree, _ = read_tree(_file(Path(postprocess)))
    if POSTPROCESS not in tree:
        raise UserError(f"{postprocess} has no {POSTPROCESS}; tune writes such a file, tuned.yml of the run.")
    return list(tree[POSTPROCESS] or [])


def _file(path: Path) -> Path:
    found = resolve_path(path)
    if not found.is_file():
        raise UserError(f"{path}: there is no such file; tune writes one with {POSTPROCESS}, tuned.yml of the run.")
    return found


@contextlib.contextmanager
def left_as_found() -> Iterator[None]:
    """Give the generators of numpy and Python their states back: trainings seed them."""
    states = np.random.get_state(), random.getstate()
    try:
        yield
    finally:
        np.random.set_state(states[0])
        random.setstate(states[1])
