"""A small page: four pictures with bright blocks, a model that finds bright pixels, and a client that asks as the page does."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ppdet_ext.data.images.decode import read_image
from ppdet_ext.data.images.depth import AS_SHOWN, Reading
from ppdet_ext.postprocess import PostProcess
from ppdet_ext.runtime.base import BasePredictor, Steps
from ppdet_ext.runtime.images import Picture
from ppdet_ext.runtime.prediction import Prediction
from ppdet_ext.structures import Candidates, Detections, Record, Rle
from ppdet_ext.viewer.application import create_app
from ppdet_ext.viewer.catalogue import Item
from ppdet_ext.viewer.session import Model, Session

HEIGHT, WIDTH = 48, 120
CLASSES, IDS = ("pits", "<i>scratches</i>"), (1, 7)
BRIGHT = 200
# Names that would be code or a path elsewhere.
NAMES = ("a.jpg", "<b>bold</b>.jpg", "../x'\"&.jpg", "new\nline\t$(id).jpg")


def block(x: int, y: int = 10, wide: int = 20, high: int = 16) -> Rle:
    bitmap = np.zeros((HEIGHT, WIDTH), np.uint8)
    bitmap[y : y + high, x : x + wide] = 1
    return Rle.from_bitmap(bitmap)


def write_sheet(path: Path, *places: int) -> Path:
    """A dark PNG or JPEG with a bright block at each of these x."""
    pixels = np.full((HEIGHT, WIDTH, 3), 40, np.uint8)
    for x in places:
        pixels[10:26, x : x + 20] = 240
    Image.fromarray(pixels).save(path, quality=95)
    return path


class BrightModel(BasePredictor):
    """Every bright part of a picture is a pit, the surer the further left."""

    classes, category_ids, reading = CLASSES, IDS, AS_SHOWN

    def __init__(self) -> None:
        self.seen = 0

    def _predictions(self, pictures: Iterator[Picture]) -> Iterator[Prediction]:
        for picture in pictures:
            self.seen += 1
            pixels = picture if isinstance(picture, np.ndarray) else read_image(str(picture))
            parts = Rle.from_bitmap(pixels[..., 0] > BRIGHT).components(min_area=20)
            scores = [round(1 - part.box[0] / WIDTH, 2) for part in parts]
            found = Detections.of_masks(*pixels.shape[:2], parts, [0] * len(parts), scores)
            yield Prediction.of(found, "", CLASSES, IDS)

    def _candidates(self, pictures: Iterator[Picture]) -> Iterator[Candidates]:
        raise NotImplementedError

    def _post_process(self, steps: Steps | None) -> PostProcess:
        raise NotImplementedError


def record(number: int, file: Path, name: str, *masks: Rle, label: int = 0, crowd: bool = False) -> Record:
    boxes = np.array([mask.box for mask in masks], np.float32).reshape(-1, 4)
    labels, crowds = np.full(len(masks), label, np.int64), np.full(len(masks), crowd)
    return Record(number, str(file), name, HEIGHT, WIDTH, boxes, labels, list(masks), crowds)


def found(*objects: tuple[Rle, int, float]) -> Detections:
    masks, labels, scores = zip(*objects) if objects else ((), (), ())
    return Detections.of_masks(HEIGHT, WIDTH, masks, labels, scores)


def items(folder: Path, names: tuple[str, ...] = NAMES) -> list[Item]:
    """Right; wrong and missed; nothing annotated and one found; nothing of either."""
    folder.mkdir(parents=True, exist_ok=True)
    files = [write_sheet(folder / f"{number}.jpg", 10, 60) for number in range(4)]
    truths = [(block(10), block(60)), (block(10), block(90)), (), ()]
    predictions = [
        found((block(10), 0, 0.9), (block(60), 0, 0.6)),
        found((block(11), 0, 0.8), (block(40), 1, 0.55)),
        found((block(60), 0, 0.4)),
        found(),
    ]
    return [
        Item(name, str(file), HEIGHT, WIDTH, f"fold {n % 2}", record(n, file, name, *truth), own)
        for n, (name, file, truth, own) in enumerate(zip(names, files, truths, predictions))
    ]


def session(folder: Path, own: list[Item] | None = None, reading: Reading = AS_SHOWN, **options: Any) -> Session:
    made = Session(
        "Sheets", folder / "state", items(folder / "sheets") if own is None else own, CLASSES, IDS, reading=reading, **options
    )
    made.compare()
    return made


def bright(model: BrightModel | None = None) -> Model:
    own = model or BrightModel()
    return Model(lambda: own, "bright", "bright")


class Page:
    """Asks as the page's script does: from the same origin, with its header."""

    def __init__(self, session: Session, listening: str = "127.0.0.1") -> None:
        self.session = session
        self.client = create_app(session, listening).test_client()

    def get(self, address: str, **headers: str) -> Any:
        return self.client.get(address, headers={"Host": "127.0.0.1:5678", **headers})

    def post(self, address: str, content: Any = None, *, data: bytes | None = None, **headers: str) -> Any:
        own = {"Host": "127.0.0.1:5678", "Origin": "http://127.0.0.1:5678", "X-Ppdet-View": "1", **headers}
        return self.client.post(address, headers=own, **({"json": content} if data is None else {"data": data}))

    def objects(self, number: int) -> Any:
        return self.get(f"/api/objects/{number}").get_json()[0]
