"""`report.json`: written from the dataclasses, and read back into them."""

from __future__ import annotations

import dataclasses
import json
import types
import typing
from pathlib import Path
from typing import Any

from ppdet_ext.errors import UserError

from .schema import VERSION, Report


def report_text(report: Report) -> str:
    """The JSON of a report, one line; the same report gives the same bytes. ValueError for a number that is not finite."""
    return json.dumps(dataclasses.asdict(report), ensure_ascii=False, allow_nan=False, separators=(",", ":")) + "\n"


def read_report(path: str | Path) -> Report:
    """The report in a file. Raises: UserError for what is none, or is of another version."""
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
        version = content["version"]
        if version != VERSION:
            raise UserError(f"{path} is a report of version {version}; this program reads {VERSION}. Make it again.")
        return _built(Report, content)
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror or error}.") from error
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path} is no report.json ({error!r}). tools/report.py writes one.") from error


def _built(kind: Any, value: Any) -> Any:
    """A value of JSON as the type that an annotation names."""
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        hints = _hints(kind)
        return kind(**{name: _built(hints[name], value[name]) for name in hints if name in value})
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (types.UnionType, typing.Union):
        return None if value is None else _built(next(one for one in arguments if one is not type(None)), value)
    if origin is list:
        return [_built(arguments[0], one) for one in value]
    if origin is dict:
        return {key: _built(arguments[1], one) for key, one in value.items()}
    return float(value) if kind is float else value


def _hints(kind: type) -> dict[str, Any]:
    if kind not in _known:
        _known[kind] = typing.get_type_hints(kind)
    return _known[kind]


_known: dict[type, dict[str, Any]] = {}
