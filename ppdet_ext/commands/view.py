"""The command behind tools/view.py: a local page of data, truth and predictions. For exported models paddle is not imported."""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from ppdet_ext.data.formats.submission_format import Format
from ppdet_ext.data.images.depth import AS_SHOWN, Reading
from ppdet_ext.errors import UserError, counted
from ppdet_ext.files.atomic import demand_writable
from ppdet_ext.files.lock import locked
from ppdet_ext.viewer.catalogue import Item
from ppdet_ext.viewer.session import Model, Session
from ppdet_ext.viewer.sources import give_results, items_of_dataset, items_of_folder

from .page_flags import DATA_PARTS

if TYPE_CHECKING:
    from ppdet_ext.host import Config

_OUTPUT, _RUN_FILE, _EXPORTED_FILE = "--output_dir", "config.yml", "inference.yml"
logger = logging.getLogger("ppdet_ext")


@dataclass
class Shown:
    """What the flags name. class_ids: by label, of files that are written. form: of Kaggle's table."""

    title: str
    class_names: Sequence[str]
    class_ids: Sequence[int]
    items: list[Item] = field(default_factory=list)
    model: Model | None = None
    reading: Reading = AS_SHOWN
    form: Format | None = None


def run(args: argparse.Namespace) -> None:
    """Serve the page that the flags of `view_parser` name, until SIGINT."""
    # An environment of the runtime alone has no web server.
    if importlib.util.find_spec("flask") is None:
        raise UserError('The package flask is not installed. Install it with: pip install ".[view]" in the checkout')
    from ppdet_ext.viewer.application import create_app
    from ppdet_ext.viewer.serving import serve

    if not 0 <= args.score <= 1:
        raise UserError(f"--score is {args.score:g}; scores lie between 0 and 1.")
    if args.port is not None and not 0 <= args.port <= 65535:
        raise UserError(f"--port is {args.port}; ports are numbers up to 65535.")
    folder = Path(args.output_dir)
    demand_writable(folder / "any", _OUTPUT)
    with locked(folder, seconds=1, doing="a page open that works in", setting=_OUTPUT):
        session = session_of(args)
        session.start(None if args.watch is None else Path(args.watch))
        _tell(session)
        try:
            serve(create_app(session, args.host), args.host, args.port)
        finally:
            session.stop()
        logger.info("Decisions are kept in %s", session.decisions.file)


def _tell(session: Session) -> None:
    """How many pictures there are, and what was decided before, which may have been of another model's predictions."""
    logger.info("%s: %s", session.title, counted(len(session.catalogue.items), "pictures"))
    if decided := session.decisions.names():
        text = "Decisions on %s are taken up from %s; for those of one run alone give a folder: --output_dir output/RUN/view"
        logger.info(text, counted(len(decided), "pictures"), session.decisions.file)


def session_of(args: argparse.Namespace) -> Session:
    """The session that the flags name. Raises: UserError for what the user can mend."""
    exported = args.model is not None and (Path(args.model) / _EXPORTED_FILE).is_file()
    shown = _of_exported(args) if exported and not hasattr(args, "config") else _of_configuration(args, exported)
    if not shown.items and args.watch is None:
        logger.info("There is nothing to show yet; drop pictures on the page")
    return Session(
        shown.title,
        Path(args.output_dir),
        shown.items,
        shown.class_names,
        shown.class_ids,
        model=shown.model,
        score=args.score,
        mm_per_pixel=args.mm_per_pixel,
        reading=shown.reading,
        form=shown.form,
    )


def _of_exported(args: argparse.Namespace) -> Shown:
    """An exported model on the pictures of a folder; without one on those that are dropped."""
    model, described = _exported(Path(args.model))
    if args.results is not None or args.part is not None:
        raise UserError("--results and --part are of a data set: give its configuration, -c CONFIG.")
    reading = described.read.reading
    items = [] if args.infer_dir is None else items_of_folder(Path(args.infer_dir), exif=reading.exif)
    return Shown(_name_of_model(Path(args.model)), described.classes, described.category_ids, items, model, reading)


def _name_of_model(folder: Path) -> str:
    """The run's name; of an exported model that of the configuration with its folder's, which is often `onnx` alone."""
    own = folder.resolve().name
    # Whether the description is one is checked where the model is opened.
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError, yaml.YAMLError):
        name = str(yaml.safe_load((folder / _EXPORTED_FILE).read_text(encoding="utf-8"))["source"]["configuration"])
        return own if name in ("", own) else f"{name}, {own}"
    return own


