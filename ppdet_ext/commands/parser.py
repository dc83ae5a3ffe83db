"""`FlagParser`: flags as argparse parses them, whose errors suggest what was meant. As light as flags.py."""

import argparse
import re
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

from ppdet_ext.errors import nearest

# '0,12', where a number was expected.
_COMMA = re.compile(r"invalid \w+ value: '(-?\d*),(\d+)'$")
_CHOICE = re.compile(r"invalid choice: '(.*)' \(choose from (.*)\)$")


class FlagParser(argparse.ArgumentParser):
    """Errors name the nearest flag for one that does not exist, the nearest choice, and the decimal point for a comma.

    Flags are not abbreviated.
    """

    def __init__(self, prog: str, description: str) -> None:
        super().__init__(prog=prog, description=description, allow_abbrev=False)
        self._words: list[str] = []

    def parse_known_args(self, args: Sequence[str] | None = None, namespace: Any = None) -> Any:  # type: ignore[override]
        """As argparse's; the words are kept for errors."""
        self._words = list(sys.argv[1:] if args is None else args)
        return super().parse_known_args(args, namespace)

    def error(self, message: str) -> NoReturn:
        """End the process with exit code 2, after the usage and the message with hints."""
        super().error(message + self._hint(message))

    def _hint(self, message: str) -> str:
        if found := _COMMA.search(message):
            return f". Write a decimal point: {found[1] or 0}.{found[2]}"
        if found := _CHOICE.search(message):
            return nearest(found[1], re.findall(r"[^\s',]+", found[2]))
        # A required flag that is misspelt is missed before it is found to be unknown.
        if not message.startswith(("unrecognized arguments", "the following arguments are required")):
            return ""
        given = [word.partition("=")[0] for word in self._words if word.startswith("--") and len(word) > 2]
        known = [
            flag
            for flag, action in self._option_string_actions.items()
            if flag.startswith("--") and action.help != argparse.SUPPRESS
        ]
        hints = (nearest(flag, known) for flag in given if flag not in self._option_string_actions)
        return "".join(f" {flag_hint.strip()}" for flag_hint in hints if flag_hint)
