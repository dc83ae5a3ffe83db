"""`Camera`: frames that come by themselves, of which the newest is predicted and those that cannot be in time are dropped."""

import threading
from collections.abc import Callable
from types import TracebackType
from typing import Any

import numpy as np

from ppdet_ext.errors import UserError

Handle = Callable[[np.ndarray, Any], object]


class Camera:
    """Takes frames at any pace and hands results of the newest on; call it with each frame, and `close` it at the end.

    A thread predicts. A call never waits: the frame takes the place of one that still waits for its turn, which is then
    dropped. As a context it closes itself.

    Args:
        predict: frame -> result.
        handle: is given (frame, result), in that thread, in the order of the frames.

    Attributes:
        handled, dropped: how many frames, so far. Those that wait are neither.
    """

    def __init__(self, predict: Callable[[np.ndarray], Any], handle: Handle) -> None:
        self.handled = self.dropped = 0
        self._predict, self._handle = predict, handle
        self._waiting: np.ndarray | None = None
        self._closed, self._error = False, None  # type: bool, BaseException | None
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="Camera", daemon=True)
        self._thread.start()

    def __call__(self, frame: np.ndarray) -> None:
        """Take a frame; whoever gives it must not write into it any more.

        Raises: what predicting or handling an earlier one has raised, which ended the loop; ValueError once closed; UserError
        for None, which OpenCV's cameras give in place of a frame.
        """
        with self._changed:
            self._raise()
            if self._closed:
                raise ValueError("this Camera is closed")
            if frame is None:
                raise UserError("None is no frame: the camera gave none, or its stream is at the end. Look at what it returns.")
            self.dropped += self._waiting is not None
            self._waiting = frame
            self._changed.notify()

    def close(self) -> None:
        """Wait until the last frame is handled, and end the thread. Raises: what the loop has raised.

        Out of `handle`, which runs in that thread, it only tells: the frame that waits is the last one.
        """
        with self._changed:
            self._closed = True
            self._changed.notify()
        if threading.current_thread() is not self._thread:
            self._thread.join()
        self._raise()

    def __enter__(self) -> "Camera":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if error is None:
            self.close()
            return
        with self._changed:
            # The error that ends the block counts, not one of a frame that is under way.
            self._closed, self._waiting = True, None
            self._changed.notify()
        self._thread.join()

    def _raise(self) -> None:
        if self._error is not None:
            error, self._error, self._closed = self._error, None, True
            raise error

    def _run(self) -> None:
        while (frame := self._next()) is not None:
            try:
                self._handle(frame, self._predict(frame))
                self.handled += 1
            except BaseException as error:  # it is raised where the frames come from
                with self._changed:
                    self._error, self._closed = error, True
                return

    def _next(self) -> np.ndarray | None:
        """The newest frame, waited for; None at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting is not None or self._closed)
            frame, self._waiting = self._waiting, None
            return frame
