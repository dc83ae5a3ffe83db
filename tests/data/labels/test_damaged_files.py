"""Files with a value of another kind somewhere, or with damaged bytes: read or refused, but never a traceback."""

import contextlib
import copy
import json
import random
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ppdet_ext.data.labels.formats import read_labels
from ppdet_ext.errors import UserError

FIXTURES = Path(__file__).parents[2] / "fixtures" / "labels"
JUNK: tuple[Any, ...] = (
    *(None, "x", "", "1", -1, 0, -0.5, 1e30, float("nan"), float("inf"), 10**30, True, "../../x.png"),
    *([], {}, [[]], [None], [{}], {"a": 1}, [1, 2], [[1, 2], [3]]),
)
VALUES = (
    b"-1",
    b"0",
    b"1e30",
    b"nan",
    b"99999999999999999999",
    b"",
    b"x",
    b"0.5",
    b'""',
    b'"\xc3\xa4"',
    b"null",
    b"\xff",
    b"\0",
)


def places(node: Any, path: tuple = ()) -> Iterator[tuple]:
    """Keys down to each value of JSON; of a list the first six."""
    if path:
        yield path
    pairs = node.items() if isinstance(node, dict) else enumerate(node[:6]) if isinstance(node, list) else ()
    for key, value in pairs:
        yield from places(value, (*path, key))


def with_junk(content: Any, rng: random.Random) -> Any:
    changed = copy.deepcopy(content)
    every = list(places(changed))
    path = rng.choice([path for path in every if len(path) <= 5] if rng.random() < 0.5 else every)
    node = changed
    for key in path[:-1]:
        node = node[key]
    if rng.random() < 0.2:
        del node[path[-1]]
    else:
        node[path[-1]] = rng.choice(JUNK)
    return changed


def with_damage(data: bytes, rng: random.Random) -> bytes:
    spots = list(re.finditer(rb'-?\d+(\.\d+)?|"[^"<>]{0,20}"', data))
    if rng.random() < 0.2:
        return data[: rng.randrange(len(data) + 1)]
    if spots and rng.random() < 0.6:
        spot = rng.choice(spots)
        return data[: spot.start()] + rng.choice(VALUES) + data[spot.end() :]
    changed = bytearray(data)
    for _ in range(rng.choice((1, 3, 10)) if changed else 0):
        changed[rng.randrange(len(changed))] = rng.randrange(256)
    return bytes(changed)


def read_or_refuse(path: Path) -> None:
    with contextlib.suppress(UserError):
        read_labels([str(path)])


@pytest.fixture
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A copy of the files of one tool."""
    copied = tmp_path / "export"
    shutil.copytree(request.param, copied)
    (copied / "expected.json").unlink(missing_ok=True)
    return copied


@pytest.mark.parametrize(
    "folder", [path for path in sorted(FIXTURES.iterdir()) if path.is_dir()], ids=lambda path: path.name, indirect=True
)
def test_a_damaged_file_is_no_traceback(folder: Path) -> None:
    rng = random.Random(folder.name)
    files = [
        path for path in sorted(folder.rglob("*")) if path.is_file() and path.suffix != ".jpg" and path.name != "README.md"
    ]
    for _ in range(12):
        file = rng.choice(files)
        whole = file.read_bytes()
        for changed in (
            with_damage(whole, rng),
            *([json.dumps(with_junk(json.loads(whole), rng)).encode()] if file.suffix == ".json" else ()),
        ):
            file.write_bytes(changed)
            read_or_refuse(folder)
            if file.suffix in (".json", ".xml"):
                read_or_refuse(file)
        file.write_bytes(whole)