def _exported(folder: Path) -> tuple[Model, Any]:
    from ppdet_ext.files.atomic import digest
    from ppdet_ext.runtime.folder import ExportedModel
    from ppdet_ext.runtime.predictor import Predictor

    described = ExportedModel.load(folder)
    return Model(lambda: Predictor(folder), digest(folder / _EXPORTED_FILE), folder.name, described.classes), described


def _of_configuration(args: argparse.Namespace, exported: bool) -> Shown:
    from ppdet_ext.inference.build import reading_of
    from ppdet_ext.inference.classes import class_list, one_mask_a_class

    cfg = _configuration(args)
    # The pictures of data sets come first: where these cannot be read, no model is of use.
    items = _items(cfg, args)
    names, ids, _ = class_list(cfg)
    if one_mask_a_class(cfg):
        logger.info("The model gives a class one mask in a picture: annotations of a class are joined, too")
        for item in items:
            item.truth = None if item.truth is None else item.truth.joined_by_class()
    if args.results is not None:
        number = give_results(items, Path(args.results), names, ids)
        logger.info("--results %s: predictions of %s", args.results, counted(number, "pictures"))
    model = _exported(Path(args.model))[0] if exported else _eager(cfg, args, names, ids)
    title = cfg.filename if args.model is None else _name_of_model(Path(args.model))
    return Shown(title, names, ids, items, model, reading_of(cfg, "test"), _form(cfg))


def _configuration(args: argparse.Namespace) -> Config:
    """That of -c, of the run that --model names, or the sample's."""
    from .cli import config_of

    run_folder = None if args.model is None or (Path(args.model) / _EXPORTED_FILE).is_file() else Path(args.model)
    if run_folder is None:
        return config_of(argparse.Namespace(config=getattr(args, "config", None), opt=args.opt))
    if not (run_folder / _RUN_FILE).is_file():
        raise UserError(
            f"--model {run_folder} is neither an exported model ({_EXPORTED_FILE}) nor the folder of a run ({_RUN_FILE})."
        )
    best = next((name for name in ("best_model", "model_final") if (run_folder / f"{name}.pdparams").is_file()), "best_model")
    weights = f"weights={run_folder / best}"
    config = getattr(args, "config", str(run_folder / _RUN_FILE))
    return config_of(argparse.Namespace(config=config, opt=[weights, *args.opt]))


def _items(cfg: Config, args: argparse.Namespace) -> list[Item]:
    from ppdet_ext.data.loading.build import load_dataset
    from ppdet_ext.inference.build import reading_of

    if args.infer_dir is not None:
        if args.part is not None:
            raise UserError("--infer_dir takes the place of the data sets that --part chooses; leave one of them out.")
        return items_of_folder(Path(args.infer_dir), exif=reading_of(cfg, "test").exif)
    if args.part is None and args.watch is not None:
        return []
    items = []
    for part in dict.fromkeys(args.part or ("eval",)):
        items += items_of_dataset(load_dataset(cfg, DATA_PARTS[part]), part)
    return items


def _eager(cfg: Config, args: argparse.Namespace, names: Sequence[str], ids: Sequence[int]) -> Model | None:
    """What the configuration predicts with; None where its weights are not there and nobody has named them."""
    from ppdet_ext.config.keys import ENSEMBLE
    from ppdet_ext.submission.header import origin_of

    try:
        if not cfg.get(ENSEMBLE) and not cfg.weights:
            return None
        identity = json.dumps([origin_of(cfg), list(names)], sort_keys=True)
    except UserError as error:
        if args.model is not None or any(text.startswith(("weights=", f"{ENSEMBLE}=")) for text in args.opt):
            raise
        logger.info("Nothing is predicted, for there are no weights yet: %s", error)
        return None

    def make() -> Any:
        from ppdet_ext.distributed.group import use_device
        from ppdet_ext.inference.eager import EagerPredictor

        use_device(cfg.use_gpu)
        return EagerPredictor(cfg, classes=(names, ids))

    return Model(make, identity, str(cfg.get(ENSEMBLE) or cfg.weights))


def _form(cfg: Config) -> Format | None:
    from .submit import find_format, usual_format

    try:
        return find_format(usual_format(cfg))
    except UserError as error:
        logger.info("No Kaggle table is offered: %s", error)
        return None
