"""Values of other types, missing keys and odd numbers anywhere in a file: counted, or an error of the user's."""

import contextlib
import copy
import json
import random
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from label_files import write_png

from ppdet_ext.data.labels.formats import FORMATS
from ppdet_ext.data.labels.pictures import Pictures
from ppdet_ext.errors import UserError

FIXTURES = Path(__file__).parents[2] / "fixtures" / "labels"
FILES = {
    "labelme": ("labelme/primitives.json", "labelme/2011_000003.json"),
    "via": ("via/via_region_data.json", "via/via1_regions_as_dict.json"),
    "supervisely": ("supervisely/ds/ann/nuclei.png.json",),
    "datumaro": ("datumaro/masks/annotations/default.json",),
    "superannotate": ("superannotate/vector/example_image_1.jpg___objects.json", "superannotate/pixel/1.jpg___pixel.json"),
    "darwin": ("darwin_v7/polygons/000000021295.json", "darwin_v7/raster_mask/image_2.json"),
}
VALUES: tuple[Any, ...] = (
    *(None, True, 0, -1, 3.5, float("nan"), float("inf"), 1e300, 10**30, 2**31, "", "x", "12", "\x00", "../../etc/passwd"),
    *([], [[]], {}, [1, 2, 3], {"a": 1}, [None], [{}]),
)
TIMES = 60


def places(content: Any, above: tuple = ()) -> Iterator[tuple]:
    """Ways to all values of a file, of long lists to the first."""
    yield above
    items = content.items() if isinstance(content, dict) else enumerate(content[:5]) if isinstance(content, list) else ()
    for key, value in items:
        yield from places(value, (*above, key))


def damaged(content: Any, ways: list[tuple], rng: random.Random) -> Any:
    content = copy.deepcopy(content)
    for _ in range(rng.choice([1, 1, 2])):
        *way, key = rng.choice(ways)
        try:
            inner = content
            for step in way:
                inner = inner[step]
            if rng.random() < 0.2:
                del inner[key]
            else:
                inner[key] = copy.deepcopy(rng.choice(VALUES))
        except (KeyError, IndexError, TypeError):
            continue  # the first damage has taken the place of the second
    return content


@pytest.mark.parametrize("form", FILES)
def test_damage_is_counted_or_named(form: str, tmp_path: Path) -> None:
    for number in range(2):
        write_png(tmp_path / f"camera_{number}.jpg", np.zeros((2048, 2448), bool))
    shutil.copy(FIXTURES / "superannotate" / "pixel" / "1.jpg___save.png", tmp_path)
    read = 0
    for name in FILES[form]:
        content = json.loads((FIXTURES / name).read_text())
        ways = [way for way in places(content) if way]
        rng = random.Random(1)
        for _ in range(TIMES):
            file = tmp_path / Path(name).name
            file.write_text(json.dumps(damaged(content, ways, rng)))
            # Any other exception is what is looked for.
            with contextlib.suppress(UserError):
                read += bool(FORMATS[form].read([str(file)], Pictures(str(tmp_path))).images)
    assert read > TIMES // 2
