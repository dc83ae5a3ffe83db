"""What determines the predictions of a submission: digests to compare before an interrupted run goes on."""

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ppdet_ext.config.files import dump_tree, find_config, read_tree
from ppdet_ext.config.keys import CLASSIFIER, POSTPROCESS, Decides, deciding
from ppdet_ext.config.load import resolve_path
from ppdet_ext.files.atomic import digest
from ppdet_ext.host import Config
from ppdet_ext.inference.members import members_of
from ppdet_ext.submission import Format
from ppdet_ext.weights.find import find_weights

from .journal import Source


def sources_of(records: Sequence[Any]) -> dict[str, Source]:
    """Of each image by name; to be compared one by one, so that a file that was mended costs no other's prediction."""
    return {record.name: (record.height, record.width, os.path.getsize(record.file)) for record in records}


def header_of(
    cfg: Config, names: Sequence[str], class_names: Sequence[str], class_ids: Sequence[int], threshold: float, form: Format
) -> dict[str, Any]:
    """Of a run on the images of these names in this order; JSON-able. Raises: UserError where weights are missing.

    class_names, class_ids: by label; steps may name classes, and results hold the ids.
    """
    shape = {"columns": {column.header: column.text for column in form.cells}}
    shape |= {key: getattr(form, key) for key in ("rows", "size", "empty", "overlaps", "image_suffix")}
    return {
        "version": 2,
        **origin_of(cfg),
        "format": _text_digest(json.dumps(shape)),
        "threshold": threshold,
        "classes": [list(one) for one in zip(class_ids, class_names)],
        "images": _text_digest(json.dumps(list(names))),
    }


def origin_of(cfg: Config) -> dict[str, Any]:
    """Of what is found in any picture: the content of weights, of configuration and of the files that steps name.

    JSON-able. Raises: UserError where weights are missing.
    """
    tree = deciding(cfg.resolved, Decides.CANDIDATES | Decides.RESULT)
    return {
        "weights": [digest(path) for path in _weights(cfg)],
        "configuration": _text_digest(dump_tree(tree) + "".join(_member_configurations(cfg))),
        "files of steps": [digest(path) for path in _files([tree.get(POSTPROCESS), cfg.get("plugins"), tree.get(CLASSIFIER)])],
    }


def _text_digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _weights(cfg: Config) -> list[Path]:
    return [find_weights(entry["weights"], theirs=True) for entry in members_of(cfg)]


def _member_configurations(cfg: Config) -> Iterator[str]:
    for entry in members_of(cfg):
        if entry.get("config"):
            yield dump_tree(read_tree(find_config(entry["config"]))[0])


def _files(value: Any) -> Iterator[Path]:
    """The files that a section of the configuration names; weights without their suffix, too."""
    if isinstance(value, dict) and isinstance(value.get("weights"), str):
        yield find_weights(value["weights"], theirs=True)
        yield from _files({key: item for key, item in value.items() if key != "weights"})
    elif isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _files(item)
    elif isinstance(value, str) and value and resolve_path(value).is_file():
        yield resolve_path(value)
