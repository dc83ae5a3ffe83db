"""The command behind tools/explore.py: the data set before training, in a page and in JSON."""

from __future__ import annotations

import argparse
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from ppdet_ext.checkpoint.run_folder import run_folder
from ppdet_ext.data.images.decode import read_record
from ppdet_ext.data.images.depth import Reading
from ppdet_ext.errors import UserError, counted
from ppdet_ext.explore.advice import option_line
from ppdet_ext.explore.analysis import exploration_text
from ppdet_ext.explore.analysis import explore as explore_data
from ppdet_ext.explore.fit import READERS
from ppdet_ext.explore.page import write_page
from ppdet_ext.explore.schema import Exploration
from ppdet_ext.files.atomic import demand_writable, write_atomic
from ppdet_ext.host import Config
from ppdet_ext.structures import Record

from .cli import config_of
from .flags import DEFAULT_CONFIG
from .page_flags import EXPLORED

FOLDER, PAGE, FACTS = "explore", "explore.html", "explore.json"
SETTING = "--output"
logger = logging.getLogger("ppdet_ext")


@dataclass(frozen=True)
class Options:
    """The flags of `explore_parser`. parts: None takes train and eval, as far as the configuration has them.
    output: folder; None: output/<configuration>/explore."""

    parts: Sequence[str] | None = None
    output: str | Path | None = None
    pictures: bool = True
    workers: int = 0


def explore(cfg: Config, options: Options | None = None, config: str = "") -> Exploration:
    """Write explore.html and explore.json of a configuration's data sets.

    config: how the user calls the configuration, for commands that are proposed.

    Raises: UserError for what the user can mend.
    """
    options = options or Options()
    began = time.perf_counter()
    if options.workers < 0:
        raise UserError(f"--workers is {options.workers}; give a number of threads, or 0 for one on each core.")
    folder = Path(options.output) if options.output else run_folder(cfg) / FOLDER
    demand_writable(folder / PAGE, SETTING)
    parts = list(dict.fromkeys(options.parts or EXPLORED))
    found = explore_data(
        cfg, parts, required=options.parts is not None, pixels=options.pictures, workers=options.workers, config=config
    )
    text = exploration_text(found.facts).encode("utf-8", errors="backslashreplace")
    write_atomic(folder / FACTS, lambda aside: aside.write_bytes(text), SETTING)
    reader = cfg.get(READERS[parts[0]]) or {}
    reading = Reading.of_transforms(reader.get("sample_transforms"))
    write_page(found, partial(_pixels, reading=reading) if options.pictures else None, folder / PAGE, SETTING)
    _tell(found.facts, folder / PAGE, time.perf_counter() - began)
    return found.facts


def _pixels(record: Record, reading: Reading) -> np.ndarray | None:
    """The picture of an image; None where it cannot be read, or is not as annotated."""
    try:
        pixels = read_record(record, reading)
    except UserError:
        return None
    return pixels if pixels.shape[:2] == (record.height, record.width) else None


def _tell(facts: Exploration, page: Path, seconds: float) -> None:
    """The advice in words, and where the page is."""
    for one in facts.advice:
        lines = [line for line in (option_line(one.options), one.command) if line]
        tell = logger.warning if one.grave else logger.info
        tell("%s%s", one.text, "".join(f"\n    {line}" for line in lines))
    head, size = facts.head, page.stat().st_size / 1e6
    images, objects = counted(head.images, "images"), counted(head.objects, "objects")
    logger.info("%s with %s looked at in %.1f s: %s (%.1f MB), numbers in %s", images, objects, seconds, page, size, FACTS)


def run(args: argparse.Namespace) -> Exploration:
    """`explore` with the flags of `explore_parser`."""
    options = Options(args.part, args.output, args.pictures, args.workers)
    return explore(config_of(args), options, args.config or DEFAULT_CONFIG)
