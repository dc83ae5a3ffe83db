"""A configuration as a value, and ppdet's global workspace, which is filled from one only while something is built."""

import contextlib
import threading
from collections.abc import Iterator, Mapping
from copy import deepcopy
from typing import Any

from ppdet.core.workspace import SchemaDict, global_config

# ppdet has modules of these names; in a configuration they are data sets, or absent.
DATASETS = ("TrainDataset", "EvalDataset", "TestDataset")
# There is one workspace for all threads.
_FILLING = threading.RLock()
_PLAIN = (dict, list, str, int, float, type(None))


class Config(Mapping[str, Any]):
    """What a configuration says; nothing changes it, and any number of them live side by side.

    Keys are attributes too: `cfg.epoch`. Beside the keys of the files there is a section of each module that ppdet knows,
    with the module's defaults (`cfg["FPN"]["out_channel"]`); iterating gives the keys of the files and their defaults only.

    Args:
        values: key -> value, objects in place of `!Class` nodes.
        resolved: the same as a plain tree, see `dump_config`.
        filename: name of the run, which is the file's without its ending.
    """

    __slots__ = ("_values", "filename", "resolved")

    def __init__(self, values: Mapping[str, Any], resolved: Mapping[str, Any], filename: str) -> None:
        self._values, self.resolved, self.filename = dict(values), dict(resolved), filename

    def __getitem__(self, key: str) -> Any:
        schema = global_config.get(key)
        if not isinstance(schema, SchemaDict) or key in DATASETS:
            return self._values[key]
        return _section(schema, self._values.get(key))

    def __getattr__(self, key: str) -> Any:
        if key.startswith("_"):  # asked for by copy and pickle before there are values
            raise AttributeError(key)
        try:
            return self[key]
        except KeyError:
            raise AttributeError(f"the configuration has no key {key!r}") from None

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def replaced(self, **values: Any) -> "Config":
        """This configuration with other values; of sections, what is given of them. Objects are not part of `resolved`."""
        merged = {key: _joined(self._values.get(key), value) for key, value in values.items()}
        plain = {key: _joined(self.resolved.get(key), value) for key, value in values.items() if isinstance(value, _PLAIN)}
        return Config({**self._values, **merged}, {**self.resolved, **plain}, self.filename)


def _joined(old: Any, new: Any) -> Any:
    return {**old, **new} if isinstance(old, dict) and isinstance(new, dict) else new


def _section(schema: SchemaDict, values: Any) -> SchemaDict:
    """A module's section with these values, apart from those of any other configuration."""
    section = SchemaDict()
    vars(section).update(vars(schema))
    # ppdet writes into nested sections ({name: ResNet, depth: 18}) while it builds.
    section.update(deepcopy(dict(values or {})))
    return section


@contextlib.contextmanager
def workspace(config: Config) -> Iterator[None]:
    """Within the block ppdet's `create` builds from this configuration; afterwards its workspace is what it was.

    Other threads' blocks wait for its end.
    """
    with _FILLING:
        before = dict(global_config)
        filled = {key: value for key, value in before.items() if isinstance(value, SchemaDict)}
        filled.update({key: config[key] for key in filled if key not in DATASETS})
        filled.update({key: value for key, value in config.items() if key not in filled})
        try:
            _replace(filled)
            yield
        finally:
            registered = {key: value for key, value in global_config.items() if key not in filled}
            _replace({**registered, **before})


def _replace(content: Mapping[str, Any]) -> None:
    # Modules hold on to the dict itself, and other threads look schemas up in it, so it is never empty.
    for key in set(global_config) - set(content):
        del global_config[key]
    global_config.update(content)
