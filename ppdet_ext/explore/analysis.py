"""From a configuration to an `Exploration`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ppdet_ext.data.images.depth import Reading
from ppdet_ext.host import Config
from ppdet_ext.report.analysis import fingerprint

from .advice import Found, advice
from .facts import class_facts, distribution, distributions, places, size_counts, together
from .fit import READERS, anchor_facts, resized_facts
from .leaks import find_leaks, odd_images
from .objects import Data, data_of
from .pixels import FIELDS, Pixels, read_pixels
from .reading import key_of, read_parts
from .schema import VERSION, Distribution, Exploration, Head, PartFacts, Problem
from .suspicious import overlap_distribution, overlaps, suspicions

_TITLES = {
    "brightness": "Mean grey level (0 to 255)",
    "contrast": "Standard deviation of the grey levels",
    "sharpness": "Sharpness (variance of the Laplacian)",
}


@dataclass(frozen=True)
class Explored:
    """facts: everything that is told. data, pixels: what it was made of, for pictures; pixels None where none were read."""

    facts: Exploration
    data: Data
    pixels: Pixels | None


def explore(
    cfg: Config,
    parts: Sequence[str] = ("train", "eval"),
    *,
    required: bool = True,
    pixels: bool = True,
    workers: int = 0,
    config: str = "",
) -> Explored:
    """Read the data sets of a configuration; say what is in them, what is wrong, and what of the configuration does not suit.

    Args:
        parts: train, eval, test; the first is what the others must not share images with.
        required: whether a part that the configuration lacks is an error.
        pixels: whether pictures are read.
        workers: threads that read them; 0: one for each core.
        config: how the user calls the configuration.

    Raises: UserError for what the user can mend.
    """
    read, names = read_parts(cfg, parts, required)
    data = data_of(read, names)
    seen = _pixels(cfg, data, workers) if pixels and len(data.images.records) else None
    problems = [problem for part in read for problem in part.problems] + _unread(data, seen)
    pairs = overlaps(data)
    found = Found(
        cfg, config, data, class_facts(data), find_leaks(data, seen), problems, suspicions(data, pairs),
        resized_facts(cfg, data), anchor_facts(cfg, data),
    )  # fmt: skip
    shapes = [one for one in (*distributions(data), overlap_distribution(data, pairs), *_looks(data, seen)) if one is not None]
    facts = Exploration(
        VERSION,
        _head(cfg, config, data, seen),
        advice(found),
        found.classes,
        shapes,
        places(data),
        together(data),
        size_counts(data),
        [] if seen is None else odd_images(data, seen),
        found.leaks,
        problems,
        found.suspicious,
        found.resized,
        found.anchors,
    )
    return Explored(facts, data, seen)


def exploration_text(facts: Exploration) -> str:
    """`explore.json`; the same facts give the same bytes."""
    return json.dumps(asdict(facts), ensure_ascii=False, allow_nan=False, separators=(",", ":")) + "\n"


def _pixels(cfg: Config, data: Data, workers: int) -> Pixels:
    part = data.parts[0]
    reader: Any = cfg.get(READERS[part.name]) or {}
    first = data.images.records[0].file
    folder = getattr(cfg[key_of(part.name)], "dataset_dir", None) or Path(first).parent
    reading = Reading.of_transforms(reader.get("sample_transforms"))
    return read_pixels([record.file for record in data.images.records], reading, workers, Path(folder))


def _unread(data: Data, seen: Pixels | None) -> list[Problem]:
    """Pictures that could not be read, as faults of their parts."""
    if seen is None or not seen.faults:
        return []
    found = []
    for part in data.parts:
        own = [seen.faults[record.file] for record in part.records if record.file in seen.faults]
        if own:
            found.append(Problem(part.name, "pictures that cannot be read", len(own), own[:10], ""))
    return found


def _looks(data: Data, seen: Pixels | None) -> list[Distribution | None]:
    """Histograms of what was seen of the pictures, by part."""
    if seen is None:
        return []
    names = [(number, part.name) for number, part in enumerate(data.parts)]
    return [
        distribution(key, _TITLES[key], "", "images", seen.values[:, column], data.images.part, names, key == "sharpness")
        for column, key in enumerate(FIELDS)
    ]


def _head(cfg: Config, config: str, data: Data, seen: Pixels | None) -> Head:
    parts = [_part_facts(data, number) for number in range(len(data.parts))]
    images, objects = len(data.images.records), len(data.objects)
    return Head(cfg.filename, config, list(data.class_names), parts, images, objects, data.objects.measured, seen is not None)


def _part_facts(data: Data, number: int) -> PartFacts:
    part, own = data.parts[number], data.images.part == number
    counts = data.images.counts[own]
    return PartFacts(
        part.name,
        part.source,
        fingerprint(part.records),
        part.annotated,
        int(own.sum()),
        int((counts == 0).sum()),
        int(counts.sum()),
        int(np.sum(data.images.crowds[own])),
    )
