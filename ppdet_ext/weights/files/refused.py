"""Why a file is not taken."""

from .stored_tensor import Malformed


class Refused(Malformed):
    """The file is whole, but what it asks for or holds is not what `paddle.save` writes of a model or optimizer."""


def shown(value: object) -> str:
    """A value of a file in a message: short, and without what a terminal would obey."""
    return ascii(value) if len(ascii(value)) <= 80 else f"{ascii(value)[:77]}…"
