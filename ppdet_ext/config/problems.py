"""What is wrong with a configuration: collected with its place, so that every problem is told at once."""

from collections.abc import Iterable

from .files import KeyPath, Origins, nearest

_MOST, _LONGEST = 40, 600


class Problems:
    """Collects problems, each with the place ('file:line' or '-o …') of the key it is about."""

    def __init__(self, source: str, origins: Origins) -> None:
        self.source = source
        self.origins = origins
        self.found: list[str] = []

    @property
    def text(self) -> str:
        """What was found as a message that fits on a screen or two."""
        lines = [line if len(line) <= _LONGEST else f"{line[:_LONGEST]}…" for line in self.found[:_MOST]]
        more = len(self.found) - len(lines)
        return "\n".join([*lines, *([f"… and {more} more."] if more else [])])

    def add(self, path: KeyPath, text: str) -> None:
        """Note a problem with the key at `path`."""
        where = next((self.origins[path[:n]] for n in range(len(path), 0, -1) if path[:n] in self.origins), self.source)
        self.found.append(f"{where}: {text}")

    def unknown(self, path: KeyPath, choices: Iterable[str], owner: str = "") -> None:
        """Note an unknown key at `path`, offering the nearest of `choices`."""
        names = sorted(choices)
        hint = nearest(path[-1], names)
        if not hint and len(names) <= 20:
            hint = f" Known: {', '.join(names) or 'none'}."
        self.add(path, f"unknown key {'.'.join(path)!r}{f' of {owner}' if owner else ''}.{hint}")
