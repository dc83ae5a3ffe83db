"""What plain `pickle.load` and `yaml.unsafe_load` do with the attacks: index and the canaries that appeared."""

import contextlib
import os
import pickle
import sys
from pathlib import Path

import yaml

from tests.hostile.payloads import appeared


def load(path: Path) -> None:
    """As a program without care would."""
    with path.open("rb") as stream:
        (pickle.load if path.suffix == ".pkl" else yaml.unsafe_load)(stream)


def wait_for_children() -> None:
    """Popen comes back before its command has run."""
    with contextlib.suppress(ChildProcessError):
        while True:
            os.wait()


def main(folder: Path, count: int) -> None:
    """Read `0.pkl` or `0.yml` and so on of the folder, each in its place."""
    sys.path.insert(0, str(folder))
    for index in range(count):
        place = folder / f"{index}.place"
        place.mkdir()
        os.chdir(place)
        (path,) = folder.glob(f"{index}.*l")
        with contextlib.suppress(Exception):  # many fail after they have done it
            load(path)
        wait_for_children()
        print(f"{index}: {' '.join(appeared(place))}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
