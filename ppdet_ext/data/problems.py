"""Faults found in a data set: collected, counted, named, and then raised or reported together."""

import logging

from ppdet_ext.errors import UserError

SHOWN = 10

logger = logging.getLogger("ppdet_ext")


class Problems:
    """Collects faults by kind so that one message tells everything that is wrong with a data set."""

    def __init__(self, source: str):
        self.source = source
        self.found: dict[str, list[str]] = {}
        # Images whose annotations are incomplete because of a fault.
        self.images: set[str] = set()

    def add(self, kind: str, detail: str, image: str | None = None) -> None:
        """image: name of the one whose annotations the fault makes incomplete, so that it must not be used."""
        self.found.setdefault(kind, []).append(detail)
        if image is not None:
            self.images.add(image)

    def __len__(self) -> int:
        return sum(len(details) for details in self.found.values())

    def text(self) -> str:
        """One line per kind: how many, and the first ten by name."""
        lines = []
        for kind, details in self.found.items():
            more = f", and {len(details) - SHOWN} more" if len(details) > SHOWN else ""
            lines.append(f"  {len(details)} {kind}: " + "; ".join(details[:SHOWN]) + more)
        return "\n".join(lines)

    def settle(self, on_error: str) -> None:
        """Nothing to do without faults; otherwise log them (`on_error="skip"`) or raise.

        Raises: UserError unless the configuration says to skip.
        """
        if not self.found:
            return
        if on_error == "skip":
            logger.warning("%s: skipped, as on_error: skip says\n%s", self.source, self.text())
            return
        raise UserError(f"{self.source} has faults\n{self.text()}\n  Mend them, or set `on_error: skip` to go on without them.")
