"""A camera's frames: the newest is predicted, those that are late are dropped, errors come back to the loop."""

import threading

import numpy as np
import pytest

from ppdet_ext.errors import UserError
from ppdet_ext.runtime.camera import Camera

FRAMES = [np.full((1, 1), number, np.uint8) for number in range(6)]


def test_late_frames_are_dropped_and_the_newest_is_handled() -> None:
    begun, go_on = threading.Event(), threading.Event()
    seen: list[tuple[int, int]] = []

    def predict(frame: np.ndarray) -> int:
        begun.set()
        assert go_on.wait(20)
        return int(frame[0, 0]) * 10

    with Camera(predict, lambda frame, result: seen.append((int(frame[0, 0]), result))) as camera:
        camera(FRAMES[0])
        assert begun.wait(20)
        for frame in FRAMES[1:]:
            camera(frame)
        assert camera.dropped == 4
        go_on.set()
    assert seen == [(0, 0), (5, 50)]
    assert (camera.handled, camera.dropped) == (2, 4)
    with pytest.raises(ValueError, match="closed"):
        camera(FRAMES[0])


def test_an_error_comes_back_to_whoever_gives_frames() -> None:
    def fail(frame: np.ndarray) -> None:
        raise OSError("no light")

    camera = Camera(fail, lambda frame, result: None)
    camera(FRAMES[0])
    camera._thread.join(20)
    with pytest.raises(OSError, match="no light"):
        camera(FRAMES[1])
    camera = Camera(fail, lambda frame, result: None)
    camera(FRAMES[0])
    with pytest.raises(OSError, match="no light"):
        camera.close()


def test_none_is_no_frame_and_takes_no_ones_place() -> None:
    handled: list[int] = []
    begun, go_on = threading.Event(), threading.Event()

    def predict(frame: np.ndarray) -> int:
        begun.set()
        assert go_on.wait(20)
        return int(frame[0, 0])

    with Camera(predict, lambda frame, result: handled.append(result)) as camera:
        camera(FRAMES[0])
        assert begun.wait(20)
        camera(FRAMES[1])
        with pytest.raises(UserError, match="None is no frame: the camera gave none"):
            camera(None)  # type: ignore[arg-type]
        go_on.set()
    assert (handled, camera.dropped) == ([0, 1], 0)


def test_the_one_who_handles_frames_may_stop_the_loop() -> None:
    handled: list[int] = []

    def handle(frame: np.ndarray, result: int) -> None:
        handled.append(result)
        camera.close()

    camera = Camera(lambda frame: int(frame[0, 0]), handle)
    camera(FRAMES[3])
    camera._thread.join(20)
    camera.close()
    assert (handled, camera.handled) == ([3], 1)
    with pytest.raises(ValueError, match="closed"):
        camera(FRAMES[4])


def test_an_error_of_the_loop_itself_counts() -> None:
    cameras: list[Camera] = []

    def loop() -> None:
        with Camera(lambda frame: 1 / 0, lambda frame, result: None) as camera:
            cameras.append(camera)
            camera(FRAMES[0])
            raise KeyError("stop")

    with pytest.raises(KeyError):
        loop()
    assert not cameras[0]._thread.is_alive()
