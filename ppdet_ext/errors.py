"""The errors that end a command with one clear line instead of a traceback, the names they suggest, and checks of arguments."""

import difflib
import os
import re
from collections.abc import Iterable
from typing import Any

_SINGULAR = {"are": "is", "do": "does", "have": "has", "repeat": "repeats"}
_VERBS = re.compile(rf"\bthat ({'|'.join(_SINGULAR)})\b")
_PLURAL = re.compile(r"(?<=ss|.x|ch|sh)es\b|(?<=[a-z])s\b")


class UserError(ValueError):
    """Something the user can mend: names the file, row or key, the fault and the remedy."""


class OtherModelError(UserError):
    """A weights file is of another architecture than the model that is to have it."""


class DivergenceError(RuntimeError):
    """Training left the finite numbers (NaN or Inf loss, boxes or weights)."""


class WorkerDied(RuntimeError):
    """A process that prepares batches ended by itself or was killed, for example for want of memory."""


class RankError(RuntimeError):
    """A run on several ranks cannot go on; names the rank at fault and the cause."""


def closest(name: object, choices: Iterable[object], count: int = 1, cutoff: float = 0.6) -> list[str]:
    """Up to `count` of `choices` that are like `name`, whatever their capitals, the most alike first."""
    by_lower = {str(choice).lower(): str(choice) for choice in choices}
    return [by_lower[found] for found in difflib.get_close_matches(str(name).lower(), by_lower, count, cutoff)]


def nearest(name: object, choices: Iterable[object]) -> str:
    """The hint ' Did you mean …?' with the closest of `choices`, or '' when none is close."""
    found = closest(name, choices)
    return f" Did you mean {found[0]!r}?" if found else ""


def counted(number: int, things: str) -> str:
    """'2 rows of an image', and for one '1 row of an image'.

    `things` begins with a plural in -s or, as classes and boxes, in -es. Of verbs only those of `_VERBS` may follow.
    """
    if number != 1:
        return f"{number} {things}"
    return f"{number} {_VERBS.sub(lambda found: f'that {_SINGULAR[found[1]]}', _PLURAL.sub('', things, 1), 1)}"


def path_of(given: Any, setting: str) -> str:
    """A path as a text. Raises: UserError that names the `setting`, for what is none."""
    if not isinstance(given, (str, os.PathLike)):
        raise UserError(f"{setting} is {given!r}; expected one path.")
    return str(os.fspath(given))


def paths_of(given: Any, setting: str) -> list[str]:
    """Paths or names as texts; one that stands alone is a list of one, not of its characters.

    Raises: UserError that names the `setting`, for what is neither.
    """
    single = isinstance(given, (str, os.PathLike))
    if single or isinstance(given, Iterable):
        found = [os.fspath(one) if isinstance(one, os.PathLike) else one for one in ([given] if single else given)]
        if all(isinstance(one, str) for one in found):
            return found
    raise UserError(f"{setting} is {given!r}; expected a path or a name, or a list of them.")
