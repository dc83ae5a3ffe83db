"""`explore_data`: a data set before training, for programs."""

import os
from collections.abc import Sequence

from ppdet_ext.commands import explore as explore_command
from ppdet_ext.commands.page_flags import DATA_PARTS
from ppdet_ext.errors import path_of, paths_of
from ppdet_ext.explore.schema import Exploration
from ppdet_ext.registry import one_of

from .configuration import Overrides, PathLike, Source, left_as_found, load_config


def explore_data(
    config: Source,
    overrides: Overrides = None,
    *,
    parts: str | Sequence[str] | None = None,
    output_dir: PathLike | None = None,
    pictures: bool = True,
    workers: int = 0,
) -> Exploration:
    """Write `explore.html` and `explore.json` of a configuration's data sets, as tools/explore.py does.

    Args:
        config, overrides: see `load_config`.
        parts: data sets, what is learnt first: "train", "eval", "test"; None: the first two, as far as there are any.
        output_dir: folder of what is written; `output/<configuration>/explore` by default.
        pictures: whether pictures are read, compared and shown.
        workers: threads that read them; 0: one for each core.

    Returns:
        Everything that the page says: `.classes`, `.distributions`, `.leaks`, `.advice`, each with the `options` that mend it.

    Raises:
        UserError: for what the caller can mend.
    """
    cfg = load_config(config, overrides, training=False)
    named = None if parts is None else [one_of(part, tuple(DATA_PARTS), "parts") for part in paths_of(parts, "parts")]
    output = None if output_dir is None else path_of(output_dir, "output_dir")
    with left_as_found():
        options = explore_command.Options(named, output, pictures, workers)
        return explore_command.explore(cfg, options, str(config) if isinstance(config, str | os.PathLike) else "")
