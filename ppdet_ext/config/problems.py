"""What is wrong with a configuration: collected with its place, so that every problem is told at once."""

from collections.abc import Iterable
from typing import Any

from ppdet_ext.errors import UserError, nearest

from .files import KeyPath, Origins

_MOST, _LONGEST = 40, 600


class Problems:
    """Collects problems, each with the place ('file:line' or '-o …') of the key it is about."""

    def __init__(self, source: str, origins: Origins) -> None:
        self.source = source
        self.origins = origins
        self.found: list[str] = []

    def add(self, path: KeyPath, text: str) -> None:
        """Note a problem with the key at `path`."""
        self.found.append(f"{self.place(path)}: {text}")

    def place(self, path: KeyPath) -> str:
        """Where the key at `path` was given, or else what is above it."""
        return next((self.origins[path[:n]] for n in range(len(path), 0, -1) if path[:n] in self.origins), self.source)

    def wrong(self, path: KeyPath, value: Any, wanted: str) -> None:
        """Note that `wanted` should stand in place of a value."""
        self.add(path, f"{'.'.join(path)} is {value!r}; expected {wanted}.")

    def unknown(self, path: KeyPath, choices: Iterable[str], owner: str = "", hint: str = "") -> None:
        """Note an unknown key at `path`, offering the nearest of `choices`, unless there is a better `hint`."""
        names = sorted(choices)
        hint = hint or nearest(path[-1], names)
        if not hint and len(names) <= 20:
            hint = f" Known: {', '.join(names) or 'none'}."
        self.add(path, f"unknown key {'.'.join(path)!r}{f' of {owner}' if owner else ''}.{hint}")

    def settle(self) -> None:
        """Raises: UserError telling all that was found, on a screen or two."""
        lines = [line if len(line) <= _LONGEST else f"{line[:_LONGEST]}…" for line in self.found[:_MOST]]
        more = len(self.found) - len(lines)
        if lines:
            raise UserError("\n".join([*lines, *([f"… and {more} more."] if more else [])]))
