"""Members of an ensemble whose weights stay in their files until it is their turn."""

import contextlib
import gc
import logging
from collections.abc import Callable, Iterator
from typing import Any

from .protocol import Detector
from .views import Views

logger = logging.getLogger("ppdet_ext")


class OneModel:
    """Holds the model of one member at a time: it lets that go before the next one is made."""

    def __init__(self) -> None:
        self._owner: Any = None
        self._model: Detector | None = None

    def of(self, owner: Any, make: Callable[[], Detector]) -> Detector:
        """The model of that owner, made unless it is the one held."""
        if self._owner is not owner or self._model is None:
            self._owner = self._model = None
            gc.collect()  # layers and their parameters may point at each other
            self._model = make()
            self._model.eval()
            self._owner = owner
        return self._model


class StoredMember:
    """What `Member` is, but that its model is made anew whenever another member was asked for its own meanwhile.

    Args:
        held: shared with the other members.
        make: builds the model with its weights. What it logs is logged the first time only.
        views, weight, name: as of `Member`.
    """

    def __init__(self, held: OneModel, make: Callable[[], Detector], views: Views, weight: float = 1.0, name: str = "") -> None:
        self._held, self._make, self._known = held, make, False
        self.views, self.weight, self.name = views, weight, name

    @property
    def model(self) -> Detector:
        """The model, in evaluation mode."""
        return self._held.of(self, self._made)

    def _made(self) -> Detector:
        with _silent() if self._known else contextlib.nullcontext():
            model = self._make()
        self._known = True
        return model


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    """Log nothing meanwhile."""

    def nothing(record: logging.LogRecord) -> bool:
        return False

    logger.addFilter(nothing)
    try:
        yield
    finally:
        logger.removeFilter(nothing)
